// Keep a teacher's link, its QR code and the preview in step with the form. Without this script the form has a button.
import { showValue } from "../figure/controls.js";
import { announce } from "../lib/announce.js";
import { fetchPage } from "../lib/fetch.js";
import { prepare } from "./share.js";

const REST = 250; // milliseconds without a change

const form = document.querySelector(".teach-form");
let resting;
let newest = 0;

form.addEventListener("input", () => {
  clearTimeout(resting);
  resting = setTimeout(update, REST);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  update();
});
preview(document.getElementById("made"));

async function update() {
  clearTimeout(resting);
  if (!form.checkValidity()) return say(form.querySelector(":invalid").validationMessage);
  const change = (newest += 1);
  const address = `${form.action}?${new URLSearchParams(new FormData(form))}`;
  const page = await fetchPage(address, [422]);
  if (change !== newest) return; // a later one is on its way
  const made = page?.getElementById("made");
  if (!made) return say(page?.querySelector(".problems, .chapter p:not(.number)")?.textContent.trim() ?? form.dataset.lost);
  say("");
  prepare(made.querySelector(".take"));
  await preview(made);
  if (change !== newest) return;
  document.getElementById("made").replaceWith(made);
  history.replaceState(history.state, "", address);
  announce(made.dataset.announce);
}

/** Draw the figure as its embed does. It cannot be used here: what the class may change is chosen in the form. */
async function preview(made) {
  const place = made.querySelector(".teach-preview");
  const figure = place && (await fetchPage(place.dataset.from))?.querySelector("figure");
  if (!figure) return;
  place.querySelector("[inert]").replaceChildren(figure);
  figure.querySelectorAll('input[type="range"]').forEach(showValue);
  place.hidden = false;
}

/** Why the link below is still the one before. */
function say(problem) {
  const place = form.querySelector(".teach-problem");
  place.textContent = problem;
  place.hidden = !problem;
  document.getElementById("made").classList.toggle("stale", Boolean(problem));
}
