// Learning curves by uPlot in [data-curve="URL of the metrics"]: smoothing, logarithmic or not, against steps or time.
// Until its numbers are here the picture that the server drew stays; both have the same room.
const POINTS = 1500;
const COLOURS = 6;

for (const box of document.querySelectorAll("[data-curve]")) begin(box);

async function begin(box) {
  const room = box.querySelector(".curve-room");
  const names = box.querySelector(".curve-names");
  const said = JSON.parse(box.dataset.names);
  const [smooth, log, against] = ["#curve-smooth", "#curve-log", "#curve-x"].map((id) => box.querySelector(id));
  const series = new Map(); // name -> [[step, seconds, value]]
  const [hidden, listed] = [new Set(), new Set()];
  let plot = null;

  // what comes by the stream while the first numbers are fetched is not lost
  document.addEventListener("live:metrics", ({ detail }) => {
    for (const [step, seconds, values] of detail.data.data.points) {
      for (const [name, value] of Object.entries(values)) add(name, [step, seconds, value]);
    }
    draw();
  });
  for (const control of [smooth, log, against]) control.addEventListener("input", () => draw(true));
  names.addEventListener("change", (event) => {
    if (event.target.checked) hidden.delete(event.target.value);
    else hidden.add(event.target.value);
    draw(true);
  });
  new ResizeObserver(() => plot?.setSize(size())).observe(room);
  document.addEventListener("appearance", () => draw(true));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(true));

  await load();
  // after a lost connection or a return to the page some points may be missing
  if (!("ended" in box.dataset)) document.addEventListener("live:parts", load);

  async function load() {
    try {
      const answer = await fetch(`${box.dataset.curve}?max_points=${POINTS}`);
      if (!answer.ok) return;
      const found = (await answer.json()).series;
      for (const [name, points] of Object.entries(found)) {
        if (!listed.has(name) && !isLoss(name) && Object.keys(found).some(isLoss)) hidden.add(name);
        listed.add(name);
        const last = points.at(-1)?.[0] ?? -1;
        series.set(name, [...points, ...(series.get(name) ?? []).filter(([step]) => step > last)]);
      }
      draw(true);
    } catch {
      // live.js says that the connection is lost
    }
  }

  function add(name, point) {
    if (!series.has(name)) series.set(name, []);
    const points = series.get(name);
    // an attempt that began again at an earlier step: what it makes anew stands
    while (points.length && points.at(-1)[0] >= point[0]) points.pop();
    points.push(point);
  }

  function size() {
    return { width: room.clientWidth, height: room.clientHeight };
  }

  function draw(anew = false) {
    if (!series.size || typeof uPlot === "undefined") return;
    const shown = [...series.keys()];
    listNames(shown);
    const drawn = shown.filter((name) => !hidden.has(name));
    if (!drawn.length) {
      plot?.destroy();
      plot = null;
      return;
    }
    const byTime = against.value === "time";
    const data = join(drawn.map((name) => series.get(name)), byTime ? 1 : 0, Number(smooth.value), log.checked);
    if (plot && !anew && plot.series.length === data.length) {
      plot.setData(data);
      return;
    }
    plot?.destroy();
    room.replaceChildren();
    plot = new uPlot(options(drawn, shown, byTime), data, room);
  }

  function options(drawn, shown, byTime) {
    const ink = colour("--muted");
    const line = { stroke: colour("--line"), width: 1 };
    const axis = { stroke: ink, grid: line, ticks: line, font: "11px system-ui, sans-serif" };
    return {
      ...size(),
      legend: { show: false },
      cursor: { y: false },
      scales: { x: { time: false }, y: { distr: log.checked ? 3 : 1 } },
      axes: [axis, { ...axis, size: 56, values: (_plot, marks) => marks.map((one) => (one === null ? "" : String(Number(one.toPrecision(4))))) }],
      series: [
        { label: byTime ? box.dataset.wordsTime : box.dataset.wordsStep },
        ...drawn.map((name) => ({ label: name, stroke: colour(`--curve-${(shown.indexOf(name) % COLOURS) + 1}`), width: 2, spanGaps: true, points: { show: series.get(name).length < 12 } })),
      ],
      hooks: { setCursor: [read] },
    };
  }

  // The values under the pointer stand beside the names, otherwise the newest.
  function read(at) {
    const index = at.cursor.idx;
    for (const name of names.querySelectorAll("[data-name]")) {
      const n = at.series.findIndex((one) => one.label === name.dataset.name);
      const value = n > 0 && index !== null && index !== undefined ? at.data[n][index] : undefined;
      name.querySelector("strong").textContent = words(value ?? series.get(name.dataset.name)?.at(-1)?.[2]);
    }
  }

  function listNames(shown) {
    for (const [n, name] of shown.entries()) {
      let entry = names.querySelector(`[data-name="${CSS.escape(name)}"]`);
      if (!entry) {
        entry = document.createElement("label");
        entry.dataset.name = name;
        const tick = Object.assign(document.createElement("input"), { type: "checkbox", value: name, checked: !hidden.has(name) });
        const swatch = document.createElement("span");
        swatch.className = `swatch swatch-${(n % COLOURS) + 1}`;
        const text = document.createElement("span");
        text.textContent = said[name] ?? name.replaceAll("_", " ");
        entry.append(tick, swatch, text, document.createElement("strong"));
        names.append(entry);
      }
      entry.querySelector("strong").textContent = words(series.get(name).at(-1)?.[2]);
    }
  }
}

const isLoss = (name) => name.includes("loss");

function words(value) {
  return typeof value === "number" ? String(Number(value.toPrecision(4))) : "";
}

// One list of x for all, a list of y for each; a hole where a series has nothing there.
function join(all, at, smoothing, logarithmic) {
  const tables = all.map((points) => [points.map((one) => one[at]), smoothed(points.map((one) => one[2]), smoothing, logarithmic)]);
  return uPlot.join(tables.map(([xs, ys]) => increasing(xs, ys)));
}

// Seconds begin again with a new attempt, and two points may share one.
function increasing(xs, ys) {
  const [x, y] = [[], []];
  for (const [n, at] of xs.entries()) {
    while (x.length && x.at(-1) >= at) {
      x.pop();
      y.pop();
    }
    x.push(at);
    y.push(ys[n]);
  }
  return [x, y];
}

// A running mean that begins at the first value; a logarithm has no place for zero and below.
function smoothed(values, weight, logarithmic) {
  let [mean, share] = [0, 0];
  return values.map((value) => {
    if (typeof value !== "number") return null;
    mean = weight * mean + (1 - weight) * value;
    share = weight * share + (1 - weight);
    const found = mean / share;
    return logarithmic && found <= 0 ? null : found;
  });
}

// A canvas cannot read light-dark(); an element can.
function colour(name) {
  const probe = document.createElement("i");
  probe.className = "probe";
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
