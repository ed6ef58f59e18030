// The page's own behaviour. The figures work without it; it keeps the address, the live region and the sliders in step.
import { watchCharts } from "./charts.js";
import { watchProgress } from "./progress.js";
import { watchTheme } from "./theme.js";
import { watchFold } from "./fold.js";
import { watchFolded } from "./folded.js";
import { watchLinked } from "./linked.js";
import { watchStates } from "./states.js";

const ADDRESS_AFTER = 150; // milliseconds of rest after the last change: browsers limit how often an address may change
const SPEAK_AFTER = 600; // and a drag is to be announced once

for (const form of document.querySelectorAll("form[data-defaults]")) {
  form.querySelectorAll('input[type="range"]').forEach(showValue);
}

document.addEventListener("input", (event) => {
  if (event.target.matches('form[data-defaults] input[type="range"]')) showValue(event.target);
});

document.addEventListener("htmx:after:swap", (event) => {
  const figure = figureOf(event.detail?.ctx);
  if (!figure) return;
  if (!figure.hasAttribute("data-playing")) rest(figure);
  document.dispatchEvent(new CustomEvent("figure:changed", { detail: { figure } }));
});

document.addEventListener("htmx:error", (event) => {
  if (figureOf(event.detail?.ctx)) say("The server did not answer. The figure still shows its last state; move the control to try again.");
});

watchTheme();
watchProgress();
watchCharts();
watchFold();
watchFolded();
watchLinked();
watchStates();

function figureOf(context) {
  return context?.sourceElement?.closest?.("figure[data-figure]") ?? null;
}

/** A slider's printed value and the filled part of its track. */
function showValue(input) {
  const share = (input.value - input.min) / (input.max - input.min || 1);
  input.style.setProperty("--fill", `${100 * share}%`);
  const output = input.closest(".control")?.querySelector("output");
  if (!output) return;
  const texts = JSON.parse(input.dataset.texts ?? "null");
  output.value = texts?.[Math.round((input.value - input.min) / input.step)] ?? input.value;
  const unit = input.closest(".control").querySelector(".slider-unit")?.textContent ?? "";
  if (texts || unit) input.setAttribute("aria-valuetext", output.value + unit);
}

/** What differs from the defaults, as [name, value] pairs. */
function stateOf(form) {
  const defaults = JSON.parse(form.dataset.defaults);
  return [...new FormData(form)].filter(([name, value]) => name in defaults && defaults[name] !== value);
}

/** The address of the page and of the figure's links is always the state that is shown. */
function keepAddress(figure) {
  const state = stateOf(figure.querySelector("form"));
  const address = new URL(location.href);
  const prefix = figure.dataset.place === "lesson" ? `${figure.dataset.figure}.` : "";
  const known = Object.keys(JSON.parse(figure.querySelector("form").dataset.defaults));
  for (const name of known) address.searchParams.delete(prefix + name);
  for (const [name, value] of state) address.searchParams.set(prefix + name, value);
  history.replaceState(history.state, "", address);
  for (const link of figure.querySelectorAll("[data-state-link]")) {
    const target = new URL(link.href);
    target.search = new URLSearchParams(link.dataset.stateLink === "embed" ? [["embed", "1"], ...state] : state);
    link.href = target;
  }
}

/** When the figure has come to rest: the address follows, and the change is said once. */
const resting = new WeakMap();
function rest(figure) {
  for (const timer of resting.get(figure) ?? []) clearTimeout(timer);
  resting.set(figure, [
    setTimeout(() => keepAddress(figure), ADDRESS_AFTER),
    setTimeout(() => say(figure.querySelector(".view")?.dataset.announce ?? ""), SPEAK_AFTER),
  ]);
}

function say(sentence) {
  document.getElementById("live").textContent = sentence;
}
