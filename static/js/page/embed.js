// Tell the page around an embed how high its figure is, so that the frame can be as high: no bar to scroll, no gap.
//
// The height is no secret, so any page is told; the policy decides who may frame it.
const main = document.querySelector("main");
let last = 0;

if (parent !== window) {
  new ResizeObserver(tell).observe(main);
  document.addEventListener("click", openBeside, true);
}

/** Only embeds may be framed: any other page of ours opens beside. */
function openBeside({ target }) {
  const link = target.closest("a[href]:not([target], [download], [href^='#'])");
  if (link) link.target = "_blank";
}

function tell() {
  const height = Math.ceil(main.getBoundingClientRect().height);
  if (height === last) return;
  last = height;
  parent.postMessage({ figure: document.querySelector("figure").id, figureHeight: height }, "*");
}
