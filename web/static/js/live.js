// Follows what changes while a page is open.
//
//   <i id="follow" data-live="/api/v1/jobs/ID/events" data-live-after="N" data-live-part hidden>   an event stream,
//                                            followed as long as the page has this element
//   <i id="follow" data-live-poll="5" data-live-part hidden>   no stream, but look every so many seconds
//   <section id="progress" data-live-part>   is renewed from this page's own address when something changed
//   <section data-live-part data-live-from="/x">   what is renewed on this page comes from that address instead,
//                                            asked with the query of the page
//   <i data-live-still>                      while it is there nothing is renewed
//
// The element of a stream gets each event as `live:TYPE` (state, progress, metrics, preview, log, result) with the
// event's object in detail, and it bubbles; a listener that calls preventDefault() says that no renewal is needed.
import { refresh as tellTimes } from "./times.js";
import { toast } from "./toast.js";

const TYPES = ["state", "progress", "metrics", "preview", "log", "result"];
const LEAST_SECONDS = 1; // between two renewals
const LEAST_OF_STATE = 0.15; // changes of state are few, and waited for
const POLL_SECONDS = 5; // where no stream can be had
const LONGEST_WAIT = 60; // seconds until a stream is tried again
const streams = new Map();
let timer = 0;
let fetching = false;
let asked = Infinity; // least seconds since the last renewal; Infinity: nobody wants another one
let last = 0;
let lost = null;
const skipped = new Set(); // ids of parts that somebody was using

function follow(element) {
  if (streams.has(element)) return;
  const entry = { source: null, after: element.dataset.liveAfter, failures: 0, timer: 0, poll: 0 };
  streams.set(element, entry);
  connect(element, entry);
}

function connect(element, entry) {
  const url = new URL(element.dataset.live, location.href);
  if (entry.after) url.searchParams.set("after", entry.after);
  const source = new EventSource(url);
  entry.source = source;
  source.addEventListener("open", () => {
    entry.failures = 0;
    clearInterval(entry.poll);
    found();
  });
  for (const type of TYPES) source.addEventListener(type, (message) => tell(element, entry, type, message));
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CONNECTING) return; // the browser tries again by itself
    source.close();
    entry.failures += 1;
    clearInterval(entry.poll);
    entry.poll = setInterval(() => renew(), POLL_SECONDS * 1000);
    const wait = Math.min(LONGEST_WAIT, POLL_SECONDS * 2 ** (entry.failures - 1)) * (0.75 + Math.random() / 2);
    entry.timer = setTimeout(() => {
      if (element.isConnected && !document.hidden) connect(element, entry);
    }, wait * 1000);
  });
}

function tell(element, entry, type, message) {
  entry.after = message.lastEventId || entry.after;
  const detail = { type, data: JSON.parse(message.data), id: message.lastEventId };
  const event = new CustomEvent(`live:${type}`, { detail, bubbles: true, cancelable: true });
  if (element.dispatchEvent(event)) renew(type === "state" ? LEAST_OF_STATE : LEAST_SECONDS);
}

function stop(element) {
  const entry = streams.get(element);
  entry?.source?.close();
  clearTimeout(entry?.timer);
  clearInterval(entry?.poll);
  streams.delete(element);
}

// Renews the marked parts from this page's own address, so many seconds after the last time at the earliest; what comes
// meanwhile is one more time.
export function renew(least = LEAST_SECONDS) {
  asked = Math.min(asked, least);
  if (fetching || document.hidden) return;
  clearTimeout(timer);
  timer = setTimeout(renewNow, Math.max(0, last + asked * 1000 - Date.now()));
}

async function renewNow() {
  asked = Infinity;
  fetching = true;
  last = Date.now();
  try {
    await fetchParts();
    found();
  } catch {
    lost ??= toast(document.body.dataset.offline, "error");
  }
  fetching = false;
  if (asked < Infinity) renew(asked);
}

