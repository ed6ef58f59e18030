"""Every page lives within its policy, whatever is opened in it.

It asks no other host, breaches nothing and logs no error: `watch` sees to that and fails the test.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from app.http.security import POWERS_OFF
from tests.browser.figures import KINDS, NAMES, PAGE
from tests.browser.watch import Watch

pytestmark = pytest.mark.tidy

CODE = f"{PAGE}/code/"
UNLINKED = [
    "/nowhere",
    f"{PAGE}/figures/rtn?bits=9",
    f"{PAGE}?rtn.bits=9",
    f"{PAGE}/figures/none?embed=1",
    f"{CODE}quant_core.methods.rtn.round_to_nearest",
]
OPEN_AND_SCROLL = """async () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  for (let y = 0; y < document.body.scrollHeight; y += innerHeight) {
    scrollTo(0, y);
    await new Promise(requestAnimationFrame);
  }
}"""
FILES = (".csv", ".svg", ".py", ".ipynb")
STILL_STATIC = "[data-chart]:not(.live), [data-chart-live]:not(:has(.main-svg))"
STILL_CLOSED = "main .sharing:not(:has(button))"  # its panel is on its way
LINKS = "all => all.map(a => a.href.split('#')[0])"


MANY = ("figures", "questions", "tasks")
"""Folders whose pages are of one kind: two of each are walked. Other tests open and watch every figure."""


def key(address: str) -> tuple[str, bool]:
    """Pages that differ in their state alone are one page to walk."""
    parts = urlsplit(address)
    return parts.path, "embed" in parse_qs(parts.query)


def test_every_page_stays_within_its_policy(page: Page, watch: Watch, server: str) -> None:
    watch.expect("Failed to load resource: the server responded with a status of 4")
    to_walk = [server + address for address in ("/", *UNLINKED)]
    known = {("/", False)}
    walked_of: Counter[tuple[str, bool]] = Counter()
    files: set[str] = set()
    while to_walk:
        page.goto(to_walk.pop(0))
        page.emulate_media(color_scheme="light")
        page.evaluate(OPEN_AND_SCROLL)
        expect(page.locator(STILL_CLOSED)).to_have_count(0)
        page.emulate_media(color_scheme="dark")
        for chart in page.locator("[data-chart]").all():  # some had not come yet when they were scrolled past
            chart.scroll_into_view_if_needed()
            expect(chart).to_have_class(re.compile(r"\blive\b"))
        expect(page.locator(STILL_STATIC)).to_have_count(0)
        for found in page.locator("a[href]").evaluate_all(LINKS):
            if found.startswith(server) and urlsplit(found).path.endswith(FILES):
                # A QR code is one only with its query; a figure's file is there in every state.
                is_code = urlsplit(found).path.endswith("/qr.svg")
                files.add(found.removeprefix(server) if is_code else urlsplit(found).path)
            elif found.startswith(f"{server}{CODE}"):
                continue  # one page of code is like another
            elif found.startswith(f"{server}/") and found != page.url and key(found) not in known:
                known.add(key(found))
                folder, _, name = urlsplit(found).path.rpartition("/")
                kind = folder.rpartition("/")[2], key(found)[1]
                walked_of[kind] += 1
                if kind[0] not in MANY or walked_of[kind] <= 2 or (kind[0] == "figures" and name in KINDS):
                    to_walk.append(found)
    walked = {path for path, _ in known}
    assert {"/", PAGE, f"{PAGE}/sources", f"{PAGE}/receipts"} <= walked
    assert {f"{PAGE}/figures/{name}" for name in NAMES} <= walked
    assert {path for path, embed in known if embed} == {f"{PAGE}/figures/{name}" for name in NAMES}
    assert {f"{PAGE}/figures/{name}.{kind}" for name in NAMES for kind in ("csv", "py")} <= files
    assert [file for file in files if page.request.get(file).status != 200] == []


def test_a_page_has_given_up_every_power_that_it_does_not_use(page: Page) -> None:
    page.goto("/")
    known = set(page.evaluate("document.featurePolicy.features()"))
    allowed = set(page.evaluate("document.featurePolicy.allowedFeatures()"))
    assert set(POWERS_OFF) <= known, "the browser complains of powers that it does not know"
    assert allowed & set(POWERS_OFF) == set()


@pytest.fixture
def course(server: str) -> Iterator[str]:
    """A page of another host, isolated as strictly as can be, with one figure in a frame and in a sandbox."""
    figure = f"{server}{PAGE}/figures/rtn?embed=1"
    allowed = "allow-scripts allow-same-origin allow-forms"
    frames = (
        f'src="{figure}"',
        f'src="{figure}" sandbox',
        f'src="{server}/"',
        f'src="{figure}" sandbox="{allowed}"',
    )
    body = "<!doctype html><script>told = []; addEventListener('message', e => told.push(e.data))</script>"
    body += "".join(f"<iframe {frame}></iframe>" for frame in frames)

    class Course(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Course) as host:
        threading.Thread(target=host.serve_forever).start()
        yield f"http://127.0.0.1:{host.server_port}/"
        host.shutdown()


def test_a_figure_works_in_the_page_of_another_host_and_the_site_cannot_be_framed(
    page: Page, watch: Watch, course: str
) -> None:
    watch.expect(f"{course}|frame-ancestors|ERR_BLOCKED_BY_RESPONSE|Blocked script execution")
    page.goto(course)
    framed, sandboxed, refused, allowed = (page.frame_locator("iframe").nth(i) for i in range(4))
    for working in (framed, allowed):
        working.locator("#fig-02-bits").press("End")
        expect(working.locator('output[name="levels"]')).to_have_text("256")
    heights = "new Set(told.filter(t => t.figure === 'fig-02').map(t => t.figureHeight))"
    assert page.evaluate(f"Math.min(...{heights})") > 100
    before = page.evaluate(f"Math.max(...{heights})")
    framed.locator("details > summary").first.click()
    page.wait_for_function(f"Math.max(...{heights}) > {before}")
    # Without scripts and without an origin it still has its style sheet.
    expect(sandboxed.locator('output[name="zeros"]')).to_be_visible()
    assert sandboxed.locator("h1.visually-hidden").evaluate("h => getComputedStyle(h).position") == "absolute"
    expect(refused.locator("main")).to_have_count(0)
