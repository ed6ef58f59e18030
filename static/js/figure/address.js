// Keep the page's address and the states of its figures equal: each follows the other, also after Back and Forward.
//
// A change replaces the current entry of the history and adds none: Back leads to the previous page, in the state it was left in.
import { defaultsOf, formOf, servedTo, setControls, stateOf, want, wantedBy } from "./controls.js";
import { ask } from "./requests.js";

const FOLLOWS_AFTER = 150; // milliseconds without a change: browsers limit how often an address may change
const TRY_AGAIN_AFTER = 1000; // where that limit was met

const due = new Set(); // figures whose state is not in the address yet
let timer;

export function watchAddress() {
  figures().forEach(start);
  write();
  for (const change of ["figure:asked", "figure:rested"]) document.addEventListener(change, ({ target }) => follow(target));
  // The reader may leave after any of these: the release of a key or a pointer, a link, the page's end.
  for (const end of ["pointerup", "click", "visibilitychange"]) document.addEventListener(end, write, true);
  document.addEventListener("keyup", writeWhenDrawn, true);
  document.addEventListener("change", ({ target }) => target.type === "range" || writeWhenDrawn(), true);
  window.addEventListener("pagehide", write);
  window.addEventListener("popstate", restore);
  window.addEventListener("pageshow", restore);
}

/** An address written by hand may have `0.50` or `true` where the controls have `0.5` or `on`; the server accepts both. */
function start(figure) {
  const form = formOf(figure);
  const state = stateInAddress(figure);
  want(form, { ...state, ...servedTo(form) });
  if (!same(state, wantedBy(form))) follow(figure);
  const chosen = stateOf(form);
  if (!same(chosen, wantedBy(form))) ask(form, chosen); // it was changed before we were here
}

function follow(figure) {
  if (figure.hasAttribute("data-playing")) return;
  due.add(figure);
  clearTimeout(timer);
  timer = setTimeout(write, FOLLOWS_AFTER);
}

/** Draw first: a browser takes milliseconds to change an address. */
function writeWhenDrawn() {
  if (due.size) requestAnimationFrame(() => setTimeout(write));
}

function write() {
  clearTimeout(timer);
  if (!due.size) return;
  const address = new URL(location.href);
  for (const figure of due) {
    updateLinks(figure);
    if (["question", "screen"].includes(figure.dataset.place) || same(stateInAddress(figure), wantedBy(formOf(figure)))) continue;
    setParameters(address, figure, prefix(figure));
  }
  try {
    if (address.href !== location.href) history.replaceState(history.state, "", address);
  } catch {
    // Changed too often for this browser; others ignore it without an error.
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
function updateLinks(figure) {
  for (const link of figure.querySelectorAll("[data-state-link]")) {
    const target = new URL(link.href);
    setParameters(target, figure, "");
    link.href = target;
  }
}

function stateInAddress(figure) {
  const { searchParams } = new URL(location.href);
  const state = defaultsOf(formOf(figure));
  for (const name of Object.keys(state)) state[name] = searchParams.get(prefix(figure) + name) ?? state[name];
  return state;
}

/** Write a figure's state into an address: what differs from the defaults, in the order of its controls. */
function setParameters({ searchParams }, figure, before) {
  const wanted = wantedBy(formOf(figure));
  const defaults = Object.entries(defaultsOf(formOf(figure)));
  for (const [name] of defaults) searchParams.delete(before + name);
  for (const [name, value] of defaults) if (wanted[name] !== value) searchParams.set(before + name, wanted[name]);
}

function same(one, other) {
  return Object.keys(one).every((name) => one[name] === other[name]);
}

/** The prefix of the figure's parameters in the address of its page. */
export function prefix(figure) {
  return figure.dataset.place === "lesson" ? `${figure.dataset.figure}.` : "";
}

/** Those whose state is the page's: the address of a question says what was answered, that of a screen which class it is. */
function figures() {
  return document.querySelectorAll("figure[data-figure]:not([data-place=question], [data-place=screen])");
}
