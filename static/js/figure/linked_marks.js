// Highlight elements that show the same thing (a table's row and its point in the plot) on hover, focus or tap.
//
// Such elements carry the same data-key; a tap on any of them chooses the row's own radio button, or that option of a menu.

export function watchLinkedMarks() {
  for (const [event, on] of [["pointerover", true], ["focusin", true], ["pointerout", false], ["focusout", false]]) {
    document.addEventListener(event, ({ target }) => withKey(target, (figure, key) => light(figure, key, on)));
  }
  document.addEventListener("click", (event) => {
    if (event.target.closest("label, .chart-live") || event.ctrlKey || event.metaKey || event.shiftKey) return;
    withKey(event.target, (figure, key) => choose(figure, key) && event.preventDefault()); // without scripts a row is a link
  });
  for (const figure of document.querySelectorAll("figure[data-figure]")) {
    figure.addEventListener("chart:linked", ({ detail }) => light(figure, detail.key, detail.on));
    figure.addEventListener("chart:picked", ({ detail }) => choose(figure, detail.key));
  }
}

function withKey(target, act) {
  const element = target.closest?.("[data-key]");
  const figure = element?.closest("figure[data-figure]");
  if (figure) act(figure, element.dataset.key);
}

function light(figure, key, on) {
  for (const element of linked(figure, key)) element.classList.toggle("linked", on);
}

function choose(figure, key) {
  const radio = linked(figure, key).map((element) => element.querySelector("input[type=radio]")).find(Boolean);
  if (radio) radio.click();
  const menu = !radio && [...figure.querySelectorAll("select:enabled")].find((each) => [...each.options].some(({ value }) => value === key));
  if (!menu) return Boolean(radio);
  menu.value = key;
  return menu.dispatchEvent(new Event("change", { bubbles: true }));
}

function linked(figure, key) {
  return [...figure.querySelectorAll("[data-key]")].filter((element) => element.dataset.key === key);
}
