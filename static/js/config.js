// A figure for a reader's own model: a config.json, or what the header of a GGUF file says about the model's shape. The
// server makes of it a line of fields, which is a control like any other and stands in the address.
import { setControls } from "./controls.js";
import { CutError, shapeOf } from "./cut.js";
import { fetched, sheets } from "./folded.js";
import { ask, wantedBy } from "./line.js";

/** The panel of a figure, filled and at work. */
export async function config(details) {
  const styled = sheets("share", "own");
  if (!details.querySelector(".own-panel")) {
    const form = formOf(details);
    const panel = (await fetched(`${form.getAttribute("hx-get")}/own?${new URLSearchParams(new FormData(form))}`))?.querySelector(".own-panel");
    await styled;
    if (!panel) return; // the line is bad: the link stays
    details.replaceChildren(details.querySelector("summary"), panel);
  }
  const panel = details.querySelector(".own-panel");
  if (panel.dataset.ready) return;
  panel.dataset.ready = "yes";
  panel.querySelector(".own-drop").hidden = false;
  panel.querySelector(".own-paste").addEventListener("submit", (event) => {
    event.preventDefault();
    offer(panel, { "own.text": new FormData(event.target).get("own.text") });
  });
  panel.querySelector("input[type=file]").addEventListener("change", ({ target }) => target.files[0] && open(panel, target.files[0]));
  for (const type of ["dragover", "dragleave", "drop"]) {
    panel.addEventListener(type, (event) => {
      event.preventDefault();
      panel.querySelector(".own-drop").classList.toggle("over", type === "dragover");
      if (type === "drop" && event.dataTransfer.files[0]) open(panel, event.dataTransfer.files[0]);
    });
  }
}

async function open(panel, file) {
  tell(panel, "");
  try {
    const bytes = await shapeOf(file);
    let binary = "";
    for (const byte of bytes) binary += String.fromCharCode(byte);
    await offer(panel, { "own.file": btoa(binary) });
  } catch (error) {
    tell(panel, wordsOf(panel)[error instanceof CutError ? error.message : "strange"]);
  }
}

/** The server's line goes into the figure's control, and the figure is asked for that state. */
async function offer(panel, fields) {
  tell(panel, "");
  const form = formOf(panel);
  let answer;
  let text;
  try {
    answer = await fetch(form.getAttribute("hx-get"), { method: "POST", body: new URLSearchParams(fields) });
    text = await answer.text();
  } catch {
    tell(panel, wordsOf(panel).line);
    return;
  }
  if (answer.status === 422) {
    tell(panel, new DOMParser().parseFromString(text, "text/html").querySelector(".view")?.textContent.trim());
  } else if (answer.status === 413) {
    tell(panel, wordsOf(panel).large);
  } else if (answer.ok) {
    const state = { ...wantedBy(form), ...JSON.parse(text) };
    setControls(form, state);
    ask(form, state);
    form.closest("figure").scrollIntoView(); // the answer stands above what was pasted
  } else {
    tell(panel, wordsOf(panel).line);
  }
}

function wordsOf(panel) {
  return panel.querySelector(".own-problem").dataset;
}

function tell(panel, problem) {
  const place = panel.querySelector(".own-problem");
  place.hidden = !problem;
  place.textContent = problem ?? "";
}

function formOf(element) {
  return element.closest("figure").querySelector("form[data-defaults]");
}
