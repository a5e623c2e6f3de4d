// A notice of the browser when a job of one's own ends while no page of this server is looked at. Off until it is
// chosen on the account's page (js/notices-choice.js); of several open pages one tells.
export const CHOICE = "atelier-notices";
const TOLD = "atelier-notices-told";
const SECONDS = 15;
const { body } = document;

async function look() {
  if (!document.hidden || localStorage.getItem(CHOICE) !== "on" || Notification.permission !== "granted") return;
  const answer = await fetch("/api/v1/jobs?state=succeeded,failed&limit=20");
  if (!answer.ok) return;
  const ended = (await answer.json()).items.filter((job) => job.finished_at);
  const last = localStorage.getItem(TOLD) ?? new Date().toISOString();
  const newest = ended.map((job) => job.finished_at).reduce((a, b) => (a > b ? a : b), last);
  localStorage.setItem(TOLD, newest);
  for (const job of ended) {
    if (job.finished_at <= last) continue;
    const words = job.state === "succeeded" ? body.dataset.jobDone : body.dataset.jobFailed;
    const notice = new Notification(words.replace("…", job.name || job.id.slice(-6)), { tag: job.id });
    notice.addEventListener("click", () => {
      window.focus();
      location.assign(`/jobs/${job.id}`);
    });
  }
}

if ("Notification" in window && body.dataset.jobDone) {
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) localStorage.setItem(TOLD, new Date().toISOString());
  });
  setInterval(() => look().catch(() => {}), SECONDS * 1000);
}
