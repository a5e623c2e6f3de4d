// form[data-try]: sends the generation without leaving the page and follows it below, by the address's ?job=; what the
// server refuses is shown at the fields. Without a script the form leads to the job's page.
import "./said.js";
import "./streamed.js";
import { sayWrong, wordsAt } from "./form_errors.js";
import { renew } from "./live.js";

// In the capturing phase: before js/forms.js, which then sees that the form is not sent.
document.addEventListener("submit", send, true);

async function send(event) {
  const form = event.target;
  if (!form.matches("form[data-try]")) return;
  event.preventDefault();
  const button = event.submitter ?? form.querySelector("button[type=submit]");
  button.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(form.action, { method: "POST", body: new FormData(form), headers: { Accept: "text/html" } });
    const job = answer.redirected && new URL(answer.url).pathname.match(/^\/jobs\/([0-9a-z]+)$/);
    if (job) follow(job[1], form);
    else refused(form, await answer.text());
  } catch {
    form.submit(); // the browser says what is wrong with the connection
  }
  button.removeAttribute("aria-busy");
}

function follow(job, form) {
  const here = new URL(location.href);
  here.searchParams.set("job", job);
  history.replaceState(null, "", here);
  const nonce = form.elements.nonce;
  if (nonce) nonce.value = String(crypto.getRandomValues(new Uint32Array(2)).join(""));
  document.querySelector("[data-texts]").replaceChildren();
  form.querySelector(".notice.error")?.remove();
  renew();
  document.getElementById("tried").scrollIntoView({ block: "nearest" });
}

// What is typed stays where it is; only what is wrong comes over from the page that the server drew instead.
function refused(form, text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const drawn = [...page.forms].find((one) => one.getAttribute("action") === form.getAttribute("action"));
  if (!drawn) return form.submit();
  form.querySelector(".notice.error")?.remove();
  const said = page.querySelector("main .notice.error");
  if (said) form.prepend(document.adoptNode(said));
  sayWrong(form, (name) => wordsAt(drawn, name));
  const first = form.querySelector("[aria-invalid=true]");
  for (let fold = first?.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  first?.focus();
}

// The texts of the one that goes on, outside of the part that is drawn anew; at its end the results take their place.
document.addEventListener("live:parts", () => {
  if (!document.getElementById("follow-tried")) document.querySelector("[data-texts]").replaceChildren();
});
