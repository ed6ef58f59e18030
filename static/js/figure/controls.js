// Read and set the controls of a figure's form, print the values of sliders, and know which state is wanted.
//
// A state is { name: value } with every control of the figure; values are the strings of the address.

const DRAG = 250; // milliseconds: changes closer than this follow the hand
const SLIDER = 'form[data-defaults] input[type="range"]';

const wanted = new WeakMap(); // form → the state that its reader, or the address, asked for last
const changed = new WeakMap(); // figure → when it was changed last

export function watchControls() {
  document.querySelectorAll(SLIDER).forEach(showValue);
  // In the capture phase: a change that is answered at once (state_tables.js) is stopped there.
  document.addEventListener("input", ({ target }) => target.matches(SLIDER) && showValue(target), true);
  // An example that is chosen takes the place of the reader's own words; htmx reads the form after us.
  document.addEventListener("change", ({ target }) => {
    const text = target.form?.querySelector(`[data-instead-of="${target.name}"]`);
    if (text) text.value = "";
  }, true);
  document.addEventListener("figure:asked", ({ target }) => noteDrag(target));
  document.addEventListener("figure:changed", ({ detail }) => scrollToMark(detail.figure));
  document.querySelectorAll("figure[data-figure]").forEach(scrollToMark);
  watchSwipes();
}

/** A drawing that is wider than the page scrolls to the mark of its control. */
function scrollToMark(figure) {
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
    if (slider && slider.value !== value) moveSlider(slider, value);
  }, true);
}

/** Set a slider as a reader would. */
export function moveSlider(slider, value) {
  slider.value = value;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
}

/** A single step moves its marks visibly; in a drag they follow the pointer at once. */
function noteDrag(figure) {
  const now = performance.now();
  const dragged = now - (changed.get(figure) ?? -DRAG) < DRAG && !figure.hasAttribute("data-playing");
  figure.toggleAttribute("data-dragged", dragged);
  changed.set(figure, now);
}

/** The form of the figure that an element belongs to. */
export function formOf(element) {
  return element.closest("figure").querySelector("form[data-defaults]");
}

export function defaultsOf(form) {
  return JSON.parse(form.dataset.defaults);
}

export function wantedBy(form) {
  if (!wanted.has(form)) wanted.set(form, { ...defaultsOf(form), ...servedTo(form) });
  return wanted.get(form);
}

export function want(form, state) {
  wanted.set(form, state);
}

/** The state of the controls. Controls in a drawing that has not arrived are read from the wanted state. */
export function stateOf(form) {
  return { ...wantedBy(form), ...Object.fromEntries(new FormData(form)) };
}

/** What the server wrote into the controls, whatever a browser may have restored over it. */
export function servedTo(form) {
  const inputs = [...form.querySelectorAll(".control :is(input, select)")];
  return Object.fromEntries(
    inputs.flatMap((input) => {
      if (input.type === "radio") return input.defaultChecked ? [[input.name, input.value]] : [];
      if (!input.options) return [[input.name, input.defaultValue]];
      return [...input.options].filter((option) => option.defaultSelected).map(({ value }) => [input.name, value]);
    }),
  );
}

/** Set every control that can have its value. Nothing is dispatched and no focus moves. Of two radio buttons with one value
 * (`data-again` marks the second, in a list that opens) the first is checked, which is always to be seen. */
export function setControls(form, state) {
  for (const input of form.querySelectorAll(":is(input:not([type=hidden], [data-again]), select)[name]")) {
    const value = state[input.name];
    if (value === undefined) continue;
    if (input.type === "radio") {
      if (input.value === value && !input.checked) input.checked = true;
    } else if (input.value !== value && [...(input.options ?? [{ value }])].some((option) => option.value === value)) {
      input.value = value;
      if (input.type === "range") showValue(input);
    }
  }
}

/** A slider's printed value and the filled part of its track. */
export function showValue(input) {
  const share = (input.value - input.min) / (input.max - input.min || 1);
  input.style.setProperty("--fill", `${100 * share}%`);
  const control = input.closest(".control");
  const output = control?.querySelector("output");
  if (!output) return;
  const texts = JSON.parse(input.dataset.texts ?? "null");
  output.value = texts?.[Math.round((input.value - input.min) / input.step)] ?? input.value;
  const unit = control.querySelector(".slider-unit")?.textContent ?? "";
  if (texts || unit) input.setAttribute("aria-valuetext", output.value + unit);
}
