// Fetch the parts that a view was sent without when they are needed: data, listings of code, the data of a chart.
import { fetchPage } from "../lib/fetch.js";
import { formOf, stateOf } from "./controls.js";
import { patch } from "./patch.js";

export function watchUnfolded() {
  document.addEventListener("figure:unfolded", ({ target }) => {
    if (target.querySelector("[data-elsewhere]")) completeView(target);
    target.querySelectorAll("[data-listing]").forEach(fetchListing);
  });
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
