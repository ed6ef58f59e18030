// Predict, then see: a guess is committed without leaving the page, what was so takes the place of its form, and the server
// draws the guess on the figure from then on, wherever it is true of its state. Guesses are remembered in this browser only.
// Without this script the form leads to the question's own page.
import { defaultsOf, setControls, showValue } from "../figure/controls.js";
import { ask, wantedBy } from "../figure/requests.js";
import { isText, keep, recalled } from "../lib/storage.js";
import { say } from "../lib/announce.js";

const KEY = `predicted:${location.pathname.replace(/\/questions\/.*/, "")}`;
const SHEET = new URL("../../css/reveal.css", import.meta.url).href;

watch();

function watch() {
  document.addEventListener("submit", (event) => {
    const question = event.target.closest(".ask");
    if (!question || !formBelow(question)) return; // its own page: the figure comes with the answer
    event.preventDefault();
    const { submitter } = event;
    const given = submitter?.name ? new URLSearchParams({ [submitter.name]: submitter.value }) : new URLSearchParams(new FormData(event.target));
    commit(question, `${given}`);
  });
  document.addEventListener("input", ({ target }) => {
    if (target.type === "range" && target.closest(".ask")) show(target);
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.(".ask [data-see], .ask [data-ask-afresh]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const question = link.closest(".ask");
    event.preventDefault();
    if (link.matches("[data-see]")) see(question, link).scrollIntoView({ block: "nearest" });
    else if (isAlone(question)) forget(question, link);
    else afresh(question);
  });
  for (const question of document.querySelectorAll(".ask")) {
    question.querySelectorAll("input[type=range]").forEach(show);
    const query = remembered()[nameOf(question)];
    const shown = question.querySelector("[data-query]");
    if (shown) remember(question, shown.dataset.query); // the question's own page, after a commit without us
    else if (query && isAlone(question)) putBack(question, new URLSearchParams(query));
    else if (query) showAgain(question, query);
  }
  const link = document.querySelector('.try a[href$="/questions"]');
  if (link) import("./recall.js").then(({ watchRecall }) => watchRecall(link.parentElement), () => {}); // the line is bad: the link stays
}

/** What every commit was, by the name of its question: the query of its address. */
function remembered() {
  return recalled(KEY, isText);
}

function remember(question, query) {
  const kept = { ...remembered(), [nameOf(question)]: query };
  if (!query) delete kept[nameOf(question)];
  keep(KEY, kept);
  document.dispatchEvent(new Event("predicted"));
}

function nameOf(question) {
  return question.id.replace("ask-", "");
}

async function commit(question, query) {
  const arrived = await fetched(question, query);
  if (!arrived && !navigator.onLine) {
    say(document.querySelector("#lost")?.content.querySelector("[data-lost=offline]").textContent ?? "");
    return; // the guess is still in its form
  }
  if (!arrived) {
    location.assign(`${question.querySelector("form").action}?${query}`); // the page that needs no script says what is wrong
    return;
  }
  remember(question, query);
  replace(question, arrived);
  see(arrived, arrived.querySelector("[data-see]"));
  arrived.querySelector(".verdict").focus({ preventScroll: true });
}

/** What was answered on an earlier visit, answered; its figure is where the address has it, now with the guess on it. */
async function showAgain(question, query) {
  const arrived = await fetched(question, query);
  if (!arrived?.querySelector(".reveal") || !question.isConnected) { // of an older lesson, or the line is bad
    putBack(question, new URLSearchParams(query));
    return;
  }
  const form = formBelow(question);
  if (!form.querySelector("[name=guess]")) mark(form, guessIn(arrived.querySelector("[data-see]"))); // else a link has brought one
  question.replaceWith(arrived);
  const state = stateOf(form);
  const defaults = defaultsOf(form);
  const moved = Object.keys(defaults).some((name) => state[name] !== defaults[name]);
  if (window.htmx && moved && !form.querySelector("[data-late]")) ask(form, state);
}

/** The question's own page asks again when it is loaded without an answer. */
function forget(question, link) {
  remember(question, "");
  location.assign(link.href);
}

async function afresh(question) {
  const arrived = await fetched(question, "");
  if (!arrived) return;
  remember(question, "");
  const form = formBelow(question);
  mark(form, "");
  if (window.htmx) ask(form, stateOf(form));
  replace(question, arrived);
  arrived.querySelectorAll("input[type=range]").forEach(show);
  arrived.querySelector("input").focus({ preventScroll: true });
}

/** One card for the other, in its place on the screen: its top stays where it is, or comes out from under the list of sections. */
function replace(question, arrived) {
  const edge = parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop) || 0;
  const top = Math.max(question.getBoundingClientRect().top, edge);
  question.replaceWith(arrived);
  const settle = () => scrollBy({ top: arrived.getBoundingClientRect().top - top, behavior: "instant" });
  settle();
  requestAnimationFrame(settle); // a browser that holds what stands below has moved it meanwhile
}

