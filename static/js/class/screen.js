// The screen's clocks, and what it says when its line is lost. htmx fetches what is shown when the class has changed.
import { defaultsOf, servedTo, setControls, showValue, want } from "../figure/controls.js";
import { announce } from "../lib/announce.js";

const RETRY = 3000; // milliseconds until a line that never opened is tried again

const line = document.getElementById("screen-line");
const lost = document.getElementById("screen-lost");
const screen = () => document.getElementById("screen");

let since = performance.now();
let place = screen().dataset.place;
let retry;

setInterval(tick, 250);

document.addEventListener("htmx:before:swap", (event) => {
  const { ctx, tasks } = event.detail;
  if (ctx.target?.id !== "screen") return;
  const next = tasks[0]?.fragment?.firstElementChild;
  // Another answer may have overtaken this one; a page of a proxy, or of an error, is not the screen.
  if (next?.id !== "screen" || Number(next.dataset.version) < Number(screen().dataset.version)) event.preventDefault();
});

document.addEventListener("htmx:after:swap", ({ detail }) => {
  if (detail.ctx.target?.id !== "screen") return;
  since = performance.now();
  tick();
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

function tick() {
  const passed = Math.floor((performance.now() - since) / 1000);
  for (const clock of document.querySelectorAll("[data-count]")) {
    const seconds = Number(clock.dataset.seconds);
    if (clock.dataset.count === "down") clock.textContent = `${Math.max(0, seconds - passed)} s`;
    else clock.textContent = `${Math.floor((seconds + passed) / 60)}:${String((seconds + passed) % 60).padStart(2, "0")}`;
  }
}

for (const event of ["htmx:sse:error", "htmx:error", "htmx:response:error"]) document.addEventListener(event, noLine);
document.addEventListener("htmx:sse:after:connection", isBack);
document.addEventListener("htmx:sse:close", ({ detail }) => detail.reason === "ended" && noLine({ target: line }));

function noLine({ target }) {
  if (target !== line && target !== screen()) return; // a figure says itself when its answer is lost
  if (lost.hidden) {
    const time = new Date().toLocaleTimeString(undefined, { timeStyle: "medium" });
    lost.textContent = lost.dataset.words.replace("{time}", time);
    lost.hidden = false;
    announce(lost.textContent);
  }
  if (target !== line) return;
  clearTimeout(retry);
  retry = setTimeout(() => line.dispatchEvent(new Event("again")), RETRY);
}

function isBack() {
  clearTimeout(retry);
  lost.hidden = true;
}
