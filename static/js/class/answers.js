// Send to the class what its student does in the lesson: predictions, steps of tasks, and the sections that are reached.
import { read, write } from "../lib/storage.js";

const REST = 3000; // milliseconds in a section before it counts as reached

/** `isOpen()`: whether the class still takes answers. */
export function watchAnswers({ code, answers, isOpen }, outbox) {
  const KNOWN = `class-told:${code}`; // what the class knows: the last value of each step, and the sections that are done
  const begun = performance.now();
  let resting;

  const send = (...sent) => {
    if (!isOpen()) return;
    const uid = drawn();
    const numbered = sent.map((answer, i) => ({ uid: `${uid}-${i}`, ...answer }));
    if (sent.length) outbox.put(`answers ${uid}`, answers, { answers: JSON.stringify(numbered) });
  };
  const seconds = () => Math.round((performance.now() - begun) / 1000);

  /** Whether the class does not know this yet; from now on it does. */
  const isNew = (what, value) => {
    const known = read(KNOWN);
    if (known[what] === value) return false;
    write(KNOWN, { ...known, [what]: value });
    return true;
  };

  const predicted = ({ name, query }) => send({ kind: "question", name, value: new URLSearchParams(query).get("answer"), seconds: seconds() });

  const practised = ({ name, query }) => {
    const { seed = "1", stage, solve, ...steps } = Object.fromEntries(new URLSearchParams(query));
    const given = Object.entries(steps).filter(([step, value]) => value.trim() && isNew(`${name} ${seed} ${step}`, value));
    send(...given.map(([step, value]) => ({ kind: "step", name, step, seed: Number(seed), value, seconds: seconds() })));
  };

  const reached = ({ slug, before }) => {
    const done = before.filter((each) => isNew(`done ${each}`, "1"));
    send(...done.map((name) => ({ kind: "section", name, done: true })), { kind: "section", name: slug });
  };

  document.addEventListener("predict:made", ({ detail }) => predicted(detail));
  document.addEventListener("task:checked", ({ detail }) => practised(detail));
  document.addEventListener("section:reached", ({ detail }) => {
    clearTimeout(resting);
    resting = setTimeout(reached, REST, detail);
  });

  const here = document.querySelector("[data-section-link][aria-current]")?.dataset.sectionLink; // marked before we were here
  if (here) resting = setTimeout(reached, REST, { slug: here, before: [] });

  // A question's or a task's own page is checked by loading it: once for each time that its form is sent.
  if (performance.getEntriesByType("navigation")[0]?.type !== "navigate") return;
  const question = document.querySelector(".ask:has([data-query])");
  if (question && location.pathname === question.dataset.page) predicted({ name: question.id.replace("ask-", ""), query: location.search });
  const task = document.querySelector(".task > [data-task]");
  if (task && !new URLSearchParams(location.search).has("solve")) practised({ name: task.dataset.task, query: location.search });
}

/** A random name of 128 bits; `crypto.randomUUID` is there on secure pages only. */
function drawn() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
