// Two pictures: a slider between them, or what differs, drawn brighter and counted.
const pair = document.querySelector("[data-compare]");
const images = [...pair.querySelectorAll("img")];

if (pair.dataset.compare === "slider") slide(document.querySelector("[data-slide]"));
if (pair.dataset.compare === "difference") {
  // the sheet hides the pair, and lazy pictures would never come
  await Promise.all(images.map((one) => one.decode()));
  subtract(...images);
}

function slide(range) {
  const show = () => pair.style.setProperty("--seen", `${range.value}%`);
  const follow = (event) => {
    const box = pair.getBoundingClientRect();
    range.value = (100 * (event.clientX - box.x)) / box.width;
    show();
  };
  range.addEventListener("input", show);
  pair.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    pair.setPointerCapture(event.pointerId);
    follow(event);
  });
  pair.addEventListener("pointermove", (event) => event.buttons && follow(event));
  show();
}

function pixels(image, width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

function subtract(first, second) {
  const [width, height] = [first.naturalWidth, first.naturalHeight];
  const left = pixels(first, width, height);
  const right = pixels(second, width, height);
  let [sum, most, differing] = [0, 0, 0];
  for (let at = 0; at < left.data.length; at += 4) {
    let here = 0;
    for (let channel = 0; channel < 3; channel += 1) {
      const off = Math.abs(left.data[at + channel] - right.data[at + channel]);
      left.data[at + channel] = off;
      sum += off;
      here = Math.max(here, off);
    }
    left.data[at + 3] = 255;
    most = Math.max(most, here);
    differing += here > 0;
  }
  const gain = most ? 255 / most : 1;
  for (let at = 0; at < left.data.length; at += 4)
    for (let channel = 0; channel < 3; channel += 1) left.data[at + channel] *= gain;
  const canvas = document.querySelector("[data-canvas]");
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(left, 0, 0);
  say({ part: (100 * differing) / (width * height), mean: sum / (3 * width * height), most });
}

function say(found) {
  const box = document.querySelector("[data-difference]");
  const digits = new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: 1 });
  const [first, second] = images;
  const sameSize = first.naturalWidth === second.naturalWidth && first.naturalHeight === second.naturalHeight;
  const words = found.most
    ? box.dataset.says.replace(/\{(\w+)\}/g, (_, name) => digits.format(found[name]))
    : box.dataset.same;
  box.textContent = sameSize ? words : `${box.dataset.sizes} ${words}`;
}
