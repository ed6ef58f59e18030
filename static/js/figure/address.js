// The address is the state, always: it follows every change, and every figure follows it, back and forward.
//
// A change replaces the address of the present entry of the history and adds none: Back leads to where the reader came
// from, in the state that was left there, and a drag is not a row of stops on the way out.
import { defaultsOf, served, setControls } from "./controls.js";
import { ask, expect, wantedBy } from "./requests.js";

const FOLLOWS_AFTER = 150; // milliseconds without a change: browsers limit how often an address may change
const TRY_AGAIN_AFTER = 1000; // where that limit was met

const due = new Set(); // figures whose state is not in the address yet
let timer;

export function watchAddress() {
  figures().forEach(start);
  write();
  for (const change of ["figure:asked", "figure:rested"]) document.addEventListener(change, ({ target }) => follow(target));
  // Whatever may be followed by leaving: the release of a key or a pointer, a link, the page's end.
  for (const end of ["pointerup", "click", "visibilitychange"]) document.addEventListener(end, write, true);
  document.addEventListener("keyup", writeWhenDrawn, true);
  document.addEventListener("change", ({ target }) => target.type === "range" || writeWhenDrawn(), true);
  window.addEventListener("pagehide", write);
  window.addEventListener("popstate", restore);
  window.addEventListener("pageshow", restore);
}

/** An address written by hand may say `0.50` or `true` for what the server understood, and the controls call, `0.5` or `on`. */
function start(figure) {
  const form = formOf(figure);
  const state = stateInAddress(figure);
  expect(form, { ...state, ...served(form) });
  if (!same(state, wantedBy(form))) follow(figure);
  const chosen = { ...wantedBy(form), ...Object.fromEntries(new FormData(form)) };
  if (!same(chosen, wantedBy(form))) ask(form, chosen); // before we were here
}

function follow(figure) {
  if (figure.hasAttribute("data-playing")) return;
  due.add(figure);
  clearTimeout(timer);
  timer = setTimeout(write, FOLLOWS_AFTER);
}

/** The drawing first: a browser takes milliseconds to change an address. */
function writeWhenDrawn() {
  if (due.size) requestAnimationFrame(() => setTimeout(write));
}

function write() {
  clearTimeout(timer);
  if (!due.size) return;
  const address = new URL(location.href);
  for (const figure of due) {
    point(figure);
    if (figure.dataset.place === "question" || same(stateInAddress(figure), wantedBy(formOf(figure)))) continue;
    for (const name of Object.keys(defaultsOf(formOf(figure)))) address.searchParams.delete(prefix(figure) + name);
    for (const [name, value] of changed(figure)) address.searchParams.set(prefix(figure) + name, value);
  }
  try {
    if (address.href !== location.href) history.replaceState(history.state, "", address);
  } catch {
    // Too often for this browser; another one would only have ignored it.
  }
  if (address.href === location.href) due.clear();
  else timer = setTimeout(write, TRY_AGAIN_AFTER);
}

/** Every figure that is not in the state of the address is set to it. */
function restore() {
  clearTimeout(timer);
  due.clear();
  for (const figure of figures()) {
    const form = formOf(figure);
    const state = stateInAddress(figure);
    if (!same(state, wantedBy(form))) {
      figure.dispatchEvent(new Event("figure:restored"));
      setControls(form, state);
      ask(form, state);
    } else if (!figure.hasAttribute("data-playing")) {
      setControls(form, state); // what a browser has filled in by itself
    }
  }
}

/** The figure's own links lead to the same state. */
function point(figure) {
  for (const link of figure.querySelectorAll("[data-state-link]")) {
    const target = new URL(link.href);
    for (const name of Object.keys(defaultsOf(formOf(figure)))) target.searchParams.delete(name);
    for (const [name, value] of changed(figure)) target.searchParams.set(name, value);
    link.href = target;
  }
}

function stateInAddress(figure) {
  const { searchParams } = new URL(location.href);
  const state = defaultsOf(formOf(figure));
  for (const name of Object.keys(state)) state[name] = searchParams.get(prefix(figure) + name) ?? state[name];
  return state;
}

/** What differs from the defaults, as [name, value] pairs. */
function changed(figure) {
  const defaults = defaultsOf(formOf(figure));
  const wanted = wantedBy(formOf(figure));
  return Object.keys(defaults).filter((name) => wanted[name] !== defaults[name]).map((name) => [name, wanted[name]]);
}

function same(one, other) {
  return Object.keys(one).every((name) => one[name] === other[name]);
}

function prefix(figure) {
  return figure.dataset.place === "lesson" ? `${figure.dataset.figure}.` : "";
}

/** Those whose state is the page's: the address of a question says what was answered. */
function figures() {
  return document.querySelectorAll("figure[data-figure]:not([data-place=question])");
}

function formOf(figure) {
  return figure.querySelector("form[data-defaults]");
}
