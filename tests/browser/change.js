// Put a figure's form into a state and wait until its view is there, as after a reader's last change.
// Gives what the form then holds. A control whose option is not on the page yet keeps its own.
async (form, state) => {
  form.dataset.tabled = ""; // one state is wanted: a table of all states of a slider would cost more than it saves
  for (const [name, value] of Object.entries(state)) {
    if (form.elements[name]) form.elements[name].value = value; // a menu, a slider or a list of radio buttons
  }
  const swapped = new Promise((done, fail) => {
    form.addEventListener("htmx:finally:swap", done, { once: true });
    setTimeout(() => fail(new Error("no view came within 20 s")), 20_000);
  });
  form.requestSubmit();
  await swapped;
  return [...new FormData(form)];
}
