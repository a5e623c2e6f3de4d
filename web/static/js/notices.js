// Tells that a job has ended, on every page: its title and sign always, a notification and a sound where they are wanted.
// One page of the browser listens for all of them and tells the others.
import { toast } from "./toast.js";

const POLL_SECONDS = 20; // while nothing waits or runs, or no stream can be had
const OLD_SECONDS = 3600; // who was away for longer hears of what ends from now on
const words = document.getElementById("notice-words")?.dataset;
const title = document.querySelector("title");
const sign = document.querySelector("link[rel=icon]");
const told = new Set();
let unseen = 0;

function begin() {
  const channel = new BroadcastChannel(`ended:${words.person}`);
  channel.addEventListener("message", ({ data }) => show(data));
  const listen = () => new Promise(() => follow((job) => {
    channel.postMessage(job);
    show(job);
    announce(job);
  }));
  // where there are no locks, each page listens for itself
  if (navigator.locks) navigator.locks.request(`ended:${words.person}`, listen);
  else listen();
  for (const type of ["pointerdown", "keydown", "focus"]) window.addEventListener(type, seen, true);
  document.addEventListener("visibilitychange", () => document.hidden || seen());
  document.addEventListener("live:parts", name);
  bindSettings();
}

// ---- listening ---------------------------------------------------------------------------------------

function follow(tell) {
  const once = (job) => {
    if (told.has(job.job_id)) return;
    told.add(job.job_id);
    tell(job);
  };
  const again = (seconds) => setTimeout(look, seconds * 1000);

  async function look() {
    try {
      const answer = await fetch(address());
      if (answer.status === 401) return; // signed out: the next page begins anew
      if (!answer.ok) throw new Error(String(answer.status));
      const found = await answer.json();
      for (const job of found.items) once(job);
      keep(found.next);
      if (found.active) stream();
      else again(POLL_SECONDS);
    } catch {
      again(POLL_SECONDS);
    }
  }

  function stream() {
    const source = new EventSource(address());
    source.addEventListener("ended", (message) => {
      if (message.lastEventId) keep(message.lastEventId);
      once(JSON.parse(message.data));
    });
    source.addEventListener("idle", (message) => {
      keep(message.lastEventId);
      source.close();
      again(POLL_SECONDS);
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CONNECTING) return;
      source.close();
      again(POLL_SECONDS);
    });
  }

  look();
}

const cursor = () => `ended:${words.person}`;

function address() {
  const kept = localStorage.getItem(cursor());
  const fresh = kept && Number.parseFloat(kept) > Date.now() / 1000 - OLD_SECONDS;
  return fresh ? `${words.ended}?after=${encodeURIComponent(kept)}` : words.ended;
}

function keep(next) {
  localStorage.setItem(cursor(), next);
}

// ---- telling -----------------------------------------------------------------------------------------

function text(job) {
  const called = job.name || `${words[job.kind] ?? job.kind} ${job.job_id.slice(-6)}`;
  return words[job.state]?.replace("#", called);
}

const page = (job) => words.job.replace("ID", job.job_id);

// Who cancelled a job, and who looks at it, knows.
function show(job) {
  told.add(job.job_id);
  if (!text(job)) return;
  const looking = !document.hidden && document.hasFocus();
  if (looking && location.pathname === page(job)) return;
  if (!document.hidden) toast(text(job), job.state === "failed" ? "error" : "success", page(job));
  unseen += 1;
  name();
}

function seen() {
  if (!unseen) return;
  unseen = 0;
  name();
}

function name() {
  const mark = words.done.replace("#", unseen);
  const bare = title.textContent.replace(prefix(), "");
  title.textContent = unseen ? `${mark} ${bare}` : bare;
  sign.href = unseen ? words.signDone : words.sign;
}

function prefix() {
  const [before, after] = words.done.split("#").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${before}\\d+${after} `);
}

function announce(job) {
  if (!text(job)) return;
  if (wanted("sound")) play();
  if (!wanted("system") || Notification.permission !== "granted") return;
  if (!document.hidden && document.hasFocus()) return; // it is said on the page
  const shown = notify(text(job), job.job_id);
  shown?.addEventListener("click", () => {
    window.focus();
    location.assign(page(job));
  });
}

// Chrome on Android has the permission and refuses the notification itself.
function notify(body, tag) {
  try {
    return new Notification("Atelier", { body, tag, icon: words.sign });
  } catch {
    return null;
  }
}

// Two short tones; a page that nobody has touched yet may make no sound.
function play() {
  const audio = new AudioContext();
  for (const [n, pitch] of [660, 880].entries()) {
    const [tone, volume] = [audio.createOscillator(), audio.createGain()];
    const at = audio.currentTime + n * 0.16;
    tone.frequency.value = pitch;
    volume.gain.setValueAtTime(0.12, at);
    volume.gain.exponentialRampToValueAtTime(0.001, at + 0.3);
    tone.connect(volume).connect(audio.destination);
    tone.start(at);
    tone.stop(at + 0.32);
  }
  setTimeout(() => audio.close(), 1000);
}

// ---- what is wanted ----------------------------------------------------------------------------------

const wanted = (kind) => localStorage.getItem(`notices:${kind}`) === "1";

function bindSettings() {
  for (const box of document.querySelectorAll("[data-notice]")) {
    const kind = box.dataset.notice;
    box.checked = wanted(kind);
    box.addEventListener("change", async () => {
      if (kind === "system" && box.checked && !(await allowed(words.sample))) {
        box.checked = false;
        toast(words.refused, "error");
      }
      localStorage.setItem(`notices:${kind}`, box.checked ? "1" : "0");
      if (kind === "sound" && box.checked) play();
    });
  }
}

// Over plain http, but for this machine, a browser has no notifications. The first one shows what they look like.
async function allowed(sample) {
  return "Notification" in window && (await Notification.requestPermission()) === "granted" && notify(sample, "sample") !== null;
}

if (words) begin();
