// A student's class in the lesson: the bar under the page, the question that is asked above it, and word of what changes.
//
// The server writes all of it. An event says only that something changed; then the bar is fetched whole, so that a lost event loses
// nothing. The focus stays where it is, and nothing comes to the fore while somebody types or drags.
import { announce } from "../lib/announce.js";
import { load } from "../lib/assets.js";
import { parsePage, request } from "../lib/fetch.js";
import { read, remove, write } from "../lib/storage.js";
import { watchAnswers } from "./answers.js";
import { outboxOf } from "./outbox.js";
import { handsRest, watchHands } from "./hands.js";
import { isTouched, prepareVote, watchVotes } from "./vote.js";

const PRESENT = "class"; // of this browser: { code, bar }
const HIDDEN = "class-hidden"; // of this tab: the card that its reader has put away
const FIRST_RETRY = 1000;
const LAST_RETRY = 5000; // no longer: when the server is back, so is the class
const LOOK_AGAIN = 15_000; // how often to look where no events come, and for the count of an open vote, which has none

let root; // the section of the class
let outbox;
let losses = 0; // in a row
let late; // a timer: of the next look
let asked = 0; // counts questions to the server, and answers to what was sent
let settled = 0; // the last of the latter
let isLost = false; // the server does not answer
let isConnected = false; // events come

start();

async function start() {
  root = document.getElementById("class");
  if (root) write(PRESENT, { code: root.dataset.code, bar: root.dataset.bar });
  const { code, bar } = read(PRESENT);
  if (!code || !bar) return;
  outbox = outboxOf(code, { arrived: sent, changed: showLine });
  watchHands();
  for (const type of ["click", "submit"]) document.addEventListener(type, act);
  for (const type of ["online", "offline", "pageshow"]) addEventListener(type, () => look());
  document.addEventListener("visibilitychange", () => document.hidden || look());
  if (root) { // the class's own page
    if (!root.hasAttribute("data-gone")) begin();
    if (new URLSearchParams(location.search).has("joined")) location.replace(document.querySelector("[data-class-lesson]").href);
  } else {
    await Promise.all([load("class"), load("dots")]);
    await look(bar);
  }
}

/** Once the bar is here. */
function begin() {
  new ResizeObserver(measure).observe(root);
  watchVotes(vote);
  watchAnswers({ ...root.dataset, isOpen: () => root.dataset.status === "running" }, outbox);
  document.addEventListener("predicted", markAsked);
  prepareVote(root);
  markAsked();
  giveToLesson();
  if (wantsFore()) showSheet(true);
  outbox.flush();
  listen();
}

/** Ask for the bar as it is now, and show it. */
async function look(address = root?.dataset.bar ?? read(PRESENT).bar) {
  clearTimeout(late);
  const begun = asked += 1;
  const answer = await request(address);
  if (answer.status === 0 || answer.status === 429 || answer.status >= 500) {
    late = setTimeout(look, Math.min(FIRST_RETRY * 2 ** losses, LAST_RETRY) * (.5 + .5 * Math.random()), address);
    losses += 1;
    showLine(true);
    return;
  }
  losses = 0;
  if (begun < settled) { // what its student has sent was answered meanwhile: this may be older
    look(address);
    return;
  }
  show(answer);
  showLine(false);
  if (outbox.count()) outbox.flush();
}

