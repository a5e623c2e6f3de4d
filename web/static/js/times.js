// Times in the reader's own zone, and "5 minutes ago" that goes on counting.
const language = document.documentElement.lang;
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
const exact = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
const SPANS = [
  [86400, "day"],
  [3600, "hour"],
  [60, "minute"],
];
const WEEK = 7 * 86400;

export function ago(at, now = Date.now()) {
  const seconds = (at - now) / 1000;
  const [one, unit] = SPANS.find(([span]) => Math.abs(seconds) >= span * 0.95) ?? [1, "second"];
  return relative.format(Math.round(seconds / one), unit);
}

function show(time) {
  const at = Date.parse(time.dateTime);
  if (Number.isNaN(at)) return;
  time.title = exact.format(at);
  const seconds = Math.abs(Date.now() - at) / 1000;
  if (time.dataset.time === "moment") time.textContent = exact.format(at);
  // what is very new or old keeps the server's words
  else if (time.dataset.time === "ago" && seconds >= 45 && seconds < WEEK) time.textContent = ago(at);
}

export function refresh(root = document) {
  for (const time of root.querySelectorAll("time[data-time]")) show(time);
}

refresh();
setInterval(refresh, 20000);
document.addEventListener("live:parts", () => refresh()); // parts that came into being
