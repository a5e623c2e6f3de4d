// [data-rounds]: what a training drew, one step at a time by a slider: the newest, until somebody goes back to an older one.
// Without a script all steps stand below each other.
let chosen = null;

const roundsOf = (slider) => [...slider.closest("[data-rounds]").querySelectorAll(".round")];

document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-round-slider]")) return;
  const rounds = roundsOf(event.target);
  const at = Number(event.target.value);
  chosen = at === rounds.length - 1 ? null : rounds[at].dataset.step;
  show();
});

function show() {
  const slider = document.querySelector("[data-round-slider]");
  if (!slider) return;
  const rounds = roundsOf(slider);
  const found = rounds.findIndex((one) => one.dataset.step === chosen);
  const at = found < 0 ? rounds.length - 1 : found;
  rounds.forEach((one, n) => one.classList.toggle("current", n === at));
  slider.value = at;
  slider.ariaValueText = slider.parentElement.querySelector("output").textContent = rounds[at].dataset.step;
}

show();
document.addEventListener("live:parts", show);
