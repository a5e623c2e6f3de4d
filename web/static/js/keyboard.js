// `?` shows the keys, `g` and a letter goes to a section; which letters there are stands in the list itself.
const PATIENCE = 1000;
let going = 0;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
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

export function typing(target) {
  return target instanceof Element && target.closest("input, select, textarea, [contenteditable]") !== null;
}
