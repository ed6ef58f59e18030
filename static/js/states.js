// A drag answered in the same frame: on the first touch of a control the page fetches all its states at once, and shows
// the next from that table in place of a request. A miss goes to the network as ever.
import { lightened } from "./folded.js";
import { showAtOnce } from "./line.js";

const MOST_TABLES = 32; // some are of megabytes
const REST = 5000; // milliseconds before a table that was not given is asked for again
const tables = new Map(); // address of a table → { value: view }

export function watchStates() {
  for (const touch of ["pointerdown", "focusin"]) {
    document.addEventListener(touch, ({ target }) => {
      const input = target.closest?.("label")?.control ?? target;
      if (tabled(input)) statesOf(input);
    });
  }
  // Before htmx puts a request in line: what is here already must not wait behind an answer that is on its way.
  window.htmx.registerExtension("states", {
    htmx_config_request(form, { ctx }) {
      const state = ctx.request.body;
      const view = viewOf(form, state);
      if (view === undefined) {
        const input = ctx.sourceEvent.target;
        if (input.type === "range" && tabled(input)) fetchTable(tableOf(form, input.name, state)); // the rest of a drag will find it
        return true;
      }
      showAtOnce(form, ctx, parsed(lightened(view, form)));
      return false; // answered: nothing is sent
    },
  });
}

/** Fetch all states of a control, the others as they are; settled when they are here, or cannot be. */
export function statesOf(input) {
  return fetchTable(tableOf(input.form, input.name, new FormData(input.form)));
}

function tabled(input) {
  return Boolean(input?.form && names(input.form).includes(input.name));
}

function names(form) {
  return form.dataset.tabled?.split(" ") ?? [];
}

/** The view of a state, where the table of any control holds it. */
function viewOf(form, state) {
  return names(form)
    .map((name) => tables.get(tableOf(form, name, state))?.[state.get(name)])
    .find((view) => view !== undefined);
}

function parsed(view) {
  const template = document.createElement("template");
  template.innerHTML = view;
  return template.content.firstElementChild;
}

/** The table is that of the control at a state of all the others. */
function tableOf(form, name, state) {
  const others = new URLSearchParams(state);
  others.delete(name);
  return `${form.getAttribute("hx-get")}/along/${name}?${others}`;
}

async function fetchTable(address) {
  if (tables.has(address)) return;
  tables.set(address, undefined); // on its way
  if (tables.size > MOST_TABLES) tables.delete(tables.keys().next().value);
  try {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${answer.status}`);
    const table = await answer.json();
    tables.set(address, table);
    if (!Object.keys(table).length) setTimeout(() => tables.delete(address), REST); // too large, or the server too busy
  } catch {
    tables.delete(address); // the next touch tries again; until then every change is a request of its own
  }
}
