// What this browser remembers of the questions and tasks, put beside what is so: the server is asked for each answer again.
// On the page that looks back, and at the end of the lesson once its reader is near.
import { fetched, sheets } from "../figure/folds.js";
import { forget, isScore, isText, recalled } from "../lib/storage.js";

const NEAR = "900px";

const page = document.querySelector("[data-recall]");
if (page) recall(page);

/** The summary in place of the link that leads to it; filled, and again after every further guess. */
export function watchRecall(link) {
  const observer = new IntersectionObserver(async ([{ isIntersecting }]) => {
    if (!isIntersecting) return;
    observer.disconnect();
    const [arrived] = await Promise.all([fetched(document.querySelector(".ask").dataset.ask.replace(/\/[^/]*$/, "")), sheets("recall")]);
    const summary = arrived?.querySelector("[data-recall]");
    if (!summary) return; // the line is bad: the link stays
    link.after(summary);
    const fill = await recall(summary, link);
    document.addEventListener("predicted", fill);
  }, { rootMargin: NEAR });
  observer.observe(link);
}

/** Fill a list of questions as the server sends it, and give what fills it anew. Where a link stands for it, one of them shows. */
async function recall(place, link) {
  const empty = place.cloneNode(true);
  await fill();
  return fill;

  async function fill() {
    place.replaceChildren(...empty.cloneNode(true).childNodes);
    const stores = ["predicted", "practised"].map((name) => `${name}:${place.dataset.recall}`);
    const [predicted, practised] = [recalled(stores[0], isText), recalled(stores[1], isScore)];
    place.querySelector("[data-forget]").addEventListener("click", () => {
      stores.forEach((key) => forget(key));
      fill();
    });
    await Promise.all([...place.querySelectorAll("[data-question]")].map((entry) => predicted[entry.dataset.question] && tell(entry, predicted[entry.dataset.question])));
    sort(place);
    for (const entry of place.querySelectorAll("[data-task]")) count(entry, practised[entry.dataset.task]);
    const nothing = !Object.keys({ ...predicted, ...practised }).length;
    place.querySelector("[data-forget]").hidden = nothing;
    if (!link) return;
    place.hidden = !Object.keys(predicted).length;
    link.hidden = !place.hidden;
  }
}

async function tell(entry, query) {
  const answered = await fetched(`${entry.dataset.from}?${query}`);
  if (!answered) return; // a guess from an older lesson, or no line: it waits to be asked again
  for (const name of ["guess", "truth"]) {
    const shown = answered.querySelector(`[name=${name}]`);
    if (shown) entry.querySelector(`[name=${name}]`).value = shown.textContent;
    else entry.querySelector(`[data-${name}]`).remove(); // skipped: there was no guess
  }
  entry.querySelector("[data-said]").hidden = false;
  const right = answered.querySelector(".reveal").classList.contains("right");
  entry.querySelector("[data-why]").textContent = answered.querySelector(".why").textContent;
  entry.querySelector("[data-why]").hidden = right;
  const link = entry.querySelector("a");
  if (!right && !link.hash) link.href = answered.querySelector("[data-see]").getAttribute("href");
  entry.dataset.belongs = right ? "right" : "again";
}

/** Into their groups, in the order of the lesson, once all answers are here. */
function sort(place) {
  for (const entry of place.querySelectorAll("[data-belongs]")) place.querySelector(`[data-group=${entry.dataset.belongs}] ul`).append(entry);
  for (const group of place.querySelectorAll("[data-group]")) group.hidden = !group.querySelector("li");
}

function count(entry, { right, blanks } = {}) {
  if (!right) return;
  entry.querySelector("progress").value = right / blanks;
  entry.querySelector("output").value = `${right}/${blanks}`;
  entry.querySelector("span").hidden = false;
}
