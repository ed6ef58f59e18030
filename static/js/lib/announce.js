// Say what changed to screen readers, in the page's live region.

const REST = 600; // milliseconds: a drag is announced once, and so is a step back that changes several figures

let resting;

export function announce(sentence) {
  clearTimeout(resting);
  document.getElementById("live").textContent = sentence;
}

/** Announce what `sentence` gives when nothing has changed for a while; as long as it gives null, wait on. */
export function announceAtRest(sentence) {
  clearTimeout(resting);
  resting = setTimeout(() => {
    const found = sentence();
    if (found === null) announceAtRest(sentence);
    else announce(found);
  }, REST);
}