/** Put the bar of an answer in the place of the present one. */
function show({ body }) {
  const next = parsePage(body ?? "").getElementById("class");
  if (!next) return;
  if (!root) {
    next.querySelector(".class-sheet").hidden = true; // until it is wanted
    document.body.append(next);
    root = next;
    if (next.hasAttribute("data-gone")) remove(PRESENT);
    else begin();
    return;
  }
  if (Number(next.dataset.version) < Number(root.dataset.version)) return; // overtaken
  const before = { ...root.dataset };
  const noted = toast();
  exchange(root.querySelector(".class-bar"), next.querySelector(".class-bar"));
  const same = before.card === next.dataset.card;
  for (const name of root.getAttributeNames()) if (name.startsWith("data-") && !next.hasAttribute(name)) root.removeAttribute(name);
  for (const name of next.getAttributeNames()) if (name.startsWith("data-")) root.setAttribute(name, next.getAttribute(name));
  root.querySelector("template")?.remove();
  const note = next.querySelector("template");
  if (note) root.append(note);
  if (!(same && isTouched(root))) {
    const waits = !("following" in root.dataset) && itemOf(before.card) !== itemOf(next.dataset.card); // another question, on one's own
    const sheet = next.querySelector(".class-sheet");
    const { hidden, scrollTop } = root.querySelector(".class-sheet");
    exchange(root.querySelector(".class-sheet"), sheet);
    if (!isPage()) sheet.hidden = hidden || waits || !root.dataset.card;
    if (same) sheet.scrollTop = scrollTop;
    prepareVote(root);
  }
  label();
  markAsked();
  if (root.hasAttribute("data-gone")) stop();
  const said = toast();
  if (!same || before.announce !== root.dataset.announce) announce(root.dataset.announce);
  else if (said && said !== noted) announce(said);
  const moved = before.anchor !== root.dataset.anchor;
  if ((moved || !same) && "following" in root.dataset && !isPage()) bringToTheFore(moved);
  giveToLesson();
}

/** What a card is about, whatever its phase. */
function itemOf(card) {
  return card.split(" ")[0];
}

/** After the reveal the lesson need not ask the same again. */
function giveToLesson() {
  const { given, name } = root.dataset;
  if (given) document.dispatchEvent(new CustomEvent("predict:given", { detail: { name, query: given } }));
}

/** What the card tells its student of their own vote. */
function toast() {
  return root.querySelector(".class-toast:not([hidden])")?.textContent.trim();
}

/** One part for another; what has the focus keeps it, or its card's question gets it where it is gone. */
function exchange(present, next) {
  const focused = present.contains(document.activeElement) ? document.activeElement : null;
  present.replaceWith(next);
  if (!focused) return;
  const twin = (focused.id && document.getElementById(focused.id)) || next.querySelector("#class-q");
  twin?.focus({ preventScroll: true });
}

/** The class, or this student in it, is gone: what is left of the bar says so until it is closed. */
function stop() {
  remove(PRESENT);
  const still = root.cloneNode(true); // without its line
  root.replaceWith(still);
  root = still;
}

// --- the sheet ---------------------------------------------------------------------------------------------

function isPage() {
  return document.body.classList.contains("class-page");
}

/** Whether the card comes by itself: in follow mode, unless its reader has put it away. */
function wantsFore() {
  return Boolean(root.dataset.card) && "following" in root.dataset && !isPage() && read(HIDDEN, "sessionStorage").card !== root.dataset.card;
}

/** Show the card and what it is about, as soon as the reader's hands rest. */
function bringToTheFore(moved) {
  const { card } = root.dataset;
  handsRest(root).then(() => {
    if (root.dataset.card !== card || !("following" in root.dataset)) return;
    const place = document.querySelector(`#ask-${CSS.escape(root.dataset.name)}:has(form)`) ?? document.getElementById(root.dataset.anchor);
    if (moved) place?.scrollIntoView({ block: "start" });
    if (wantsFore()) showSheet(true);
  });
}

function showSheet(shown) {
  root.querySelector(".class-sheet").hidden = !shown;
  label();
}

function label() {
  const button = root.querySelector("#class-show");
  if (!button) return;
  const shown = !root.querySelector(".class-sheet").hidden;
  button.setAttribute("aria-expanded", shown);
  button.textContent = shown ? button.dataset.hide : button.dataset.show;
}

/** While the class has not seen the answer of a question, the lesson's own card of it waits. */
function markAsked() {
  for (const card of document.querySelectorAll(".ask[data-class-asks]")) {
    if (card.id === `ask-${root.dataset.asking}`) continue;
    card.removeAttribute("data-class-asks");
    card.querySelector(".class-asks").remove();
  }
  const card = root.dataset.asking && document.getElementById(`ask-${root.dataset.asking}`);
  if (!card || card.querySelector(".reveal, .class-asks")) return;
  card.append(root.querySelector("template[data-class-asks]").content.cloneNode(true));
  card.setAttribute("data-class-asks", "");
}

