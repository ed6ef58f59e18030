// A computation that takes minutes is followed by server-sent events: each brings the HTML of its present state.

follow(document.getElementById("job-state"));

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
