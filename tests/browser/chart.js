// What a data chart shows: its series as Plotly drew them (`live`) and as the server did (`still`), and the rest of it.
(chart) => {
  const looks = (element, ...names) => names.map((name) => getComputedStyle(element)[name]);
  const lineOf = (path) => path && looks(path, "stroke", "strokeDasharray", "strokeWidth");
  const pointOf = (mark) => looks(mark, "fill", "stroke", "strokeWidth");
  const all = (root, selector) => [...root.querySelectorAll(selector)];
  const kept = (element) => [...element.classList].sort().join(" ");
  const live = all(chart, ".scatterlayer > .trace").map((trace) => {
    const { name, mode, marker, index } = trace.__data__[0].trace;
    return {
      name, mode, index,
      symbol: marker?.symbol ?? null,
      line: lineOf(trace.querySelector(".js-line")),
      path: trace.querySelector(".js-line")?.getAttribute("d") ?? null,
      points: all(trace, ".point").map(pointOf),
      places: all(trace, ".point").map((point) => [point.getAttribute("d"), point.getAttribute("transform"), point.dataset.key, kept(point)]),
      labels: all(trace, ".textpoint").filter(({ textContent }) => textContent).map((label) => [label.textContent, kept(label)]),
      errors: all(trace, ".errorbar path").map((path) => [path.getAttribute("d"), ...looks(path, "stroke", "strokeWidth")]),
    };
  });
  const still = all(chart, ".chart-static .marks").map((marks) => ({
    line: lineOf(marks.previousElementSibling?.querySelector(":scope > .curve")),
    points: all(marks, ".mark").map(pointOf),
  }));
  const texts = (selector) => all(chart, selector).map((text) => text.textContent);
  const rest = {
    rules: all(chart, ".chart-live .shapelayer path").map((path) => [path.getAttribute("d"), ...looks(path, "stroke", "fill", "strokeDasharray")]),
    texts: texts(".chart-live :is(.xtick, .ytick, .xtitle, .annotation-text)"),
  };
  return { live, still, rest };
}