async function fetched(question, query) {
  try {
    const [answer] = await Promise.all([fetch(`${question.dataset.ask}?${query}`), looks()]);
    const body = answer.ok ? await answer.text() : "";
    return new DOMParser().parseFromString(body, "text/html").querySelector(".ask");
  } catch {
    return null;
  }
}

/** The style sheet of what comes after a guess, once. */
function looks() {
  if ([...document.styleSheets].some(({ href }) => href === SHEET)) return null;
  return new Promise((done) => {
    document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: SHEET, onload: done, onerror: done }));
  });
}

/** The figure goes to the state in which it shows what is so, with the guess on it. */
function see(question, link) {
  const form = formBelow(question);
  const named = [...new URL(link.href).searchParams].map(([name, value]) => [name.split(".")[1], value]);
  const { guess, undefined: route, ...changed } = Object.fromEntries(named);
  const state = { ...defaultsOf(form), ...changed };
  mark(form, guess);
  setControls(form, state);
  if (window.htmx) ask(form, state);
  return form.closest("figure");
}

/** A guess goes along with every change of the figure; none takes it off. A link may have brought another one. */
function mark(form, guess) {
  const { figure, place } = form.closest("figure").dataset;
  const address = new URL(location.href);
  const named = place === "lesson" ? `${figure}.guess` : "guess";
  if (address.searchParams.has(named)) {
    address.searchParams.delete(named);
    history.replaceState(history.state, "", address);
  }
  form.querySelector("[name=guess]")?.remove();
  if (guess) form.append(Object.assign(document.createElement("input"), { type: "hidden", name: "guess", value: guess }));
}

/** What the figure shows, or is about to, without the guess on it. */
function stateOf(form) {
  const { guess, ...state } = { ...wantedBy(form), ...Object.fromEntries(new FormData(form)) };
  return state;
}

function guessIn(link) {
  return [...new URL(link.href).searchParams].find(([name]) => name.endsWith(".guess"))?.[1] ?? "";
}

/** The form of the question's figure; none on the question's own page before the answer. */
function formBelow(question) {
  return question.nextElementSibling?.querySelector("form[data-defaults]");
}

/** Whether this is the page of one question, whose address is the answer. */
function isAlone(question) {
  return location.pathname.endsWith(`/questions/${nameOf(question)}`);
}

/** A slider's value, and the line of its mark where it lies along the axes of a figure. */
function show(input) {
  showValue(input);
  const line = input.closest(".scene")?.querySelector(".stalk");
  const at = `${(100 * (input.value - input.min)) / (input.max - input.min)}%`;
  for (const end of ["x1", "x2"]) line?.setAttribute(end, at);
}

/** A guess of an earlier visit: the control stands where it was left, and the label says so. Nothing moves on the page. */
function putBack(question, query) {
  const answer = query.get("answer");
  if (answer === null) return;
  const form = question.querySelector("form");
  setControls(form, { answer });
  form.querySelectorAll("input[type=range]").forEach(show);
  const label = question.querySelector("[data-said]");
  const chosen = form.querySelector("output")?.textContent ?? form.querySelector(":checked + span")?.textContent ?? "";
  label.textContent = `${label.dataset.said} ${chosen}${form.querySelector(".slider-unit")?.textContent ?? ""}`;
}
