"""A file dropped on a figure, and how much of it the page reads."""

from __future__ import annotations

import base64

from playwright.sync_api import Locator

DROP = """(figure, [name, data]) => {
  const file = new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name);
  const { slice } = Blob.prototype;
  window.bytesRead = 0;
  Blob.prototype.slice = function (from, to) {
    window.bytesRead += to - from;
    return slice.call(this, from, to);
  };
  for (const way of ["arrayBuffer", "bytes", "stream", "text"]) {
    Blob.prototype[way] = new Proxy(Blob.prototype[way], {
      apply(read, blob, given) {
        if (blob instanceof File) window.bytesRead += blob.size; // a slice is a Blob
        return Reflect.apply(read, blob, given);
      },
    });
  }
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(file);
  const target = figure.querySelector(".drawing");
  const options = { bubbles: true, cancelable: true, dataTransfer };
  const sent = (type) => target.dispatchEvent(new DragEvent(type, options));
  const refused = [sent("dragover")];
  const marked = figure.classList.contains("over");
  refused.push(sent("drop"));
  return marked && !figure.classList.contains("over") && !refused.includes(true);
}"""


def drop(figure: Locator, name: str, content: bytes) -> None:
    """Drag a file over the drawing and let it go; the figure takes it in the place of the browser."""
    assert figure.evaluate(DROP, [name, base64.b64encode(content).decode()])


def bytes_read(figure: Locator) -> int:
    """How many bytes of it were asked for since."""
    return int(figure.evaluate("() => window.bytesRead"))
