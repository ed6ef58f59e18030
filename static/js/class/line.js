// The line of the desk and of the screen: their clocks, which go on by themselves, and what they say when it is lost.
import { announce } from "../lib/announce.js";

const RETRY = 3000; // milliseconds until a line that never opened is tried again

let since = performance.now(); // when the server's seconds were true
let retry;

/** Let the clocks go. */
export function startClocks() {
  setInterval(tick, 250);
}

/** What the server has just sent is true now. */
export function setClocks() {
  since = performance.now();
  tick();
}

function tick() {
  const passed = Math.floor((performance.now() - since) / 1000);
  for (const clock of document.querySelectorAll("[data-count]")) {
    const seconds = Number(clock.dataset.seconds);
    if (clock.dataset.count === "down") clock.textContent = `${Math.max(0, seconds - passed)} s`;
    else clock.textContent = `${Math.floor((seconds + passed) / 60)}:${String((seconds + passed) % 60).padStart(2, "0")}`;
  }
}

/** Say in `lost` when `line`, or what `concerns` this page, gets no answer. Returns what is to be called when one came. */
export function watchLine(line, lost, concerns = () => true) {
  const isLost = ({ target }) => {
    if (target !== line && !concerns(target)) return;
    if (lost.hidden) {
      const time = new Date().toLocaleTimeString(undefined, { timeStyle: "medium" });
      lost.textContent = lost.dataset.words.replace("{time}", time);
      lost.hidden = false;
      announce(lost.textContent);
    }
    if (target !== line) return;
    clearTimeout(retry);
    retry = setTimeout(() => line.dispatchEvent(new Event("again")), RETRY); // the extension takes it up unless its line is there
  };
  const isBack = () => {
    lost.hidden = true;
  };
  for (const event of ["htmx:sse:error", "htmx:error", "htmx:response:error"]) document.addEventListener(event, isLost);
  document.addEventListener("htmx:sse:close", ({ detail }) => detail.reason === "ended" && isLost({ target: line }));
  document.addEventListener("htmx:sse:after:connection", () => {
    clearTimeout(retry);
    isBack();
  });
  return isBack;
}
