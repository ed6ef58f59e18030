// Turn the static charts of figures into Plotly charts when they near the viewport.
//
// After every change the server's SVG shows again at once, and Plotly redraws when the figure has come to rest: never in a drag.
import { load } from "../lib/assets.js";
import { completeView } from "./complete.js";

const REST = 350; // milliseconds without a change
const CHART = "[data-chart]:not(.present *)"; // Plotly cannot measure what is magnified; there the server's drawing stays

const drawn = new WeakSet();
const waiting = new WeakMap(); // chart → the timer that draws it
const turns = new WeakMap(); // chart → a token of its newest change, or of its newest drawing

export function watchCharts() {
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      observer.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "300px" });
  document.querySelectorAll(CHART).forEach((chart) => observer.observe(chart));
  document.addEventListener("figure:changed", ({ detail }) => {
    const chart = detail.figure.querySelector(CHART);
    if (!chart) return;
    if (!drawn.has(chart)) return observer.observe(chart); // of a drawing that has only come now
    clearTimeout(waiting.get(chart));
    turns.set(chart, Symbol());
    waiting.set(chart, setTimeout(() => draw(chart), REST));
  });
}

async function draw(chart) {
  drawn.add(chart);
  const turn = Symbol();
  turns.set(chart, turn);
  if (!(await loadPlotly())) return; // the server's drawing stays, and the next change tries again
  const { Plotly } = window;
  const host = chart.querySelector("[data-chart-live]");
  const spec = chart.querySelector("[data-chart-spec]");
  if (!spec) { // a page of the lesson is sent without it; when it has come the figure is drawn as after a change
    completeView(chart);
    return;
  }
  if (turns.get(chart) !== turn) return; // the figure has changed while Plotly was fetched
  const { data, layout, config } = JSON.parse(spec.content.textContent);
  // From nothing each time: `react` gives the elements of a series to whichever takes its place, with their classes, and
  // leaves out the labels of those that had none.
  await Plotly.newPlot(host, data, layout, config);
  if (turns.get(chart) !== turn) return;
  dress(host);
  chart.classList.add("live");
  host.on("plotly_afterplot", () => dress(host));
  host.on("plotly_click", ({ points }) => tell(chart, "chart:picked", { key: points[0]?.customdata }));
  host.on("plotly_hover", ({ points }) => tell(chart, "chart:linked", { key: points[0]?.customdata, on: true }));
  host.on("plotly_unhover", ({ points }) => tell(chart, "chart:linked", { key: points[0]?.customdata, on: false }));
}

/** Give each trace its role's class, for the style sheet: Plotly's own colours ignore the page's tokens.
    Points get the key that links them with a row, labels the class that narrow screens leave out. */
function dress(host) {
  // The server's SVG beneath, the words and the table say the same: one of them is enough to hear.
  host.querySelectorAll(".main-svg").forEach((svg) => svg.setAttribute("aria-hidden", "true"));
  const { shapes = [] } = host.layout;
  for (const path of host.querySelectorAll(".shapelayer path[data-index]")) {
    path.classList.toggle("shape-region", shapes[path.dataset.index]?.name === "region");
  }
  for (const trace of host.querySelectorAll(".scatterlayer > .trace")) {
    const { customdata = [], meta = {} } = trace.__data__[0].trace; // the datum that d3 binds
    if (meta.role) trace.classList.add(`role-${meta.role}`);
    for (const point of trace.querySelectorAll(".point")) {
      const index = point.__data__?.i;
      point.dataset.key = customdata[index] ?? "";
      point.classList.toggle("marked", Boolean(meta.marked?.includes(index)));
    }
    for (const label of trace.querySelectorAll(".textpoint")) {
      for (const look of ["minor", "marked"]) {
        label.classList.toggle(look, Boolean(meta[look]?.includes(label.__data__?.i)));
      }
    }
  }
}

function tell(chart, event, detail) {
  chart.closest("figure").dispatchEvent(new CustomEvent(event, { detail }));
}

/** Whether Plotly is here, with its style sheet, whose id and class tell it to inject none: our policy would forbid that. */
async function loadPlotly() {
  return await load("plotly-sheet", { id: "plotly.js-style-global", className: "no-inline-styles" }) && load("plotly");
}
