// Show where a number of the prose comes from, in a card: on hover, on focus, or at the first tap.
//
// The words are those of the list of sources, to which the link itself leads; the list is fetched once.
import { load } from "../lib/assets.js";
import { fetchPage } from "../lib/fetch.js";

const HOVER = 150; // milliseconds before a passing pointer opens a card
const LEAVE = 300; // milliseconds before a pointer that left closes it
const EDGE = 12; // pixels kept free at the sides of the screen

const lists = new Map(); // address of a list of sources → its document, on its way or here
let card;
let making; // a promise of the card
let shown; // the link whose card is open
let timer;

document.addEventListener("pointerover", ({ target, pointerType }) => {
  if (pointerType === "touch") return;
  const link = target.closest?.("a.claim");
  if (link) soon(() => open(link), HOVER);
  else if (card?.contains(target)) clearTimeout(timer);
  else if (shown && !shown.matches(":focus-visible")) soon(close, LEAVE);
});
document.addEventListener("focusin", ({ target }) => {
  const link = target.closest?.("a.claim:focus-visible");
  if (link) open(link);
  else if (!card?.contains(target)) close();
});
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a.claim");
  if (link && event.pointerType === "touch" && shown !== link) {
    event.preventDefault(); // the second tap follows it
    open(link);
  } else if (!card?.contains(event.target)) close();
});
document.addEventListener("keydown", ({ key }) => key === "Escape" && close());

function soon(action, delay) {
  clearTimeout(timer);
  timer = setTimeout(action, delay);
}

async function open(link) {
  clearTimeout(timer);
  if (shown === link) return;
  close();
  shown = link;
  const entry = (await listOf(link.href.split("#")[0]))?.getElementById(link.hash.slice(1));
  if (!entry || shown !== link) return;
  card = await (making ??= makeCard());
  if (shown !== link) return;
  card.className = link.className.replace("claim", "claim-card");
  card.replaceChildren(kindOf(entry), ...[...entry.querySelectorAll("dd:not(.used-in)")].flatMap((dd) => [...document.importNode(dd, true).childNodes]));
  card.showPopover();
  place(link);
  link.setAttribute("aria-describedby", card.id);
}

function close() {
  clearTimeout(timer);
  shown?.removeAttribute("aria-describedby");
  shown = undefined;
  if (card?.matches(":popover-open")) card.hidePopover();
}

/** A list that could not be fetched is asked for again at the next touch. */
async function listOf(address) {
  if (!lists.has(address)) lists.set(address, fetchPage(address));
  const list = await lists.get(address);
  if (!list) lists.delete(address);
  return list;
}

/** The card, with its style sheet: neither is needed before the first touch of a number. */
async function makeCard() {
  await load("claims");
  return document.body.appendChild(Object.assign(document.createElement("div"), { id: "claim-card", popover: "manual" }));
}

function kindOf(entry) {
  return Object.assign(document.createElement("p"), { className: "kind", textContent: entry.closest("[data-kind]").dataset.kind });
}

/** Under the number, above it where there is no room; within the screen, and moving with the page. */
function place(link) {
  const at = link.getClientRects()[0];
  const { width, height } = card.getBoundingClientRect();
  const wide = document.documentElement.clientWidth;
  const left = Math.max(EDGE, Math.min(at.left, wide - width - EDGE));
  const below = at.bottom + height + EDGE < window.innerHeight || at.top < height + EDGE;
  card.style.left = `${left + window.scrollX}px`;
  card.style.top = `${(below ? at.bottom + 6 : at.top - height - 6) + window.scrollY}px`;
}
