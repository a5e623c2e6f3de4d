// A file dropped anywhere on the page goes into the form[data-recall], which finds out what it was made from.
const form = document.querySelector("form[data-recall]");

const holdsFile = (event) => form && [...(event.dataTransfer?.types ?? [])].includes("Files");

document.addEventListener("dragover", (event) => {
  if (!holdsFile(event)) return;
  event.preventDefault();
  form.classList.add("dropping");
});

document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) form?.classList.remove("dropping");
});

document.addEventListener("drop", (event) => {
  if (!holdsFile(event)) return;
  event.preventDefault();
  form.classList.remove("dropping");
  form.querySelector("input[type=file]").files = event.dataTransfer.files;
  form.requestSubmit();
});
