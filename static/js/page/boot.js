// Before the first paint: say that scripts run, set the colour scheme, and load the scripts of the figures when they are needed.
//
// It is not a module, which would run after the paint, so it cannot import.
(() => {
  const SCHEMES = ["system", "light", "dark"];
  const root = document.documentElement;

  root.classList.add("js");
  uncover(location.hash.slice(1));
  // Where a script does not arrive, the page is again the one that needs none: every figure has its button.
  addEventListener("error", ({ target }) => target.matches?.("script[defer], script[type=module]") && root.classList.remove("js"), true);
  show(storage((local) => local.getItem("theme")));
  addEventListener("DOMContentLoaded", label);
  addEventListener("click", ({ target }) => {
    if (!target.closest?.("[data-theme-button]")) return;
    const next = SCHEMES[(SCHEMES.indexOf(root.dataset.theme ?? "system") + 1) % SCHEMES.length];
    show(next);
    label();
    storage((local) => local.setItem("theme", next));
  });

  /** Show the figure that the address names although a question covers it: its `:target` comes after the first frame. */
  function uncover(id) {
    if (!/^fig-\w+$/.test(id)) return;
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(`[data-covers] + #${id} { display: block !important; }`);
    document.adoptedStyleSheets.push(sheet);
  }

  /** Storage can be forbidden (a private window, an embed); a choice then lasts until the page is left. */
  function storage(act) {
    try {
      return act(localStorage);
    } catch {
      return null;
    }
  }

  function show(theme) {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  }

  function label() {
    const button = document.querySelector("[data-theme-button]");
    button?.setAttribute("aria-label", button.dataset.labels.split("|")[SCHEMES.indexOf(root.dataset.theme ?? "system")]);
  }
})();

// A student in a class has its bar on every page of the lesson; load it at once.
(() => {
  addEventListener("DOMContentLoaded", () => {
    let isInClass = false;
    try {
      isInClass = localStorage.getItem("class") !== null;
    } catch {
      // Storage is forbidden here: the class has a page of its own.
    }
    const { assets } = document.documentElement.dataset;
    if (!isInClass || !document.querySelector("[data-of-lesson]")) return; // neither in a frame nor on a projector
    document.head.append(Object.assign(document.createElement("script"), { type: "module", src: JSON.parse(assets).bar }));
    dispatchEvent(new Event("class"));
  });
})();

// A page that can be read without the scripts of its figures names them in `#later`: they come at the reader's first
// move, or when a figure is in view. The one of the first screen, always in view, can wait for the move.
(() => {
  const MOVES = ["pointermove", "pointerdown", "touchstart", "wheel", "scroll", "keydown", "focusin"];
  const options = { capture: true, passive: true };
  let inView;

  for (const move of [...MOVES, "class"]) addEventListener(move, wake, options);
  addEventListener("DOMContentLoaded", () => {
    const figure = document.querySelector("figure[data-figure]:not(.first-screen > *)");
    if (!document.getElementById("later") || !figure) return;
    inView = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && wake());
    inView.observe(figure);
  });

  function wake(event) {
    // A page that appears under a resting pointer gets an event too, of no distance.
    if (event?.type === "pointermove" && event.movementX === 0 && event.movementY === 0) return;
    const later = document.getElementById("later");
    if (!later) return; // not read yet, or done
    for (const move of MOVES) removeEventListener(move, wake, options);
    inView?.disconnect();
    for (const { localName, src, type, rel, href } of later.content.children) {
      const properties = rel ? { rel, href } : { src, type, defer: true, async: false }; // one after the other
      document.head.append(Object.assign(document.createElement(localName), properties));
    }
    later.remove();
  }
})();
