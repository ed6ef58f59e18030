// What is folded costs nothing until it is unfolded: a change leaves it as it was and keeps what it would become; the data
// of a figure of the lesson page and the listings of code have not even been sent.
import { wantedBy } from "./requests.js";

const FOLD = '<div class="more">'; // a view ends with it
const texts = new WeakMap(); // what is folded below a figure → the HTML that the last change brought for it
const kept = new WeakMap(); // a folded part → the one that the last change brought

/** A view with nothing in its fold, and that fold. */
export function lightened(view) {
  const fold = view.lastIndexOf(FOLD);
  return { light: `${view.slice(0, fold)}${FOLD}</div></div>`, fold: view.slice(fold) };
}

/** Keep, as text, the fold of the view that is about to be shown above this one. */
export function keepFold(shown, fold) {
  texts.set(shown, fold);
}

/** Whether a part of a view is left as it is, because nobody sees it. */
export function leftFolded(part, next) {
  if (part.className === "more") {
    if (!next.firstChild) return true;
    texts.delete(part);
  }
  if (part.localName !== "details" || part.open || part.parentElement.className !== "more") return false;
  kept.set(part, next);
  return true;
}

export function watchFolded() {
  document.querySelectorAll(".more > details[open], .sharing[open]").forEach(unfold); // before we were here
  try {
    if (sessionStorage.getItem("own")) import("../own/weights.js").catch(() => {}); // weights that this tab holds
  } catch {
    // Storage can be forbidden.
  }
  // `toggle` does not bubble
  document.addEventListener("toggle", ({ target }) => unfold(target), true);
  document.addEventListener("figure:changed", ({ detail }) => {
    detail.figure.querySelectorAll(".more > details[open]").forEach(unfold);
  });
}

function unfold(details) {
  if (!details.open) return;
  if (details.matches(".own, .config")) {
    import("../own/panel.js").then(({ give }) => give(details), () => {});
    return;
  }
  if (details.matches(".sharing")) {
    import("../page/share.js").then(({ share }) => share(details), () => {}); // the line is bad: the link stays
    return;
  }
  readText(details.parentElement);
  if (kept.has(details)) {
    fill(details, kept.get(details));
    kept.delete(details);
  }
  if (details.querySelector("[data-elsewhere]")) fetchData(details);
  details.querySelectorAll("[data-listing]").forEach(fetchListing);
}

function readText(fold) {
  if (!texts.has(fold)) return;
  const parts = new DOMParser().parseFromString(texts.get(fold), "text/html").querySelectorAll(".more > details");
  texts.delete(fold);
  [...fold.querySelectorAll(":scope > details")].forEach((details, i) => kept.set(details, parts[i]));
}

/** All but the summary, which may have the focus. */
function fill(details, content) {
  const summary = details.querySelector("summary");
  details.replaceChildren(summary, ...[...content.childNodes].filter((node) => node.localName !== "summary"));
}

/** The whole view of the state that a figure's form is in, or nothing where the line is bad. */
export function fetchView(form) {
  // Controls that stand in a drawing which has not come yet are known from the address only.
  const state = { ...wantedBy(form), ...Object.fromEntries(new FormData(form)) };
  return fetched(`${form.getAttribute("hx-get")}?${new URLSearchParams(state)}`);
}

/** The data of the state that is shown; a state that has changed meanwhile brings its own. */
async function fetchData(details) {
  const form = details.closest("form");
  const state = new URLSearchParams(new FormData(form));
  const view = await fetchView(form);
  const link = details.querySelector("[data-elsewhere]");
  const table = view?.querySelector("details.data > .table-scroll");
  if (table && link && `${state}` === `${new URLSearchParams(new FormData(form))}`) link.replaceWith(table);
}

async function fetchListing(listing) {
  const arrived = (await fetched(listing.dataset.listing))?.querySelector(".listing");
  if (arrived) listing.replaceWith(arrived);
}

/** A piece of HTML as a document, or nothing where the line is bad: the link stays then. */
export async function fetched(address) {
  try {
    const answer = await fetch(address);
    return answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
  } catch {
    return null;
  }
}

/** Style sheets that only what is unfolded needs; settled when they are here, or have failed. */
export function sheets(...names) {
  return Promise.all(names.map((name) => {
    const href = new URL(`../../css/${name}.css`, import.meta.url).href;
    if ([...document.styleSheets].some((known) => known.href === href)) return null;
    return new Promise((resolve) => {
      document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href, onload: resolve, onerror: resolve }));
    });
  }));
}
