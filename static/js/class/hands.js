// Know whether a reader types or drags: until their hands rest, nothing comes to the fore.

const REST = 1200; // milliseconds after the last key or move
const TYPED = "input:not([type=radio], [type=checkbox], [type=range], [type=hidden], [type=button]), textarea, select, [contenteditable]";

let down = false;
let last = -REST;

export function watchHands() {
  const options = { capture: true, passive: true };
  addEventListener("pointerdown", () => { down = true; }, options);
  for (const type of ["pointerup", "pointercancel"]) addEventListener(type, () => { down = false; last = performance.now(); }, options);
  for (const type of ["input", "keydown"]) addEventListener(type, () => { last = performance.now(); }, options);
}

/** A promise that is kept once the reader neither drags nor types outside of `part`. */
export async function handsRest(part) {
  const busy = () => down || performance.now() - last < REST || (document.activeElement?.matches(TYPED) && !part.contains(document.activeElement));
  while (busy()) await new Promise((resolve) => setTimeout(resolve, 200));
}
