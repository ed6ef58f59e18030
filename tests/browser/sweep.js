// Show the figure in many states at one width, and collect what is wrong in each. Answers are fetched once a page.
async ({ states, drags }) => {
  const answers = (window.answers ??= new Map());
  await Promise.all([document.fonts.ready, ...[...states, ...drags.flat()].map(fetchOnce)]);
  const found = [];
  for (const state of states) {
    found.push(...window.layout.problems(show(state)).map((problem) => `${state || "default"}: ${problem}`));
  }
  for (const drag of drags) {
    const frames = drag.map((state) => window.layout.frame(show(state)));
    found.push(...jumps(frames).map((jump) => `from ${drag[0]} to ${drag.at(-1)}: ${jump}`));
  }
  return [...new Set(found)];

  async function fetchOnce(state) {
    if (answers.has(state)) return;
    answers.set(state, null);
    const answer = await fetch(`${location.pathname}?${state}`);
    if (!answer.ok) throw new Error(`${state}: ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const figure = page.querySelector("figure[data-figure]");
    for (const folds of figure.querySelectorAll(".more, .sharing")) folds.remove(); // no part of the picture, and most of its bytes
    answers.set(state, figure);
  }

  function show(state) {
    const figure = document.importNode(answers.get(state), true);
    document.querySelector("figure[data-figure]").replaceWith(figure);
    figure.getBoundingClientRect(); // laid out: only then do container queries tell what is shown
    return figure;
  }

  function jumps([first, ...others]) {
    return Object.keys(first).flatMap((part) => {
      const moved = (frame) => !frame[part] || frame[part].some((place, i) => Math.abs(place - first[part][i]) > 1);
      const other = others.find(moved);
      return other ? [`${part} goes from ${first[part].map(Math.round)} to ${other[part]?.map(Math.round)}`] : [];
    });
  }
}
