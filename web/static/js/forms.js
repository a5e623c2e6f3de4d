// A form is sent once: its button waits until the answer comes. data-submit-key: Ctrl+Enter sends it.
document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (!button || event.target.method !== "post") return;
  if (button.hasAttribute("data-download")) return; // the answer is a file: no next page comes
  // once everybody has heard of it: a page's own script may send it by itself
  setTimeout(() => event.defaultPrevented || wait(button, true));
});

// Back from the next page by the browser's button: the form can be sent again.
window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button[aria-busy]")) wait(button, false);
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    document.activeElement?.closest("form[data-submit-key]")?.requestSubmit();
  }
});

function wait(button, busy) {
  button.disabled = busy;
  if (busy) button.setAttribute("aria-busy", "true");
  else button.removeAttribute("aria-busy");
}
