// [data-says="SELECTOR"]: a line for screen readers. The part that it repeats is drawn anew all the time; this line changes
// only when the words do. What the page says when it is opened is read with the page.
const source = (line) => document.querySelector(line.dataset.says)?.textContent ?? "";
const lines = [...document.querySelectorAll("[data-says]")];
const known = new Map(lines.map((line) => [line, source(line)]));

document.addEventListener("live:parts", () => {
  for (const line of lines) {
    const words = source(line);
    if (words === known.get(line)) continue;
    known.set(line, words);
    line.textContent = words;
  }
});
