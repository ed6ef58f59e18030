// What is wrong with the layout of the figure that is on the page, as sentences: texts that overlap, are cut off, too
// small or malformed; drawings without marks, or with marks outside. `layout.frame` gives what must not move in a drag.
(() => {
  const SLACK = 2; // pixels: side bearings of glyphs, half a stroke
  const SMALLEST = 12; // pixels of a text, on every screen
  const MOST_DIGITS = 6; // of a number that is no exact integer
  const FAULTS = {
    "no number": /\b(NaN|nan|None(?! of)|null|undefined|inf|Infinity)\b/,
    "a computer's power of ten": /\de[+-]\d/,
    "a hyphen for a minus": /(^|[\s(=·×,/±])-[\d.]/,
  };

  /** Asks once for an element, as long as nothing changes: `problems` forgets the answers when it starts. */
  const forget = [];
  function remembered(ask) {
    let known = new Map();
    forget.push(() => { known = new Map(); });
    return (element) => {
      if (!known.has(element)) known.set(element, ask(element));
      return known.get(element);
    };
  }

  const isForScreenReaders = remembered((element) =>
    getComputedStyle(element).clipPath.startsWith("inset(50") || (element.parentElement && isForScreenReaders(element.parentElement)));
  const boxOf = remembered((element) => {
    const { overflowX, overflowY } = getComputedStyle(element);
    return { overflowX, overflowY, edge: element.getBoundingClientRect() };
  });

  /** Whoever sees the figure sees this. */
  function isShown(element) {
    if (element.closest("noscript") || isForScreenReaders(element)) return false;
    const drawn = element.closest("text"); // checkVisibility does not see that a group around it is not displayed
    return element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && drawn?.getBoundingClientRect().width !== 0;
  }

  /** Every text that is drawn: its words, its owner, and the box of its letters (not of its line). */
  function textsOf(root) {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
      const node = walker.currentNode;
      const element = node.parentElement;
      if (!node.textContent.trim() || element.closest("math") || !isShown(element)) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      const size = parseFloat(getComputedStyle(element).fontSize) * (element.closest("text")?.getScreenCTM()?.a ?? 1);
      const owner = element.closest("text") ?? element;
      for (const box of range.getClientRects()) {
        if (box.width < 1) continue;
        const middle = (box.top + box.bottom) / 2;
        const ink = { left: box.left, right: box.right, top: middle - 0.36 * size, bottom: middle + 0.36 * size };
        found.push({ words: node.textContent.trim().slice(0, 40), owner, element, size, box, ink });
      }
    }
    return found;
  }

  function overlaps(texts) {
    const sorted = [...texts].sort((a, b) => a.ink.top - b.ink.top);
    const found = [];
    sorted.forEach((one, i) => {
      for (let j = i + 1; j < sorted.length && sorted[j].ink.top < one.ink.bottom - 1; j += 1) {
        const other = sorted[j];
        const across = Math.min(one.ink.right, other.ink.right) - Math.max(one.ink.left, other.ink.left);
        if (across > 1 && one.owner !== other.owner) found.push(`“${one.words}” and “${other.words}” overlap by ${Math.round(across)} px`);
      }
    });
    return found;
  }

  /** Cut by a box that does not scroll, before the start of one that does, or over the edge of the card. */
  function isCut({ element, box }, card) {
    for (let around = element; around !== card.parentElement; around = around.parentElement) {
      if (around instanceof SVGElement) continue;
      const { overflowX, overflowY, edge } = boxOf(around);
      if (around === card) return box.left < edge.left || box.right > edge.right || box.top < edge.top || box.bottom > edge.bottom;
      if (overflowX === "auto" || overflowX === "scroll") {
        const left = edge.left - around.scrollLeft;
        const top = edge.top - around.scrollTop;
        return box.left < left - SLACK || box.right > left + around.scrollWidth + SLACK || box.top < top - SLACK || box.bottom > top + around.scrollHeight + SLACK;
      }
      if (overflowX !== "visible" && (box.left < edge.left - SLACK || box.right > edge.right + SLACK)) return true;
      if (overflowY !== "visible" && (box.top < edge.top - SLACK || box.bottom > edge.bottom + SLACK)) return true;
    }
    return false;
  }

  function digits(number) {
    return number.replace(/[^\d.]/g, "").replace(/^[0.]+/, "").replace(".", "").length;
  }

  function malformed(words) {
    const found = Object.entries(FAULTS).filter(([, pattern]) => pattern.test(words)).map(([fault]) => fault);
    const long = (words.match(/(?<!arXiv[: ])\b\d[\d\u202f]*\.\d+/g) ?? []).filter((number) => digits(number) > MOST_DIGITS);
    return [...found, ...long.map((number) => `more than ${MOST_DIGITS} digits in ${number}`)].map((fault) => `${fault}: “${words.slice(0, 80)}”`);
  }

  function wordsOf(figure, texts) {
    const labels = [...figure.querySelectorAll("[aria-label], [aria-valuetext]")].flatMap((each) => [each.ariaLabel, each.ariaValueText]);
    const owners = [...new Set(texts.map(({ owner }) => owner))];
    const whole = owners.map((owner) => owner.textContent.replace(/[ \n\t]+/g, " ").trim());
    return [...new Set([...whole, ...labels.filter(Boolean)])];
  }

  /** Marks that show data: not the grid, not the axes. */
  function marksOf(svg) {
    const shapes = svg.querySelectorAll("circle, rect, path, polygon, line:not(.grid, .notch), foreignObject");
    return [...shapes].filter((shape) => isShown(shape) && !shape.closest("defs")).map((shape) => ({ shape, box: shape.getBoundingClientRect() })).filter(({ box }) => box.width > 0 || box.height > 0);
  }

  function plots(figure) {
    const outer = [...figure.querySelectorAll(".drawing svg")].filter((svg) => !svg.parentElement.closest("svg, .chart-live") && isShown(svg)); // some of Plotly's layers are empty
    return outer.flatMap((svg, index) => {
      const edge = svg.getBoundingClientRect();
      const marks = marksOf(svg);
      if (!marks.length) return [`drawing ${index} is empty`];
      const outside = marks.filter(({ shape, box }) => shape.matches("circle, .mark, .snap-mark, .true-mark") && !isWithin(box, edge));
      return outside.map(({ shape }) => `drawing ${index}: a mark (${shape.getAttribute("class")} ${shape.id}) lies outside`);
    });
  }

  function isWithin(box, edge) {
    const x = (box.left + box.right) / 2;
    const y = (box.top + box.bottom) / 2;
    const margin = 16; // a mark of the first or the last row may stand on the edge, or just above it
    return x >= edge.left - SLACK && x <= edge.right + SLACK && y >= edge.top - margin && y <= edge.bottom + margin;
  }

  function problems(figure) {
    forget.forEach((each) => each());
    const texts = textsOf(figure);
    const drawing = figure.querySelector(".drawing");
    const small = texts.filter(({ size }) => size < SMALLEST - 0.01);
    const cut = texts.filter((text) => isCut(text, figure));
    return [
      ...overlaps(texts.filter(({ element }) => drawing.contains(element))),
      ...cut.map(({ words }) => `“${words}” is cut off`),
      ...small.map(({ words, size }) => `“${words}” has ${size.toFixed(1)} px`),
      ...wordsOf(figure, texts).flatMap(malformed),
      ...plots(figure),
    ];
  }

  /** Boxes that a drag must leave where they are, from the corner of the figure. */
  function frame(figure) {
    const origin = figure.getBoundingClientRect();
    const rows = {};
    for (const selector of [".control", ".control input[type=range]", ".drawing", ".drawing svg", ".readouts"]) {
      const all = [...figure.querySelectorAll(selector)].filter((each) => each.checkVisibility({ visibilityProperty: true }) && !each.parentElement.closest("svg"));
      all.forEach((each, index) => {
        const box = each.getBoundingClientRect();
        rows[`${selector} ${index}`] = [box.left - origin.left, box.top - origin.top, box.width, box.height];
      });
    }
    return rows;
  }

  return { problems, frame };
})()
