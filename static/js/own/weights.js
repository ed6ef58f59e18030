// A reader's own weights in the figures that can draw them. They stay in this tab.
//
// Every change of a control sends them by POST; the server draws them and stores nothing. The address has the controls only, so a
// link to this page shows the lesson's weights.
import { formOf } from "../figure/controls.js";
import { addSource, ask, isOvertaken, refuse, showView } from "../figure/requests.js";
import { parsePage, request } from "../lib/fetch.js";
import { read, remove, write } from "../lib/storage.js";
import { tensorsOf } from "./model_file.js";
import { attempt, loadSheets, preparePanel, send } from "./panel.js";

const KEY = "own";
const waiting = new Map(); // form → the newest change that waits while another is on its way
let held = read(KEY, "sessionStorage"); // the fields of the reader's weights
if (!held["own.text"] && !held["own.file"]) held = null;

document.addEventListener("click", ({ target }) => target.closest("[data-own-back]") && hold(null));
addSource((form, change) => {
  if (!held || !takesWeights(form)) return false;
  post(form, change);
  return true; // an answer to what is sent is not to be found at an address
});
if (held) show();

/** Open the panel of a figure, and read a file into it if there is one. */
export async function open(details, file) {
  const panel = await preparePanel(details, readFile, (pasted, fields) =>
    offer(pasted, { "own.text": fields.get("own.text"), "own.at": fields.get("own.at") || "0" }));
  mark();
  if (panel && file) readFile(panel, file);
}

/** Read a file's header and let a block of it be chosen. */
function readFile(panel, file) {
  const form = panel.querySelector(".own-cut");
  form.hidden = true;
  return attempt(panel, async () => {
    const tensors = await tensorsOf(file, JSON.parse(panel.dataset.types));
    const [choice, row, column] = ["select", "[data-row]", "[data-column]"].map((part) => form.querySelector(part));
    choice.replaceChildren(...tensors.map(({ name, rows, columns }, i) => new Option(`${name || file.name}  ${rows} × ${columns}`, i)));
    choice.onchange = () => {
      const { rows, columns, block } = tensors[choice.value];
      const first = Math.min(column.value, columns - 1);
      Object.assign(row, { max: rows - 1, value: Math.min(row.value, rows - 1) });
      Object.assign(column, { max: columns - 1, step: block, value: first - (first % block) });
    };
    choice.onchange();
    form.onsubmit = (event) => {
      event.preventDefault();
      attempt(panel, async () => {
        const { first, bytes } = await tensors[choice.value].read(Number(row.value) || 0, Number(column.value) || 0);
        await offer(panel, { "own.file": btoa(String.fromCharCode(...bytes)), "own.name": file.name, "own.column": `${first}` });
      });
    };
    form.hidden = false;
    panel.scrollIntoView({ block: "nearest" }); // the file may have been dropped on the figure above
    choice.focus({ preventScroll: true });
  });
}

/** Weights are held once the figure that they are given to can be drawn on them. */
async function offer(panel, fields) {
  const state = Object.fromEntries(new FormData(formOf(panel)));
  if (await send(panel, { ...state, ...fields }, viewIn)) hold(fields);
}

/** Draw the figures on these weights, or with null on the lesson's again. */
function hold(fields) {
  held = fields;
  if (held) write(KEY, held, "sessionStorage");
  else remove(KEY, "sessionStorage");
  show();
}

function show() {
  if (held) loadSheets();
  mark();
  forms().forEach((form) => ask(form));
}

/** Figures say whether they show the reader's weights. */
function mark() {
  for (const form of forms()) {
    const figure = form.closest("figure");
    if (held) figure.dataset.own = "tab";
    else delete figure.dataset.own;
    const line = figure.querySelector(".own-back");
    if (line) line.hidden = !held;
  }
}

/** Ask for the view of a change: one request at a time for a figure, the newest waits. */
async function post(form, change) {
  const busy = waiting.has(form);
  waiting.set(form, change);
  if (busy) return;
  for (let now = change; now; now = waiting.get(form)) {
    waiting.set(form, null);
    const answer = await request(form.getAttribute("hx-get"), { fields: withWeights(now.request.body) });
    if (!held || isOvertaken(form, now)) continue;
    const view = viewIn(answer.body ?? "");
    if (view?.id === form.querySelector(".view").id) showView(form, now, view);
    else refuse(form, now, answer);
  }
  waiting.delete(form);
}

/** A file of a figure, by its address, on the weights that are held; null where no answer comes. */
export async function fileOf(address) {
  const { pathname, searchParams } = new URL(address, location);
  const { ok, body } = await request(pathname, { fields: withWeights(searchParams), as: "blob" });
  return ok ? body : null;
}

function viewIn(html) {
  return parsePage(html).querySelector(".view");
}

function withWeights(state) {
  return { ...Object.fromEntries(state), ...held };
}

function takesWeights(form) {
  return Boolean(form.closest("figure")?.querySelector("details.own"));
}

function forms() {
  return [...document.querySelectorAll("figure[data-figure] form[data-defaults]")].filter(takesWeights);
}
