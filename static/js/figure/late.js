// Fetch what a view was sent without: a drawing when its reader nears it, data and listings of code when they are unfolded.
import { fetchPage } from "../lib/fetch.js";
import { formOf, stateOf } from "./controls.js";
import { patch } from "./patch.js";

const NEAR = "1200px";

export function watchLate() {
  const observer = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) complete(target);
  }, { rootMargin: NEAR });
  const late = [...document.querySelectorAll("[data-late]")];
  late.forEach((drawing) => observer.observe(drawing));
  window.addEventListener("beforeprint", () => late.filter((drawing) => drawing.hasAttribute("data-late")).forEach(completeView));
  document.addEventListener("figure:unfolded", ({ target }) => {
    if (target.querySelector("[data-elsewhere]")) completeView(target);
    target.querySelectorAll("[data-listing]").forEach(fetchListing);
  });

  /** Where no answer comes the link stays, and coming near again tries again. */
  async function complete(drawing) {
    if (drawing.hasAttribute("data-late")) await completeView(drawing);
    if (!drawing.hasAttribute("data-late")) observer.unobserve(drawing);
  }
}

/** Fetch the whole view that an element belongs to, and write it into the page. */
export async function completeView(element) {
  const form = formOf(element);
  const query = `${new URLSearchParams(new FormData(form))}`;
  const view = (await fetchPage(`${form.getAttribute("hx-get")}?${new URLSearchParams(stateOf(form))}`))?.querySelector(".view");
  // A change of a control meanwhile brings all of its own view, and so do a reader's own weights.
  if (!view || form.closest("[data-own]") || query !== `${new URLSearchParams(new FormData(form))}`) return;
  patch(form.querySelector(".view"), view);
  document.dispatchEvent(new CustomEvent("figure:changed", { detail: { figure: form.closest("figure") } }));
}

async function fetchListing(listing) {
  const arrived = (await fetchPage(listing.dataset.listing))?.querySelector(".listing");
  if (arrived) listing.replaceWith(arrived);
}
