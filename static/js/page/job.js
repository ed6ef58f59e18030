// A computation that takes minutes is followed by server-sent events: each brings the HTML of its present state.

//
// Who began it has its token in the address, and may stop it. It is taken out of there, so that a link that is passed on
// does not hold it, and kept in this tab.
const shown = document.getElementById("job-state");
const address = new URL(location.href);
const given = address.searchParams.get("begun");
address.searchParams.delete("begun");
const KEY = `begun:${address.pathname}${address.search}`;

if (given) {
  remember(given);
  history.replaceState(history.state, "", address);
}
const kept = remembered();
if (kept && !given && shown.dataset.steps) {
  address.searchParams.set("begun", kept);
  location.replace(address);
} else follow(shown);

function remember(token) {
  try {
    sessionStorage.setItem(KEY, token);
  } catch {
    // Storage can be forbidden; the token is in the form until the page is left.
  }
}

function remembered() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function follow(shown) {
  if (!shown.dataset.steps) return;
  const steps = new EventSource(shown.dataset.steps);
  steps.addEventListener("message", ({ data }) => {
    const next = new DOMParser().parseFromString(data, "text/html").getElementById("job-state");
    if (!next) return;
    const inForm = shown.contains(document.activeElement) && document.activeElement.localName === "button";
    shown.replaceWith(next);
    if (inForm) next.querySelector("button")?.focus({ preventScroll: true });
    shown = next;
  });
  steps.addEventListener("end", () => steps.close());
}
