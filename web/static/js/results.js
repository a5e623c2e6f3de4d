// The gallery: arrows move, letters do; selecting; more results when the end comes near; texts as they are written.
import { turnedOff, typing } from "./keyboard.js";
import { toast } from "./toast.js";

const gallery = () => document.getElementById("gallery");
const cards = () => [...document.querySelectorAll("[data-result]")];
const chosen = () => [...document.querySelectorAll('[name="id"][form="selection"]:checked')];
const card = () => document.activeElement?.closest("[data-result]");
const linkOf = (one) => one.querySelector(".result-open");
let comparing = null;

// Keys

const DO = {
  ArrowRight: () => move(1),
  ArrowLeft: () => move(-1),
  ArrowDown: () => move(columns()),
  ArrowUp: () => move(-columns()),
  x: (one) => one.querySelector('[name="id"]').click(),
  ".": (one) => one.querySelector("[data-star] button").click(),
  r: (one) => generate(one.dataset.parameters),
  s: (one) => generate(one.dataset.seed),
  c: compare,
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || turnedOff(event)) return;
  const inBox = event.target.matches?.('[name="id"]');
  if ((typing(event.target) && !inBox) || document.querySelector("dialog[open], [data-menu][open]")) return;
  const act = DO[event.key];
  const one = card();
  if (!act || (!one && !event.key.startsWith("Arrow"))) return;
  event.preventDefault();
  act(one);
});

function move(by) {
  const all = cards();
  if (!all.length) return;
  const at = all.indexOf(card());
  const next = all[at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + by))];
  linkOf(next).focus();
  next.scrollIntoView({ block: "nearest" });
}

function columns() {
  const all = cards();
  const below = all.findIndex((one) => one.offsetTop > all[0].offsetTop);
  return below > 0 ? below : all.length;
}

function generate(form) {
  if (form) location.assign(form);
  else toast(gallery().dataset.foreign);
}

function compare(one) {
  const ids = chosen().map((box) => box.value);
  if (ids.length !== 2 && comparing && comparing !== one.dataset.result) ids.splice(0, ids.length, comparing, one.dataset.result);
  if (ids.length === 2) {
    location.assign(`${gallery().dataset.compare}?${new URLSearchParams({ a: ids[0], b: ids[1] })}`);
    return;
  }
  comparing = one.dataset.result;
  toast(gallery().dataset.choose);
}

// Selecting

function count() {
  const form = document.getElementById("selection");
  const number = chosen().length;
  form.classList.toggle("some", number > 0);
  form.querySelector(".selection-count").textContent = gallery().dataset.count.replace("{n}", number);
}

let lastBox = null;
document.addEventListener("click", (event) => {
  const box = event.target.closest('[name="id"][form="selection"]');
  if (box) {
    const boxes = cards().map((one) => one.querySelector('[name="id"]'));
    const [from, to] = [boxes.indexOf(lastBox), boxes.indexOf(box)].sort((a, b) => a - b);
    // with Shift all between two clicks
    if (event.shiftKey && from >= 0) for (const one of boxes.slice(from, to + 1)) one.checked = box.checked;
    lastBox = box;
    count();
  } else if (event.target.closest("[data-clear]")) {
    for (const one of chosen()) one.checked = false;
    count();
  }
});

// A star is set without leaving the page.

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("[data-star]");
  if (!form) return;
  event.preventDefault();
  const button = form.querySelector("button");
  const starred = button.value === "1";
  const headers = { "Content-Type": "application/json", "X-CSRFToken": form.elements.csrf_token.value };
  try {
    // not the form's own address: its answer leads on, to the page of signing in, too
    const answer = await fetch(form.dataset.star, { method: "PATCH", headers, body: JSON.stringify({ starred }) });
    if (!answer.ok) throw new Error(String(answer.status));
    button.value = starred ? "0" : "1";
    button.setAttribute("aria-pressed", String(starred));
  } catch {
    toast(gallery().dataset.unstarred, "error");
  }
});

// More when the end comes near; the link works by itself, too.

const near = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && more(), { rootMargin: "600px" });
let loading = false;
let failed = null;

// Whether there are more on the page now. After a failure nothing asks by itself: a click on the link tries again.
async function more() {
  const link = document.querySelector("[data-more]");
  if (!link || loading) return false;
  loading = true;
  failed?.remove();
  try {
    const answer = await fetch(link.href, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!link.isConnected) return false; // other results are asked for by now
    document.querySelector(".results").append(...page.querySelectorAll("[data-result]"));
    const next = page.querySelector("[data-more]");
    if (next) link.href = next.href;
    else link.closest(".more").remove();
    watch();
    return true;
  } catch {
    near.disconnect();
    failed = toast(gallery().dataset.noMore, "error");
    return false;
  } finally {
    loading = false;
  }
}

document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-more]") || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  more();
});

function watch() {
  near.disconnect();
  const link = document.querySelector("[data-more]");
  if (link) near.observe(link);
}

// Who comes back from a result finds as many as there were, and the place.
document.addEventListener("click", (event) => {
  if (event.target.closest(".result-open")) history.replaceState({ shown: cards().length, at: scrollY }, "");
});

async function comeBack() {
  const { shown = 0, at = 0 } = history.state ?? {};
  if (cards().length >= shown) return;
  while (cards().length < shown && (await more()));
  scrollTo(0, at);
}

// What is being made: texts as they are written, and the gallery anew when something is done.

document.addEventListener("live:preview", (event) => {
  const { index, text } = event.detail.data.data ?? {};
  const paper = event.target.closest?.("[data-making]")?.querySelector(`[data-index="${index}"]`);
  if (typeof text !== "string" || !paper) return; // the first words come with a renewal of the page
  event.preventDefault();
  paper.textContent = text.slice(-1200);
});

let making = makingNow();
function makingNow() {
  return [...document.querySelectorAll("[data-making]")].map((one) => one.dataset.making);
}

document.addEventListener("live:parts", () => {
  const before = making;
  making = makingNow();
  if (before.every((one) => making.includes(one))) return;
  if (chosen().length || scrollY > 400 || card()) {
    toast(gallery().dataset.fresh, "", location.href);
  } else location.reload();
});

// Of pinyin that is being typed only the characters it becomes are searched; its end is a trigger of the form's own.
document.addEventListener("input", (event) => event.isComposing && event.target.closest(".filters") && event.stopPropagation(), true);

document.addEventListener("htmx:after:swap", () => {
  // the address says what is shown, to be sent or opened again; without what is empty
  const asked = [...new FormData(document.querySelector(".filters"))].filter(([, value]) => value);
  history.replaceState(null, "", `?${new URLSearchParams(asked)}`);
  watch();
  count();
});
window.addEventListener("pageshow", count);
comeBack();
watch();
count();
