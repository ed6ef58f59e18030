// The line between a figure's controls and the server. The last state wins whatever order the answers come in; waiting
// shows; what is lost is asked for again. A proxy may answer in the server's place: only the figure's own view gets in.
//
// Every change of a figure has a number. An answer is swapped in unless that to a later change already was.
import { defaultsOf, served, setControls } from "./controls.js";
import { patch } from "./patch.js";
import { say, sayWhenAtRest } from "../lib/announce.js";

const PATIENCE = 1000; // milliseconds without an answer before the figure shows that it waits
const LIMIT = 15_000; // and before an answer counts as lost
const FIRST_RETRY = 2000;
const LAST_RETRY = 30_000;

const lines = new WeakMap(); // form → { wanted, newest, shown, lost, patience, retry }
let silentUntil = 0; // a busy server named this time; no figure asks before

export function watchLine() {
  window.htmx.registerExtension("line", {
    htmx_config_request: (form, { ctx }) => !ours(form) || number(form, ctx),
    htmx_before_request: (form, { ctx }) => !ours(form) || mayAsk(form, ctx),
    htmx_before_swap: (form, { ctx, tasks }) => !ours(form) || mayShow(form, ctx, tasks),
    htmx_after_swap: (form, { ctx }) => !ours(form) || shown(form, ctx),
    htmx_error: (form, { ctx }) => !ours(form) || !ctx || lost(form, ctx, navigator.onLine ? "silent" : "offline"),
  });
  document.addEventListener("click", ({ target }) => {
    if (target.closest("[data-ask-again]")) askAgain(target.closest("form"));
    if (target.closest("[data-load-again]")) location.reload(); // the address holds the state
  });
  for (const event of ["online", "pageshow"]) window.addEventListener(event, askAllAgain);
  document.addEventListener("visibilitychange", () => document.hidden || askAllAgain());
}

/** The state that the figure is to show: what its reader, or the address, asked for last. */
export function wantedBy(form) {
  return lineOf(form).wanted;
}

export function expect(form, state) {
  lineOf(form).wanted = state;
}

/** Ask for a state on the same way as a change of a control would. */
export function ask(form, state = wantedBy(form)) {
  window.htmx.trigger(form, "submit", { state });
}

function ours(form) {
  return Boolean(form.matches?.("form[data-defaults]"));
}

function lineOf(form) {
  if (!lines.has(form)) lines.set(form, { wanted: { ...defaultsOf(form), ...served(form) }, newest: 0, shown: 0, lost: 0 });
  return lines.get(form);
}

/** Take a change in: it is the newest, and what the figure is to show. */
export function number(form, ctx) {
  const line = lineOf(form);
  const body = ctx.request.body;
  line.wanted = ctx.sourceEvent.detail?.state ?? { ...line.wanted, ...Object.fromEntries(body) };
  for (const [name, value] of Object.entries(line.wanted)) body.set(name, value);
  ctx.number = line.newest += 1;
  ctx.request.timeout = LIMIT;
  ctx.swap = "patch"; // of patch.js; where our scripts are missing, htmx's own morph does it
  line.patience ??= setTimeout(() => show(form, "answer"), PATIENCE);
  clearTimeout(line.retry);
  figureOf(form).dispatchEvent(new Event("figure:asked", { bubbles: true }));
}

/** Not where a later change was answered from a table meanwhile, nor before a busy server wants to be asked. */
function mayAsk(form, ctx) {
  if (ctx.number < lineOf(form).shown) return false;
  const wait = silentUntil - Date.now();
  if (wait <= 0) return true;
  show(form, "line");
  tell(form, "busy");
  retryIn(form, wait);
  return false;
}

function mayShow(form, ctx, tasks) {
  const line = lineOf(form);
  if (ctx.number < line.shown) return false;
  if (tasks[0]?.fragment.firstElementChild?.id !== ctx.target.id) {
    refuse(form, ctx);
    return false;
  }
  line.shown = ctx.number;
  return true;
}

/** Whether a later change was answered meanwhile. */
export function overtaken(form, ctx) {
  return ctx.number < lineOf(form).shown;
}

