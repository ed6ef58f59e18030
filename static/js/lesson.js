// The page's own behaviour. The figures work without it: each is a form with a button.
import { watchAddress } from "./address.js";
import { watchCharts } from "./charts.js";
import "./claims.js";
import { watchControls } from "./controls.js";
import { watchDrops } from "./drop.js";
import { watchFold } from "./fold.js";
import { watchFolded } from "./folded.js";
import { watchLate } from "./late.js";
import { watchLimits } from "./limits.js";
import { watchLine } from "./line.js";
import { watchLinked } from "./linked.js";
import { watchPatches } from "./patch.js";
import { watchProgress } from "./progress.js";
import { watchStates } from "./states.js";

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
