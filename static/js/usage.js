// Charts of the usage page: uPlot in place of the server's picture, from the numbers of the table
// behind it; the legend line reads out the column under pointer or keyboard. And a skeleton for slow answers.
const SLOW_MS = 400;
const GAP_PX = 1.5; // ground between the two parts of a bar
const BAR_SHARE = 0.68;
const charts = new Set();

// light-dark() is resolved only in properties that are colours
function colours(place) {
  const probe = document.createElement("i");
  probe.hidden = true;
  place.append(probe);
  const found = {};
  for (const name of ["--chart-1", "--chart-2", "--grid", "--control", "--hover"]) {
    probe.style.color = `var(${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}

function read(panel) {
  const rows = [...panel.querySelectorAll("[data-columns] tbody tr")].reverse();
  return rows.map((row) => ({
    prompt: Number(row.dataset.prompt),
    completion: Number(row.dataset.completion),
    long: row.querySelector("th").textContent,
    words: row.dataset.readout,
  }));
}

class Chart {
  constructor(panel) {
    this.panel = panel;
    this.place = panel.querySelector("[data-plot]");
    this.columns = read(panel);
    this.steps = this.place.querySelectorAll(".y span").length - 1;
    this.top = Number(this.place.dataset.top);
    const used = this.columns.map((each) => each.prompt + each.completion > 0);
    this.at = used.includes(true) ? used.lastIndexOf(true) : used.length - 1;
    this.build();
  }

  build() {
    const picture = this.place.querySelector("svg.plot");
    this.box = document.createElement("div");
    this.box.style.height = `${picture.clientHeight}px`; // nothing jumps; the labels stay as they are
    this.describe();
    picture.replaceWith(this.box);
    const size = () => ({ width: this.box.clientWidth, height: this.box.clientHeight });
    const last = this.columns.length - 1;
    this.colours = colours(this.place);
    this.plot = new uPlot({
      ...size(),
      padding: [0, 0, 0, 0],
      legend: { show: false },
      cursor: { x: false, y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: { x: { time: false, range: [-0.5, last + 0.5] }, y: { range: [0, this.top] } },
      series: [{}, { paths: () => null, points: { show: false } }],
      axes: [{ show: false }, { show: false }],
      hooks: { draw: [(u) => this.draw(u)], setCursor: [(u) => this.pointed(u)] },
    }, [this.columns.map((_, i) => i), this.columns.map((each) => each.prompt + each.completion)], this.box);
    this.box.addEventListener("keydown", (event) => this.pressed(event));
    this.resizing = new ResizeObserver(() => this.plot.setSize(size()));
    this.resizing.observe(this.box);
    this.say();
  }

  // Screen readers: a slider over the columns, whose value is the readout.
  describe() {
    const { box } = this;
    box.tabIndex = 0;
    box.setAttribute("role", "slider");
    box.setAttribute("aria-label", this.place.dataset.label);
    box.setAttribute("aria-valuemin", 1);
    box.setAttribute("aria-valuemax", this.columns.length);
  }

  draw(u) {
    const { ctx } = u;
    const { left, width, top, height } = u.bbox;
    const line = Math.max(1, Math.round(devicePixelRatio));
    const step = u.valToPos(1, "x", true) - u.valToPos(0, "x", true);
    const x = (i) => u.valToPos(i, "x", true);
    const y = (value) => u.valToPos(value, "y", true);
    const fill = (name, ...box) => {
      ctx.fillStyle = this.colours[name];
      ctx.fillRect(...box);
    };
    fill("--hover", x(this.at - 0.5), top, step, height);
    for (let i = 1; i <= this.steps; i += 1) fill("--grid", left, y((this.top * i) / this.steps), width, line);
    const gap = GAP_PX * devicePixelRatio;
    const wide = Math.max(1, step * BAR_SHARE);
    this.columns.forEach((each, i) => {
      const middle = y(each.completion);
      const over = y(each.completion + each.prompt);
      const between = each.completion && middle - over > 2 * gap ? gap : 0;
      fill("--chart-1", x(i) - wide / 2, middle, wide, y(0) - middle);
      fill("--chart-2", x(i) - wide / 2, over, wide, middle - over - between);
    });
    fill("--control", left, y(0) - line, width, line);
  }

  pointed(u) {
    const { idx, left } = u.cursor;
    if (idx !== null && idx !== undefined && left >= 0) this.go(idx);
  }

  pressed(event) {
    const last = this.columns.length - 1;
    const wanted = { ArrowLeft: this.at - 1, ArrowRight: this.at + 1, Home: 0, End: last }[event.key];
    if (wanted === undefined) return;
    event.preventDefault();
    this.go(Math.min(last, Math.max(0, wanted)));
  }

  go(at) {
    if (at === this.at) return;
    this.at = at;
    this.plot.redraw(false);
    this.say();
  }

  say() {
    const { long, words } = this.columns[this.at];
    const [name, numbers] = this.panel.querySelectorAll("[data-readout] > span");
    name.textContent = long;
    numbers.textContent = words;
    const legend = this.panel.querySelector("figcaption");
    legend.style.minHeight = `${legend.offsetHeight}px`; // two lines stay two: nothing jumps
    this.box.setAttribute("aria-valuenow", this.at + 1);
    this.box.setAttribute("aria-valuetext", `${long}: ${words}`);
  }

  repaint() {
    this.colours = colours(this.place);
    this.plot.redraw(false);
  }

  end() {
    this.resizing.disconnect();
    this.plot.destroy();
  }
}

function begin() {
  for (const chart of charts) {
    if (chart.box.isConnected) continue;
    chart.end();
    charts.delete(chart);
  }
  for (const panel of document.querySelectorAll("[data-usage-chart]")) {
    if (panel.querySelector("svg.plot")) charts.add(new Chart(panel));
  }
}

// A period that takes long shows what comes, in its size; the answer replaces it.
function slowly() {
  const timers = new WeakMap();
  document.addEventListener("htmx:before:request", (event) => {
    const { ctx } = event.detail;
    const template = document.getElementById(ctx.sourceElement?.dataset?.slow ?? "");
    if (!template) return;
    const timer = setTimeout(() => {
      const area = document.getElementById("usage");
      const kept = [...area.childNodes];
      area.replaceChildren(template.content.cloneNode(true));
      timers.set(ctx, { area, kept });
    }, SLOW_MS);
    timers.set(ctx, { timer });
  });
  document.addEventListener("htmx:finally:request", (event) => {
    const held = timers.get(event.detail.ctx);
    if (!held) return;
    clearTimeout(held.timer);
    if (held.area?.isConnected) held.area.replaceChildren(...held.kept); // it failed: what was seen stays
  });
}

begin();
slowly();
document.addEventListener("htmx:after:swap", begin);
const repaint = () => charts.forEach((chart) => chart.repaint());
new MutationObserver(repaint).observe(document.documentElement, { attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
