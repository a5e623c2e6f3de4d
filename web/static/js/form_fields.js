// Values of a form by name, back to the default of one field, presets in place.
const NOT_OURS = new Set(["csrf_token", "nonce"]);

// Texts only; a box that is not ticked is "false".
export function values(form) {
  const found = {};
  for (const control of form.elements) {
    if (!control.name || NOT_OURS.has(control.name) || control.type === "file" || control.name.endsWith(".shown")) continue;
    if (control.type === "checkbox") found[control.name] = String(control.checked);
    else if (control.type === "radio") {
      if (control.checked) found[control.name] = control.value;
      else found[control.name] ??= "";
    } else found[control.name] = control.value;
  }
  return found;
}

export function fill(form, wanted) {
  for (const control of form.elements) {
    const value = wanted[control.name];
    if (value === undefined || control.type === "file") continue;
    if (control.type === "checkbox") control.checked = value === "true";
    else if (control.type === "radio") control.checked = control.value === value;
    else control.value = value;
  }
  form.dispatchEvent(new Event("input", { bubbles: true }));
}

export function begin(form) {
  mark(form);
  form.addEventListener("input", () => mark(form));
  form.addEventListener("click", (event) => {
    const button = event.target.closest("[data-reset]");
    if (!button) return;
    fill(form, { [button.dataset.reset]: button.dataset.default });
    form.elements[button.dataset.reset]?.focus();
  });
  for (const link of document.querySelectorAll("[data-preset]")) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      fill(form, JSON.parse(link.dataset.preset));
    });
  }
}

function mark(form) {
  const now = values(form);
  for (const button of form.querySelectorAll("[data-reset]")) {
    const at = now[button.dataset.reset] ?? "";
    button.classList.toggle("differs", !same(at, button.dataset.default));
  }
  for (const link of document.querySelectorAll("[data-preset]")) {
    const fits = Object.entries(JSON.parse(link.dataset.preset)).every(([name, value]) => same(now[name] ?? "", value));
    if (fits) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

// A number may be written in more than one way.
function same(one, other) {
  return one === other || (one.trim() !== "" && other.trim() !== "" && Number(one) === Number(other));
}
