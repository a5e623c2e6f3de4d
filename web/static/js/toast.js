// A short word at the edge of the page that goes by itself, but not from under a pointer or the focus; an error stays
// until it is closed.
const SECONDS = 5;

export function toast(text, kind = "", href = "") {
  const box = document.createElement("div");
  box.className = `toast ${kind}`;
  const words = document.createElement(href ? "a" : "span");
  if (href) words.href = href;
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "quiet compact icon-only";
  close.setAttribute("aria-label", document.body.dataset.close);
  close.textContent = "×";
  close.addEventListener("click", () => box.remove());
  box.append(words, close);
  document.querySelector(".toasts").append(box);
  if (kind !== "error") leave(box);
  return box;
}

function leave(box) {
  setTimeout(() => (box.matches(":hover, :focus-within") ? leave(box) : box.remove()), SECONDS * 1000);
}
