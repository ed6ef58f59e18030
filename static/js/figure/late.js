// A figure whose drawing the lesson page was sent without gets it when its reader nears it, or prints.
import { fetchView } from "./folds.js";
import { patch } from "./patch.js";

const NEAR = "1200px";

export function watchLate() {
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
  }, { rootMargin: NEAR });
  const late = document.querySelectorAll("[data-late]");
  late.forEach((drawing) => observer.observe(drawing));
  window.addEventListener("beforeprint", () => late.forEach(draw));

  /** Where the line is bad the link stays, and coming near again tries again. */
  async function draw(drawing) {
    if (!drawing.hasAttribute("data-late")) return;
    const form = drawing.closest("form");
    const state = `${new URLSearchParams(new FormData(form))}`;
    const view = await fetchView(form);
    // A change of a control meanwhile has brought all of its own view.
    if (!view || !drawing.isConnected || !drawing.hasAttribute("data-late")) return;
    if (state !== `${new URLSearchParams(new FormData(form))}`) return;
    observer.unobserve(drawing);
    const arrived = view.querySelector(".view");
    if (arrived) patch(drawing.closest(".view"), arrived);
    document.dispatchEvent(new CustomEvent("figure:changed", { detail: { figure: form.closest("figure") } }));
  }
}
