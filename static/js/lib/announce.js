// The live region: politely, and once when what changes has come to rest.
const AFTER = 600; // milliseconds: a drag is announced once, and so is a step back that changes several figures

let resting;

/** The first sentence of the figure's description, when nothing has changed for a while and no answer is on its way. */
export function sayWhenAtRest(figure) {
  clearTimeout(resting);
  resting = setTimeout(() => {
    if (document.querySelector("form.htmx-request")) sayWhenAtRest(figure);
    else say(figure.querySelector(".view")?.dataset.announce ?? "");
  }, AFTER);
}

export function say(sentence) {
  clearTimeout(resting);
  document.getElementById("live").textContent = sentence;
}
