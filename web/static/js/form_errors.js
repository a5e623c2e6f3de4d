// What is wrong, said beside its field and tied to it as parts/field.html does.

// `textOf(name)` is what is wrong with that input, or nothing.
export function sayWrong(form, textOf) {
  for (const name of new Set([...form.elements].map((one) => one.name).filter(Boolean))) say(form, name, textOf(name));
}

// What the form says is wrong with it now.
export function wordsAt(form, name) {
  const at = control(form, name);
  return at?.getAttribute("aria-invalid") === "true" ? at.closest(".field")?.querySelector(".wrong")?.textContent : undefined;
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
