// Moves the focus through everything that can have it and lists where it would not be seen: no ring of two pixels,
// a ring too like its ground, or a place under what sticks to the top. Of the radio buttons of a name a few stand for all.
(backwards) => {
  const RING = 2; // pixels
  const EACH = 9; // radio buttons of one name that are passed over between two that are tried

  const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = colour;
    pixel.fillRect(0, 0, 1, 1);
    return [...pixel.getImageData(0, 0, 1, 1).data].map((channel) => channel / 255);
  };
  const luminance = ([r, g, b]) => [r, g, b].map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const ground = (element) => {
    const own = rgb(getComputedStyle(element).backgroundColor);
    return own[3] === 1 || !element.parentElement ? own : ground(element.parentElement);
  };

  const counted = new Map();
  const tried = (element) => {
    if (element.type !== "radio") return true;
    const key = `${element.form?.id} ${element.name}`;
    counted.set(key, (counted.get(key) ?? -1) + 1);
    return counted.get(key) % (EACH + 1) === 0;
  };
  const stops = [...document.querySelectorAll('a[href], button, input:not([type="hidden"]), select, summary, [tabindex="0"]')].filter(
    (element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest(".modebar") && !element.matches(":disabled") && tried(element),
  );
  const bars = [...document.querySelectorAll(".contents, .bench")].filter((bar) => getComputedStyle(bar).position === "sticky");

  const lost = [];
  for (const element of backwards ? stops.reverse() : stops) {
    element.focus();
    const ring = [element, element.nextElementSibling, element.closest("label")].find((each) => {
      const style = each && getComputedStyle(each);
      return style && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= RING && style.opacity !== "0";
    });
    const who = `${element.tagName}.${element.className} ${element.name ?? ""} ${element.textContent.trim().slice(0, 20)}`;
    if (!ring) {
      lost.push(`no ring: ${who}`);
      continue;
    }
    if (contrast(rgb(getComputedStyle(ring).outlineColor), ground(ring.parentElement)) < 3) lost.push(`faint ring: ${who}`);
    const place = ring.getBoundingClientRect();
    const heights = [place.top + 2, (place.top + place.bottom) / 2, place.bottom - 2];
    const painted = heights.map((y) => document.elementFromPoint(place.left + 2, y));
    const over = bars.find((bar) => !bar.contains(element) && painted.some((top) => bar.contains(top)));
    if (over && place.height < innerHeight / 2) lost.push(`under .${over.classList[0]}: ${who}`);
  }
  return lost;
}
