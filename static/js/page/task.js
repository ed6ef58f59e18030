// Remember how a task was done, in this browser only, and give the focus to an answer that cannot be read.
//
// The task itself needs no script.
import { isScore, read, write } from "../lib/storage.js";

const exercise = document.querySelector("[data-task]");
const KEY = `practised:${document.documentElement.dataset.lesson}`;
const { task, right, blanks } = exercise.dataset;

// After the browser has gone to the place that the address names, which takes the focus away.
window.addEventListener("load", () => setTimeout(() => exercise.querySelector("[data-unread]")?.focus()));

if (Number(right) && !new URLSearchParams(location.search).has("solve")) {
  const scores = read(KEY, "localStorage", isScore);
  const better = scores[task]?.right / scores[task]?.blanks > right / blanks;
  if (!better) write(KEY, { ...scores, [task]: { right: Number(right), blanks: Number(blanks) } });
}
