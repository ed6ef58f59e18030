// A reader's own model in a figure: a config.json, or what the header of a GGUF file says about the model's shape.
//
// The server makes a line of fields from it, which is a control like any other and is part of the address.
import { formOf, setControls, wantedBy } from "../figure/controls.js";
import { ask } from "../figure/requests.js";
import { leanConfig, shapeOf } from "./model_file.js";
import { attempt, preparePanel, send } from "./panel.js";

/** Open the panel of a figure, and read a file into it if there is one. */
export async function open(details, file) {
  const panel = await preparePanel(details, readFile, (pasted, fields) => show(pasted, { "own.text": leanConfig(fields.get("own.text")) }));
  if (panel && file) readFile(panel, file);
}

function readFile(panel, file) {
  return attempt(panel, async () => {
    let binary = "";
    for (const byte of await shapeOf(file)) binary += String.fromCharCode(byte);
    await show(panel, { "own.file": btoa(binary) });
  });
}

/** The server's line goes into the figure's control, and the figure is asked for that state. */
async function show(panel, fields) {
  const controls = await send(panel, fields, JSON.parse);
  if (!controls) return;
  const form = formOf(panel);
  const state = { ...wantedBy(form), ...controls };
  setControls(form, state);
  ask(form, state);
  form.querySelector(".details").open = true; // the model's line is there, and the way back to the models of the list
  form.closest("figure").scrollIntoView(); // the answer stands above what was pasted
}
