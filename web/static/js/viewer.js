// A picture to look at closely: wheel or + and - zoom at the pointer, dragging moves, 0 or a double click fits.
const stage = document.querySelector("[data-zoom]");
if (stage) look(stage);

function look(stage) {
  const picture = stage.querySelector("img");
  const says = document.querySelector("[data-zoom-says]");
  let scale = 1;
  let x = 0;
  let y = 0;
  let held = null;

  function draw() {
    picture.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    says.textContent = `${Math.round(scale * 100)} %`;
    stage.style.cursor = scale > 1 ? "grab" : "default";
  }

  function zoom(by, atX = 0, atY = 0) {
    const next = Math.min(40, Math.max(1, scale * by));
    const grown = next / scale;
    x = next === 1 ? 0 : atX - (atX - x) * grown;
    y = next === 1 ? 0 : atY - (atY - y) * grown;
    scale = next;
    draw();
  }

  stage.addEventListener(
    "wheel",
    (event) => {
      if (scale === 1 && event.deltaY > 0) return; // nothing to shrink: the page scrolls
      event.preventDefault();
      const box = stage.getBoundingClientRect();
      zoom(1.0015 ** -event.deltaY, event.clientX - box.x - box.width / 2, event.clientY - box.y - box.height / 2);
    },
    { passive: false },
  );
  stage.addEventListener("pointerdown", (event) => {
    held = [event.clientX - x, event.clientY - y];
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!held || scale === 1) return;
    [x, y] = [event.clientX - held[0], event.clientY - held[1]];
    draw();
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => (held = null));
  stage.addEventListener("dblclick", () => zoom(scale > 1 ? 0 : 3));
  document.querySelector("[data-zoom-fit]").addEventListener("click", () => zoom(0));
  for (const button of document.querySelectorAll("[data-zoom-by]"))
    button.addEventListener("click", () => zoom(Number(button.dataset.zoomBy)));
  draw();
}
