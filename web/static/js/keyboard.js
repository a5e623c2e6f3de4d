// `?` shows the keys, `g` and a letter goes to a section; which letters there are stands in the list itself.
const PATIENCE = 1000;
const KEPT = "keys:off"; // who dictates, or leans on the keyboard, has no use for keys of one letter
let going = 0;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || turnedOff(event)) return;
  const help = document.getElementById("keyboard-help");
  if (!help) return;
  if (event.key === "?") {
    help.showModal();
    event.preventDefault();
  } else if (event.key === "g") {
    going = Date.now();
  } else if (Date.now() - going < PATIENCE) {
    going = 0;
    const target = help.querySelector(`[data-go-key="${CSS.escape(event.key)}"]`);
    if (!target) return;
    event.preventDefault(); // the letter is used up: a page's own key does not act on it, too
    location.assign(target.dataset.go);
  } else {
    pressOwnKey(event);
  }
});

// data-key="r" on a link or button: this key presses it.
function pressOwnKey(event) {
  const target = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!target || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  target.click();
}

for (const box of document.querySelectorAll("[data-single-keys]")) {
  box.checked = !off();
  box.addEventListener("change", () => {
    if (box.checked) localStorage.removeItem(KEPT);
    else localStorage.setItem(KEPT, "1");
  });
}

function off() {
  try {
    return localStorage.getItem(KEPT) !== null;
  } catch {
    return false;
  }
}

export const turnedOff = (event) => event.key.length === 1 && off();

export function typing(target) {
  return target instanceof Element && target.closest("input, select, textarea, [contenteditable]") !== null;
}
