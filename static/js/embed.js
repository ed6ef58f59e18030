// An embed tells the page around it how high its figure is, so that the frame can be as high: no bar to scroll, no gap.
// The height is no secret, so it is told to whatever page this is; who may frame it at all is the policy's business.
const main = document.querySelector("main");
let told = 0;

if (parent !== window) new ResizeObserver(tell).observe(main);

function tell() {
  const height = Math.ceil(main.getBoundingClientRect().height);
  if (height === told) return;
  told = height;
  parent.postMessage({ figure: document.querySelector("figure").id, figureHeight: height }, "*");
}
