// What form_draft.js and form_seed.js keep in this browser. A draft that was sent is dropped by the page of the job, not by the submit: a
// lost connection or a refusal leaves it. Signing out takes all of them away, since the next person may sit here.
const SENT = "draft-sent"; // the key of what this tab has sent

// A browser may keep nothing for us: then there are no drafts.
function attempt(act) {
  try {
    return act();
  } catch {
    return null;
  }
}

export const read = (key) => attempt(() => JSON.parse(localStorage.getItem(key)));

export const drop = (key) => attempt(() => localStorage.removeItem(key));

let signedOut = false; // the page that is left keeps nothing any more

export function keep(key, draft) {
  if (signedOut) return;
  drop(key); // an old one does not stay where the new one has no room
  attempt(() => localStorage.setItem(key, JSON.stringify(draft)));
}

export const markSent = (key) => attempt(() => sessionStorage.setItem(SENT, key));

export const unmark = () => attempt(() => sessionStorage.removeItem(SENT));

export function dropSent() {
  const key = attempt(() => sessionStorage.getItem(SENT));
  if (key) drop(key);
  unmark();
}

function dropAll() {
  signedOut = true;
  for (const key of attempt(() => Object.keys(localStorage)) ?? []) if (/^(draft|seed):/.test(key)) drop(key);
}

// Any page but that of a job: what was sent made none. So does one that the browser shows again as it was.
if (!document.getElementById("job-head")) unmark();
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  unmark();
  signedOut = false; // signing out did not go through, or the server says so at the next step
});

document.addEventListener("submit", (event) => {
  if (event.target.matches("[data-signs-out]")) dropAll();
});
