// As one types: what the job would take, when it would start, what is wrong beside its field, and the job as text.
// The server says it all, in the language of the page.
const WAIT = 350;

export function begin(form) {
  if (!document.getElementById("estimate")) return;
  const touched = new Set();
  let timer = 0;
  let asking = null;

  form.addEventListener("input", (event) => {
    if (event.target.name) touched.add(event.target.name);
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT);
  });
  if (!("sent" in form.dataset)) {
    // what a draft or a browser has put back since the page was drawn
    const moved = [...form.elements].some((one) => one.value !== one.defaultValue || one.checked !== one.defaultChecked);
    if (moved) timer = setTimeout(ask, WAIT);
  }

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
    for (const name of new Set([...form.elements].map((one) => one.name).filter(Boolean))) {
      // nobody is blamed for what he has not come to yet
      const text = wrong.get(name) ?? wrong.get(name.replace(/\.id$/, "")); // of a reference without cards
      say(form, name, touched.has(name) || wasWrong(form, name) ? text : undefined);
    }
  }
}

function wasWrong(form, name) {
  return control(form, name)?.getAttribute("aria-invalid") === "true";
}

function control(form, name) {
  const found = form.elements[name];
  return found instanceof RadioNodeList ? found[0]?.closest("fieldset") : found?.type === "radio" ? found.closest("fieldset") : found;
}

function say(form, name, text) {
  const at = control(form, name);
  const field = at?.closest(".field");
  if (!field) return;
  const id = `${at.id || `f-${name}`}-error`;
  let words = field.querySelector(".wrong");
  if (!text) {
    words?.remove();
    at.removeAttribute("aria-invalid");
    describe(at, id, false);
    return;
  }
  if (!words) {
    words = document.createElement("p");
    words.className = "wrong";
    field.append(words);
  }
  words.id = id;
  if (words.textContent !== text) words.textContent = text;
  at.setAttribute("aria-invalid", "true");
  describe(at, id, true);
}

function describe(at, id, is) {
  const ids = new Set((at.getAttribute("aria-describedby") ?? "").split(" ").filter(Boolean));
  if (is) ids.add(id);
  else ids.delete(id);
  if (ids.size) at.setAttribute("aria-describedby", [...ids].join(" "));
  else at.removeAttribute("aria-describedby");
}
