// What this browser remembers of the questions and tasks, put beside what is so: the server is asked for each answer again.
const page = document.querySelector("[data-recall]");
const lesson = page.dataset.recall;
const STORES = [`predicted:${lesson}`, `practised:${lesson}`];
const [predicted, practised] = STORES.map(remembered);

const told = [];
for (const entry of page.querySelectorAll("[data-question]")) {
  const query = predicted[entry.dataset.question];
  if (query) told.push(tell(entry, query));
}
Promise.all(told).then(sort);
for (const entry of page.querySelectorAll("[data-task]")) {
  const { right, blanks } = practised[entry.dataset.task] ?? {};
  if (!right) continue;
  entry.querySelector("progress").value = right / blanks;
  entry.querySelector("output").value = `${right}/${blanks}`;
  entry.querySelector("span").hidden = false;
}
const forget = page.querySelector("[data-forget]");
forget.hidden = !Object.keys({ ...predicted, ...practised }).length;
forget.addEventListener("click", () => {
  STORES.forEach((key) => localStorage.removeItem(key));
  location.reload();
});

async function tell(entry, query) {
  const answer = await fetch(`${entry.dataset.from}?${query}`).catch(() => null);
  if (!answer?.ok) return; // a guess from an older lesson, or no line: it waits to be asked again
  const answered = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const name of ["guess", "truth"]) {
    const shown = answered.querySelector(`[name=${name}]`);
    if (shown) entry.querySelector(`[name=${name}]`).value = shown.textContent;
    else entry.querySelector(`[data-${name}]`).remove(); // skipped: there was no guess
  }
  entry.querySelector("[data-said]").hidden = false;
  const right = answered.querySelector(".reveal").classList.contains("right");
  entry.querySelector("[data-why]").textContent = answered.querySelector(".why").textContent;
  entry.querySelector("[data-why]").hidden = right;
  if (!right) entry.querySelector("a").href = answered.querySelector("[data-see]").getAttribute("href");
  entry.dataset.belongs = right ? "right" : "again";
}

/** Into their groups, in the order of the lesson, once all answers are here. */
function sort() {
  for (const entry of page.querySelectorAll("[data-belongs]")) page.querySelector(`[data-group=${entry.dataset.belongs}] ul`).append(entry);
  for (const group of page.querySelectorAll("[data-group]")) group.hidden = !group.querySelector("li");
}

function remembered(key) {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "{}");
  } catch {
    return {};
  }
}
