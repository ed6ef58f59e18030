// Disable the controls, or options of one, that can do nothing in the current state, and say why.
//
// The server writes them into the page; after a change the figure's view has them. A disabled control sends nothing: hidden fields
// keep its value.
import { formOf, wantedBy } from "./controls.js";

const HIDDEN = "input[data-limited][type=hidden]";
const shown = new WeakMap(); // form → the limits that its controls have, as the view writes them

export function watchLimits() {
  document.querySelectorAll("figure[data-figure]").forEach(limit);
  document.addEventListener("figure:changed", ({ detail }) => limit(detail.figure));
  // Choosing another option drops the hidden value of the control, before anybody reads the form.
  for (const type of ["input", "change"]) {
    document.addEventListener(type, ({ target }) => target.form?.querySelector(`${HIDDEN}[name="${target.name}"]`)?.remove(), true);
  }
}

function limit(figure) {
  const form = formOf(figure);
  const limits = form.querySelector(".view").dataset.limits ?? "{}";
  if (limits === shown.get(form)) {
    for (const input of form.querySelectorAll(HIDDEN)) input.value = wantedBy(form)[input.name];
    return;
  }
  shown.set(form, limits);
  removeLimits(form);
  for (const [name, each] of Object.entries(JSON.parse(limits))) addLimit(form, name, each);
}

function addLimit(form, name, { reason, options, id, says }) {
  const inputs = [...form.querySelectorAll(`.control :is(input, select)[name="${name}"]`)];
  if (!inputs.length) return;
  const control = inputs[0].closest(".control");
  const all = control.matches("fieldset") ? [control] : inputs;
  const parts = options ? [...control.querySelectorAll("input, option")].filter(({ value }) => options.includes(value)) : all;
  for (const part of parts.filter(({ disabled }) => !disabled)) {
    part.disabled = true;
    part.dataset.limited = "";
  }
  const value = wantedBy(form)[name];
  if ((!options || options.includes(value)) && !form.querySelector(`input[type=hidden][name="${name}"]`)) {
    form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
    form.lastElementChild.dataset.limited = "";
  }
  if (says) control.append(Object.assign(document.createElement("small"), { id, className: "reason", textContent: reason }));
  all[0].setAttribute("aria-describedby", [all[0].getAttribute("aria-describedby"), id].filter(Boolean).join(" "));
}

function removeLimits(form) {
  form.querySelectorAll(HIDDEN).forEach((input) => input.remove());
  for (const part of form.querySelectorAll("[data-limited]")) {
    part.disabled = false;
    delete part.dataset.limited;
  }
  for (const reason of form.querySelectorAll(".control .reason:not([data-missing])")) {
    for (const element of form.querySelectorAll(`[aria-describedby~="${reason.id}"]`)) {
      const others = element.getAttribute("aria-describedby").split(" ").filter((id) => id !== reason.id);
      if (others.length) element.setAttribute("aria-describedby", others.join(" "));
      else element.removeAttribute("aria-describedby");
    }
    reason.remove();
  }
}
