// The page's own behaviour. The figures work without it: each is a form with a button.
import { watchAddress } from "../figure/address.js";
import { watchCharts } from "../figure/charts.js";
import "../lesson/claims.js";
import { watchControls } from "../figure/controls.js";
import { watchDrops } from "../own/panel.js";
import { watchFold } from "../lesson/fold_player.js";
import { watchFolded } from "../figure/folds.js";
import { watchLate } from "../figure/late.js";
import { watchLimits } from "../figure/limits.js";
import { watchLine } from "../figure/requests.js";
import { watchLinked } from "../figure/linked_marks.js";
import { watchPatches } from "../figure/patch.js";
import { watchProgress } from "../lesson/progress.js";
import { watchStates } from "../figure/state_tables.js";

watchProgress();
watchControls();
if (window.htmx) watchFigures();
else document.documentElement.classList.remove("js"); // it did not arrive: then the forms have their buttons

function watchFigures() {
  watchLine();
  watchLimits();
  watchPatches();
  watchStates();
  watchAddress();
  watchCharts();
  watchFold();
  watchFolded();
  watchLate();
  watchLinked();
  watchDrops();
}
