// The page of a job: what its event stream brings is put in its place; the rest is renewed by live.js.
import "./curve.js";

const LEAST_SECONDS = 1; // between two looks at how it stands
const MOST_LINES = 400;
const card = () => document.getElementById("job-progress");
let due = 0;
let last = 0;

// Only the card of progress: the page itself is made anew when something is decided, not at every step.
document.addEventListener("live:progress", (event) => {
  event.preventDefault();
  look();
});

function look() {
  if (due || document.hidden) return;
  due = setTimeout(async () => {
    due = 0;
    last = Date.now();
    try {
      const answer = await fetch(`${location.pathname}/progress`, { headers: { Accept: "text/html" } });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("job-progress");
      if (fresh && !fresh.isEqualNode(card())) card()?.replaceWith(document.adoptNode(fresh));
    } catch {
      // live.js says that the connection is lost
    }
  }, Math.max(0, last + LEAST_SECONDS * 1000 - Date.now()));
}

// Time goes on while nothing is said.
setInterval(() => {
  if (document.querySelector("#job-follow")) look();
}, 5000);

document.addEventListener("live:metrics", (event) => event.preventDefault()); // curve.js draws them

const drawn = document.querySelector("[data-log]")?.textContent ?? "";
const SETTLED = 10_000;

document.addEventListener("live:log", (event) => {
  event.preventDefault();
  const log = document.querySelector("[data-log]");
  if (!log) return;
  // the server read the log a moment after the place where the stream begins
  if (performance.now() < SETTLED && drawn.includes(event.detail.data.data.text.trim())) return;
  const old = log.textContent;
  const whole = old + (old && !old.endsWith("\n") ? "\n" : "") + event.detail.data.data.text;
  log.textContent = whole.split("\n").slice(-MOST_LINES).join("\n");
});

// The text so far, whole each time.
document.addEventListener("live:preview", (event) => {
  const { text, index } = event.detail.data.data;
  if (typeof text !== "string") return;
  const box = document.querySelector(`[data-text-of="${Number(index)}"]`);
  if (!box) return;
  event.preventDefault();
  const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 8;
  box.textContent = text;
  if (atEnd) box.scrollTop = box.scrollHeight;
});

// Previews over time: the slider shows one round; the newest, until somebody goes back to an older one.
let chosen = null;

document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-round-slider]")) return;
  const rounds = [...document.querySelectorAll(`${event.target.dataset.roundSlider} > .round`)];
  const at = Number(event.target.value);
  chosen = at === rounds.length - 1 ? null : rounds[at].dataset.step;
  showRound();
});

function showRound() {
  const slider = document.querySelector("[data-round-slider]");
  if (!slider) return;
  const rounds = [...document.querySelectorAll(`${slider.dataset.roundSlider} > .round`)];
  const found = rounds.findIndex((one) => one.dataset.step === chosen);
  const at = found < 0 ? rounds.length - 1 : found;
  rounds.forEach((one, n) => one.classList.toggle("current", n === at));
  slider.value = at;
  slider.parentElement.querySelector("output").textContent = rounds[at].dataset.step;
}

showRound();
document.addEventListener("live:parts", showRound);
