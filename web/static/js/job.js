// The page of a job: what its event stream brings is put in its place; the rest is renewed by live.js.
import "./curve.js";
import "./rounds.js";
import "./said.js";
import "./streamed.js";
import { dropSent } from "./drafts.js";
import { swap } from "./live.js";

dropSent();

const LEAST_SECONDS = 1; // between two looks at how it stands
const MOST_LINES = 400;
const card = () => document.getElementById("job-progress");
let due = 0;
let last = 0;
let renewals = 0; // of the whole page

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
    const before = renewals;
    try {
      const answer = await fetch(`${location.pathname}/progress`, { headers: { Accept: "text/html" } });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("job-progress");
      // the page was drawn anew meanwhile: what it says is newer, and maybe the end
      if (fresh && card() && before === renewals) swap(card(), fresh);
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
  log.closest("section").hidden = false;
  // the server read the log a moment after the place where the stream begins
  if (performance.now() < SETTLED && drawn.includes(event.detail.data.data.text.trim())) return;
  const old = log.textContent;
  const whole = old + (old && !old.endsWith("\n") ? "\n" : "") + event.detail.data.data.text;
  log.textContent = whole.split("\n").slice(-MOST_LINES).join("\n");
});

document.addEventListener("live:parts", () => (renewals += 1));
