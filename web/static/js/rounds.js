// [data-rounds]: what a training drew, one step at a time, by a slider; without a script all steps stand below each other.
for (const box of document.querySelectorAll("[data-rounds]")) {
  const rounds = [...box.querySelectorAll("[data-step]")];
  const slide = box.querySelector("[data-slide]");
  const range = slide.querySelector("input");
  const words = slide.querySelector("output");
  range.max = rounds.length - 1;
  range.value = range.max;
  slide.hidden = rounds.length < 2;
  box.querySelector(".rounds").classList.add("sliding");
  const show = () => {
    for (const [n, round] of rounds.entries()) {
      round.classList.toggle("seen", n === Number(range.value));
      if (n === Number(range.value)) words.textContent = range.ariaValueText = round.dataset.step;
    }
  };
  range.addEventListener("input", show);
  show();
}
