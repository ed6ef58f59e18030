// On the large page of a figure the arrow keys, and the keys that a presenter's clicker sends, step through its first control.
import { moveSlider } from "../figure/controls.js";

const STEPS = { ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1 };

document.addEventListener("keydown", (event) => {
  const step = STEPS[event.key];
  if (!step || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
  if (event.target.matches?.("input, select, textarea, [tabindex]")) return; // they have arrow keys of their own
  const control = document.querySelector(".present .controls > .control:not([hidden], :disabled)");
  if (!control) return;
  event.preventDefault();
  const field = control.querySelector("select, input[type=range]");
  if (field?.matches("input")) moveSlider(field, Number(field.value) + step * (Number(field.step) || 1));
  else choose(field ? [...field.options] : [...control.querySelectorAll("input[type=radio]")], step, field);
});

/** Choose the next of several options that can be chosen; at the end stay. */
function choose(options, step, menu) {
  const free = options.filter(({ disabled }) => !disabled);
  const at = free.findIndex(({ selected, checked }) => selected || checked);
  const next = free[at + step];
  if (!next) return;
  if (menu) menu.value = next.value;
  else next.checked = true;
  (menu ?? next).dispatchEvent(new Event("change", { bubbles: true }));
}
