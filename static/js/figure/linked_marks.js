// Linked marks: a row of a figure's table and its point in the plot light up together, on hover, focus or tap.
// Whatever shows the same thing carries the same data-key; a tap on any of them chooses the row's own radio button.

export function watchLinked() {
  for (const [event, on] of [["pointerover", true], ["focusin", true], ["pointerout", false], ["focusout", false]]) {
    document.addEventListener(event, ({ target }) => {
      const marked = keyed(target);
      if (marked) light(marked.closest("figure"), marked.dataset.key, on);
    });
  }
  document.addEventListener("click", ({ target }) => {
    const marked = keyed(target);
    if (marked && !target.closest("label, .chart-live")) choose(marked.closest("figure"), marked.dataset.key);
  });
  for (const figure of document.querySelectorAll("figure[data-figure]")) {
    figure.addEventListener("chart:linked", ({ detail }) => light(figure, detail.key, detail.on));
    figure.addEventListener("chart:picked", ({ detail }) => choose(figure, detail.key));
  }
}

function keyed(target) {
  const element = target.closest?.("[data-key]");
  return element?.closest("figure[data-figure]") ? element : null;
}

function light(figure, key, on) {
  for (const element of same(figure, key)) element.classList.toggle("linked", on);
}

function choose(figure, key) {
  same(figure, key).map((element) => element.querySelector("input[type=radio]")).find(Boolean)?.click();
}

function same(figure, key) {
  return [...figure.querySelectorAll("[data-key]")].filter((element) => element.dataset.key === key);
}
