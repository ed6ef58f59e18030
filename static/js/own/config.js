// A figure for a reader's own model: a config.json, or what the header of a GGUF file says about the model's shape. The
// server makes of it a line of fields, which is a control like any other and stands in the address.
import { setControls } from "../figure/controls.js";
import { CutError, leanConfig, shapeOf } from "./model_file.js";
import { formOf, tell } from "./panel.js";
import { ask, wantedBy } from "../figure/requests.js";

export function paste(panel, fields) {
  offer(panel, { "own.text": leanConfig(fields.get("own.text")) });
}

export async function open(panel, file) {
  tell(panel, "");
  try {
    const bytes = await shapeOf(file);
    let binary = "";
    for (const byte of bytes) binary += String.fromCharCode(byte);
    await offer(panel, { "own.file": btoa(binary) });
  } catch (error) {
    tell(panel, error instanceof CutError ? error.message : "strange");
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
    tell(panel, "line");
    return;
  }
  if (answer.status === 422) {
    tell(panel, "given", new DOMParser().parseFromString(text, "text/html").querySelector(".view")?.textContent.trim());
  } else if (answer.status === 413) {
    tell(panel, "large");
  } else if (answer.ok) {
    const state = { ...wantedBy(form), ...JSON.parse(text) };
    setControls(form, state);
    ask(form, state);
    form.closest("figure").scrollIntoView(); // the answer stands above what was pasted
  } else {
    tell(panel, "line");
  }
}
