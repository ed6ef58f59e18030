// What a projected page shows: texts that are too small (by class and size), texts beside the page, and its height.
([within, smallest]) => {
  const root = document.querySelector(within);
  const small = [];
  const beside = [];
  const hidden = ".visually-hidden, [hidden], noscript, option, template, title, desc";
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode;
    const element = node.parentElement;
    if (!node.textContent.trim() || element.closest(hidden) || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const { left, right, width, height } = range.getBoundingClientRect();
    if (width < 2 || height < 2) continue;
    const svg = element.closest("svg[viewBox]");
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : element.currentCSSZoom;
    const size = parseFloat(getComputedStyle(element).fontSize) * scale;
    const text = node.textContent.trim().slice(0, 30);
    if (size < smallest - 0.1) small.push(`${text} (${size.toFixed(1)})`);
    if (left < -1 || right > innerWidth + 1) beside.push(text);
  }
  return { small, beside, counted: texts.root.textContent.length, width: document.documentElement.scrollWidth, height: document.documentElement.scrollHeight };
};
