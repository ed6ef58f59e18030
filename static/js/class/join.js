// The pages of joining a class and of oneself in it; without this script each has its buttons.
import { request } from "../lib/fetch.js";
import { read, remove, write } from "../lib/storage.js";

const PRESENT = "class"; // of this browser: { code, bar }

for (const [selector, act] of [["[data-join]", join], ["[data-resume]", resume], ["[data-left]", forget], ["[data-back]", back]]) {
  const element = document.querySelector(selector);
  if (element) act(element);
}

/** Who is in the class already goes on as who they are; who waits for their turn is let in when it comes. */
function join(section) {
  const { join: code, again, wait } = section.dataset;
  const form = section.querySelector("form");
  if (again === undefined && wait === undefined && read(PRESENT).code === code) location.replace(section.dataset.class);
  if (wait === undefined) return;
  const begun = performance.now();
  const bar = section.querySelector("progress");
  const timer = setInterval(() => {
    bar.value = Math.min(1, (performance.now() - begun) / (1000 * wait));
    if (bar.value < 1) return;
    clearInterval(timer);
    form.requestSubmit();
  }, 200);
}

/** The code in a link stands behind #, so that no server logs it; here it comes out of the address, too. */
function resume(form) {
  const secret = location.hash.slice(1);
  if (!secret) return;
  history.replaceState(null, "", location.pathname);
  form.querySelector("input").value = secret;
  form.requestSubmit();
}

/** Forget the class that was left. Any link may lead here: who is still in the class keeps what waits to be sent. */
async function forget(section) {
  const code = section.dataset.left;
  const { code: present, bar } = read(PRESENT);
  const hasLeft = /\/leave(\?|$)/.test(document.referrer);
  if (present === code && !hasLeft && (await request(bar)).ok) return;
  if (present === code) remove(PRESENT);
  remove(`class-outbox:${code}`);
  write("class-hidden", {}, "sessionStorage");
}

/** Back to the lesson, where it was left. */
function back(link) {
  if (!document.referrer.startsWith(location.origin) || history.length < 2) return;
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    history.back();
  });
}
