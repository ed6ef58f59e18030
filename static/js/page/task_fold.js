// Do a task at the end of its section, where it is fetched when it is unfolded; the server checks it.
//
// Where a step asks for a state of a figure, the figure on this page is taken as it stands.
import { defaultsOf, stateOf } from "../figure/controls.js";
import { load } from "../lib/assets.js";
import { fetchPage } from "../lib/fetch.js";
import { answersOf, leave, note, practise, seedOfThisBrowser } from "./practised.js";

/** Show the exercise in its fold; the link stays where no answer comes. */
export async function openTask(fold) {
  if (fold.querySelector(".exercise")) return;
  const { left, typed } = answersOf(fold.id);
  const anew = { seed: seedOfThisBrowser() };
  if (!(await show(fold, new URLSearchParams(left ?? anew))) && !(left && (await show(fold, new URLSearchParams(anew))))) return;
  fill(fold.querySelector(".exercise form"), new URLSearchParams(typed));
  fold.addEventListener("submit", check);
  fold.addEventListener("click", follow);
  fold.addEventListener("input", ({ target }) => note(fold.id, new URLSearchParams(new FormData(target.form))));
}

/** Type what was typed and not yet checked when the page was left. */
function fill(form, typed) {
  if (["stage", "seed"].some((name) => typed.get(name) !== form.elements[name]?.value)) return;
  for (const [name, value] of typed) if (form.elements[name]) form.elements[name].value = value;
}

async function show(fold, query) {
  const [page] = await Promise.all([fetchPage(`${fold.dataset.taskFold}?${query}`, [422]), load("task")]);
  const exercise = page?.querySelector(".exercise");
  if (!exercise) return null;
  (fold.querySelector(".exercise") ?? fold.querySelector(".elsewhere")).replaceWith(exercise);
  for (const field of exercise.querySelectorAll("[data-state]")) {
    if (!formOfState(field)) continue; // on another page: its address can be pasted
    field.querySelector("input").hidden = true;
    for (const hint of field.querySelectorAll(".hint")) hint.hidden = !hint.matches("[data-as-it-stands]");
  }
  return exercise;
}

async function check(event) {
  event.preventDefault();
  const fold = event.currentTarget;
  const query = new URLSearchParams(new FormData(event.target));
  for (const field of fold.querySelectorAll("[data-state]")) {
    const form = formOfState(field);
    if (form) query.set(field.querySelector("input").name, stateQuery(form));
  }
  const exercise = await show(fold, query);
  if (!exercise) return;
  leave(fold.id, query);
  practise(exercise);
  document.dispatchEvent(new CustomEvent("task:checked", { detail: { name: exercise.dataset.task, query } }));
  (exercise.querySelector("[data-unread]") ?? exercise.querySelector(".doing button")).focus({ preventScroll: true });
}

/** "Show how" and "Another one" stay on this page, too. */
async function follow(event) {
  const link = event.target.closest?.(".exercise .doing a, .exercise .stages a");
  if (!link?.search || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const fold = event.currentTarget;
  const exercise = await show(fold, new URLSearchParams(link.search));
  if (exercise) leave(fold.id, link.search);
  exercise?.querySelector(".doing button").focus({ preventScroll: true });
}

function formOfState(field) {
  return document.querySelector(`#${field.dataset.state} form[data-defaults]`);
}

/** The controls that are not as the figure begins; "=" where all are. */
function stateQuery(form) {
  const state = stateOf(form);
  const changed = Object.entries(defaultsOf(form)).filter(([name, value]) => state[name] !== undefined && state[name] !== value);
  return `${new URLSearchParams(changed.map(([name]) => [name, state[name]]))}` || "=";
}
