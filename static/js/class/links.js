// The links of a class: copy them, and save the teacher's as a file. The secret is not on the page to be read.
import { announce } from "../lib/announce.js";

for (const button of document.querySelectorAll("[data-copy], [data-save]")) button.hidden = false;

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-copy], [data-save]");
  if (button?.dataset.copy) await copy(button);
  else if (button) save(button);
});

async function copy(button) {
  const { link } = document.getElementById(button.dataset.copy).dataset;
  try {
    await navigator.clipboard.writeText(link);
  } catch { // not over HTTPS, or forbidden
    if (!copyOfField(link)) return;
  }
  announce(button.dataset.copied);
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), 2000);
}

function copyOfField(text) {
  const field = Object.assign(document.createElement("textarea"), { value: text, className: "visually-hidden" });
  document.body.append(field);
  const before = document.activeElement;
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  before?.focus();
  return done;
}

function save({ dataset }) {
  const { link } = document.getElementById(dataset.save).dataset;
  const file = new Blob([dataset.text, "\n", link, "\n"], { type: "text/plain;charset=utf-8" });
  const way = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file), download: dataset.name });
  way.click();
  setTimeout(() => URL.revokeObjectURL(way.href), 10_000);
}
