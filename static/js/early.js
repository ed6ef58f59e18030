// Before the first paint: say that scripts run, and keep the reader's colour scheme. Where one of the scripts does not
// arrive, the page is again the one that needs none: every figure has its button.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const lost = ({ target }) => target.matches?.("script[defer], script[type=module]") && root.classList.remove("js");
  window.addEventListener("error", lost, true);
  try {
    const theme = localStorage.getItem("theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  } catch {
    // Storage can be forbidden (a private window, an embed); the system's scheme serves then.
  }
})();
