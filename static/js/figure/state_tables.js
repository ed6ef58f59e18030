// Answer a drag in the same frame: the first touch of a control fetches the views of all its states, or of a part of very many.
//
// A change whose state is in a table makes no request. Any other change goes to the server.
import { request } from "../lib/fetch.js";
import { noteFold, parse, splitFold } from "./folds.js";
import { addSource, begin, showView } from "./requests.js";

const MOST_TABLES = 32;
const LIMIT = 60_000; // milliseconds for a table to come: nobody waits for it
const DWELL = 60; // milliseconds that a pointer rests on a cell before it is likely to be pressed
const REST = 5000; // milliseconds before a table that was not given is asked for again
const tables = new Map(); // address of a table → { parts: value → the part that holds it, pending: a promise while one is on its way }

export function watchStateTables() {
  for (const touch of ["pointerdown", "focusin"]) {
    document.addEventListener(touch, ({ target }) => {
      const input = inputOf(target);
      if (hasTable(input)) fetchStates(input);
    });
  }
  let resting;
  document.addEventListener("pointerover", ({ target }) => {
    clearTimeout(resting);
    const input = inputOf(target);
    if (hasParts(input)) resting = setTimeout(() => input.form && fetchStates(input), DWELL);
  });
  for (const type of ["input", "change"]) document.addEventListener(type, answerAtOnce, true);
  // Before htmx queues a request: a state that is here need not wait behind a response that is on its way.
  addSource((form, change) => {
    const input = change.sourceEvent.target;
    const state = change.request.body;
    const part = partOf(form, state, input.name);
    if (part) {
      show(form, change, part, input, state);
      return true;
    }
    if (hasParts(input) || (input.type === "range" && hasTable(input))) fetchTable(form, input.name, state); // for the rest of a drag
    return false;
  });
}

/** Answer a change whose state is here before htmx sees it. */
function answerAtOnce(event) {
  const input = event.target;
  if (event.type !== (input.type === "range" ? "input" : "change") || !hasTable(input)) return;
  const state = new FormData(input.form);
  const part = partOf(input.form, state, input.name);
  if (!part) return;
  event.stopPropagation();
  const change = { request: { body: state }, sourceEvent: event };
  begin(input.form, change);
  show(input.form, change, part, input, state);
}

/** Fetch the states of a control, the others unchanged; settled when they are here or the request has failed. */
export function fetchStates(input) {
  const state = new FormData(input.form);
  state.set(input.name, input.value); // of a cell, the one that is pressed
  return fetchTable(input.form, input.name, state);
}

function inputOf(target) {
  return target.closest?.("label")?.control ?? target;
}

/** The controls of a form that have a table. Tables hold the lesson's weights, and are of no use for a reader's own. */
function controlsOf(form) {
  return form.closest("[data-own]") ? [] : (form.dataset.tabled?.split(" ") ?? []);
}

function hasTable(input) {
  return Boolean(input?.form && controlsOf(input.form).includes(input.name));
}

/** Whether a control has so many states that they are sent in parts. */
function hasParts(input) {
  return hasTable(input) && isParted(input.form, input.name);
}

function isParted(form, name) {
  return Boolean(form.dataset.parted?.split(" ").includes(name));
}

/** The part that holds a state, of the table of any control: most likely that of the one that was moved. */
function partOf(form, state, moved) {
  const names = controlsOf(form);
  for (const name of names.includes(moved) ? [moved, ...names] : names) {
    const part = tables.get(tableOf(form, name, state))?.parts.get(state.get(name));
    if (part) return part;
  }
  return undefined;
}

function show(form, change, part, input, state) {
  const value = state.get(part.control);
  if (hasTable(input)) fetchNextPart(form, input.name, state);
  const more = form.querySelector(".more");
  if (more) {
    const { element, fold } = part.parsed.get(value) ?? parseState(part, value);
    noteFold(more, fold);
    showView(form, change, element);
  } else { // an error stands there
    showView(form, change, parse(htmlOf(part, value)));
  }
  parseBeside(part, value);
}

/** A drag is likely to continue in its direction: parse the next views there when the browser is idle. */
function parseBeside(part, value) {
  const at = part.values.indexOf(value);
  const way = Math.sign(at - (part.at ?? at));
  part.at = at;
  part.parsed.clear(); // what was shown has moved into the page
  (window.requestIdleCallback ?? setTimeout)(() => {
    for (const next of way ? [at + way] : [at + 1, at - 1]) {
      const beside = part.values[next];
      if (beside !== undefined && !part.parsed.has(beside)) part.parsed.set(beside, parseState(part, beside));
    }
  });
}

function parseState(part, value) {
  const { view, fold } = splitFold(htmlOf(part, value));
  return { element: parse(view), fold };
}

/** Views have most of their lines in common: each is a list of ranges of all lines. */
function htmlOf({ lines, states }, value) {
  const bounds = states[value];
  return bounds.flatMap((bound, i) => (i % 2 ? [] : lines.slice(bound, bounds[i + 1]))).join("\n");
}

/** In their order on the slider: an object puts whole numbers first. */
function inOrder(states) {
  const values = Object.keys(states);
  return values.every((value) => !Number.isNaN(Number(value))) ? values.sort((one, other) => one - other) : values;
}

/** The address of a control's table at a state of all the others. */
function tableOf(form, name, state) {
  const others = new URLSearchParams(state);
  others.delete(name);
  others.sort(); // a control that is disabled sends its value from another place in the form
  return `${form.dataset.tables.replace("{control}", name)}?${others}`;
}

function fetchTable(form, name, state) {
  const address = tableOf(form, name, state);
  const value = state.get(name);
  const table = tables.get(address) ?? { parts: new Map(), pending: undefined };
  if (table.pending || table.parts.has(value)) return table.pending;
  tables.set(address, table);
  if (tables.size > MOST_TABLES) tables.delete(tables.keys().next().value);
  table.pending = fetchPart(table, isParted(form, name) ? `${address}&${new URLSearchParams({ [name]: value })}` : address, name);
  table.pending.then(() => {
    const part = table.parts.get(value);
    if (!part) return;
    parseBeside(part, value);
    if ([part.values[0], part.values.at(-1)].includes(value)) fetchNextPart(form, name, state);
  });
  return table.pending;
}

/** Fetch the part beyond an end before it is reached: one at a time. */
function fetchNextPart(form, name, state) {
  const { parts } = tables.get(tableOf(form, name, state)) ?? {};
  const next = parts?.get(state.get(name))?.beside.find((value) => !parts.has(value));
  if (next === undefined) return;
  const there = new URLSearchParams(state);
  there.set(name, next);
  fetchTable(form, name, there);
}

async function fetchPart(table, address, name) {
  const { ok, body: part } = await request(address, { as: "json", limit: LIMIT });
  const given = ok && part?.states;
  if (given) {
    Object.assign(part, { control: name, values: inOrder(part.states), parsed: new Map() });
    for (const value of part.values) table.parts.set(value, part);
  }
  const mayAskAgain = () => { table.pending = undefined; };
  if (ok && !given) setTimeout(mayAskAgain, REST); // too large, or the server too busy
  else mayAskAgain(); // where no answer came, the next touch tries again
}
