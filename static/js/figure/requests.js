// Keep a figure in the state that its reader wants: ask for it, show the newest view, say what is late or lost, ask again.
//
// htmx sends the requests, one at a time for a figure while the newest waits, and ends them after a time. This module does the
// rest: it drops a response when a later change was answered from a state table or by POST, accepts nothing but the figure's own
// view (a proxy may answer instead of the server), shows that a figure waits, and asks again when a response is lost.
//
// Every change of a figure has a number. A view is shown unless the view of a later change was shown before.
import { announce, announceAtRest } from "../lib/announce.js";
import { LIMIT } from "../lib/fetch.js";
import { setControls, want, wantedBy } from "./controls.js";
import { patch } from "./patch.js";

const PATIENCE = 1000; // milliseconds without an answer before the figure shows that it waits
const FIRST_RETRY = 2000;
const LAST_RETRY = 30_000;

const tracks = new WeakMap(); // form → { newest, shown, lost, patience, retry }: numbers of changes, losses in a row, timers
const sources = []; // what may answer a change before htmx sends it
let silentUntil = 0; // a busy server named this time; no figure asks before

export function watchRequests() {
  const ours = (act) => (form, detail) => !form.matches?.("form[data-defaults]") || act(form, detail.ctx, detail);
  window.htmx.registerExtension("figure", {
    htmx_config_request: ours((form, change) => {
      begin(form, change);
      return !sources.some((answers) => answers(form, change));
    }),
    htmx_before_request: ours(mayAsk),
    htmx_before_swap: ours(mayShow),
    handle_swap(style, view, fragment) {
      if (style !== "patch") return false;
      patch(view, fragment.firstElementChild, { moving: !view.closest("[data-dragged]") });
      return []; // nothing for htmx to look at: no view holds attributes of its
    },
    htmx_after_swap: ours(shown),
    htmx_error: ours((form, change) => change && lose(form, change, navigator.onLine ? "silent" : "offline")),
  });
  document.addEventListener("click", ({ target }) => {
    if (target.closest("[data-ask-again]")) askAgain(target.closest("form"));
    if (target.closest("[data-load-again]")) location.reload(); // the address holds the state
  });
  for (const event of ["online", "pageshow"]) window.addEventListener(event, askAllAgain);
  document.addEventListener("visibilitychange", () => document.hidden || askAllAgain());
}

/** Let `answers(form, change)` answer changes: if it returns true, nothing is sent. */
export function addSource(answers) {
  sources.push(answers);
}

/** Ask for a state as a change of a control would. */
export function ask(form, state = wantedBy(form)) {
  window.htmx?.trigger(form, "submit", { state });
}

/** Note a change (a request as htmx describes it) as the newest, whose state the figure is to show. */
export function begin(form, change) {
  const track = trackOf(form);
  const { body } = change.request;
  want(form, change.sourceEvent.detail?.state ?? { ...wantedBy(form), ...Object.fromEntries(body) });
  for (const [name, value] of Object.entries(wantedBy(form))) body.set(name, value);
  change.number = track.newest += 1;
  change.request.timeout = LIMIT;
  change.swap = "patch"; // where our scripts are missing, htmx's own morph does it
  track.patience ??= setTimeout(() => showWaiting(form, "answer"), PATIENCE);
  clearTimeout(track.retry);
  form.closest("figure").dispatchEvent(new Event("figure:asked", { bubbles: true }));
}

/** Whether the view of a later change is shown already. */
export function isOvertaken(form, change) {
  return change.number < trackOf(form).shown;
}

/** Show a view that did not come through htmx, whose general swap would take longer than the drawing. */
export function showView(form, change, view) {
  trackOf(form).shown = change.number;
  form.dispatchEvent(new Event("htmx:abort")); // what is on its way is late
  patch(form.querySelector(".view"), view, { moving: !form.closest("[data-dragged]") });
  shown(form, change);
}

/** Say why a response is not the figure's view (an error, a sign-in page, a newer version), and ask again later. */
export function refuse(form, change, { status, headers } = {}) {
  const wait = secondsUntil(headers?.get("Retry-After"));
  if (wait) silentUntil = Date.now() + 1000 * wait;
  lose(form, change, reasonOf(status));
}

