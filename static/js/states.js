// A drag answered in the same frame: on the first touch of a control the page fetches all its states at once, or the part
// of very many that the present one is in, and shows the next from there in place of a request. A miss goes to the
// network as ever.
import { lightened } from "./folded.js";
import { showAtOnce } from "./line.js";

const MOST_TABLES = 32;
const DWELL = 60; // milliseconds that a pointer rests on a cell before it is likely to be pressed
const REST = 5000; // milliseconds before a table that was not given is asked for again
const tables = new Map(); // address of a table → { parts: value → the part that holds it, asked: a promise while one is on its way }

export function watchStates() {
  for (const touch of ["pointerdown", "focusin"]) {
    document.addEventListener(touch, ({ target }) => {
      const input = inputOf(target);
      if (tabled(input)) statesOf(input);
    });
  }
  let resting;
  document.addEventListener("pointerover", ({ target }) => {
    clearTimeout(resting);
    const input = inputOf(target);
    if (parted(input)) resting = setTimeout(() => input.form && statesOf(input), DWELL);
  });
  // Before htmx puts a request in line: what is here already must not wait behind an answer that is on its way.
  window.htmx.registerExtension("states", {
    htmx_config_request(form, { ctx }) {
      const state = ctx.request.body;
      const input = ctx.sourceEvent.target;
      const view = viewOf(form, state, input.name);
      if (view === undefined) {
        if (parted(input) || (input.type === "range" && tabled(input))) fetchStates(form, input.name, state); // the rest of a drag will find it
        return true;
      }
      if (tabled(input)) fetchBeside(form, input.name, state);
      showAtOnce(form, ctx, parsed(lightened(view, form)));
      return false; // answered: nothing is sent
    },
  });
}

/** Fetch the states of a control, the others as they are; settled when they are here, or cannot be. */
export function statesOf(input) {
  const state = new FormData(input.form);
  state.set(input.name, input.value); // of a cell, the one that is pressed
  return fetchStates(input.form, input.name, state);
}

function inputOf(target) {
  return target.closest?.("label")?.control ?? target;
}

function tabled(input) {
  return Boolean(input?.form && names(input.form).includes(input.name));
}

/** Whether its states are so many that they travel in parts. */
function parted(input) {
  return tabled(input) && Boolean(input.form.dataset.parted?.split(" ").includes(input.name));
}

function names(form) {
  return form.dataset.tabled?.split(" ") ?? [];
}

/** The view of a state, where the table of any control holds it: most likely that of the one that was moved. */
function viewOf(form, state, moved) {
  for (const name of [moved, ...names(form)]) {
    const value = state.get(name);
    const part = tables.get(tableOf(form, name, state))?.parts.get(value);
    if (part) return linesOf(part, value).join("\n");
  }
  return undefined;
}

/** Views have most of their lines in common: each is a list of ranges of all lines. */
function linesOf({ lines, states }, value) {
  const bounds = states[value];
  return bounds.flatMap((bound, i) => (i % 2 ? [] : lines.slice(bound, bounds[i + 1])));
}

function parsed(view) {
  const template = document.createElement("template");
  template.innerHTML = view;
  return template.content.firstElementChild;
}

/** The table is that of the control at a state of all the others. */
function tableOf(form, name, state) {
  const others = new URLSearchParams(state);
  others.delete(name);
  return `${form.getAttribute("hx-get")}/along/${name}?${others}`;
}

function fetchStates(form, name, state) {
  const address = tableOf(form, name, state);
  const value = state.get(name);
  const table = tables.get(address) ?? { parts: new Map(), asked: undefined };
  if (table.asked || table.parts.has(value)) return table.asked;
  tables.set(address, table);
  if (tables.size > MOST_TABLES) tables.delete(tables.keys().next().value);
  const at = form.dataset.parted?.split(" ").includes(name) ? `&${new URLSearchParams({ [name]: value })}` : "";
  table.asked = fetchPart(table, `${address}${at}`);
  return table.asked;
}

/** Past the ends of a part, before they are reached: one at a time. */
function fetchBeside(form, name, state) {
  const { parts } = tables.get(tableOf(form, name, state)) ?? {};
  const next = parts?.get(state.get(name))?.beside.find((value) => !parts.has(value));
  if (next === undefined) return;
  const there = new URLSearchParams(state);
  there.set(name, next);
  fetchStates(form, name, there);
}

async function fetchPart(table, address) {
  let rest = 0;
  try {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${answer.status}`);
    const part = await answer.json();
    if (!part.states) rest = REST; // too large, or the server too busy
    for (const value in part.states) table.parts.set(value, part);
  } catch {
    // The next touch tries again; until then every change is a request of its own.
  }
  if (rest) setTimeout(() => { table.asked = undefined; }, rest);
  else table.asked = undefined;
}
