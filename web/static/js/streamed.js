// Texts as they are written, whole each time: into [data-text-of="N"], or a new one of [data-texts].
document.addEventListener("live:preview", (event) => {
  const { text, index } = event.detail.data.data;
  if (typeof text !== "string") return;
  const box = document.querySelector(`[data-text-of="${Number(index)}"]`) ?? made(Number(index));
  if (!box) return;
  event.preventDefault();
  const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 8;
  box.textContent = text;
  if (atEnd) box.scrollTop = box.scrollHeight;
});

function made(index) {
  const room = document.querySelector("[data-texts]");
  if (!room) return null;
  const box = document.createElement("pre");
  Object.assign(box, { className: "text-result streaming", tabIndex: 0 });
  box.dataset.textOf = index;
  room.append(box);
  return box;
}
