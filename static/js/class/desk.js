// The desk's keys, clocks, peek and live region. htmx sends what is pressed and fetches the desk when the class has changed.
//
// A key presses a button of the page, found by its `aria-keyshortcuts`: there is no second way to do anything.
import { announce } from "../lib/announce.js";
import { fetchPage } from "../lib/fetch.js";
import { read, write } from "../lib/storage.js";
import { setClocks, startClocks, watchLine } from "./line.js";

const KEYS = "desk-keys";
const PEEK = 5; // seconds

const line = document.getElementById("desk-line");
const help = document.getElementById("keys");
const keysOn = document.getElementById("keys-on");
const desk = () => document.getElementById("desk");

let tabbed = false; // whether the focus came to where it is by the keyboard
let marked = ""; // id of the marked line of the running order
let focused = ""; // id of what had the focus before a swap
let place = desk().dataset.place;
let pressed = ""; // version of the class at which a press is on its way
let peeking;

// Who has the cookie may come by the secret link as well; a projector must not show it.
if (/^#[\w-]{22}$/.test(location.hash)) history.replaceState(null, "", location.pathname);

keysOn.checked = read(KEYS).keys !== "off";
keysOn.addEventListener("change", () => {
  write(KEYS, { keys: keysOn.checked ? "on" : "off" });
  showKeys();
});
showKeys();
refresh();
window.htmx.process(line); // again: htmx may have looked at the page before its extension had come
startClocks();
const isBack = watchLine(line, document.getElementById("desk-lost"));
line.addEventListener("gone", () => location.reload()); // the class was deleted: the page says so

function showKeys() {
  document.documentElement.classList.toggle("keys-off", !keysOn.checked);
}

// --- keys ---------------------------------------------------------------------------------------------------

document.addEventListener("pointerdown", () => (tabbed = false), true);
document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (key === "Tab") tabbed = true;
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || help.open || isField(target)) return;
  if (key === "Escape") stay(target.closest?.("[data-sure]"));
  if (!keysOn.checked && key !== "?") return;
  // Who went to another button with Tab means that one; who clicked it means the large one again.
  const own = target.closest?.("button, a, summary, label");
  if (key === "Enter" && own && own.id !== "large" && (tabbed || own.closest("[data-sure][open]"))) return;
  const act = ACTS[key] ?? (key === "Enter" && (() => document.getElementById("large").click())) ?? null;
  const button = act ? null : document.querySelector(`#desk [aria-keyshortcuts="${named(event)}"], #help[aria-keyshortcuts="${named(event)}"]`);
  if (!act && !button) return;
  event.preventDefault();
  if (event.repeat) return; // a key that is held down does a thing once
  if (act) act();
  else press(button);
});

const ACTS = {
  j: () => mark(1),
  k: () => mark(-1),
  a: () => document.querySelector(`#${CSS.escape(marked || "-")} button`)?.click(),
};

