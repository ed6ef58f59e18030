"""Measure how much a reader meets on the lesson's page and on every page of its workshop.

    python scripts/measure_page.py [http://127.0.0.1:8000] [/lessons/quantization …]

For each page: words of the prose; all words that are visible; read-outs, controls and marks of claims that
are visible; the height at 1440 and at 390 pixels. Without pages named, the lesson and its workshop.
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent))
from scripts import browser as chromium

LESSON = "/lessons/quantization"
COLUMNS = ("prose", "visible", "read-outs", "controls", "marks", "1440", "390")

COUNT = """() => {
  const seen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const within = (selector) => [...document.querySelectorAll(selector)].filter(seen);
  const words = (text) => text.split(/\\s+/).filter((word) => /[\\p{L}\\p{N}]/u.test(word)).length;
  const unread = "script, style, template, noscript, .visually-hidden, select";
  const text = (root) => {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    const found = [];
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const element = node.parentElement;
      if (node.data.trim() && !element.closest(unread) && seen(element)) found.push(node.data);
    }
    return found.join(" ");
  };
  const main = document.querySelector("main");
  return {
    prose: within("main .prose, main .lead").reduce((sum, element) => sum + words(text(element)), 0),
    visible: words(text(main)),
    readouts: within("main .readout").length,
    controls: within("main figure .control").length,
    marks: within("main a.claim").length,
  };
}"""


def measure(page: Page, address: str) -> dict[str, int]:
    """What a page holds, and how high it is, once all of it was scrolled by."""
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(address)
    _scroll_by(page)
    counted: dict[str, int] = page.evaluate(COUNT)
    heights = {}
    for width, height in ((1440, 900), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        _scroll_by(page)
        heights[f"height_{width}"] = page.evaluate("document.documentElement.scrollHeight")
    return {**counted, **heights}


def workshop_pages(page: Page, server: str) -> list[str]:
    """The lesson, and the pages that the index of its workshop leads to."""
    page.goto(f"{server}{LESSON}/workshop")
    links: list[str] = page.locator(".teaser a").evaluate_all("(links) => links.map((a) => a.href)")
    return [LESSON, f"{LESSON}/workshop", *(urlsplit(link).path for link in links)]


def _scroll_by(page: Page) -> None:
    height = page.evaluate("document.documentElement.scrollHeight")
    for top in range(0, height, 1500):
        page.evaluate("(top) => scrollTo({ top, behavior: 'instant' })", top)
        page.wait_for_timeout(60)
    page.evaluate("scrollTo({ top: 0, behavior: 'instant' })")
    page.wait_for_timeout(200)


def main() -> None:
    server = sys.argv[1].rstrip("/") if len(sys.argv) > 1 else "http://127.0.0.1:8000"
    path = chromium.find() or sys.exit(chromium.HELP)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=chromium.launch_arguments())
        page = browser.new_context(reduced_motion="reduce").new_page()
        pages = sys.argv[2:] or workshop_pages(page, server)
        print(f"{'':48}" + "".join(f"{name:>10}" for name in COLUMNS))
        for address in pages:
            found = measure(page, server + address)
            print(f"{address:48}" + "".join(f"{value:>10}" for value in found.values()))
        browser.close()


if __name__ == "__main__":
    main()
