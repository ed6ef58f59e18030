// Mark the section that is read now, and those read already, in the list of sections. They are remembered in this browser only.
//
// The line under the present section fills as its reader goes on. On a phone a button names the section, and opens the list.
import { read, write } from "../lib/storage.js";

const KEY = `read:${location.pathname}`;
const LINE = .35; // of the window's height: what stands there is read now

export function watchProgress() {
  const contents = document.querySelector("[data-contents]");
  if (!contents) return;
  const links = new Map([...contents.querySelectorAll("[data-section-link]")].map((a) => [a.dataset.sectionLink, a]));
  const sections = [...document.querySelectorAll("[data-section]")];
  const list = contents.querySelector("ol");
  const done = new Set(Object.values(read(KEY)));
  let current;
  let waiting = false;
  for (const slug of done) links.get(slug)?.setAttribute("data-read", "");

  // A reader who follows a link to a figure is there before anything is scrolled: the list must not move then.
  const arrived = document.getElementById(location.hash.slice(1))?.closest("[data-section]");
  if (arrived) mark(arrived.dataset.section);
  update();
  addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(update);
  }, { passive: true });
  list.addEventListener("click", ({ target }) => target.closest("a") && list.matches(":popover-open") && list.hidePopover());

  function update() {
    waiting = false;
    const line = innerHeight * LINE;
    const section = sections.findLast((each) => each.getBoundingClientRect().top <= line) ?? sections[0];
    const { top, height } = section.getBoundingClientRect();
    if (section.dataset.section !== current) mark(section.dataset.section);
    const share = Math.max(0, Math.min(1, (line - top) / height));
    links.get(current)?.style.setProperty("--read", share.toFixed(3));
  }

  function mark(slug) {
    current = slug;
    for (const [each, link] of links) {
      if (each === slug) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    const link = links.get(slug);
    if (!link) return;
    link.setAttribute("data-read", "");
    contents.querySelector("[data-contents-now]").replaceChildren(...[...link.childNodes].map((node) => node.cloneNode(true)));
    if (!done.has(slug)) write(KEY, [...done.add(slug)]);
    const slugs = [...links.keys()];
    const before = slugs.slice(0, slugs.indexOf(slug)).filter((each) => done.has(each));
    document.dispatchEvent(new CustomEvent("section:reached", { detail: { slug, before } }));
  }
}
