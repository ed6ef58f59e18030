// Mark the section that is read now, and those read already, in the list of sections. They are remembered in this browser only.
import { read, write } from "../lib/storage.js";

const KEY = `read:${location.pathname}`;

export function watchProgress() {
  const contents = document.querySelector("[data-contents]");
  if (!contents) return;
  const links = new Map([...contents.querySelectorAll("[data-section-link]")].map((a) => [a.dataset.sectionLink, a]));
  const done = new Set(Object.values(read(KEY)));
  for (const slug of done) links.get(slug)?.setAttribute("data-read", "");

  const observer = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) mark(target.dataset.section);
  }, { rootMargin: "-35% 0px -64% 0px" });
  document.querySelectorAll("[data-section]").forEach((section) => observer.observe(section));

  // Who comes by a link to a figure is there before anything is observed: the list does not move under their eyes.
  const arrived = document.getElementById(location.hash.slice(1))?.closest("[data-section]");
  if (arrived) mark(arrived.dataset.section);

  const edge = new IntersectionObserver(([entry]) => contents.classList.toggle("stuck", !entry.isIntersecting));
  edge.observe(document.querySelector(".masthead"));

  function mark(current) {
    for (const [slug, link] of links) {
      if (slug === current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    const link = links.get(current);
    if (!link) return;
    link.setAttribute("data-read", "");
    const list = link.closest("ol");
    list.scrollLeft = link.offsetLeft - list.offsetLeft - 40;
    done.add(current);
    write(KEY, [...done]);
  }
}
