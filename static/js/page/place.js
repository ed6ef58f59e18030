// Bring the reader back to where they were, after Back, Forward and Reload.
//
// A browser remembers pixels, but an answered question uncovers its figure and changes the height above. So the entry of the
// history remembers the element at the top of the window, which is kept there until the reader moves.
(() => {
  const REST = 150; // milliseconds without scrolling
  const PARTS = ["figcaption", ".finding", ".drawing", ".readouts", ".more", ".under"]; // of a figure
  const MOVES = ["wheel", "touchstart", "pointerdown", "keydown"];
  let held; // the place to be in, as long as the reader leaves the page alone
  let last; // where the page was scrolled to for that, and how high it was then
  let resting;

  if (!document.querySelector("[data-covers]")) return;
  history.scrollRestoration = "manual";
  addEventListener("scroll", () => {
    const [top, height] = last ?? [];
    if (document.documentElement.scrollHeight === height && Math.abs(scrollY - top) > 2) held = undefined; // by the scroll bar
    saveAtRest();
  }, { passive: true });
  addEventListener("click", save, true);
  addEventListener("pagehide", save);
  for (const move of MOVES) addEventListener(move, () => { held = undefined; }, { capture: true, passive: true });
  addEventListener("popstate", ({ state }) => go(state));
  addEventListener("load", saveAtRest);
  new ResizeObserver(hold).observe(document.body);
  go(history.state);

  /** To the place of an entry of the history; a link to a section makes one that has none yet, and the browser leads there. */
  function go(state) {
    held = state?.place;
    if (held) hold();
    else saveAtRest();
  }

  function hold() {
    const element = held && document.querySelector(held.at);
    if (!element) return;
    const away = element.getBoundingClientRect().top - held.top;
    if (Math.abs(away) > 1) scrollBy({ top: away, behavior: "instant" });
    last = [scrollY, document.documentElement.scrollHeight];
  }

  function saveAtRest() {
    clearTimeout(resting);
    resting = setTimeout(save, REST);
  }

  function save() {
    const place = held ?? placeNow();
    if (!place || JSON.stringify(place) === JSON.stringify(history.state?.place)) return;
    try {
      history.replaceState({ ...history.state, place }, "");
    } catch {
      // Too often for this browser; the next rest is remembered.
    }
  }

  /** The first block that reaches below the sticky list of sections, by a selector, and where its top is. */
  function placeNow() {
    const edge = parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop);
    const below = (element) => element.getBoundingClientRect().bottom > edge;
    let element = [...document.querySelectorAll("main > [id]")].find(below);
    if (!element) return undefined;
    let at = `#${element.id}`;
    while (element.matches("section, .prose, figure")) {
      const parts = element.matches("figure")
        ? PARTS.map((part) => [part, element.querySelector(part)])
        : [...element.children].map((child, i) => [`> :nth-child(${i + 1})`, child]);
      const found = parts.find(([, part]) => part && below(part));
      if (!found) break;
      at = found[1].matches("figure[id]") ? `#${found[1].id}` : `${at} ${found[0]}`;
      element = found[1];
    }
    return { at, top: Math.round(element.getBoundingClientRect().top) };
  }
})();