// --- what its student does ---------------------------------------------------------------------------------

function act(event) {
  const { target, type } = event;
  if (type === "submit") {
    const form = target.closest?.("#class .class-end form");
    if (!form) return;
    event.preventDefault();
    request(form.action, { fields: { ...Object.fromEntries(new FormData(form)), as: "bar" } }).then((answer) => {
      if (answer.ok) show(answer);
      else look();
    });
  } else if (target.closest?.("[data-class-show]")) {
    const open = root.querySelector(".class-sheet").hidden || !root.contains(target);
    write(HIDDEN, open ? {} : { card: root.dataset.card }, "sessionStorage");
    showSheet(open);
    if (open) root.querySelector("#class-q")?.focus({ preventScroll: true });
  } else if (target.closest?.("[data-class-close]")) {
    remove(PRESENT);
    root.remove();
    measure();
  }
}

/** A vote is kept until the class has it; a later one takes its place. */
function vote(form, fields) {
  outbox.put(`vote ${fields.item} ${fields.round}`, form.action, { ...fields, as: "bar" });
}

/** What the class answered to something that was sent. */
function sent(answer, fields) {
  if (!("round" in fields)) {
    if (answer.status === 403 || answer.status === 404) look();
    return;
  }
  settled = asked += 1;
  if (answer.ok) show(answer);
  else look();
}

// --- the line ----------------------------------------------------------------------------------------------

/** Follow the class's events: each says only that something is new. htmx keeps the line, and opens it again. */
async function listen() {
  if (!(await htmxIsHere())) {
    setInterval(look, LOOK_AGAIN);
    return;
  }
  root.addEventListener("changed", ({ detail }) => {
    if (Number(detail?.data) !== Number(root.dataset.version)) look(); // the server has spread the events over some time
  });
  root.addEventListener("htmx:sse:after:connection", () => {
    isConnected = true;
    if (isLost) look();
  });
  root.addEventListener("htmx:sse:close", () => { isConnected = false; });
  root.addEventListener("htmx:sse:error", () => look());
  window.htmx.process(root);
  connect();
  setInterval(() => document.hidden || (isConnected && !isCounting()) || look().then(connect), LOOK_AGAIN);
}

/** Whether the bar says how many have voted. */
function isCounting() {
  return root.dataset.open !== "0" && "following" in root.dataset;
}

function connect() {
  if (root.isConnected && !isConnected) window.htmx.trigger(root, "class:connect");
}

async function htmxIsHere() {
  const isComing = document.querySelector('script[src*="htmx.min"]');
  if (!window.htmx && isComing) await new Promise((resolve) => ["load", "error"].forEach((type) => isComing.addEventListener(type, resolve)));
  return (window.htmx || (await load("htmx"))) && load("sse");
}

function showLine(lost) {
  isLost = lost || !navigator.onLine;
  if (!root) return;
  const kept = outbox.count();
  root.classList.toggle("offline", isLost);
  const said = root.querySelector("[data-class-lost]");
  if (!said) return;
  said.hidden = !isLost;
  root.querySelector("[data-class-says]").hidden = isLost;
  said.querySelector("[data-class-kept=one]").hidden = kept !== 1;
  said.querySelector("[data-class-kept=many]").hidden = kept < 2;
  said.querySelector("output").value = kept;
  const waits = root.querySelector("[data-class-waits]");
  if (waits) waits.hidden = !(isLost && kept);
}

/** How much of the page's foot is covered: what has the focus, and the controls of a figure, stand above it. */
function measure() {
  const { style } = document.documentElement;
  const height = (element) => `${element?.isConnected ? element.getBoundingClientRect().height : 0}px`;
  style.setProperty("--class-bar", height(root.querySelector(".class-bar")));
  style.setProperty("scroll-padding-bottom", height(isPage() ? root.querySelector(".class-bar") : root));
}
