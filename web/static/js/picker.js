// data-filter="#list": what is typed hides the cards of that list whose data-filter-text does not hold it.
for (const type of ["input", "compositionend"]) document.addEventListener(type, filter);

function filter(event) {
  if (event.isComposing) return; // of pinyin only the characters count
  const search = event.target.closest("[data-filter]");
  if (!search) return;
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const card of document.querySelectorAll(`${search.dataset.filter} [data-filter-text]`)) {
    const text = card.dataset.filterText.toLowerCase();
    const fits = words.every((word) => text.includes(word)) || card.querySelector("input:checked") !== null;
    card.hidden = !fits;
    shown += fits;
  }
  const none = search.parentElement.querySelector("[data-filter-none]");
  if (none) none.hidden = shown > 0;
}

// Enter in a search sends no job.
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.closest?.("[data-filter]")) event.preventDefault();
});
