// What a reader takes away from a figure: fetched when "Share" is unfolded, and anew when the figure has come to rest.
import { fetched } from "../figure/folds.js";
import { say } from "../lib/announce.js";

const REST = 350; // milliseconds without a change
const SHARP = 2; // pixels of a PNG for each of the drawing

const waiting = new WeakMap();
let styled;

document.querySelectorAll(".take").forEach(ready); // on a page that has them from the start

/** Fill the panel with what belongs to the figure's state, and make it work. */
export async function share(details) {
  styled ??= sheet();
  if (!details.querySelector(".take")) await refresh(details);
}

document.addEventListener("figure:changed", ({ detail }) => {
  const details = detail.figure.querySelector("details.sharing:not(.own, .config)[open]");
  if (!details) return;
  clearTimeout(waiting.get(details));
  waiting.set(details, setTimeout(() => refresh(details), REST));
});

document.addEventListener("click", (event) => {
  const { target } = event;
  const file = target.closest("[data-own=tab] .take-files :is(a[download], [data-png])");
  if (file) {
    event.preventDefault();
    saveOwn(file);
    return;
  }
  const button = target.closest("[data-copy], [data-png], [data-cells]");
  if (button?.dataset.copy) copy(button);
  else if (button?.dataset.png) savePng(button.dataset.png, button.dataset.name);
  else if (button) saveCells(button);
});

async function refresh(details) {
  const form = details.closest("figure").querySelector("form[data-defaults]");
  const panel = (await fetched(`${form.getAttribute("hx-get")}/share?${new URLSearchParams(new FormData(form))}`))?.querySelector(".take");
  await styled;
  if (!panel) return; // the line is bad: the link stays
  details.replaceChildren(details.querySelector("summary"), panel);
  ready(details);
}

/** Addresses get the site's own in front; what needs a script shows itself. */
function ready(panel) {
  for (const field of panel.querySelectorAll("[data-absolute]")) {
    field.value = field.value.replace(/(^|src=")\//, `$1${location.origin}/`);
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
  } catch {
    select(source); // not over HTTPS, or forbidden: it can be copied by hand
    if (!document.execCommand("copy")) return;
  }
  say(button.dataset.copied);
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), 2000);
}

function select(source) {
  if (source.select) source.select();
  else getSelection().selectAllChildren(source);
}

/** On the reader's weights: no address leads to such a file, so it is asked for as the figure is. */
async function saveOwn({ dataset, href, download }) {
  const { fileOf } = await import("../own/weights.js");
  const file = await fileOf(dataset.png ?? href);
  if (!file) return;
  if (dataset.png) await savePng(`data:image/svg+xml;charset=utf-8,${encodeURIComponent(await file.text())}`, named(dataset.name));
  else save(file, named(download || new URL(href).pathname.split("/").at(-1)));
}

function named(name) {
  return name.replace(/(?=\.\w+$)/, "-own");
}

/** A figure that is no drawing is pictured here: only a browser can lay it out. */
async function saveCells({ dataset, form, parentElement }) {
  const { pictureOf } = await import("./html_picture.js");
  const svg = await pictureOf((form ?? parentElement).closest("figure"), dataset.cells);
  if (dataset.name.endsWith(".svg")) save(new Blob([svg], { type: "image/svg+xml" }), dataset.name);
  else await savePng(`data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`, dataset.name);
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

function sheet() {
  const href = new URL("../../css/share.css", import.meta.url).href;
  if ([...document.styleSheets].some((known) => known.href === href)) return Promise.resolve();
  return new Promise((resolve) => {
    document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href, onload: resolve, onerror: resolve }));
  });
}