/** A key as `aria-keyshortcuts` names it. */
function named({ key, shiftKey }) {
  if (key.length > 1 || key === "?") return key.replace(/["\\]/g, "");
  const letter = key.toUpperCase().replace(/["\\]/g, "");
  return shiftKey ? `Shift+${letter}` : letter;
}

function isField(target) {
  return target.isContentEditable || target.matches?.("input:not([type=checkbox], [type=radio]), textarea, select");
}

function press(button) {
  if (button.id === "peek" && peeking) cover();
  else if (button.id === "peek") peek(button);
  else button.click();
  if (button.localName === "summary") document.getElementById(`${button.id}-sure`)?.focus();
}

function mark(step) {
  const lines = [...document.querySelectorAll("[data-line]")];
  if (!lines.length) return;
  const at = lines.findIndex(({ id }) => id === marked);
  const begin = at >= 0 ? at + step : lines.findIndex((item) => item.ariaCurrent) + (step > 0 ? 1 : 0);
  marked = lines[Math.min(Math.max(begin, 0), lines.length - 1)].id;
  showMark();
  const item = document.getElementById(marked);
  item.scrollIntoView({ block: "nearest" });
  const does = item.querySelector("button");
  announce(does?.ariaLabel ?? item.querySelector(".desk-name").textContent);
}

function showMark() {
  for (const item of document.querySelectorAll("[data-line]")) item.classList.toggle("marked", item.id === marked);
}

// --- presses ------------------------------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const { target } = event;
  if (event.detail > 1 && target.closest("#desk [form=press]")) event.preventDefault(); // a double click is one press
  else if (target.closest("[data-stay]")) stay(target.closest("[data-sure]"));
  else if (target.closest("#help")) help.showModal();
  else if (target.closest("#peek")) {
    event.preventDefault();
    press(target.closest("#peek"));
  }
});

// One press for each state that is seen; htmx sends that of the next one when the answer to this has been shown.
document.addEventListener("submit", (event) => {
  const { version } = desk().dataset;
  if (!event.target.closest("#desk")) return;
  if (pressed === version) {
    event.preventDefault();
    event.stopImmediatePropagation();
  }
  pressed = version;
}, true);
document.addEventListener("htmx:finally:request", ({ target }) => {
  if (target.matches?.("#desk form") && pressed === desk().dataset.version) pressed = ""; // it was refused, or lost
});

function stay(details) {
  if (!details?.open) return;
  details.open = false;
  details.querySelector("summary").focus();
}

// --- the state ----------------------------------------------------------------------------------------------

document.addEventListener("htmx:before:swap", (event) => {
  const { ctx, tasks } = event.detail;
  if (ctx.target?.id !== "desk") return;
  const next = tasks[0]?.fragment?.firstElementChild;
  // Another answer may have overtaken this one; a page of a proxy, or of an error, is not the desk.
  if (next?.id !== "desk" || Number(next.dataset.version) < Number(desk().dataset.version)) event.preventDefault();
  else focused = document.activeElement?.id ?? "";
});

document.addEventListener("htmx:after:swap", () => {
  isBack(); // an answer came
  refresh();
  const { said, problem } = desk().dataset;
  if (problem) announce(problem);
  else if (desk().dataset.place !== place) announce(said);
  if (desk().dataset.place !== place) {
    cover();
    for (const details of document.querySelectorAll("[data-sure][open]")) details.open = false;
  }
  place = desk().dataset.place;
  if (focused && !document.getElementById(focused)) document.getElementById("large")?.focus({ preventScroll: true });
  focused = "";
});

/** What the server does not know: this browser's clock, the marked line. */
function refresh() {
  showMark();
  for (const time of document.querySelectorAll("[data-clock]")) {
    time.textContent = new Date(time.dateTime).toLocaleTimeString(undefined, { timeStyle: "medium" });
  }
  setClocks();
}

// --- peek ---------------------------------------------------------------------------------------------------

async function peek(button) {
  const seen = place;
  const page = await fetchPage(button.href);
  const found = page?.getElementById("peek-content")?.textContent.trim().replace(/\s+/g, " ");
  if (!found || place !== seen) return;
  const box = document.getElementById("peeked");
  const left = document.createElement("span");
  box.className = "desk-peeking";
  box.replaceChildren(Object.assign(document.createElement("p"), { textContent: found }), left);
  box.hidden = false;
  announce(found);
  const end = performance.now() + 1000 * PEEK;
  const count = () => {
    left.textContent = `${Math.max(0, Math.ceil((end - performance.now()) / 1000))} s`;
    if (performance.now() >= end) cover();
  };
  clearInterval(peeking);
  peeking = setInterval(count, 200);
  count();
}

function cover() {
  clearInterval(peeking);
  peeking = undefined;
  const box = document.getElementById("peeked");
  box?.replaceChildren();
  if (box) box.hidden = true;
}
