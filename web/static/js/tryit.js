// form[data-try]: sends the generation without leaving the page and follows it below, by the address's ?job=; what the
// server refuses is shown in the form as it draws it. Without a script the form leads to the job's page.
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
  renew();
  document.getElementById("tried").scrollIntoView({ block: "nearest" });
}

function refused(form, text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const drawn = [...page.forms].find((one) => one.getAttribute("action") === form.getAttribute("action"));
  if (!drawn) return form.submit();
  const said = page.querySelector("main .notice.error");
  form.replaceChildren(...(said ? [document.adoptNode(said)] : []), ...drawn.children);
  form.querySelector("[aria-invalid=true]")?.focus();
}
