// Lead from a workshop page back to the place that the reader came from, with every figure there as it was left.
//
// Without this script the link leads to the same section.
export function watchWayBack() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("[data-way-back]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || !cameFrom(new URL(link.href))) return;
    event.preventDefault();
    history.back();
  });
}

function cameFrom({ origin, pathname }) {
  const before = document.referrer && new URL(document.referrer);
  return before && before.origin === origin && before.pathname === pathname && history.length > 1;
}
