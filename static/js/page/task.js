// Remember how a task was done, in this browser only, and give the focus to an answer that cannot be read.
//
// The task itself needs no script.
import { practise } from "./practised.js";

const exercise = document.querySelector("[data-task]");

// After the browser has gone to the place that the address names, which takes the focus away.
window.addEventListener("load", () => setTimeout(() => exercise.querySelector("[data-unread]")?.focus()));

if (!new URLSearchParams(location.search).has("solve")) practise(exercise);
