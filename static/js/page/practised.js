// What this browser remembers of tasks: how well each was done, the number of the exercise, and what was answered.
import { isScore, read, write } from "../lib/storage.js";

const { lesson } = document.documentElement.dataset;
const KEY = `practised:${lesson}`;
const SEED = `exercise:${lesson}`;
const LEFT = `answers:${lesson}`;
const TYPED = `typed:${lesson}`;
const SEEDS = 9999;

/** Remember how an exercise was done, if better than before. */
export function practise({ dataset: { task, right, blanks } }) {
  if (!Number(right)) return;
  const scores = read(KEY, "localStorage", isScore);
  const better = scores[task]?.right / scores[task]?.blanks > right / blanks;
  if (!better) write(KEY, { ...scores, [task]: { right: Number(right), blanks: Number(blanks) } });
}

/** Students of a class get different numbers: each browser draws its own once. */
export function seedOfThisBrowser() {
  const { seed } = read(SEED);
  if (seed) return seed;
  const drawn = `${1 + Math.floor(Math.random() * SEEDS)}`;
  write(SEED, { seed: drawn });
  return drawn;
}

/** How an exercise was left: the query that was shown last, and the form's where more was typed since. */
export function answersOf(task) {
  return { left: read(LEFT)[task], typed: read(TYPED)[task] };
}

/** Remember the query that is shown; what was typed before is part of it. */
export function leave(task, query) {
  write(LEFT, { ...read(LEFT), [task]: `${query}` });
  note(task, "");
}

/** Remember what is typed and not yet checked. */
export function note(task, query) {
  write(TYPED, { ...read(TYPED), [task]: `${query}` });
}
