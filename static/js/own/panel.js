// What a reader gives to a figure: a file that is dropped anywhere on it, or chosen, or what is pasted, in its panel.
import { fetched, sheets } from "../figure/folds.js";

const panels = new WeakMap(); // details → its panel, here or on its way

export function watchDrops() {
  for (const type of ["dragover", "dragleave", "drop"]) document.addEventListener(type, (event) => dragged(event, type));
}

function dragged(event, type) {
  const details = event.target.closest?.("figure[data-figure]")?.querySelector("details:is(.own, .config)");
  if (!details || !event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault(); // else the browser leaves the page for the file
  sheets("own");
  details.closest("figure").classList.toggle("over", type === "dragover");
  const [file] = event.dataTransfer.files;
  if (type !== "drop" || !file) return;
  details.open = true;
  give(details, file);
}

/** The panel of a figure at work, and a file for it if there is one. */
export async function give(details, file) {
  const name = details.matches(".own") ? "weights" : "config";
  try {
    const { open, paste, mark } = await import(`./${name}.js`);
    const panel = await panelOf(details, open, paste);
    mark?.();
    if (panel && file) open(panel, file);
  } catch {
    // The line is bad: the link stays.
  }
}

/** The panel, filled once: `open` takes a file, `paste` the form in which text was pasted. */
async function panelOf(details, open, paste) {
  if (!panels.has(details)) panels.set(details, filled(details));
  const panel = await panels.get(details);
  if (!panel) panels.delete(details); // the line is bad: the link stays, and the next time tries again
  if (!panel || panel.dataset.ready) return panel;
  panel.dataset.ready = "yes";
  panel.querySelector(".own-drop").hidden = false;
  panel.querySelector("input[type=file]").addEventListener("change", ({ target }) => target.files[0] && open(panel, target.files[0]));
  panel.querySelector(".own-paste").addEventListener("submit", (event) => {
    event.preventDefault();
    paste(panel, new FormData(event.target));
  });
  return panel;
}

async function filled(details) {
  const styled = sheets("share", "own");
  const form = formOf(details);
  const there = details.querySelector(".own-panel");
  const panel = there ?? (await fetched(`${form.getAttribute("hx-get")}/own?${new URLSearchParams(new FormData(form))}`))?.querySelector(".own-panel");
  await styled;
  if (panel && !there) details.replaceChildren(details.querySelector("summary"), panel);
  return panel;
}

export function formOf(element) {
  return element.closest("figure").querySelector("form[data-defaults]");
}

/** What the panel says of a problem: its words are in the data of the place where it stands. */
export function tell(panel, problem, words = wordsOf(panel)[problem]) {
  const place = panel.querySelector(".own-problem");
  place.hidden = !problem;
  place.textContent = problem ? words : "";
}

function wordsOf(panel) {
  return panel.querySelector(".own-problem").dataset;
}
