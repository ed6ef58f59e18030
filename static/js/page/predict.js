// Commit a guess without leaving the page: the answer replaces the question's form and uncovers the figure.
//
// The server marks the guess in every state for which the question holds. Guesses are remembered in this browser only. Without this
// script the form leads to the question's own page.
import { prefix } from "../figure/address.js";
import { defaultsOf, setControls, stateOf } from "../figure/controls.js";
import { ask } from "../figure/requests.js";
import { announce } from "../lib/announce.js";
import { load } from "../lib/assets.js";
import { fetchPage } from "../lib/fetch.js";
import { read, write } from "../lib/storage.js";
import { set, touches, unset } from "./unset.js";

const KEY = `predicted:${document.documentElement.dataset.lesson}`; // what every commit was: the query of its address
const unfolded = new WeakSet(); // forms whose details "See it in the figure" has opened

watch();

function watch() {
  document.addEventListener("submit", (event) => {
    const question = event.target.closest(".ask");
    if (!question || !formBelow(question)) return; // its own page: the figure comes with the answer
    event.preventDefault();
    const { submitter } = event;
    const fields = submitter?.name ? { [submitter.name]: submitter.value } : new FormData(event.target);
    commit(question, `${new URLSearchParams(fields)}`);
  });
  for (const type of ["pointerdown", "keydown", "input", "change"]) document.addEventListener(type, settle);
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.(".ask :is([data-continue], [data-see], [data-ask-afresh])");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const question = link.closest(".ask");
    event.preventDefault();
    if (link.matches("[data-see]")) see(question, link).scrollIntoView({ block: "nearest" });
    else if (link.matches("[data-continue]")) goOn(question, link);
    else if (!isAlone(question)) askAfresh(question);
    else { // its own page asks again when it is loaded without an answer
      remember(question, "");
      location.assign(link.href);
    }
  });
  document.addEventListener("predict:given", ({ detail }) => { // a guess that was made elsewhere, in a class
    const question = document.getElementById(`ask-${detail.name}`);
    if (!question || question.querySelector(".reveal")) return;
    remember(question, detail.query);
    if (!isAlone(question)) showAgain(question, detail.query);
  });
  document.querySelectorAll(".ask").forEach(start);
  const link = document.querySelector(".try a[data-recalled]");
  if (link) import("./recall.js").then(({ watchRecall }) => watchRecall(link.parentElement), () => {}); // it did not come: the link stays
}

function start(question) {
  const query = read(KEY)[nameOf(question)];
  unsetIn(question);
  const answered = question.querySelector("[data-query]");
  if (answered) remember(question, answered.dataset.query); // the question's own page, after a commit without us
  else if (query && isAlone(question)) putBack(question, query);
  else if (query) showAgain(question, query);
}

function unsetIn(question) {
  const form = question.querySelector("form");
  if (form) unset(form, question.querySelector("[data-words]")?.dataset.words);
}

function remember(question, query) {
  const { [nameOf(question)]: _, ...others } = read(KEY);
  write(KEY, query ? { ...others, [nameOf(question)]: query } : others);
  document.dispatchEvent(new Event("predicted"));
}

function nameOf(question) {
  return question.id.replace("ask-", "");
}

async function commit(question, query) {
  const arrived = await fetchQuestion(question, query);
  if (arrived) {
    remember(question, query);
    document.dispatchEvent(new CustomEvent("predict:made", { detail: { name: nameOf(question), query } }));
    replace(question, arrived);
    markWhereTrue(formBelow(arrived), arrived);
    arrived.querySelector(".verdict").focus({ preventScroll: true });
  } else if (navigator.onLine) {
    location.assign(`${question.querySelector("form").action}?${query}`); // the page that needs no script says what is wrong
  } else { // the guess is still in its form
    announce(document.querySelector("#lost")?.content.querySelector("[data-lost=offline]").textContent ?? "");
  }
}

/** What was answered on an earlier visit, answered; its figure is where the address has it, now with the guess on it. */
async function showAgain(question, query) {
  const arrived = await fetchQuestion(question, query);
  if (!arrived?.querySelector(".reveal") || !question.isConnected) { // of an older lesson, or no answer came
    putBack(question, query);
    return;
  }
  const form = formBelow(question);
  exchange(question, arrived);
  if (!form.querySelector("[name=guess]")) markWhereTrue(form, arrived); // else a link has brought one
}

