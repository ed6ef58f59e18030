// Start what every page with figures needs. What only some readers use is loaded when they first use it.
//
// The figures work without scripts, too: each is a form with a button.
import { watchAddress } from "../figure/address.js";
import { watchCharts } from "../figure/charts.js";
import { watchUnfolded } from "../figure/complete.js";
import { watchControls } from "../figure/controls.js";
import { watchFolds } from "../figure/folds.js";
import { watchLimits } from "../figure/limits.js";
import { watchLinkedMarks } from "../figure/linked_marks.js";
import { watchRequests } from "../figure/requests.js";
import { watchStateTables } from "../figure/state_tables.js";
import "../lesson/claims.js";
import { watchFold } from "../lesson/fold_player.js";
import { watchProgress } from "../lesson/progress.js";
import { watchWayBack } from "../lesson/way_back.js";
import { load } from "../lib/assets.js";
import { read } from "../lib/storage.js";

watchProgress();
watchWayBack();
watchControls();
if (window.htmx) startFigures();
else document.documentElement.classList.remove("js"); // it did not arrive: then the forms have their buttons

function startFigures() {
  watchRequests();
  watchLimits();
  watchStateTables();
  watchAddress();
  watchCharts();
  watchFold();
  watchFolds();
  watchUnfolded();
  watchLinkedMarks();
  watchPanels();
  document.querySelectorAll("[data-task-fold][open]").forEach(openTask);
  document.addEventListener("toggle", ({ target }) => target.matches("[data-task-fold][open]") && openTask(target), true);
}

async function openTask(fold) {
  try {
    await (await import("./task_fold.js")).openTask(fold);
  } catch {
    // The script did not come: the link leads to the task.
  }
}

/** The panels below a figure, for sharing and for a reader's own data. Where a script does not come the panel's link stays. */
function watchPanels() {
  document.querySelectorAll("details.sharing[open]").forEach((details) => openPanel(details)); // opened before we were here
  document.addEventListener("toggle", ({ target }) => target.matches("details.sharing[open]") && openPanel(target), true);
  for (const type of ["dragover", "dragleave", "drop"]) document.addEventListener(type, takeFile);
  if (Object.keys(read("own", "sessionStorage")).length) import("../own/weights.js").catch(() => {}); // this tab holds some
}

async function openPanel(details, file) {
  try {
    const script = details.matches(".own") ? import("../own/weights.js") : details.matches(".config") ? import("../own/config.js") : import("./share.js");
    await (await script).open(details, file);
  } catch {
    // The script did not come.
  }
}

/** A file can be dropped anywhere on a figure that takes one. */
function takeFile(event) {
  const details = event.target.closest?.("figure[data-figure]")?.querySelector("details:is(.own, .config)");
  if (!details || !event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault(); // else the browser leaves the page for the file
  load("own");
  details.closest("figure").classList.toggle("over", event.type === "dragover");
  const [file] = event.dataTransfer.files;
  if (event.type !== "drop" || !file) return;
  details.open = true;
  openPanel(details, file);
}
