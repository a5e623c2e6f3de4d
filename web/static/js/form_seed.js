// The dice takes a seed at random; the lock keeps the one that is there for the next jobs of this form.
import { drop, keep, read } from "./drafts.js";

const MOST = 2 ** 32;

export function begin(form) {
  const box = form.querySelector("[data-seed]");
  if (!box) return;
  const input = box.querySelector("input");
  const [dice, lock] = [box.querySelector("[data-seed-dice]"), box.querySelector("[data-seed-lock]")];
  const key = `seed:${form.dataset.draft}`;
  const kept = read(key);
  if (kept !== null) {
    if (!input.value) input.value = input.defaultValue = kept;
    hold(input.value === String(kept));
  }

  dice.addEventListener("click", () => {
    input.value = Math.floor(Math.random() * MOST);
    input.dispatchEvent(new Event("input", { bubbles: true }));
  });
  lock.addEventListener("click", () => {
    const locked = lock.getAttribute("aria-pressed") !== "true";
    if (locked && !input.value.trim()) dice.click();
    hold(locked);
    remember();
  });
  form.addEventListener("input", remember);

  function hold(locked) {
    lock.setAttribute("aria-pressed", String(locked));
    dice.disabled = locked;
  }

  function remember() {
    if (lock.getAttribute("aria-pressed") === "true") keep(key, input.value.trim());
    else drop(key);
  }
}
