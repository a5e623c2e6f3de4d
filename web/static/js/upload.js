// The form of an upload (form[data-upload]): files by choice, drop, paste or folder; each is sent by tus.js with its
// own progress; then the form itself is posted with the ids of what was sent, so the server answers as without a script.
import { send } from "./tus.js";
import { MOST_FILES, zip } from "./zip.js";

const TOGETHER = 30; // more files than this travel as one zip
const AT_ONCE = 2;
const LONGEST_NAME = 200;
const language = document.documentElement.lang;
const form = document.querySelector("form[data-upload]");
const words = JSON.parse(form.dataset.words);
const input = form.querySelector("input[type=file]");
const list = form.querySelector("[data-files]");
const notice = form.querySelector("[data-trouble]");
const stop = form.querySelector("[data-stop]");
const chosen = [];
let sending = null;

// ---- choosing ------------------------------------------------------------------------------------------

function add(files) {
  if (sending) return;
  for (const file of files) {
    file.path ??= file.webkitRelativePath || file.name;
    if (!file.size || hidden(file.path) || chosen.some((one) => same(one.file, file))) continue;
    chosen.push({ file, row: null });
  }
  const name = form.elements.name;
  if (!name.value && chosen.length) name.value = title(chosen[0].file.path);
  draw();
}

// what systems leave in folders
const hidden = (path) => path.split("/").some((part) => part.startsWith(".") || part === "__MACOSX" || part === "Thumbs.db");
const same = (one, other) => ["path", "size", "lastModified"].every((fact) => one[fact] === other[fact]);
const title = (path) => path.split("/")[0].replace(/\.[^.]+$/, "").slice(0, LONGEST_NAME);

function draw() {
  input.required = chosen.length === 0;
  list.hidden = chosen.length === 0;
  list.replaceChildren();
  if (chosen.length > TOGETHER) {
    const bytes = chosen.reduce((sum, one) => sum + one.file.size, 0);
    const together = row(fill(words.files, number(chosen.length)), bytes, () => chosen.splice(0));
    for (const one of chosen) one.row = together;
  } else {
    for (const one of chosen) one.row = row(one.file.path, one.file.size, () => chosen.splice(chosen.indexOf(one), 1));
  }
}

function row(name, bytes, drop) {
  const item = document.createElement("li");
  const label = element("span", "upload-name", name);
  const state = element("span", "small muted", size(bytes));
  const button = element("button", "quiet compact icon-only", "×");
  button.type = "button";
  button.setAttribute("aria-label", fill(words.remove, name));
  button.addEventListener("click", () => {
    drop();
    draw();
    input.focus();
  });
  const bar = document.createElement("progress");
  Object.assign(bar, { className: "slim", max: bytes, value: 0, hidden: true });
  bar.setAttribute("aria-label", name);
  item.append(label, state, button, bar);
  list.append(item);
  return { state, button, bar, bytes };
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

input.addEventListener("change", () => {
  add([...input.files]);
  input.value = "";
});

form.querySelector("[data-choose-files]").addEventListener("click", () => input.click());
const folder = form.querySelector("[data-folder]");
form.querySelector("[data-choose-folder]").addEventListener("click", () => folder.click());
folder.addEventListener("change", () => add([...folder.files]));

addEventListener("paste", (event) => {
  if (event.target.closest?.("input, textarea, select")) return;
  const text = event.clipboardData.getData("text/plain");
  if (event.clipboardData.files.length) add([...event.clipboardData.files]);
  else if (text.trim()) add([pasted(text)]);
});

let pastes = 0;

// Dated now, by itself: no other text of this length is taken for the same, or for an upload that was begun.
function pasted(text) {
  pastes += 1;
  return new File([text], pastes === 1 ? words.pasted : words.pasted.replace(/(\.\w+)?$/, ` ${pastes}$1`));
}

// ---- drag and drop -----------------------------------------------------------------------------------------

const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");

for (const type of ["dragenter", "dragover"]) {
  addEventListener(type, (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    form.classList.add("dropping");
  });
}
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) form.classList.remove("dropping");
});
addEventListener("drop", async (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  form.classList.remove("dropping");
  // both must be asked before the first await: afterwards the browser has forgotten them
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.());
  const plain = [...event.dataTransfer.files];
  if (!entries.some((entry) => entry?.isDirectory)) return add(plain);
  const found = [];
  for (const entry of entries) if (entry) await walk(entry, found);
  add(found);
});

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    file.path = entry.fullPath.replace(/^\//, "");
    found.push(file);
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length || found.length > MOST_FILES) return;
    for (const inner of some) await walk(inner, found);
  }
}

// ---- sending ---------------------------------------------------------------------------------------------------

form.addEventListener("submit", async (event) => {
  if (!chosen.length) return; // without files the browser has said so already
  event.preventDefault();
  if (sending) return;
  sending = new AbortController();
  busy(true);
  try {
    const ids = await sendAll(await packed(), sending.signal);
    for (const id of ids) {
      const field = Object.assign(document.createElement("input"), { type: "hidden", name: "uploads", value: id });
      form.append(field);
    }
    input.disabled = true;
    form.submit(); // sends no second submit event
  } catch (error) {
    busy(false);
    const stopped = sending.signal.aborted;
    sending.abort();
    sending = null;
    if (!stopped) trouble(words.codes[error.code] ?? (error instanceof RangeError ? words.codes.too_large : error.message));
  }
});

stop.addEventListener("click", () => sending?.abort());

async function packed() {
  if (chosen.length <= TOGETHER) return chosen;
  const { row } = chosen[0];
  const files = chosen.map((one) => one.file);
  const file = await zip(files, `${form.elements.name.value || "files"}.zip`, (done) => {
    row.state.textContent = fill(words.packing, number(done));
  });
  row.bytes = row.bar.max = file.size;
  return [{ file, row }];
}

async function sendAll(all, signal) {
  const options = { url: form.dataset.upload, token: form.elements.csrf_token.value, owner: form.dataset.owner, signal };
  const ids = new Array(all.length);
  let next = 0;
  async function work() {
    while (next < all.length) {
      const n = next++;
      const { file, row } = all[n];
      ids[n] = await send(file, { ...options, tell: (sent, state) => show(row, sent, state) });
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return ids;
}

function show(row, sent, state) {
  row.bar.hidden = false;
  if (state === "waiting") {
    row.state.textContent = words.waiting;
    return;
  }
  row.bar.value = sent;
  row.state.textContent = sent >= row.bytes ? words.sent : fill(words.progress, size(sent), size(row.bytes));
}

function busy(on) {
  trouble("");
  stop.hidden = !on;
  for (const button of form.querySelectorAll("button:not([data-stop])")) button.disabled = on;
  for (const one of form.querySelectorAll("input, select")) one.readOnly = on;
  input.disabled = on;
}

function trouble(text) {
  notice.hidden = !text;
  notice.textContent = text;
}

// ---- words -----------------------------------------------------------------------------------------------------

const number = (value) => new Intl.NumberFormat(language).format(value);
const fill = (text, ...values) => values.reduce((so, value) => so.replace("…", value), text);

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, bytes ? Math.floor(Math.log10(bytes) / 3) : 0);
  const value = new Intl.NumberFormat(language, { maximumFractionDigits: power ? 1 : 0 }).format(bytes / 1000 ** power);
  return `${value} ${units[power]}`;
}
