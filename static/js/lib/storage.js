// Remember things in this browser. If storage is forbidden, full or damaged, nothing is remembered.

/** The values under a key, by name: those that `fits` accepts. */
export function read(key, storage = "localStorage", fits = isText) {
  try {
    const values = JSON.parse(window[storage].getItem(key));
    if (values === null || typeof values !== "object") return {};
    return Object.fromEntries(Object.entries(values).filter(([, value]) => fits(value)));
  } catch {
    return {};
  }
}

export function write(key, values, storage = "localStorage") {
  attempt(() => window[storage].setItem(key, JSON.stringify(values)));
}

export function remove(key, storage = "localStorage") {
  attempt(() => window[storage].removeItem(key));
}

function attempt(change) {
  try {
    change();
  } catch {
    // Forbidden or full.
  }
}

function isText(value) {
  return typeof value === "string";
}

/** How a task was done last. */
export function isScore(value) {
  return Number.isFinite(value?.right) && Number.isFinite(value?.blanks) && value.blanks > 0;
}
