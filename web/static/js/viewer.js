// A picture to look at closely: wheel, two fingers or + and - zoom, dragging and arrows move, 0 or a double click fits.
const STEP = 60; // of an arrow key, in pixels of the screen
const stage = document.querySelector("[data-zoom]");
if (stage) look(stage);

function look(stage) {
  const picture = stage.querySelector("img");
  const says = document.querySelector("[data-zoom-says]");
  let scale = 1;
  let x = 0;
  let y = 0;

  function draw() {
    picture.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    says.textContent = `${Math.round(scale * 100)} %`;
    stage.classList.toggle("zoomed", scale > 1);
  }

  function zoom(by, atX = 0, atY = 0) {
    const next = Math.min(40, Math.max(1, scale * by));
    const grown = next / scale;
    x = next === 1 ? 0 : atX - (atX - x) * grown;
    y = next === 1 ? 0 : atY - (atY - y) * grown;
    scale = next;
    draw();
  }

  function move(byX, byY) {
    if (scale === 1) return;
    x += byX;
    y += byY;
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
  // One finger or the mouse moves what is zoomed, two zoom where they are.
  const fingers = new Map();

  function grip() {
    const [[ax, ay], [bx, by] = [ax, ay]] = [...fingers.values()];
    const box = stage.getBoundingClientRect();
    return {
      x: (ax + bx) / 2 - box.x - box.width / 2,
      y: (ay + by) / 2 - box.y - box.height / 2,
      apart: Math.hypot(ax - bx, ay - by) || 1,
    };
  }

  stage.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const before = grip();
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    const now = grip();
    if (fingers.size > 1) zoom(now.apart / before.apart, before.x, before.y);
    move(now.x - before.x, now.y - before.y);
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => fingers.delete(event.pointerId));

  const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  stage.addEventListener("keydown", (event) => {
    if (scale === 1 || !ARROWS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // elsewhere on the page they lead to the next result
    move(...ARROWS[event.key].map((way) => way * STEP));
  });
  stage.addEventListener("dblclick", () => zoom(scale > 1 ? 0 : 3));
  document.querySelector("[data-zoom-fit]").addEventListener("click", () => zoom(0));
  for (const button of document.querySelectorAll("[data-zoom-by]"))
    button.addEventListener("click", () => zoom(Number(button.dataset.zoomBy)));
  draw();
}
