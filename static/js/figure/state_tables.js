// A drag answered in the same frame: on the first touch of a control the page fetches all its states at once, or the part
// of very many that the present one is in, and shows the next from there in place of a request. A miss goes to the
// network as ever.
import { keepFold, lightened } from "./folds.js";
import { number, showAtOnce } from "./requests.js";

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
  for (const change of ["input", "change"]) document.addEventListener(change, answerAtOnce, true);
  // Before htmx puts a request in line: what is here already must not wait behind an answer that is on its way.
  window.htmx.registerExtension("states", {
    htmx_config_request(form, { ctx }) {
      const state = ctx.request.body;
      const input = ctx.sourceEvent.target;
      const part = partOf(form, state, input.name);
      if (!part) {
        if (parted(input) || (input.type === "range" && tabled(input))) fetchStates(form, input.name, state); // the rest of a drag will find it
        return true;
      }
      show(form, ctx, part, input, state);
      return false; // answered: nothing is sent
    },
  });
}

/** The change of a control whose states are here does not even become a request. */
function answerAtOnce(event) {
  const input = event.target;
  if (event.type !== (input.type === "range" ? "input" : "change") || !tabled(input)) return;
  const state = new FormData(input.form);
  const part = partOf(input.form, state, input.name);
  if (!part) return;
  event.stopPropagation(); // htmx would ask
  const ctx = { request: { body: state }, sourceEvent: event };
  number(input.form, ctx);
  show(input.form, ctx, part, input, state);
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

/** The part that holds a state, of the table of any control: most likely that of the one that was moved. */
function partOf(form, state, moved) {
  for (const name of [moved, ...names(form)]) {
    const part = tables.get(tableOf(form, name, state))?.parts.get(state.get(name));
    if (part) return part;
  }
  return undefined;
}

function show(form, ctx, part, input, state) {
  const value = state.get(part.control);
  if (tabled(input)) fetchBeside(form, input.name, state);
  const shown = form.querySelector(".more");
  if (shown) {
    const { element, fold } = part.read.get(value) ?? read(part, value);
    keepFold(shown, fold);
    showAtOnce(form, ctx, element);
  } else { // an error stands there
    showAtOnce(form, ctx, parsed(linesOf(part, value).join("\n")));
  }
  readBeside(part, value);
}

/** A hand is likely to go on as it has begun: what lies there is read when there is nothing else to do. */
function readBeside(part, value) {
  const at = part.values.indexOf(value);
  const way = Math.sign(at - (part.at ?? at));
  part.at = at;
  part.read.clear(); // what was shown has moved into the page
  whenIdle(() => {
    for (const next of way ? [at + way] : [at + 1, at - 1]) {
      const beside = part.values[next];
      if (beside !== undefined && !part.read.has(beside)) part.read.set(beside, read(part, beside));
    }
  });
}

function read(part, value) {
  const { light, fold } = lightened(linesOf(part, value).join("\n"));
  return { element: parsed(light), fold };
}

/** Views have most of their lines in common: each is a list of ranges of all lines. */
function linesOf({ lines, states }, value) {
  const bounds = states[value];
  return bounds.flatMap((bound, i) => (i % 2 ? [] : lines.slice(bound, bounds[i + 1])));
}

/** As they lie beside each other: an object puts whole numbers first. */
function inOrder(states) {
  const values = Object.keys(states);
  return values.every((value) => !Number.isNaN(Number(value))) ? values.sort((one, other) => one - other) : values;
}

function parsed(view) {
  const template = document.createElement("template");
  template.innerHTML = view;
  return template.content.firstElementChild;
}

function whenIdle(act) {
  (window.requestIdleCallback ?? setTimeout)(act);
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
  table.asked = fetchPart(table, `${address}${at}`, name);
  table.asked.then(() => arrived(form, name, state, table.parts.get(value)));
  return table.asked;
}

function arrived(form, name, state, part) {
  const value = state.get(name);
  if (!part) return;
  readBeside(part, value);
  if ([part.values[0], part.values.at(-1)].includes(value)) fetchBeside(form, name, state);
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

async function fetchPart(table, address, name) {
  let rest = 0;
  try {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${answer.status}`);
    const part = await answer.json();
    if (part.states) {
      Object.assign(part, { control: name, values: inOrder(part.states), read: new Map() });
      for (const each of part.values) table.parts.set(each, part);
    } else {
      rest = REST; // too large, or the server too busy
    }
  } catch {
    // The next touch tries again; until then every change is a request of its own.
  }
  if (rest) setTimeout(() => { table.asked = undefined; }, rest);
  else table.asked = undefined;
}
