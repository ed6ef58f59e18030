// Move marks to their new places over some frames, so that a single step of a control is seen as a motion.
//
// CSS transitions would all begin in the frame that the reader waits for; here that frame is free.
const DURATION = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--move")); // milliseconds
const PLACES = ["cx", "cy", "x", "y", "width", "height", "r", "d"];
const NUMBERS = /-?(?:\d+(?:\.\d+)?|\.\d+)/g;

const still = matchMedia("(prefers-reduced-motion: reduce)");
const motions = new Map(); // view → { changes, start }
let frame;

addEventListener("beforeprint", () => advance(Infinity));

/** Whether a motion would be seen now. */
export function motionIsWelcome() {
  return !still.matches && !document.hidden;
}

/** Whether an attribute is the position of a mark with an id: it differs in its numbers only. */
export function isPlace(element, name, from, to) {
  return PLACES.includes(name) && element.id !== "" && "ownerSVGElement" in element && from !== null && shapeOf(from) === shapeOf(to);
}

function shapeOf(value) {
  return value.replace(NUMBERS, "#");
}

/** Stop the marks of a view where they are: they are about to be moved elsewhere. */
export function stopMarks(view) {
  motions.delete(view);
}

/** Move marks of a view. A change is { element, name of an attribute, value from, value to }. */
export function moveMarks(view, changes) {
  if (!changes.length) return;
  motions.set(view, { changes: changes.map(withNumbers), start: undefined });
  frame ??= requestAnimationFrame(advance);
}

/** A change with the numbers that differ, and the text before each of them. */
function withNumbers({ element, name, from, to }) {
  const before = from.match(NUMBERS);
  const pieces = [];
  let end = 0;
  for (const [i, { 0: number, index }] of [...to.matchAll(NUMBERS)].entries()) {
    if (number === before[i]) continue;
    pieces.push({ before: to.slice(end, index), first: Number(before[i]), way: number - before[i] });
    end = index + number.length;
  }
  return { element, name, to, pieces, rest: to.slice(end) };
}

function between({ pieces, rest }, share) {
  let value = "";
  for (const { before, first, way } of pieces) value += before + (first + share * way).toFixed(2);
  return value + rest;
}

function advance(now) {
  for (const [view, motion] of motions) {
    motion.start ??= now; // the frame that shows the rest of the new state
    const share = Math.min((now - motion.start) / DURATION || 0, 1);
    if (now === Infinity || share === 1) {
      for (const { element, name, to } of motion.changes) element.setAttribute(name, to);
      motions.delete(view);
    } else if (share > 0) {
      const eased = 1 - (1 - share) ** 3;
      for (const change of motion.changes) change.element.setAttribute(change.name, between(change, eased));
    }
  }
  frame = motions.size ? requestAnimationFrame(advance) : undefined;
}
