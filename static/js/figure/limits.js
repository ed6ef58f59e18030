// Controls, or options of one, that can do nothing in the present state are disabled, and say why. The server writes them so
// into the page; after a change the figure's view brings them. What is disabled sends nothing: hidden fields keep its value.
import { wantedBy } from "./requests.js";

const shown = new WeakMap(); // form → the limits that its controls have

export function watchLimits() {
  document.querySelectorAll("figure[data-figure]").forEach(limit);
  document.addEventListener("figure:changed", ({ detail }) => limit(detail.figure));
  // Another option is chosen: the value that was kept for the control gives way, before anybody reads the form.
  for (const type of ["input", "change"]) {
    document.addEventListener(type, ({ target }) => target.form?.querySelector(`input[data-limited][type=hidden][name="${target.name}"]`)?.remove(), true);
  }
}

function limit(figure) {
  const form = figure.querySelector("form[data-defaults]");
  const told = form.querySelector(".view").dataset.limits ?? "{}";
  if (told === shown.get(form)) {
    for (const kept of form.querySelectorAll("input[data-limited][type=hidden]")) kept.value = wantedBy(form)[kept.name];
    return;
  }
  shown.set(form, told);
  free(form);
  const limits = JSON.parse(told);
  for (const [name, { reason, options, id, says }] of Object.entries(limits)) {
    const inputs = [...form.querySelectorAll(`.controls :is(input, select)[name="${name}"]`)];
    if (!inputs.length) continue;
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
    if (says) {
      control.append(Object.assign(document.createElement("small"), { id, className: "reason", textContent: reason }));
    }
    all[0].setAttribute("aria-describedby", [all[0].getAttribute("aria-describedby"), id].filter(Boolean).join(" "));
  }
}

/** As if there were no limits. */
function free(form) {
  for (const part of form.querySelectorAll("[data-limited]")) {
    if (part.type === "hidden") part.remove();
    part.disabled = false;
    delete part.dataset.limited;
  }
  for (const reason of form.querySelectorAll(".controls .reason:not([data-missing])")) {
    for (const told of form.querySelectorAll(`[aria-describedby~="${reason.id}"]`)) {
      const left = told.getAttribute("aria-describedby").split(" ").filter((id) => id !== reason.id);
      if (left.length) told.setAttribute("aria-describedby", left.join(" "));
      else told.removeAttribute("aria-describedby");
    }
    reason.remove();
  }
}
