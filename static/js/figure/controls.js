// The native inputs of a figure's form: printing a slider's value, setting all of them to a state.

const DRAG = 250; // milliseconds: changes closer than this follow the hand

export function watchControls() {
  document.querySelectorAll('form[data-defaults] input[type="range"]').forEach(showValue);
  // In the phase of capture: a change that is answered at once (state_tables.js) goes no further.
  document.addEventListener("input", ({ target }) => {
    if (target.matches('form[data-defaults] input[type="range"]')) showValue(target);
  }, true);
  // Choosing an example empties the reader's own words, which would go before it; htmx reads the form after us.
  document.addEventListener("change", ({ target }) => {
    const text = target.form?.querySelector(`[data-instead-of="${target.name}"]`);
    if (text) text.value = "";
  }, true);
  document.addEventListener("figure:asked", ({ target }) => followHand(target));
  document.addEventListener("figure:changed", ({ detail }) => follow(detail.figure));
  document.querySelectorAll("figure[data-figure]").forEach(follow);
  watchSwipes();
}

/** Where a drawing is wider than the page it scrolls to what its control is at. */
function follow(figure) {
  const mark = figure.querySelector("[data-follow]")?.getBoundingClientRect();
  const pane = figure.querySelector(".plot-scroll:has([data-follow])");
  if (!mark || !pane) return;
  const { left, right } = pane.getBoundingClientRect();
  if (mark.left < left || mark.right > right) pane.scrollLeft += (mark.left + mark.right - left - right) / 2;
}

/** A swipe that begins on a slider and scrolls the page leaves the slider as it was: the browser takes the pointer away then. */
function watchSwipes() {
  let touched; // the slider under the finger, and its value before
  document.addEventListener("pointerdown", ({ target, pointerType }) => {
    touched = pointerType === "touch" && target.matches('input[type="range"]') ? { slider: target, value: target.value } : undefined;
  }, true);
  document.addEventListener("pointercancel", () => {
    const { slider, value } = touched ?? {};
    touched = undefined;
    if (!slider || slider.value === value) return;
    slider.value = value;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
  }, true);
}

/** A single step is seen to move its marks; in a drag they are where the hand is, at once. */
const changed = new WeakMap();
function followHand(figure) {
  const now = performance.now();
  const dragged = now - (changed.get(figure) ?? -DRAG) < DRAG && !figure.hasAttribute("data-playing");
  figure.toggleAttribute("data-dragged", dragged);
  changed.set(figure, now);
}

/** A state is { name: value } with every control of the figure; values are the strings of the address. */
export function defaultsOf(form) {
  return JSON.parse(form.dataset.defaults);
}

/** What the server wrote into the row of controls, whatever a browser may have restored over it. */
export function served(form) {
  const inputs = [...form.querySelectorAll(".controls :is(input, select)")];
  return Object.fromEntries(
    inputs.flatMap((input) => {
      if (input.type === "radio") return input.defaultChecked ? [[input.name, input.value]] : [];
      if (!input.options) return [[input.name, input.defaultValue]];
      return [...input.options].filter((option) => option.defaultSelected).map(({ value }) => [input.name, value]);
    }),
  );
}

/** Set every control that knows the value. Nothing is dispatched and no focus moves. */
export function setControls(form, state) {
  for (const input of form.querySelectorAll(":is(input:not([type=hidden]), select)[name]")) {
    const value = state[input.name];
    if (value === undefined) continue;
    if (input.type === "radio") {
      if (input.value === value && !input.checked) input.checked = true;
    } else if (input.value !== value && knows(input, value)) {
      input.value = value;
      if (input.type === "range") showValue(input);
    }
  }
}

function knows(input, value) {
  return !input.options || [...input.options].some((option) => option.value === value);
}

/** A slider's printed value and the filled part of its track. */
export function showValue(input) {
  const share = (input.value - input.min) / (input.max - input.min || 1);
  input.style.setProperty("--fill", `${100 * share}%`);
  const output = input.closest(".control")?.querySelector("output");
  if (!output) return;
  const texts = JSON.parse(input.dataset.texts ?? "null");
  output.value = texts?.[Math.round((input.value - input.min) / input.step)] ?? input.value;
  const unit = input.closest(".control").querySelector(".slider-unit")?.textContent ?? "";
  if (texts || unit) input.setAttribute("aria-valuetext", output.value + unit);
}
