// What a figure shows before anybody unfolds anything, as it is laid out now.
({
  measure(figure, { smallestText, smallestTarget }) {
    const seen = (element) => element.checkVisibility({ visibilityProperty: true });
    const front = (selector) => [...figure.querySelectorAll(selector)].filter((each) => seen(each) && !each.closest(".details > :not(summary)"));
    const sizeOf = (text) => {
      const scale = text instanceof SVGElement ? Math.abs(text.getScreenCTM?.()?.d ?? 1) : 1;
      return parseFloat(getComputedStyle(text).fontSize) * scale;
    };
    const texts = front(".drawing *, .finding, .legend *, .readouts *, .controls *").filter((each) => {
      const own = [...each.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
      return own && !each.closest(".visually-hidden, option, template, .chart.live .chart-static");
    });
    const small = texts.filter((text) => sizeOf(text) < smallestText - 0.01);
    const targets = front("a, button, input, select, summary").map((each) => {
      const around = each.matches("[type=radio], [type=checkbox]") ? (each.closest("label") ?? each) : each;
      const { width, height } = around.getBoundingClientRect();
      return { name: around.textContent.trim().slice(0, 30) || each.name, width, height };
    });
    const bottom = figure.querySelector(".details > summary").getBoundingClientRect().bottom;
    return {
      height: bottom - figure.getBoundingClientRect().top,
      controls: front(".controls .control").length,
      readouts: front(".readouts .readout").length,
      text: small.map((text) => `${sizeOf(text).toFixed(1)} px: ${text.textContent.trim().slice(0, 40)}`),
      targets: targets.filter(({ width, height }) => Math.min(width, height) < smallestTarget - 0.5).map((each) => Object.values(each).join(" ")),
    };
  },

  /** Whether the first control is on the screen with the drawing in its middle, and as much of that as `least` pixels. */
  together(figure, least) {
    const control = figure.querySelector(".controls .control:not([hidden])");
    if (!control) return true;
    const drawing = figure.querySelector(".drawing");
    drawing.scrollIntoView({ block: "center", behavior: "instant" });
    const top = parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop);
    const [first, drawn] = [control, drawing].map((each) => each.getBoundingClientRect());
    const onScreen = first.top >= top - 1 && first.bottom <= innerHeight + 1;
    const free = Math.min(drawn.bottom, first.top) - Math.max(drawn.top, top);
    return onScreen && free >= Math.min(least, drawn.height) - 1;
  },
})
