// Texts inside `root` that a reader cannot get to: cut by a box that does not scroll, or beyond the page's edge.
(root) => {
  const SLACK = 2; // pixels: side bearings of glyphs
  const cuts = (overflow) => overflow === "hidden" || overflow === "clip";
  const scrolls = (overflow) => overflow === "auto" || overflow === "scroll";

  const known = new Map(); // thousands of texts share the boxes around them
  function boundary(element) {
    if (!known.has(element)) {
      const { overflowX, overflowY, clipPath, opacity } = getComputedStyle(element);
      known.set(element, { overflowX, overflowY, clipPath, opacity, edge: element.getBoundingClientRect() });
    }
    return known.get(element);
  }

  function isLost(element, box) {
    for (let around = element; around; around = around.parentElement) {
      const { overflowX, overflowY, clipPath, opacity, edge } = boundary(around);
      if (opacity === "0" || clipPath.startsWith("inset(50")) return false; // not meant to be seen
      if (around === document.body) break;
      if (scrolls(overflowX)) return false;
      if (cuts(overflowX) && (box.left < edge.left - SLACK || box.right > edge.right + SLACK)) return true;
      if (cuts(overflowY) && (box.top < edge.top - SLACK || box.bottom > edge.bottom + SLACK)) return true;
    }
    return box.left < -SLACK || box.right > innerWidth + SLACK;
  }

  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const lost = [];
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!node.textContent.trim() || !node.parentElement.checkVisibility({ visibilityProperty: true })) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      if (box.width >= 1 && isLost(node.parentElement, box)) {
        lost.push(`${node.textContent.trim().slice(0, 40)} (${node.parentElement.tagName}.${node.parentElement.getAttribute("class")}) ${Math.round(box.left)}–${Math.round(box.right)}`);
        break;
      }
    }
  }
  return lost;
}
