// Take the teacher's secret out of the address, or out of the saved file, and open the desk with it.
const form = document.getElementById("enter");
const field = document.getElementById("secret");
const file = document.getElementById("from-file");

file.hidden = false;
file.querySelector("input").addEventListener("change", async ({ target }) => {
  const text = await target.files[0]?.slice(0, 4096).text();
  const link = text?.match(/#([\w-]{22})\b/);
  open(link ? link[1] : text?.trim().slice(0, 400));
});

if (location.hash.length > 1) {
  const secret = location.hash.slice(1);
  history.replaceState(null, "", location.pathname); // it stays out of the history
  open(secret);
}

function open(secret) {
  if (!secret) return;
  field.value = secret;
  form.requestSubmit();
}
