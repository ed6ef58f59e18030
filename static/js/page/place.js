// Back, forward and reload lead to where the reader was. A browser remembers pixels, but the drawings of late figures
// change the height of what stands above: here the entry of the history remembers what stood at the top of the window, and
// it is held there until the reader moves.
(() => {
  const REST = 150; // milliseconds without scrolling
  const PARTS = ["figcaption", ".controls", ".drawing", ".readouts", ".description", ".more", ".under"]; // of a figure, by their names
  const MOVES = ["wheel", "touchstart", "pointerdown", "keydown"];
  let held; // the place to be in, as long as the reader leaves the page alone
  let put; // where that was, and how high the page was then
  let resting;

  if (!document.querySelector("[data-late]")) return;
  history.scrollRestoration = "manual";
  addEventListener("scroll", () => {
    const [top, height] = put ?? [];
    if (document.documentElement.scrollHeight === height && Math.abs(scrollY - top) > 2) held = undefined; // by the scroll bar
    rest();
  }, { passive: true });
  addEventListener("click", save, true);
  addEventListener("pagehide", save);
  for (const move of MOVES) addEventListener(move, () => { held = undefined; }, { capture: true, passive: true });
  addEventListener("popstate", ({ state }) => go(state));
  addEventListener("load", rest);
  new ResizeObserver(hold).observe(document.body);
  go(history.state);

  /** To the place of an entry of the history; a link to a section makes one that has none yet, and the browser leads there. */
  function go(state) {
    held = state?.place;
    if (held) hold();
    else rest();
  }

  function hold() {
    const element = held && document.querySelector(held.at);
    if (!element) return;
    const away = element.getBoundingClientRect().top - held.top;
    if (Math.abs(away) > 1) scrollBy({ top: away, behavior: "instant" });
    put = [scrollY, document.documentElement.scrollHeight];
  }

  function rest() {
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
    const section = [...document.querySelectorAll("main > [id]")].find(below);
    if (!section) return undefined;
    let at = `#${section.id}`;
    let element = section;
    for (;;) {
      const parts = element.matches("figure")
        ? PARTS.map((part) => [part, element.querySelector(part)])
        : [...element.children].map((child, i) => [`> :nth-child(${i + 1})`, child]);
      const found = element.matches("section, .prose, figure") && parts.find(([, part]) => part && below(part));
      if (!found) break;
      at = found[1].matches("figure[id]") ? `#${found[1].id}` : `${at} ${found[0]}`;
      element = found[1];
    }
    return { at, top: Math.round(element.getBoundingClientRect().top) };
  }
})();
