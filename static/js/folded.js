// What is folded costs nothing until it is unfolded: a change leaves it as it was and keeps what it would become; the data
// of a figure of the lesson page and the listings of code have not even been sent.

const kept = new WeakMap(); // a folded part → the one that the last change brought

export function watchFolded() {
  window.htmx.registerExtension("folded", {
    htmx_before_morph_node: (part, { newNode }) => {
      if (part.localName !== "details" || part.open || !part.parentElement.matches(".more")) return true;
      kept.set(part, newNode);
      return false;
    },
  });
  document.querySelectorAll(".more > details[open]").forEach(unfold); // before we were here
  // `toggle` does not bubble
  document.addEventListener("toggle", ({ target }) => unfold(target), true);
  document.addEventListener("figure:changed", ({ detail }) => {
    detail.figure.querySelectorAll(".more > details[open]").forEach(unfold);
  });
}

function unfold(details) {
  if (!details.open) return;
  if (kept.has(details)) {
    fill(details, kept.get(details));
    kept.delete(details);
  }
  if (details.querySelector("[data-elsewhere]")) fetchData(details);
  details.querySelectorAll("[data-listing]").forEach(fetchListing);
}

/** All but the summary, which may have the focus. */
function fill(details, content) {
  const summary = details.querySelector("summary");
  details.replaceChildren(summary, ...[...content.childNodes].filter((node) => node.localName !== "summary"));
}

/** The whole view of the state that a figure's form is in, or nothing where the line is bad. */
export function fetchView(form) {
  return fetched(`${form.getAttribute("hx-get")}?${new URLSearchParams(new FormData(form))}`);
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
async function fetched(address) {
  try {
    const answer = await fetch(address);
    return answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
  } catch {
    return null;
  }
}
