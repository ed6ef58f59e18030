// FIG.00 plays: it moves its own step slider, so every frame is a state that the server computed.
// Once by itself when it is first seen, again on its button. Any input of the reader stops it. Under reduced
// motion it never starts. While it plays, the figure carries data-playing: the page's address stands still then.

import { statesOf } from "../figure/state_tables.js";

const HOLD = 700; // milliseconds on the sixteen bits before the first fold
const PACE = 200; // between two folds while the grid is finer than the eye
const LAST_PACE = 560; // between the last folds, in which the weights really move
const LAST_FOLDS = 4;
const SETTLE = 500; // the last swap and its motion
const LONGEST_WAIT = 2500; // for the states to arrive; a slow line starts without them

const still = matchMedia("(prefers-reduced-motion: reduce)");

export function watchFold() {
  document.querySelectorAll('figure[data-figure="fold"]').forEach(watch);
}

function watch(figure) {
  const slider = figure.querySelector('input[name="step"]');
  let run = null; // the run in progress: a token that every timer compares with

  figure.addEventListener("click", (event) => {
    if (!event.target.closest("[data-fold-play]")) return;
    if (run) stop();
    else play();
  });
  for (const kind of ["pointerdown", "keydown", "input"]) {
    figure.addEventListener(kind, (event) => {
      if (event.isTrusted && !event.target.closest?.("[data-fold-play]")) stop();
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") stop();
  });
  still.addEventListener("change", stop);
  figure.addEventListener("figure:restored", end); // back or forward in the history: the address says what is shown
  whenSeen(figure, () => {
    if (atRest(slider.form)) play();
  });

  async function play() {
    if (still.matches || run) return;
    const mine = (run = {});
    const playing = () => run === mine;
    await Promise.race([statesOf(slider), wait(LONGEST_WAIT)]);
    if (!playing()) return;
    figure.setAttribute("data-playing", "");
    const last = Number(slider.max);
    for (let step = Number(slider.min); step <= last; step += 1) {
      move(slider, step);
      await wait(step === 0 ? HOLD : step === last ? SETTLE : step >= last - LAST_FOLDS ? LAST_PACE : PACE);
      if (!playing()) return;
    }
    end();
    figure.dispatchEvent(new Event("figure:rested", { bubbles: true })); // it may have been played from another state
  }

  function stop() {
    if (!run) return;
    const started = figure.hasAttribute("data-playing");
    end();
    if (started) move(slider, slider.value); // the state on which it was stopped is now the reader's: into the address
  }

  function end() {
    run = null;
    figure.removeAttribute("data-playing");
  }
}

function move(slider, step) {
  slider.value = step;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
}

/** A reader who came with a state of their own, or has changed something, is not interrupted. */
function atRest(form) {
  const defaults = JSON.parse(form.dataset.defaults);
  return [...new FormData(form)].every(([name, value]) => !(name in defaults) || defaults[name] === value);
}

function whenSeen(figure, act) {
  let waiting = true;
  const observer = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      if (waiting) act();
    },
    { threshold: 1 },
  );
  observer.observe(figure.querySelector(".bar-label.kept")); // the bits stand above it: both can be watched
  document.addEventListener("input", ({ target, isTrusted }) => (waiting &&= !(isTrusted && figure.contains(target))), true);
}

function wait(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