/** The figure stays in its state, with the guess on it where that is true of it. */
function markWhereTrue(form, answered) {
  mark(form, parametersOf(answered.querySelector("[data-see]")).guess);
  const state = stateWithoutGuess(form);
  const moved = Object.entries(defaultsOf(form)).some(([name, value]) => state[name] !== value);
  if (moved) ask(form, state);
}

/** On to the figure, in the state that the text goes on with. */
function goOn(question, link) {
  const form = formBelow(question);
  if (!form) {
    location.assign(link.href);
    return;
  }
  if (unfolded.delete(form)) form.querySelector(".details").open = false;
  setControls(form, defaultsOf(form));
  ask(form, defaultsOf(form));
  form.closest("figure").scrollIntoView({ block: "start" });
  form.querySelector("input:not([type=hidden]), select")?.focus({ preventScroll: true });
}

async function askAfresh(question) {
  const arrived = await fetchQuestion(question, "");
  if (!arrived) return;
  remember(question, "");
  const form = formBelow(question);
  mark(form, "");
  ask(form, stateWithoutGuess(form));
  replace(question, arrived);
  unsetIn(arrived);
  arrived.querySelector("input").focus({ preventScroll: true });
}

/** One card for the other, in its place on the screen: its top stays where it is, or comes out from under the list of sections. */
function replace(question, arrived) {
  const edge = parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop) || 0;
  const top = Math.max(question.getBoundingClientRect().top, edge);
  exchange(question, arrived);
  const settle = () => scrollBy({ top: arrived.getBoundingClientRect().top - top, behavior: "instant" });
  settle();
  requestAnimationFrame(settle); // a browser that holds what stands below has moved it meanwhile
}

/** What arrives knows nothing of the page: whether its figure is covered before a guess. */
function exchange(question, arrived) {
  arrived.toggleAttribute("data-covers", question.hasAttribute("data-covers"));
  question.replaceWith(arrived);
}

async function fetchQuestion(question, query) {
  const [page] = await Promise.all([fetchPage(`${question.dataset.ask}?${query}`), load("reveal")]);
  return page?.querySelector(".ask") ?? null;
}

/** Set the figure to the state that shows the answer, with the guess on it. */
function see(question, link) {
  const form = formBelow(question);
  const { guess, ...changed } = parametersOf(link);
  const state = { ...defaultsOf(form), ...changed };
  mark(form, guess);
  setControls(form, state);
  ask(form, state);
  const details = form.querySelector(".details");
  const isFolded = (name) => details.querySelector(`.more-controls [name="${name}"]`);
  if (!details.open && Object.keys(changed).some(isFolded)) { // as on a page that is loaded in this state
    details.open = true;
    unfolded.add(form);
  }
  return form.closest("figure");
}

/** The parameters of a figure in a link to the lesson, without the figure's name. */
function parametersOf(link) {
  const named = [...new URL(link.href).searchParams].filter(([name]) => name.includes("."));
  return Object.fromEntries(named.map(([name, value]) => [name.split(".")[1], value]));
}

/** A guess goes along with every change of the figure; none takes it off. A link may have brought another one. */
function mark(form, guess) {
  const name = `${prefix(form.closest("figure"))}guess`;
  const address = new URL(location.href);
  if (address.searchParams.has(name)) {
    address.searchParams.delete(name);
    history.replaceState(history.state, "", address);
  }
  form.querySelector("[name=guess]")?.remove();
  if (guess) form.append(Object.assign(document.createElement("input"), { type: "hidden", name: "guess", value: guess }));
}

function stateWithoutGuess(form) {
  const { guess, ...state } = stateOf(form);
  return state;
}

/** The form of the question's figure; none on the question's own page before the answer. */
function formBelow(question) {
  return question.nextElementSibling?.querySelector("form[data-defaults]");
}

/** Whether this is the page of one question, whose address is the answer. */
function isAlone(question) {
  return location.pathname === question.dataset.page;
}

/** The first touch of a control sets the guess. */
function settle(event) {
  if (event.target.matches?.(".ask .control input") && touches(event)) set(event.target);
}

/** A guess of an earlier visit: the control stands where it was left, and the label says so. Nothing moves on the page. */
function putBack(question, query) {
  const answer = new URLSearchParams(query).get("answer");
  if (answer === null) return;
  const form = question.querySelector("form");
  setControls(form, { answer });
  set(form.querySelector(".control input"));
  const label = question.querySelector("[data-said]");
  const chosen = form.querySelector("output")?.textContent ?? form.querySelector(":checked + span")?.textContent ?? "";
  label.textContent = `${label.dataset.said} ${chosen}${form.querySelector(".slider-unit")?.textContent ?? ""}`;
}
