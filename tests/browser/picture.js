// The drawings of a figure that its SVG file has, on the figure's page or in the file: what there is of them, or one of
// them alone on its ground, as wide as it is in the file. Gives where it stands.
({ which, width }) => {
  const isFile = document.documentElement.localName === "svg";
  const all = isFile
    ? [...document.querySelectorAll(".fig svg")].filter((svg) => svg.parentElement.closest("svg") === document.documentElement)
    : [...document.querySelectorAll(".drawing svg")].filter((svg) => !svg.parentElement.closest("svg, .parts, .tiles, .picks, .chart-live"));
  if (which === undefined) return all.map((svg) => [Number(svg.getAttribute("width")), Number(svg.getAttribute("height"))]);
  const svg = all[which];
  const figure = document.querySelector(".fig");
  for (const each of all) each.removeAttribute("style");
  for (const child of figure.children) child.style.visibility = "hidden";
  if (isFile) {
    svg.style.visibility = "visible";
    const [x, y, height] = ["x", "y", "height"].map((name) => Number(svg.getAttribute(name)));
    return { x, y, width, height };
  }
  document.body.style.visibility = "hidden";
  figure.style.visibility = "visible";
  for (const around of document.querySelectorAll(".drawing, .drawing :not(svg, svg *):has(svg)")) {
    Object.assign(around.style, { overflow: "visible", opacity: 1, position: "static" });
  }
  const picks = [...document.querySelectorAll(".drawing .picks svg")]; // buttons that lie over a drawing
  for (const each of [svg, ...picks]) {
    Object.assign(each.style, { visibility: "visible", position: "absolute", left: "90px", top: "200px", width: `${width}px` });
  }
  const box = svg.getBoundingClientRect();
 
  return { x: box.x, y: box.y, width: box.width, height: box.height };
}
