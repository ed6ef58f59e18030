// Leave the folded parts below a figure unchanged until they are unfolded: a change only notes their new content.
const FOLD = '<div class="more">'; // the details of a view end with it
const END = "</div></details></div>";
const nextHtml = new WeakMap(); // .more → the HTML that the last change brought for it
const nextPart = new WeakMap(); // a closed <details> → the one that the last change brought

/** A view without its folded parts, and those: a drag need not parse them. */
export function splitFold(html) {
  const at = html.lastIndexOf(FOLD);
  return { view: html.slice(0, at) + FOLD + END, fold: html.slice(at) };
}

/** Note the folded parts of the view that is about to be shown. */
export function noteFold(more, html) {
  nextHtml.set(more, html);
}

/** Whether a part of a view stays unchanged because it is folded: its new content is noted. */
export function staysFolded(part, next) {
  if (part.className === "more") {
    if (!next.firstChild) return true;
    nextHtml.delete(part);
  }
  if (part.localName !== "details" || part.open || part.parentElement.className !== "more") return false;
  nextPart.set(part, next);
  return true;
}

export function watchFolds() {
  unfoldAll(document); // opened before we were here
  document.addEventListener("toggle", ({ target }) => target.matches(".more > details[open]") && unfold(target), true);
  document.addEventListener("figure:changed", ({ detail }) => unfoldAll(detail.figure));
}

function unfoldAll(element) {
  element.querySelectorAll(".more > details[open]").forEach(unfold);
}

function unfold(details) {
  parseFold(details.parentElement);
  if (nextPart.has(details)) {
    const summary = details.querySelector("summary"); // stays: it may have the focus
    details.replaceChildren(summary, ...[...nextPart.get(details).childNodes].filter((node) => node.localName !== "summary"));
    nextPart.delete(details);
  }
  details.dispatchEvent(new Event("figure:unfolded", { bubbles: true }));
}

function parseFold(more) {
  if (!nextHtml.has(more)) return;
  const parts = parse(nextHtml.get(more)).children;
  nextHtml.delete(more);
  more.querySelectorAll(":scope > details").forEach((details, i) => nextPart.set(details, parts[i]));
}

/** The element that a piece of HTML begins with. */
export function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.firstElementChild;
}
