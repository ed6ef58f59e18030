// Measurements in a page: the start of each change, the paint of the frame that shows a figure's new state, long tasks,
// layout shifts, the largest contentful paint and the state tables that arrived.
(() => {
  const bench = {
    changes: [], frames: [], longTasks: [], shifts: [], tables: [], touched: 0, largest: 0, watched: null,
    /** Start measuring one figure. */
    watch(id) {
      bench.watched = id;
      bench.take();
    },
    /** The events since the last call, and the words shown now. */
    take() {
      const { changes, frames, longTasks } = bench;
      bench.changes = [];
      bench.frames = [];
      bench.longTasks = [];
      return { changes, frames: frames.filter(({ shown }) => shown), longTasks, words: bench.words() };
    },
    /** The words of the figure's view, which identify its state. */
    words() {
      const view = document.querySelector(`#${bench.watched}-view`);
      const readouts = [...view.querySelectorAll("output[name]")].map((output) => output.textContent);
      return [...readouts, view.querySelector(`#${bench.watched}-description`).textContent].join("|");
    },
    /** Resolve when a frame was painted after the last change, or after `limit` milliseconds. */
    async painted(limit) {
      const end = performance.now() + limit;
      while (performance.now() < end && !((bench.frames.at(-1)?.shown ?? 0) > (bench.changes.at(-1)?.at ?? 0))) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
    /** Resolve with state table number `before`, or with nothing after `limit` milliseconds. */
    async table(before, limit) {
      const end = performance.now() + limit;
      while (bench.tables.length <= before && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 5));
      return bench.tables[before];
    },
  };
  window.bench = bench;

  // A change starts with the hardware event, not with the `input` event that the browser derives from it.
  let began = 0;
  for (const type of ["keydown", "pointerdown", "pointermove", "click"]) {
    addEventListener(type, (event) => { began = event.timeStamp; }, true);
  }
  for (const type of ["pointerdown", "focusin"]) {
    addEventListener(type, (event) => { bench.touched = event.timeStamp; }, true);
  }
  addEventListener("input", ({ target }) => {
    if (target.form?.id !== `${bench.watched}-form`) return;
    bench.changes.push({ at: began, handled: performance.now(), query: new URLSearchParams(new FormData(target.form)).toString() });
  }, true);

  // A frame counts as painted when a task runs that its animation callback posted: after style, layout and paint.
  let asked = false;
  let drawn = null;
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => { drawn.shown = performance.now(); };
  new MutationObserver((records) => {
    if (asked || !records.some(({ target }) => inView(target))) return;
    asked = true;
    const swapped = performance.now();
    requestAnimationFrame(() => {
      asked = false;
      drawn = { swapped, begins: performance.now() };
      drawn.words = bench.words();
      bench.frames.push(drawn);
      port2.postMessage(null);
    });
  }).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });

  function inView(node) {
    const element = node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement;
    return bench.watched && element?.closest(`#${bench.watched}-view`);
  }

  const observe = (type, note) => new PerformanceObserver((list) => list.getEntries().forEach(note)).observe({ type, buffered: true });
  observe("longtask", (task) => bench.longTasks.push(task.duration));
  observe("largest-contentful-paint", (paint) => { bench.largest = paint.startTime; });
  observe("layout-shift", (shift) => {
    if (!shift.hadRecentInput) bench.shifts.push({ value: shift.value, what: shift.sources.map(({ node }) => named(node)) });
  });
  observe("resource", (resource) => {
    if (resource.name.includes("/along/")) bench.tables.push({ took: resource.responseEnd - bench.touched, size: resource.encodedBodySize });
  });

  function named(node) {
    const element = node?.nodeType === Node.TEXT_NODE ? node.parentElement : node;
    if (!element) return "?";
    return `${element.closest("[id]")?.id ?? ""} ${element.localName}${element.classList[0] ? `.${element.classList[0]}` : ""}`;
  }
})();