function trackOf(form) {
  if (!tracks.has(form)) tracks.set(form, { newest: 0, shown: 0, lost: 0 });
  return tracks.get(form);
}

/** Ask again, unless a later change was answered, and not before the time that a busy server named. */
function mayAsk(form, change) {
  if (isOvertaken(form, change)) return false;
  const wait = silentUntil - Date.now();
  if (wait <= 0) return true;
  say(form, "busy");
  askIn(form, wait);
  return false;
}

function mayShow(form, change, { tasks }) {
  if (isOvertaken(form, change)) return false;
  const ours = tasks[0]?.fragment.firstElementChild?.id === change.target.id;
  if (ours) trackOf(form).shown = change.number;
  else refuse(form, change, change.response);
  return ours;
}

function shown(form, change) {
  const track = trackOf(form);
  const figure = form.closest("figure");
  setControls(form, wantedBy(form)); // those drawn in the view came with the state that it was asked for
  clearTimeout(track.patience);
  track.patience = undefined;
  if (change.number === track.newest) settle(form);
  else if (figure.dataset.waiting) showWaiting(form, figure.dataset.waiting);
  else track.patience = setTimeout(() => showWaiting(form, "answer"), PATIENCE);
  if (!figure.hasAttribute("data-playing")) {
    announceAtRest(() => (document.querySelector("form.htmx-request") ? null : figure.querySelector(".view")?.dataset.announce ?? ""));
  }
  document.dispatchEvent(new CustomEvent("figure:changed", { detail: { figure } }));
}

/** Stop waiting. */
function settle(form) {
  const track = trackOf(form);
  clearTimeout(track.retry);
  track.lost = 0;
  delete form.closest("figure").dataset.waiting;
  form.querySelector(".view").removeAttribute("aria-busy");
  const notice = form.querySelector(".lost");
  if (notice?.contains(document.activeElement)) form.querySelector(".controls :is(input, select)")?.focus({ preventScroll: true });
  notice?.remove();
}

/** Why an answer with this status is not the figure's view. */
function reasonOf(status) {
  if (status === 404) return "renewed"; // the server holds another version than this page is of
  if (status === 429 || status === 503) return "busy";
  return status >= 500 || !status ? "silent" : "strange";
}

function lose(form, change, reason) {
  const track = trackOf(form);
  if (change.number !== track.newest) return; // a newer one is about to be asked for
  clearTimeout(track.patience);
  track.patience = undefined;
  track.lost += 1;
  say(form, reason);
  askIn(form, Math.max(silentUntil - Date.now(), Math.min(FIRST_RETRY * 2 ** (track.lost - 1), LAST_RETRY)));
}

function askIn(form, milliseconds) {
  const track = trackOf(form);
  clearTimeout(track.retry);
  track.retry = setTimeout(() => document.hidden || ask(form), milliseconds);
}

function askAllAgain() {
  for (const form of document.querySelectorAll("form[data-defaults]")) {
    const { lost, newest, shown: last } = trackOf(form);
    if (lost || newest > last) askAgain(form);
  }
}

function askAgain(form) {
  form.dispatchEvent(new Event("htmx:abort")); // it may still hang on the line that was cut
  ask(form);
}

/** Mark the figure as waiting, for a response or for a connection: its drawing does not show the state of its controls. */
function showWaiting(form, reason) {
  form.closest("figure").dataset.waiting = reason;
  form.querySelector(".view").setAttribute("aria-busy", "true");
}

/** Say that a response was lost: in the figure for as long as it is, in the live region once. */
function say(form, reason) {
  showWaiting(form, "line");
  let notice = form.querySelector(".lost");
  if (notice?.dataset.why === reason) return;
  if (!notice) {
    notice = document.getElementById("lost").content.firstElementChild.cloneNode(true);
    form.querySelector(".controls").after(notice);
  }
  notice.dataset.why = reason;
  for (const sentence of notice.querySelectorAll("[data-lost]")) sentence.hidden = sentence.dataset.lost !== reason;
  notice.querySelector("[data-load-again]").hidden = reason !== "renewed";
  notice.querySelector("[data-ask-again]").hidden = reason === "renewed";
  announce(notice.querySelector("[data-lost]:not([hidden])").textContent);
}

function secondsUntil(header) {
  if (!header) return 0;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Math.min(Math.max(seconds || 0, 0), 60);
}
