// Every visible text inside `root`: what it says, how large it is on the screen, its colour and what lies under it.
// axe reads neither SVG nor what is painted under a text by position; this asks the browser what is at each point.
// Of texts in HTML that look alike (the same classes all the way up) the first stands for all.
(root) => {
  const REACH = 4; // samples along a text, at most
  const APART = 12; // pixels between two of them
  const HALO = 2; // a stroke at least as wide, painted under the glyphs, is their background
  const LINE = 6; // a narrower stroke under a text is a rule, not a background

  // Shapes that let the pointer through are painted all the same.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync("* { pointer-events: auto !important } svg * { pointer-events: painted !important }");
  document.adoptedStyleSheets = [sheet];

  const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const remembered = (ask, known = new Map()) => (key) => known.get(key) ?? known.set(key, ask(key)).get(key);
  const rgba = remembered((colour) => {
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = colour;
    pixel.fillRect(0, 0, 1, 1);
    return [...pixel.getImageData(0, 0, 1, 1).data].map((channel) => channel / 255);
  });
  const fade = ([r, g, b, a], share) => [r, g, b, a * share];
  const over = (top, under) => [...[0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])), 1];

  const opacity = remembered((element) =>
    Number(getComputedStyle(element).opacity) * (element.parentElement ? opacity(element.parentElement) : 1));
  const isDrawn = (element) => element instanceof SVGElement && !(element instanceof SVGSVGElement);

  const box = remembered((element) => fade(rgba(getComputedStyle(element).backgroundColor), opacity(element)));

  /** What an element paints at a point of the screen; transparent where it paints nothing. */
  function surface(element, x, y) {
    if (!isDrawn(element)) return box(element);
    const style = getComputedStyle(element);
    const at = element.isPointInFill && new DOMPoint(x, y).matrixTransform(element.getScreenCTM().inverse());
    if (at && style.fill !== "none" && element.isPointInFill(at)) {
      return fade(rgba(style.fill), Number(style.fillOpacity) * opacity(element));
    }
    const wide = at && style.stroke !== "none" && parseFloat(style.strokeWidth) >= LINE && element.isPointInStroke(at);
    return wide ? fade(rgba(style.stroke), Number(style.strokeOpacity) * opacity(element)) : [0, 0, 0, 0];
  }

  function background(element, x, y) {
    const stack = document.elementsFromPoint(x, y);
    // Glyphs are hit where they are painted, boxes anywhere: what comes after the text in the document covers it.
    const under = stack.filter((each) =>
      each === element || each.contains(element) || element.compareDocumentPosition(each) & Node.DOCUMENT_POSITION_PRECEDING);
    const painted = [];
    for (const each of under) {
      painted.push(surface(each, x, y));
      if (painted.at(-1)[3] === 1) break; // it hides what is beneath
    }
    return painted.reduceRight((below, top) => over(top, below), [1, 1, 1, 1]);
  }

  function read(node) {
    const element = node.parentElement;
    const style = getComputedStyle(element);
    const share = opacity(element);
    const range = document.createRange();
    range.selectNodeContents(node);
    const line = range.getClientRects()[0];
    if (!line || line.width < 1 || share === 0 || style.visibility !== "visible" || style.clipPath.startsWith("inset(50")) return null;
    const scroller = element.closest("pre, textarea, .table-scroll")?.getBoundingClientRect();
    if (scroller && (line.top < scroller.top || line.bottom > scroller.bottom || line.right > scroller.right)) return null; // out of sight
    if (line.bottom < 0 || line.right < 0 || line.left > innerWidth || line.top > innerHeight) return null;
    const drawn = isDrawn(element);
    const scale = drawn ? element.closest("text")?.getScreenCTM()?.a ?? 1 : 1;
    const ink = fade(rgba(drawn ? style.fill : style.color), share * (drawn ? Number(style.fillOpacity) : 1));
    const halo = drawn && style.paintOrder.startsWith("stroke") && style.stroke !== "none" && parseFloat(style.strokeWidth) >= HALO;
    const count = Math.min(REACH, Math.ceil(line.width / APART));
    const samples = Array.from({ length: count }, (_, i) => {
      const x = line.left + (line.width * (i + 0.5)) / count;
      const ground = halo ? rgba(style.stroke) : background(element, x, (line.top + line.bottom) / 2);
      return [over(ink, ground), ground];
    });
    return {
      text: node.textContent.trim().slice(0, 60),
      where: `${element.tagName.toLowerCase()}.${element.getAttribute("class") ?? ""} in ${element.parentElement.tagName}.${element.parentElement.getAttribute("class") ?? ""}`,
      size: parseFloat(style.fontSize) * scale,
      weight: Number(style.fontWeight),
      samples,
    };
  }

  const look = remembered((element) =>
    element === root ? "" : `${look(element.parentElement)} ${element.tagName}.${element.className} ${element.control?.checked ?? ""}`);
  const known = new Set();

  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) {
    const { textContent, parentElement } = walker.currentNode;
    if (!textContent.trim() || !parentElement.checkVisibility({ visibilityProperty: true })) continue;
    if (!isDrawn(parentElement) && known.has(look(parentElement))) continue;
    const text = read(walker.currentNode);
    if (!text) continue;
    known.add(look(parentElement));
    texts.push(text);
  }
  document.adoptedStyleSheets = [];
  return texts;
}
