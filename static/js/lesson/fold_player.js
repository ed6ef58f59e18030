// Play FIG.00: its step slider moves by itself, so every frame is a state that the server computed.
//
// Once when it is first seen, again on its button. Any input of the reader stops it, and under reduced motion it never starts.
// While it plays, the figure carries data-playing: the page's address stands still then.
import { defaultsOf, moveSlider } from "../figure/controls.js";
import { fetchStates } from "../figure/state_tables.js";

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

  figure.addEventListener("click", ({ target }) => {
    if (!target.closest("[data-fold-play]")) return;
    if (run) stop();
    else play();
  });
  for (const kind of ["pointerdown", "keydown", "input"]) {
    figure.addEventListener(kind, ({ target, isTrusted }) => isTrusted && !target.closest?.("[data-fold-play]") && stop());
  }
  document.addEventListener("keydown", ({ key }) => key === "Escape" && stop());
  still.addEventListener("change", stop);
  figure.addEventListener("figure:restored", end); // back or forward in the history: the address says what is shown
  whenSeen(figure, () => hasDefaults(slider.form) && play());

  async function play() {
    if (still.matches || run) return;
    const mine = (run = {});
    await Promise.race([fetchStates(slider), wait(LONGEST_WAIT)]);
    if (run !== mine) return;
    figure.setAttribute("data-playing", "");
    const last = Number(slider.max);
    for (let step = Number(slider.min); step <= last; step += 1) {
      moveSlider(slider, step);
      await wait(step === 0 ? HOLD : step === last ? SETTLE : step >= last - LAST_FOLDS ? LAST_PACE : PACE);
      if (run !== mine) return;
    }
    end();
    figure.dispatchEvent(new Event("figure:rested", { bubbles: true })); // it may have been played from another state
  }

  function stop() {
    if (!run) return;
    const started = figure.hasAttribute("data-playing");
    end();
    if (started) moveSlider(slider, slider.value); // the state on which it was stopped is now the reader's: into the address
  }

  function end() {
    run = null;
    figure.removeAttribute("data-playing");
  }
}

/** A reader who came with a state of their own, or has changed something, is not interrupted. */
function hasDefaults(form) {
  const defaults = defaultsOf(form);
  return [...new FormData(form)].every(([name, value]) => !(name in defaults) || defaults[name] === value);
}

/** Act when all of the figure is seen, unless its reader has changed it before. */
function whenSeen(figure, act) {
  let waiting = true;
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    if (waiting) act();
  }, { threshold: 1 });
  observer.observe(figure.querySelector(".fold-plot"));
  document.addEventListener("input", ({ target, isTrusted }) => (waiting &&= !(isTrusted && figure.contains(target))), true);
}

function wait(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