function found() {
  lost?.remove();
  lost = null;
}

async function fetchParts() {
  const elsewhere = document.querySelector("[data-live-from]");
  // an address of its own knows that part alone, and what follows it
  const which = elsewhere ? `#${elsewhere.id}, [data-live-part="${elsewhere.id}"]` : "[data-live-part]";
  const parts = [...document.querySelectorAll(which)];
  if (!parts.length || document.querySelector("[data-live-still]")) return;
  const from = elsewhere?.dataset.liveFrom ?? location.pathname;
  const answer = await fetch(from + location.search, { headers: { Accept: "text/html" } });
  if (answer.redirected || !answer.ok) {
    if (answer.status >= 500) throw new Error(String(answer.status));
    location.reload(); // signed out, or gone: the page itself says so
    return;
  }
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const title = fresh.querySelector("title")?.textContent;
  if (title) document.title = title;
  for (const part of parts) swap(part, fresh.getElementById(part.id));
  for (const added of fresh.querySelectorAll("[data-live-part]:not([data-live-part=''])")) {
    // data-live-part="ID": may come into being below another one
    if (!document.getElementById(added.id)) document.getElementById(added.dataset.livePart)?.after(document.adoptNode(added));
  }
  document.dispatchEvent(new CustomEvent("live:parts"));
  look();
}

// Puts what the server drew in the place of what is shown, if it says anything new.
export function swap(part, fresh) {
  if (fresh) tellTimes(fresh); // as they are in the part, or nothing would ever be the same
  const sameStream = part.dataset.live && part.dataset.live === fresh?.dataset.live;
  if (sameStream || fresh?.isEqualNode(part)) return;
  if (busy(part)) {
    skipped.add(part.id);
    return;
  }
  if (!fresh) {
    part.remove();
    return;
  }
  const folds = [...part.querySelectorAll("details[id][open]")].map((one) => one.id);
  part.replaceWith(document.adoptNode(fresh));
  for (const id of folds) document.getElementById(id)?.setAttribute("open", "");
}

// Nobody's click, text or open menu is taken away.
function busy(part) {
  const focused = document.activeElement;
  if (focused !== document.body && part.contains(focused)) return true;
  return part.querySelector("[data-menu][open], dialog[open]") !== null;
}

// What was skipped is looked at as soon as nobody uses it, also when no stream is left to say so.
function catchUp() {
  setTimeout(() => {
    const free = [...skipped].filter((id) => !document.getElementById(id) || !busy(document.getElementById(id)));
    for (const id of free) skipped.delete(id);
    if (free.length) renew();
  });
}
// neither the closing of a menu nor that of a dialog bubbles
for (const type of ["focusout", "toggle", "close"]) document.addEventListener(type, catchUp, true);

function look() {
  for (const element of [...streams.keys()]) if (!element.isConnected) stop(element);
  if (document.hidden) return;
  for (const element of document.querySelectorAll("[data-live]")) follow(element);
}

// A hidden page holds no connection; it looks at once when it is seen again.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) for (const element of [...streams.keys()]) stop(element);
  else {
    look();
    if (asked < Infinity || document.querySelector("[data-live], [data-live-poll]")) renew();
  }
});

window.addEventListener("offline", () => {
  if (document.querySelector("[data-live], [data-live-poll]")) lost ??= toast(document.body.dataset.offline, "error");
});

// A stream may not have noticed that nothing can come by it any more.
window.addEventListener("online", () => {
  found();
  for (const element of [...streams.keys()]) stop(element);
  look();
  if (document.querySelector("[data-live], [data-live-poll]")) renew();
});

let polled = Date.now();
setInterval(() => {
  const seconds = document.querySelector("[data-live-poll]")?.dataset.livePoll;
  if (!seconds || document.hidden || Date.now() - polled < seconds * 1000) return;
  polled = Date.now();
  renew();
}, 500);

look();
