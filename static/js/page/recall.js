// Show the guesses and results that this browser remembers, beside the correct answers, which the server is asked for again.
//
// It works on the page that looks back, and at the end of the lesson once its reader is near.
import { load } from "../lib/assets.js";
import { fetchPage } from "../lib/fetch.js";
import { isScore, read, remove } from "../lib/storage.js";

const NEAR = "900px";
const { lesson } = document.documentElement.dataset;
const PREDICTED = `predicted:${lesson}`;
const PRACTISED = `practised:${lesson}`;

const page = document.querySelector("[data-recall]");
if (page) fillAgain(page);

/** Put the summary in place of the link that leads to it, and fill it again after every further guess. */
export function watchRecall(link) {
  const observer = new IntersectionObserver(async ([{ isIntersecting }]) => {
    if (!isIntersecting) return;
    observer.disconnect();
    const [arrived] = await Promise.all([fetchPage(link.querySelector("a").dataset.recalled), load("recall")]);
    const summary = arrived?.querySelector("[data-recall]");
    if (!summary) return; // no answer came: the link stays
    link.after(summary);
    const fill = await fillAgain(summary, link);
    document.addEventListener("predicted", fill);
  }, { rootMargin: NEAR });
  observer.observe(link);
}

/** Fill a list of questions as the server sends it, and give what fills it anew. Where a link stands for it, one of them shows. */
async function fillAgain(place, link) {
  const empty = place.cloneNode(true);
  await fill();
  return fill;

  async function fill() {
    place.replaceChildren(...empty.cloneNode(true).childNodes);
    const predicted = read(PREDICTED);
    const practised = read(PRACTISED, "localStorage", isScore);
    const forget = place.querySelector("[data-forget]");
    forget.hidden = !Object.keys({ ...predicted, ...practised }).length;
    forget.addEventListener("click", () => {
      for (const key of [PREDICTED, PRACTISED]) remove(key);
      fill();
    });
    const entries = [...place.querySelectorAll("[data-question]")].filter(({ dataset }) => predicted[dataset.question]);
    await Promise.all(entries.map((entry) => showAnswer(entry, predicted[entry.dataset.question])));
    sort(place);
    for (const entry of place.querySelectorAll("[data-task]")) showScore(entry, practised[entry.dataset.task]);
    if (!link) return;
    place.hidden = !Object.keys(predicted).length;
    link.hidden = !place.hidden;
  }
}

async function showAnswer(entry, query) {
  const answered = await fetchPage(`${entry.dataset.from}?${query}`);
  if (!answered) return; // a guess from an older lesson, or no answer: it waits to be asked again
  for (const name of ["guess", "truth"]) {
    const shown = answered.querySelector(`[name=${name}]`);
    if (shown) entry.querySelector(`[name=${name}]`).value = shown.textContent;
    else entry.querySelector(`[data-${name}]`).remove(); // skipped: there was no guess
  }
  entry.querySelector("[data-said]").hidden = false;
  const right = answered.querySelector(".reveal").classList.contains("right");
  Object.assign(entry.querySelector("[data-why]"), { textContent: answered.querySelector(".why").textContent, hidden: right });
  const link = entry.querySelector("a");
  if (!right && !link.hash) link.href = answered.querySelector("[data-see]").getAttribute("href");
  entry.dataset.belongs = right ? "right" : "again";
}

/** Into their groups, in the order of the lesson, once all answers are here. */
function sort(place) {
  for (const entry of place.querySelectorAll("[data-belongs]")) place.querySelector(`[data-group=${entry.dataset.belongs}] ul`).append(entry);
  for (const group of place.querySelectorAll("[data-group]")) group.hidden = !group.querySelector("li");
}

function showScore(entry, { right, blanks } = {}) {
  if (!right) return;
  entry.querySelector("progress").value = right / blanks;
  entry.querySelector("output").value = right + "/" + blanks;
  entry.querySelector("span").hidden = false;
}
