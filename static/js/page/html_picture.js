// Make a picture of a figure that is HTML and not SVG: an SVG that holds the HTML, with the page's style sheets and typefaces.
//
// Browsers show it; programs for vector graphics may not, and need the PNG.
import { request } from "../lib/fetch.js";

const XHTML = "http://www.w3.org/1999/xhtml";
const MARGIN = 24; // pixels of ground around the drawing

/** The figure as it is shown, on a light or a dark ground, as the text of an SVG file. */
export async function pictureOf(figure, scheme) {
  const drawing = figure.querySelector(".drawing");
  const { width, height } = drawing.getBoundingClientRect();
  const frame = document.implementation.createDocument(XHTML, "div").documentElement;
  frame.setAttribute("class", `${figure.className} picture`);
  frame.append(frame.ownerDocument.importNode(withChoices(drawing), true));
  const style = `${await styleSheets()}
:root { color-scheme: ${scheme} }
.picture { all: initial; color-scheme: ${scheme}; display: block; padding: ${MARGIN}px; background: var(--card); color: var(--ink); font: 400 16px/1.6 var(--sans); width: ${width}px; container-type: inline-size }
.picture > .drawing { width: ${width}px; margin: 0 }`;
  const size = [width, height].map((length) => Math.ceil(length) + 2 * MARGIN);
  const name = figure.querySelector("figcaption").innerText.split("\n")[0];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${size[0]}" height="${size[1]}" viewBox="0 0 ${size.join(" ")}">
<title>${escaped(name)}</title><style>${escaped(style)}</style><foreignObject width="100%" height="100%">${new XMLSerializer().serializeToString(frame)}</foreignObject></svg>`;
}

/** As text: an element of style would be one of this page, whose policy forbids it. */
function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

/** A copy whose attributes say what a reader has chosen: a file knows nothing else. */
function withChoices(drawing) {
  const copy = drawing.cloneNode(true);
  const chosen = drawing.querySelectorAll("input");
  copy.querySelectorAll("input").forEach((input, i) => input.toggleAttribute("checked", chosen[i].checked));
  return copy;
}

/** The page's style sheets as they were written (rules that were read cannot all be written again), typefaces as data. */
async function styleSheets() {
  const sheets = [...document.styleSheets].map(({ href }) => href).filter(Boolean);
  return (await Promise.all(sheets.map(inlined))).join("\n");
}

async function inlined(sheet) {
  const text = (await request(sheet)).body ?? "";
  const faces = [...new Set([...text.matchAll(/url\(["']?([^"')]+\.woff2)["']?\)/g)].map(([, address]) => address))];
  const data = await Promise.all(faces.map((address) => dataOf(new URL(address, sheet))));
  return faces.reduce((written, address, i) => written.replaceAll(address, data[i]), text);
}

async function dataOf(address) {
  const { body } = await request(address, { as: "blob" });
  return new Promise((resolve) => {
    const reader = Object.assign(new FileReader(), { onload: () => resolve(reader.result) });
    reader.readAsDataURL(body ?? new Blob());
  });
}
