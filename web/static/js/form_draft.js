// What was typed and not sent stays in this browser, for this account and this form, and is back at the next visit.
import { values, fill } from "./form_fields.js";

const WAIT = 400;

export function begin(form) {
  const key = `draft:${form.dataset.draft}`;
  const untouched = values(form);
  const notice = document.querySelector("[data-draft-notice]");
  let timer = 0;

  const save = () => {
    clearTimeout(timer);
    const now = values(form);
    const changed = Object.entries(now).filter(([name, value]) => value !== untouched[name]);
    if (changed.length) keep(key, JSON.stringify(Object.fromEntries(changed)));
    else drop(key);
  };

  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(save, WAIT);
  });
  // sent is no draft any more; what comes back refused is one again
  form.addEventListener("submit", (event) => {
    clearTimeout(timer);
    if (!event.defaultPrevented) drop(key);
  });
  window.addEventListener("pagehide", () => clearTimeout(timer));

  if (form.dataset.state === "sent") {
    const defaults = Object.fromEntries([...form.querySelectorAll("[data-reset]")].map((one) => [one.dataset.reset, one.dataset.default]));
    Object.assign(untouched, { name: "", seed: "" }, defaults);
    save();
  } else if (form.dataset.state !== "given") {
    restore();
  }

  function restore() {
    const found = JSON.parse(read(key) ?? "null");
    if (!found) return;
    // what the address asks for goes before
    for (const name of new URLSearchParams(location.search).keys()) delete found[name];
    if (!Object.keys(found).length) return;
    fill(form, found);
    openFolds(form, found);
    if (!notice) return;
    notice.hidden = false;
    notice.querySelector("[data-draft-discard]").addEventListener("click", () => {
      fill(form, untouched);
      save();
      notice.hidden = true;
    });
  }
}

function openFolds(form, found) {
  for (const name of Object.keys(found)) {
    form.querySelector(`[name="${CSS.escape(name)}"]`)?.closest("details[data-advanced]")?.setAttribute("open", "");
  }
}

// A browser may keep nothing for us: then there are no drafts.
function read(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function keep(key, text) {
  try {
    localStorage.setItem(key, text);
  } catch {
    drop(key);
  }
}

function drop(key) {
  try {
    localStorage.removeItem(key);
  } catch {
    // nothing was kept
  }
}
