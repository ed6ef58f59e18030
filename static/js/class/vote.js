// The form of a vote: unset until it is touched, sent without leaving the page, and by keys.
import { showValue } from "../figure/controls.js";
import { set, touches, unset } from "../page/unset.js";

/** Call `send(form, fields)` with every vote. */
export function watchVotes(send) {
  for (const type of ["pointerdown", "keydown", "input", "change"]) document.addEventListener(type, touch);
  document.addEventListener("keydown", choose);
  document.addEventListener("submit", (event) => {
    const form = event.target.closest?.(".class-vote");
    if (!form) return;
    event.preventDefault();
    const { submitter } = event;
    const fields = Object.fromEntries(new FormData(form));
    if (submitter?.name) {
      delete fields.answer;
      fields[submitter.name] = submitter.value;
    }
    delete form.dataset.touched;
    form.querySelector("[data-class-send]").disabled = true;
    send(form, fields);
  });
}

/** Make a form ready that has just come. */
export function prepareVote(root) {
  const form = root.querySelector(".class-vote");
  if (!form) return;
  form.querySelectorAll("input[type=range]").forEach(showValue);
  if ("sent" in form.dataset) form.querySelector("[data-class-send]").disabled = true; // until it is moved
  else unset(form, form.querySelector("[data-words]")?.dataset.words);
}

/** Whether the form holds what is not sent yet. */
export function isTouched(root) {
  return root.querySelector(".class-vote")?.hasAttribute("data-touched") ?? false;
}

function touch(event) {
  const { target } = event;
  const form = target.closest?.(".class-vote");
  if (!form || !target.matches("input") || !touches(event)) return;
  form.dataset.touched = "";
  if (target.name === "confidence") form.querySelector("[data-class-send]").disabled = Boolean(form.querySelector("[data-unset]"));
  else set(target);
}

/** 1, 2 and 3 say how sure one is. */
function choose({ target, key, ctrlKey, metaKey, altKey }) {
  if (ctrlKey || metaKey || altKey || !target.closest?.(".class-vote")) return;
  const radio = target.closest(".class-vote").querySelector(`input[name=confidence][value="${CSS.escape(key)}"]`);
  radio?.click();
}
