// The screen's clocks, and what it says when its line is lost. htmx fetches what is shown when the class has changed.
import { defaultsOf, servedTo, setControls, showValue, want } from "../figure/controls.js";
import { announce } from "../lib/announce.js";
import { setClocks, startClocks, watchLine } from "./line.js";

const line = document.getElementById("screen-line");
const screen = () => document.getElementById("screen");

let place = screen().dataset.place;

startClocks();
watchLine(line, document.getElementById("screen-lost"), (target) => target === screen()); // a figure says itself when its answer is lost
line.addEventListener("gone", () => location.reload()); // the class was deleted: the page says so

document.addEventListener("htmx:before:swap", (event) => {
  const { ctx, tasks } = event.detail;
  if (ctx.target?.id !== "screen") return;
  const next = tasks[0]?.fragment?.firstElementChild;
  // Another answer may have overtaken this one; a page of a proxy, or of an error, is not the screen.
  if (next?.id !== "screen" || Number(next.dataset.version) < Number(screen().dataset.version)) event.preventDefault();
});

document.addEventListener("htmx:after:swap", ({ detail }) => {
  if (detail.ctx.target?.id !== "screen") return;
  setClocks();
  if (screen().dataset.place === place) return;
  place = screen().dataset.place;
  screen().querySelectorAll("form[data-defaults]").forEach(setFigure);
  announce(screen().querySelector("h1")?.textContent ?? "");
});

/** A figure that has come, or come in another state, has the controls that the server wrote: somebody may have moved them. */
function setFigure(form) {
  const state = { ...defaultsOf(form), ...servedTo(form) };
  setControls(form, state);
  want(form, state);
  form.querySelectorAll("input[type=range]").forEach(showValue);
}
