// As one types: what the job would take, when it would start, what is wrong beside its field, and the job as text.
// The server says it all, in the language of the page.
import { sayWrong, wordsAt } from "./form_errors.js";

const WAIT = 350;

export function begin(form) {
  if (!document.getElementById("estimate")) return;
  const touched = new Set();
  let timer = 0;
  let asking = null;

  for (const type of ["input", "compositionend"]) form.addEventListener(type, (event) => {
    if (event.isComposing) return; // pinyin on its way to characters
    if (event.target.name) touched.add(event.target.name);
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT);
  });
  if (form.dataset.state !== "sent" && [...form.elements].some(moved)) timer = setTimeout(ask, WAIT);

  async function ask() {
    asking?.abort();
    asking = new AbortController();
    const panel = document.getElementById("estimate");
    panel.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(form.dataset.estimate, { method: "POST", body: new FormData(form), signal: asking.signal });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("estimate");
      if (fresh) show(document.adoptNode(fresh));
    } catch {
      // a newer question, or no connection: what is shown stays
    } finally {
      document.getElementById("estimate").removeAttribute("aria-busy");
    }
  }

  function show(fresh) {
    const panel = document.getElementById("estimate");
    for (const fold of panel.querySelectorAll("details[id]")) {
      const same = fresh.querySelector(`#${fold.id}`);
      if (same) same.open = fold.open;
    }
    const wrong = new Map([...fresh.querySelectorAll("[data-wrong]")].map((one) => [one.dataset.wrong, one.textContent]));
    panel.replaceWith(fresh);
    // nobody is blamed for what he has not come to yet; of a reference without cards the name has an ending
    const text = (name) => wrong.get(name) ?? wrong.get(name.replace(/\.id$/, ""));
    sayWrong(form, (name) => (touched.has(name) || wordsAt(form, name) ? text(name) : undefined));
  }
}

// What a draft or a browser has put back since the page was drawn.
function moved(one) {
  if (one.type === "checkbox" || one.type === "radio") return one.checked !== one.defaultChecked;
  if (one.options) return one.selectedIndex !== Math.max(0, [...one.options].findIndex((option) => option.defaultSelected));
  return one.defaultValue !== undefined && one.type !== "file" && one.value !== one.defaultValue;
}
