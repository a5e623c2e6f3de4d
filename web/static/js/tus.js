// Sends one file by the tus protocol, version 1.0: begun once, sent in pieces, continued where the server stands.
//
// What was begun is remembered in this browser by the file's name, size and date, so the same file goes on after a
// lost connection, after a reload, and on another day.
const VERSION = "1.0.0";
const PIECE = 8 << 20;
const MEMORY = "atelier-uploads";
const MOST_REMEMBERED = 200;
const LONGEST_WAIT = 30; // seconds between two tries
const STALLED = 120; // seconds without a byte or an answer, after which a connection is given up

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || String(status));
    this.status = status;
    this.code = problem.code || "";
  }
}

// The id of the finished upload. `tell(sent, state)` hears how far it is; state is "sending" or "waiting".
// Gives up only when the server refuses, or by the signal.
export async function send(file, { url, token, owner, signal, tell }) {
  const key = [owner, file.path ?? file.name, file.size, file.lastModified].join("|");
  let place = remembered(key);
  let offset = null;
  for (let failures = 0; ; ) {
    signal.throwIfAborted();
    try {
      if (!place) {
        place = await begin(file, url, token, signal);
        offset = 0;
        remember(key, place);
      }
      offset ??= await where(place, signal);
      while (offset < file.size) {
        const from = offset;
        tell(from, "sending");
        offset = await piece(place, file, from, token, signal, (sent) => tell(from + sent, "sending"));
        failures = 0;
      }
      tell(file.size, "sending");
      return place.split("/").pop();
    } catch (error) {
      if (signal.aborted) throw error;
      if (error instanceof Refused) {
        if (error.status === 404) {
          place = null; // used up, deleted or too old: from the start
          remember(key, null);
        } else if (!passing(error)) throw error;
      }
      offset = null;
      failures += 1;
      tell(null, "waiting");
      await pause(Math.min(LONGEST_WAIT, 2 ** (failures - 1)), signal);
    }
  }
}

// Whether the same may go well in a moment: a busy database, a server that starts, another writer who was faster.
function passing({ status, code }) {
  return code === "offset_mismatch" || status === 429 || (status >= 500 && status !== 507);
}

async function begin(file, url, token, signal) {
  const name = new TextEncoder().encode(file.path ?? file.name);
  const answer = await fetch(url, {
    method: "POST",
    signal,
    headers: {
      "Tus-Resumable": VERSION,
      "Upload-Length": String(file.size),
      "Upload-Metadata": `filename ${btoa(String.fromCharCode(...name))}`,
      "X-CSRFToken": token,
    },
  });
  if (!answer.ok) throw new Refused(answer.status, await problem(answer));
  return new URL(answer.headers.get("Location"), location.href).pathname;
}

async function where(place, signal) {
  const answer = await fetch(place, { method: "HEAD", signal, headers: { "Tus-Resumable": VERSION } });
  if (!answer.ok) throw new Refused(answer.status, {});
  return Number(answer.headers.get("Upload-Offset"));
}

// XMLHttpRequest, because fetch does not say how much of a body has gone.
function piece(place, file, offset, token, signal, tell) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PATCH", place);
    request.setRequestHeader("Tus-Resumable", VERSION);
    request.setRequestHeader("Upload-Offset", String(offset));
    request.setRequestHeader("Content-Type", "application/offset+octet-stream");
    request.setRequestHeader("X-CSRFToken", token);
    let timer = 0;
    const stop = () => request.abort();
    const patient = () => {
      clearTimeout(timer);
      timer = setTimeout(stop, STALLED * 1000);
    };
    request.upload.addEventListener("progress", (event) => {
      patient();
      tell(event.loaded);
    });
    request.addEventListener("loadend", () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    });
    request.addEventListener("load", () => {
      if (request.status === 204) return resolve(Number(request.getResponseHeader("Upload-Offset")));
      let found = {};
      try {
        found = JSON.parse(request.responseText);
      } catch {}
      reject(new Refused(request.status, found));
    });
    request.addEventListener("error", () => reject(new Error("lost")));
    request.addEventListener("abort", () => reject(signal.reason ?? new Error("stalled")));
    signal.addEventListener("abort", stop);
    patient();
    request.send(file.slice(offset, offset + PIECE));
  });
}

// Until the time is over or the browser says that it is connected again.
function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, seconds * 1000);
    function done() {
      clearTimeout(timer);
      removeEventListener("online", done);
      signal.removeEventListener("abort", stop);
      resolve();
    }
    function stop() {
      done();
      reject(signal.reason);
    }
    addEventListener("online", done);
    signal.addEventListener("abort", stop);
  });
}

async function problem(answer) {
  return answer.json().catch(() => ({}));
}

function memory() {
  try {
    return JSON.parse(localStorage.getItem(MEMORY)) ?? {};
  } catch {
    return {};
  }
}

function remembered(key) {
  return memory()[key] ?? null;
}

function remember(key, place) {
  const all = memory();
  delete all[key];
  if (place) all[key] = place;
  const newest = Object.fromEntries(Object.entries(all).slice(-MOST_REMEMBERED));
  try {
    localStorage.setItem(MEMORY, JSON.stringify(newest));
  } catch {} // a private window: it goes on only as long as the page is open
}
