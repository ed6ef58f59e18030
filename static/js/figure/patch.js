// Change the shown view into the next one: elements stay, and only what differs is changed.
//
// Marks keep their ids and so move to their new places, and the focus stays. It does less than htmx's general morph and takes a
// fraction of its time, for which a drag waits.
import { staysFolded } from "./folds.js";
import { isPlace, motionIsWelcome, moveMarks, stopMarks } from "./motion.js";

const SET_HERE = ["open", "data-htmx-powered"]; // attributes that the reader or htmx sets, not the server
const MADE_HERE = "[hx-morph-skip]"; // drawn, or fetched, in the browser

let templates; // whether the next view has any
let moves; // places of marks that are to change in the course of some frames; undefined where all change at once

/** Make an element like the next one, whose parts may move into it. With `moving`, marks move to their places over some frames. */
export function patch(element, next, { moving = false } = {}) {
  stopMarks(element);
  templates = holdsTemplate(next);
  moves = moving && motionIsWelcome() ? [] : undefined;
  patchElement(element, next);
  if (moves) moveMarks(element, moves);
}

function patchElement(element, next) {
  if (element.isEqualNode(next) && !(templates && holdsTemplate(next))) return;
  if (element.matches(MADE_HERE) || staysFolded(element, next)) return;
  patchAttributes(element, next);
  if (element.localName === "template") element.content.replaceChildren(next.content);
  else patchChildren(element, next);
}

function patchAttributes(element, next) {
  const wanted = next.getAttributeNames();
  for (const name of wanted) {
    const to = next.getAttribute(name);
    const from = element.getAttribute(name);
    if (from === to || SET_HERE.includes(name)) continue;
    if (moves && isPlace(element, name, from, to)) moves.push({ element, name, from, to });
    else element.setAttribute(name, to);
  }
  if (element.attributes.length === wanted.length) return; // as nearly always
  for (const name of element.getAttributeNames()) {
    if (!next.hasAttribute(name) && !SET_HERE.includes(name)) element.removeAttribute(name);
  }
}

function patchChildren(parent, next) {
  let present = parent.firstChild;
  let wanted = next.firstChild;
  while (wanted) {
    const following = wanted.nextSibling;
    present = withoutSurplus(present, wanted);
    if (present && alike(present, wanted)) {
      patchNode(present, wanted);
      present = present.nextSibling;
    } else {
      const moved = wanted.nodeType === Node.ELEMENT_NODE && sibling(present, wanted);
      if (moved) {
        parent[parent.moveBefore ? "moveBefore" : "insertBefore"](moved, present); // the former keeps the focus
        patchNode(moved, wanted);
      } else {
        parent.insertBefore(wanted, present);
      }
    }
    wanted = following;
  }
  while (present) present = removed(present);
}

/** `isEqualNode` does not look into templates. */
function holdsTemplate(element) {
  return element.localName === "template" || element.querySelector("template") !== null;
}

function patchNode(node, wanted) {
  if (node.nodeType === Node.ELEMENT_NODE) patchElement(node, wanted);
  else if (node.data !== wanted.data) node.data = wanted.data;
}

/** The next present node that the new view has, too; remove those before it, and white space. */
function withoutSurplus(present, wanted) {
  while (present && !alike(present, wanted) && (present.nodeType === Node.TEXT_NODE || !sibling(wanted, present))) {
    present = removed(present);
  }
  return present;
}

/** A later sibling of the node that is like the other one. */
function sibling(node, other) {
  let next = node?.nextSibling;
  while (next && !alike(next, other)) next = next.nextSibling;
  return next;
}

function alike(one, other) {
  return one.nodeName === other.nodeName && (one.id ?? "") === (other.id ?? "");
}

function removed(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}
