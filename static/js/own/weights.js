// A figure on weights of the reader's. They stay in this tab: every change of a control sends them along, the server draws and
// forgets. The address holds the controls alone, so a link of this page shows the lesson's weights.
import { tensorsOf, CutError } from "./model_file.js";
import { formOf, tell } from "./panel.js";
import { sheets } from "../figure/folds.js";
import { ask, lost, overtaken, reasonOf, showAtOnce } from "../figure/requests.js";
import { forget, isText, keep, recalled } from "../lib/storage.js";

const KEY = "own";
const sending = new WeakMap(); // form → { next }: one request at a time, the newest waits
let held = remembered(); // the fields of the reader's weights, or null

document.addEventListener("click", ({ target }) => target.closest("[data-own-back]") && back());
window.htmx?.registerExtension("own", {
  htmx_config_request(form, { ctx }) {
    if (!held || !takes(form)) return true;
    send(form, ctx);
    return false; // ours: an answer to what is sent is not to be found at an address
  },
});
if (held) show();

export function paste(panel, fields) {
  offer(panel, { "own.text": fields.get("own.text"), "own.at": fields.get("own.at") || "0" });
}

/** Read a file's header and let a block of it be chosen. */
export async function open(panel, file) {
  tell(panel, "");
  const cut = panel.querySelector(".own-cut");
  cut.hidden = true;
  let tensors;
  try {
    tensors = await tensorsOf(file, JSON.parse(panel.dataset.types));
  } catch (error) {
    tell(panel, error instanceof CutError ? error.message : "strange");
    return;
  }
  const [choice, row, column] = ["select", "[data-row]", "[data-column]"].map((part) => cut.querySelector(part));
  choice.replaceChildren(...tensors.map(({ name, rows, columns }, i) => new Option(`${name || file.name}  ${rows} × ${columns}`, i)));
  const bound = () => {
    const { rows, columns, block } = tensors[choice.value];
    Object.assign(row, { max: rows - 1, value: Math.min(row.value, rows - 1) });
    Object.assign(column, { max: columns - 1, step: block, value: Math.min(column.value, columns - 1) - (Math.min(column.value, columns - 1) % block) });
  };
  choice.onchange = bound;
  bound();
  cut.onsubmit = async (event) => {
    event.preventDefault();
    const chosen = tensors[choice.value];
    try {
      const { first, bytes } = await chosen.cut(Number(row.value) || 0, Number(column.value) || 0);
      offer(panel, { "own.file": btoa(String.fromCharCode(...bytes)), "own.name": file.name, "own.column": `${first}` });
    } catch (error) {
      tell(panel, error instanceof CutError ? error.message : "strange");
    }
  };
  cut.hidden = false;
  panel.scrollIntoView({ block: "nearest" }); // the file may have been dropped on the figure above
  choice.focus({ preventScroll: true });
}

/** Weights are held once the figure that they are given to can be drawn on them. */
async function offer(panel, fields) {
  tell(panel, "");
  const form = formOf(panel);
  const { status, view } = await post(form, new FormData(form), fields);
  if (status !== 200 || !view) {
    if (status === 422) tell(panel, "given", view?.textContent.trim());
    else tell(panel, "line");
    return;
  }
  held = fields;
  keep(KEY, held, "sessionStorage");
  show();
}

function show() {
  sheets("share", "own");
  mark();
  for (const form of forms()) {
    form.dataset.tabledKept ??= form.dataset.tabled ?? "";
    delete form.dataset.tabled; // the tables hold the lesson's weights
    ask(form);
  }
}

function back() {
  held = null;
  forget(KEY, "sessionStorage");
  mark();
  for (const form of forms()) {
    form.dataset.tabled = form.dataset.tabledKept ?? form.dataset.tabled;
    ask(form);
  }
}

/** Figures say whether they show the reader's weights. */
export function mark() {
  for (const form of forms()) {
    const figure = form.closest("figure");
    if (held) figure.dataset.own = "tab";
    else delete figure.dataset.own;
    const line = figure.querySelector(".own-back");
    if (line) line.hidden = !held;
  }
}

async function send(form, ctx) {
  if (sending.has(form)) {
    sending.get(form).next = ctx;
    return;
  }
  const turn = { next: ctx };
  sending.set(form, turn);
  while (turn.next) {
    const now = turn.next;
    turn.next = null;
    const { status, view } = await post(form, now.request.body, held ?? {});
    if (!held || overtaken(form, now)) continue;
    if (view?.id === form.querySelector(".view").id) showAtOnce(form, now, view);
    else lost(form, now, reasonOf(status));
  }
  sending.delete(form);
}

/** A file of a figure, by its address, on the weights that are held; nothing where the line is bad. */
export async function fileOf(address) {
  const { pathname, searchParams } = new URL(address, location.href);
  try {
    const answer = await fetch(pathname, { method: "POST", body: bodyOf(searchParams, held) });
    return answer.ok ? await answer.blob() : null;
  } catch {
    return null;
  }
}

function bodyOf(state, fields) {
  const body = new URLSearchParams(state);
  for (const [name, value] of Object.entries(fields)) body.set(name, value);
  return body;
}

async function post(form, state, fields) {
  try {
    const answer = await fetch(form.getAttribute("hx-get"), { method: "POST", body: bodyOf(state, fields) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    return { status: answer.status, view: page.querySelector(".view") };
  } catch {
    return { status: 0, view: null };
  }
}

function takes(form) {
  return Boolean(form.closest("figure")?.querySelector("details.own"));
}

function forms() {
  return [...document.querySelectorAll("figure[data-figure] form[data-defaults]")].filter(takes);
}

function remembered() {
  const fields = recalled(KEY, isText, "sessionStorage");
  return fields["own.text"] || fields["own.file"] ? fields : null;
}
