// Every visible shape that a drawing inside `root` paints, every key of a legend and every edge of a control:
// what it is, the colours it is painted in, and the ground around it. Texts are read elsewhere.
([root, passed]) => {
  const LEAST = 1; // pixels: a thinner stroke is not seen

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

  /** The first box around that hides what is under it. */
  const ground = remembered((element) => {
    const own = element instanceof HTMLElement ? rgba(getComputedStyle(element).backgroundColor) : [0, 0, 0, 0];
    if (own[3] === 1) return own;
    const below = element.parentElement ? ground(element.parentElement) : [1, 1, 1, 1];
    return own[3] ? over(own, below) : below;
  });

  function shape(element) {
    const style = getComputedStyle(element);
    const share = opacity(element);
    const paints = [];
    if (style.fill.startsWith("url")) paints.push(...inks(style.fill));
    else if (style.fill !== "none" && element.tagName !== "line") paints.push(fade(rgba(style.fill), Number(style.fillOpacity) * share));
    if (style.stroke !== "none" && parseFloat(style.strokeWidth) >= LEAST) paints.push(fade(rgba(style.stroke), Number(style.strokeOpacity) * share));
    return paints.filter((colour) => colour[3] > 0);
  }

  /** What a hatching is drawn with. */
  function inks(fill) {
    const pattern = document.getElementById(fill.match(/#([^"')]+)/)[1]);
    return [...pattern.querySelectorAll("*")].map((each) => rgba(getComputedStyle(each).fill));
  }

  function box(element) {
    const style = getComputedStyle(element);
    const share = opacity(element);
    const edges = ["Top", "Right", "Bottom", "Left"].filter((side) => parseFloat(style[`border${side}Width`]) >= LEAST);
    const shadow = style.boxShadow.match(/^(\w+\([^)]*\))/);
    const paints = [style.backgroundColor, ...edges.map((side) => style[`border${side}Color`]), ...(shadow ? [shadow[1]] : [])];
    return paints.map((colour) => fade(rgba(colour), share)).filter((colour) => colour[3] > 0);
  }

  const seen = (element) => {
    const { width, height } = element.getBoundingClientRect();
    return element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && width + height >= 2;
  };
  const about = (element, paints) => {
    const under = ground(element.parentElement);
    return {
      what: `${element.tagName.toLowerCase()}.${element.getAttribute("class") ?? ""} in .${element.parentElement.getAttribute("class") ?? ""}`,
      paints: paints.map((paint) => over(paint, under)),
      ground: under,
    };
  };

  const shapes = [...root.querySelectorAll("svg :is(rect, circle, ellipse, line, path, polyline)")].filter(
    (element) => seen(element) && !element.closest("defs, .modebar, .swatch, .bglayer, .draglayer, .hoverlayer, .gridlayer") && !element.matches(passed),
  );
  const boxes = [...root.querySelectorAll(".key, i:empty, select, button, .segments-row span, input[type=radio] + span")].filter(
    (element) => seen(element) && !element.matches(passed) && !element.textContent.match(/[↑↓]/),
  );
  const all = [...shapes.map((element) => about(element, shape(element))), ...boxes.map((element) => about(element, box(element)))];
  return [...new Map(all.map((mark) => [JSON.stringify(mark), mark])).values()]; // hundreds of cells look alike
}
