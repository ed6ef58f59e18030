// Fill the "Share" panel of a figure, and make it work: copy links and code, save pictures and data.
//
// It is loaded when the panel is unfolded, and on the page where a teacher makes links.
import { formOf } from "../figure/controls.js";
import { announce } from "../lib/announce.js";
import { load } from "../lib/assets.js";
import { fetchPage } from "../lib/fetch.js";

const REST = 350; // milliseconds without a change
const SHARP = 2; // pixels of a PNG for each of the drawing

const waiting = new WeakMap(); // details → the timer that fills it anew

document.querySelectorAll(".take").forEach(prepare); // on a page that has them from the start

document.addEventListener("figure:changed", ({ detail }) => {
  const details = detail.figure.querySelector("details.sharing:not(.own, .config)[open]");
  if (!details) return;
  clearTimeout(waiting.get(details));
  waiting.set(details, setTimeout(() => fill(details), REST));
});

document.addEventListener("click", (event) => {
  const { target } = event;
  const file = target.closest("[data-own=tab] .take-files :is(a[download], [data-png])");
  if (file) {
    event.preventDefault();
    saveOwn(file);
    return;
  }
  const button = target.closest("[data-copy], [data-png], [data-html-picture]");
  if (button?.dataset.copy) copy(button);
  else if (button?.dataset.png) savePng(button.dataset.png, button.dataset.name);
  else if (button) saveHtmlPicture(button);
});

export async function open(details) {
  if (details.querySelector(".take")) await load("share");
  else await fill(details);
}

/** Fill the panel with what belongs to the figure's state. */
async function fill(details) {
  const query = new URLSearchParams(new FormData(formOf(details)));
  const [page] = await Promise.all([fetchPage(`${details.dataset.panel}?${query}`), load("share")]);
  const panel = page?.querySelector(".take");
  if (!panel) return; // no answer came: the link stays
  details.replaceChildren(details.querySelector("summary"), panel);
  prepare(panel);
}

/** Addresses get the site's own in front; what needs a script shows itself. */
export function prepare(panel) {
  for (const field of panel.querySelectorAll("[data-absolute]")) {
    field.value = field.value.replace(/(^|src=")\//gm, `$1${location.origin}/`);
    field.removeAttribute("data-absolute");
    field.addEventListener("focus", () => field.select());
  }
  const details = panel.closest("[data-place=lesson] details.sharing:not(.own)");
  const embed = details?.querySelector("textarea");
  if (embed) {
    const height = details.closest("figure").getBoundingClientRect().height - details.getBoundingClientRect().height;
    embed.value = embed.value.replace(/height="\d+"/, `height="${Math.ceil(height)}"`);
  }
  const says = panel.querySelector("[data-own-says]");
  if (says) says.hidden = panel.closest("figure").dataset.own !== "tab";
  panel.querySelectorAll("button[hidden]").forEach((button) => button.removeAttribute("hidden"));
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.value ?? source.textContent);
  } catch { // not over HTTPS, or forbidden: it can be copied by hand
    if (source.select) source.select();
    else getSelection().selectAllChildren(source);
    if (!document.execCommand("copy")) return;
  }
  announce(button.dataset.copied);
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), 2000);
}

/** On the reader's weights: no address leads to such a file, so it is asked for as the figure is. */
async function saveOwn({ dataset, href, download }) {
  const { fileOf } = await import("../own/weights.js");
  const file = await fileOf(dataset.png ?? href);
  const name = (dataset.name ?? (download || new URL(href).pathname.split("/").at(-1))).replace(/(?=\.\w+$)/, "-own");
  if (file && dataset.png) await savePng(svgAddress(await file.text()), name);
  else if (file) save(file, name);
}

/** A figure that is no drawing is pictured here: only a browser can lay it out. */
async function saveHtmlPicture(button) {
  const { pictureOf } = await import("./html_picture.js");
  const { htmlPicture: scheme, name } = button.dataset;
  const svg = await pictureOf(button.closest("figure"), scheme);
  if (name.endsWith(".svg")) save(new Blob([svg], { type: "image/svg+xml" }), name);
  else await savePng(svgAddress(svg), name);
}

function svgAddress(svg) {
  return `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
}

async function savePng(address, name) {
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: SHARP * image.naturalWidth, height: SHARP * image.naturalHeight });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  save(await new Promise((resolve) => canvas.toBlob(resolve, "image/png")), name);
}

function save(file, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
