// Follow a job: server-sent events bring the HTML of its current state.
//
// The page that started it has a token in its address, with which it may stop it. The token is removed from the address, so that
// a shared link does not contain it, and remembered in this tab.
import { parsePage } from "../lib/fetch.js";
import { read, write } from "../lib/storage.js";

const address = new URL(location.href);
const given = address.searchParams.get("begun");
address.searchParams.delete("begun");
const KEY = `begun:${address.pathname}${address.search}`;
let shown = document.getElementById("job-state");

if (given) {
  write(KEY, { given }, "sessionStorage");
  history.replaceState(history.state, "", address);
}
const { given: token } = read(KEY, "sessionStorage");
if (token && !given && shown.dataset.steps) {
  address.searchParams.set("begun", token);
  location.replace(address);
} else if (shown.dataset.steps) {
  const steps = new EventSource(shown.dataset.steps);
  steps.addEventListener("message", ({ data }) => show(data));
  steps.addEventListener("end", () => steps.close());
}

function show(html) {
  const next = parsePage(html).getElementById("job-state");
  if (!next) return;
  const onButton = shown.contains(document.activeElement) && document.activeElement.localName === "button";
  shown.replaceWith(next);
  if (onButton) next.querySelector("button")?.focus({ preventScroll: true });
  shown = next;
}