/** A view that is here already, past htmx: its way, made for any answer, would take longer than the drawing. */
export function showAtOnce(form, ctx, view) {
  lineOf(form).shown = ctx.number;
  form.dispatchEvent(new Event("htmx:abort")); // what is on its way is late
  patch(form.querySelector(".view"), view, { moving: !figureOf(form).hasAttribute("data-dragged") });
  shown(form, ctx);
}

function shown(form, ctx) {
  const line = lineOf(form);
  setControls(form, line.wanted); // those drawn in the view came with the state that it was asked for
  clearTimeout(line.patience);
  line.patience = undefined;
  if (ctx.number === line.newest) arrived(form);
  else if (figureOf(form).dataset.waiting) show(form, figureOf(form).dataset.waiting);
  else line.patience = setTimeout(() => show(form, "answer"), PATIENCE);
  const figure = figureOf(form);
  if (!figure.hasAttribute("data-playing")) sayWhenAtRest(figure);
  document.dispatchEvent(new CustomEvent("figure:changed", { detail: { figure } }));
}

function arrived(form) {
  const line = lineOf(form);
  clearTimeout(line.retry);
  line.lost = 0;
  delete figureOf(form).dataset.waiting;
  form.querySelector(".view").removeAttribute("aria-busy");
  const notice = form.querySelector(".lost");
  if (notice?.contains(document.activeElement)) form.querySelector(".controls :is(input, select)")?.focus({ preventScroll: true });
  notice?.remove();
}

/** An error page, a sign-in page, a queue, a newer lesson: said kindly, and asked again when it is likely to help. */
function refuse(form, ctx) {
  const { status, headers } = ctx.response ?? {};
  const wait = secondsUntil(headers?.get("Retry-After"));
  if (wait) silentUntil = Date.now() + 1000 * wait;
  lost(form, ctx, reasonOf(status));
}

/** Why an answer with this status is not the figure's view. */
export function reasonOf(status) {
  if (status === 404) return "renewed"; // the server holds another version than this page is of
  if (status === 429 || status === 503) return "busy";
  return status >= 500 || !status ? "silent" : "strange";
}

export function lost(form, ctx, why) {
  const line = lineOf(form);
  if (ctx.number !== line.newest) return; // a newer one is about to be asked for
  clearTimeout(line.patience);
  line.patience = undefined;
  line.lost += 1;
  show(form, "line");
  tell(form, why);
  retryIn(form, Math.max(silentUntil - Date.now(), Math.min(FIRST_RETRY * 2 ** (line.lost - 1), LAST_RETRY)));
}

function retryIn(form, milliseconds) {
  const line = lineOf(form);
  clearTimeout(line.retry);
  line.retry = setTimeout(() => document.hidden || ask(form), milliseconds);
}

function askAllAgain() {
  for (const form of document.querySelectorAll("form[data-defaults]")) {
    const line = lineOf(form);
    if (line.lost || line.newest > line.shown) askAgain(form);
  }
}

function askAgain(form) {
  form.dispatchEvent(new Event("htmx:abort")); // it may still hang on the line that was cut
  ask(form);
}

/** The drawing pales while it is not the state of its controls; a hairline under the caption says for what it waits. */
function show(form, waiting) {
  figureOf(form).dataset.waiting = waiting;
  form.querySelector(".view").setAttribute("aria-busy", "true");
}

/** In the figure as long as it lasts, in the live region once. */
function tell(form, why) {
  let notice = form.querySelector(".lost");
  if (notice?.dataset.why === why) return;
  if (!notice) {
    notice = document.getElementById("lost").content.firstElementChild.cloneNode(true);
    form.querySelector(".controls").after(notice);
  }
  notice.dataset.why = why;
  for (const sentence of notice.querySelectorAll("[data-lost]")) sentence.hidden = sentence.dataset.lost !== why;
  notice.querySelector("[data-load-again]").hidden = why !== "renewed";
  notice.querySelector("[data-ask-again]").hidden = why === "renewed";
  say(notice.querySelector("[data-lost]:not([hidden])").textContent);
}

function secondsUntil(header) {
  if (!header) return 0;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Math.min(Math.max(seconds || 0, 0), 60);
}

function figureOf(form) {
  return form.closest("figure");
}
