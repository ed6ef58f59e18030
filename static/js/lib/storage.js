// What this browser remembers. Storage can be forbidden or full, and what is in it can be anything: damage is forgotten.

/** The texts or objects that were kept under a key, by name: those that `fits` accepts. */
export function recalled(key, fits, storage = "localStorage") {
  try {
    const kept = JSON.parse(window[storage].getItem(key));
    if (kept === null || typeof kept !== "object") return {};
    return Object.fromEntries(Object.entries(kept).filter(([, value]) => fits(value)));
  } catch {
    return {};
  }
}

/** Keep something, as long as the page lasts where it cannot be kept longer. */
export function keep(key, value, storage = "localStorage") {
  try {
    window[storage].setItem(key, JSON.stringify(value));
  } catch {
    // Forbidden or full.
  }
}

export function forget(key, storage = "localStorage") {
  try {
    window[storage].removeItem(key);
  } catch {
    // Forbidden: then nothing was kept.
  }
}

export function isText(value) {
  return typeof value === "string";
}

/** How a task was done last. */
export function isScore(value) {
  return Number.isFinite(value?.right) && Number.isFinite(value?.blanks) && value.blanks > 0;
}
