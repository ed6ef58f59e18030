// A number of the prose says where it comes from: on hover, on focus, or at the first tap. The words are those of the
// list of sources, to which the link itself leads; they are fetched once, when the first of them is asked for.

const HOVER = 150; // milliseconds before a passing pointer opens a card, and, longer, before one that left closes it
const LEAVE = 300;
const EDGE = 12; // pixels kept free at the sides of the screen

const lists = new Map(); // address of a list of sources → its document, on its way or here
let card;
let making;
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
  making ??= made();
  card = await making;
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

function listOf(address) {
  if (!lists.has(address)) {
    const list = fetch(address)
      .then((answer) => (answer.ok ? answer.text() : Promise.reject(answer)))
      .then((text) => new DOMParser().parseFromString(text, "text/html"))
      .catch(() => void lists.delete(address)); // the next touch tries again; the link leads there as ever
    lists.set(address, list);
  }
  return lists.get(address);
}

/** The card, with its style sheet: neither is needed before the first touch of a number. */
async function made() {
  const sheet = Object.assign(document.createElement("link"), { rel: "stylesheet", href: new URL("../../css/claims.css", import.meta.url).href });
  const ready = new Promise((done) => sheet.addEventListener("load", done, { once: true }));
  document.head.append(sheet);
  await Promise.race([ready, new Promise((done) => setTimeout(done, 1000))]);
  return document.body.appendChild(Object.assign(document.createElement("div"), { id: "claim-card", popover: "manual" }));
}

function kindOf(entry) {
  const kind = document.createElement("p");
  kind.className = "kind";
  kind.textContent = entry.closest("[data-kind]").dataset.kind;
  return kind;
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
