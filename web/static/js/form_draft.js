// What was typed and not sent stays in this browser, for this account and this form, and is back at the next visit.
import { values, fill } from "./form_fields.js";
import { drop, keep, markSent, read, unmark } from "./drafts.js";

const WAIT = 400;
// what the address takes from another job, of all that a form holds: the draft gives the rest
const TAKEN = { prompt: "params.prompt", seed: "seed" };

export function begin(form) {
  const key = `draft:${form.dataset.draft}`;
  const drawn = values(form);
  const filledIn = form.dataset.state !== "";
  const untouched = filledIn ? defaults(form, drawn) : drawn;
  const asked = new URLSearchParams(location.search);
  let timer = 0;

  function save() {
    clearTimeout(timer);
    timer = 0;
    const changed = Object.entries(values(form)).filter(([name, value]) => value !== untouched[name]);
    if (changed.length) keep(key, Object.fromEntries(changed));
    else drop(key);
  }

  function restore() {
    const found = read(key);
    if (!found) return;
    // what the address asks for goes before
    for (const name of [...asked.keys(), TAKEN[asked.get("use")]]) delete found[name];
    if (!Object.keys(found).length) return;
    fill(form, found);
    openFolds(form, found);
    const notice = document.querySelector("[data-draft-notice]");
    if (!notice) return;
    notice.hidden = false;
    notice.querySelector("[data-draft-discard]").addEventListener("click", () => {
      fill(form, drawn);
      drop(key);
      clearTimeout(timer);
      notice.hidden = true;
    });
  }

  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(save, WAIT);
  });
  form.addEventListener("submit", (event) => {
    if (event.defaultPrevented) return;
    save();
    markSent(key);
  });
  window.addEventListener("pagehide", () => timer && save());

  unmark(); // this form again: what was sent made no job
  if (form.dataset.state === "sent") save();
  else if (!filledIn || TAKEN[asked.get("use")]) restore();
}

// What a form that was filled in would hold otherwise; a draft of it must bring all of it back.
function defaults(form, drawn) {
  const found = Object.fromEntries(Object.keys(drawn).map((name) => [name, ""]));
  for (const one of form.querySelectorAll("[data-reset]")) found[one.dataset.reset] = one.dataset.default;
  return found;
}

function openFolds(form, found) {
  for (const name of Object.keys(found)) {
    form.querySelector(`[name="${CSS.escape(name)}"]`)?.closest("details[data-advanced]")?.setAttribute("open", "");
  }
}
