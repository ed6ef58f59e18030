// An embed tells the page around it how high its figure is, so that the frame can be as high: no bar to scroll, no gap.
// The height is no secret, so it is told to whatever page this is; who may frame it at all is the policy's business.
const main = document.querySelector("main");
let told = 0;

if (parent !== window) {
  new ResizeObserver(tell).observe(main);
  document.addEventListener("click", leave, true);
}

/** Only embeds may be framed: any other page of ours opens beside. */
function leave({ target }) {
  const link = target.closest("a[href]:not([target], [download], [href^='#'])");
  if (link) link.target = "_blank";
}

function tell() {
  const height = Math.ceil(main.getBoundingClientRect().height);
  if (height === told) return;
  told = height;
  parent.postMessage({ figure: document.querySelector("figure").id, figureHeight: height }, "*");
}
