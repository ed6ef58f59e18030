// The control of a guess before its first touch: no guess is chosen, and only skipping can be sent.
import { showValue } from "../figure/controls.js";

/** Take the choice away from a form's control, unless it was touched before we were here. `words` name the empty state. */
export function unset(form, words) {
  const inputs = [...form.querySelectorAll(".control input")];
  const touched = ({ type, value, defaultValue, checked, defaultChecked }) => (type === "radio" ? checked !== defaultChecked : value !== defaultValue);
  if (!inputs.length || inputs.some(touched)) return;
  for (const input of inputs) {
    input.dataset.unset = "";
    if (input.type === "radio") input.checked = false;
    else input.setAttribute("aria-valuetext", words);
  }
  form.querySelector("button").disabled = true;
}

/** Whether an event is the first touch that sets a guess. */
export function touches({ type, target, key }) {
  const slides = target.type === "range";
  if (type === "keydown" && !(slides && /^(Arrow|Page|Home|End)/.test(key))) return false;
  return type !== "pointerdown" || slides;
}

export function set(input) {
  const form = input.closest("form");
  for (const each of form.querySelectorAll("[data-unset]")) {
    delete each.dataset.unset;
    each.removeAttribute("aria-valuetext");
  }
  form.querySelector("button").disabled = false;
  if (input.type === "range") showValue(input);
}
