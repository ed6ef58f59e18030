// A task that was done is remembered in this browser only, for the page that looks back, and a field that could not be read
// gets the focus. The task itself needs no script.
import { isScore, keep, recalled } from "../lib/storage.js";

const exercise = document.querySelector("[data-task]");
const KEY = `practised:${location.pathname.replace(/\/tasks\/.*/, "")}`;
const { task, right, blanks } = exercise.dataset;

// After the browser has gone to the place that the address names, which takes the focus away.
window.addEventListener("load", () => setTimeout(() => exercise.querySelector("[data-unread]")?.focus()));

if (Number(right) && !new URLSearchParams(location.search).has("solve")) {
  const kept = recalled(KEY, isScore);
  if (!(kept[task]?.right / kept[task]?.blanks > right / blanks)) keep(KEY, { ...kept, [task]: { right: Number(right), blanks: Number(blanks) } });
}
