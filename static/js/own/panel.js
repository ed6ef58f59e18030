// The panel in which a reader gives a figure data of their own: a file, dropped or chosen, or what is pasted.
import { formOf } from "../figure/controls.js";
import { load } from "../lib/assets.js";
import { fetchPage, parsePage, request } from "../lib/fetch.js";

const panels = new WeakMap(); // details → a promise of its panel

/** Fill the panel, once; `readFile(panel, file)` and `readText(panel, fields)` get what the reader gives. Null where it does not come. */
export async function preparePanel(details, readFile, readText) {
  if (!panels.has(details)) panels.set(details, fillPanel(details));
  const panel = await panels.get(details);
  if (!panel) panels.delete(details); // the link stays, and the next time tries again
  if (!panel || panel.dataset.ready) return panel;
  panel.dataset.ready = "yes";
  panel.querySelector(".own-drop").hidden = false;
  panel.querySelector("input[type=file]").addEventListener("change", ({ target }) => target.files[0] && readFile(panel, target.files[0]));
  panel.querySelector(".own-paste").addEventListener("submit", (event) => {
    event.preventDefault();
    readText(panel, new FormData(event.target));
  });
  return panel;
}

async function fillPanel(details) {
  const styled = loadSheets();
  const there = details.querySelector(".own-panel");
  const panel = there ?? (await fetchPage(`${details.dataset.panel}?${new URLSearchParams(new FormData(formOf(details)))}`))?.querySelector(".own-panel");
  await styled;
  if (panel && !there) details.replaceChildren(details.querySelector("summary"), panel);
  return panel ?? null;
}

export function loadSheets() {
  return Promise.all([load("share"), load("own")]);
}

/** Send the server what a reader gave: what `parse` makes of its answer, or null after the panel has said what is wrong. */
export async function send(panel, fields, parse) {
  showProblem(panel, "");
  const { ok, status, body } = await request(formOf(panel).getAttribute("hx-get"), { fields });
  try {
    const parsed = ok ? parse(body) : null;
    if (parsed) return parsed;
  } catch {
    // Something else answered in the server's place.
  }
  if (status === 422) showProblem(panel, "given", parsePage(body).querySelector(".view")?.textContent.trim());
  else showProblem(panel, status === 413 && wordsOf(panel).large ? "large" : "line");
  return null;
}

/** Say what is wrong; the words are in the data of the place where they are shown. */
function showProblem(panel, problem, words = wordsOf(panel)[problem]) {
  const place = panel.querySelector(".own-problem");
  place.hidden = !problem;
  place.textContent = problem ? words : "";
}

/** Run what reads a file, and say why it cannot be read. */
export async function attempt(panel, action) {
  showProblem(panel, "");
  try {
    await action();
  } catch (error) {
    showProblem(panel, error.problem ?? "strange");
  }
}

function wordsOf(panel) {
  return panel.querySelector(".own-problem").dataset;
}
