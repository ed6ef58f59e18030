"""Fixtures of the browser tests: one server and one Chromium for all, a fresh context for each test.

Every page is watched. A console error, an uncaught exception, a breach of the content security policy or a
request to any other host fails the test that caused it, unless the test expected it (`watch.expect`).
Motion is reduced unless a test asks for it, so that what is measured stands still.
"""

import os
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from scripts import browser as chromium
from tests.app.servers import LIMIT, free_port
from tests.browser.watch import REPORT_CSP, Watch

ROOT = Path(__file__).resolve().parents[2]
DEVICES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1440, "height": 900}},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "has_touch": True,
        "is_mobile": True,
    },
}
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
FIRST_MOVE = """
addEventListener("DOMContentLoaded", () => window.dispatchEvent(new Event("pointermove")))
"""
"""A reader moves before doing anything, and the lesson's scripts wait for that: see test_first_view."""
UNCOVER = """
addEventListener("DOMContentLoaded", () => {
  for (const card of document.querySelectorAll("[data-covers]")) card.removeAttribute("data-covers");
})
"""
"""Figures are there without a guess, as most tests need them: see test_predict for the cover."""
STEP_LIMIT = 20_000  # milliseconds that one click, wait or navigation may take on a busy machine
expect.set_options(timeout=STEP_LIMIT)
MOST_KEPT = 2
"""Pages opened in one way that stay open between tests: few tests need more at once."""
EMPTY = "/healthz"
"""A page of the server without any script."""
NewPage = Callable[..., Page]
KeptPage = Callable[..., Page]


@pytest.fixture(scope="session")
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server keeps its log and its jobs."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="session")
def server(server_folder: Path) -> Iterator[str]:
    """Start the lesson as `make run` does, on a free port, and give its address."""
    # Tests of classes have a server of their own.
    with serving(server_folder, {"ACADEMY_CLASSES": "off"}) as url:
        yield url


@contextmanager
def serving(folder: Path, settings: dict[str, str]) -> Iterator[str]:
    """Run a server with these settings; what it writes lies in `folder`."""
    port = free_port()
    log = folder / "log.txt"
    environment = os.environ | {"HOST": "127.0.0.1", "PORT": str(port), "WORKERS": "1"} | settings
    environment["ACADEMY_PSEUDO_LANGUAGES"] = "1"  # for test_languages; nothing leads there
    environment["ACADEMY_MAKE_AHEAD"] = "0"  # the cores are for the browsers
    environment["ACADEMY_JOBS_FOLDER"] = str(folder / "jobs")  # nothing is measured there
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, ROOT / "scripts" / "serve.py"], env=environment, stdout=output, stderr=output
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, process, log)
        yield url
    finally:
        process.terminate()
        process.wait(LIMIT)
    assert "Traceback" not in log.read_text(), f"the server logged an exception:\n{log.read_text()[-4000:]}"


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Ask `/readyz` until it answers; fail with the server's own log where it does not."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"the server did not get ready within {LIMIT} s:\n{log.read_text()[-4000:]}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start Chromium; it resolves no name, so that nothing outside this machine can be reached."""
    path = chromium.find()
    if path is None:
        pytest.fail(chromium.HELP)
    arguments = [*chromium.launch_arguments(), "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    with sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=path, args=arguments)
        yield instance
        instance.close()


@pytest.fixture
def watch(server: str) -> Iterator[Watch]:
    """Collect what goes wrong in this test's pages, and fail it at its end."""
    watched = Watch(server)
    yield watched
    problems = watched.problems()
    assert not problems, "the page complained:\n" + "\n".join(problems)


@pytest.fixture(scope="session")
def kept_pages(browser: Browser, server: str) -> Iterator[dict[str, list[Page]]]:
    """The pages that stay open from one test to the next, by how they were opened: see `new_page`."""
    pages: dict[str, list[Page]] = defaultdict(list)
    yield pages
    for page in chain.from_iterable(pages.values()):
        page.context.close()


@pytest.fixture
def new_page(
    browser: Browser,
    server: str,
    watch: Watch,
    kept_pages: dict[str, list[Page]],
    request: pytest.FixtureRequest,
) -> Iterator[NewPage]:
    """Give a function that opens a watched page in a context of its own.

    `new_page(device="desktop" | "phone", javascript=True, **options)`: the options are Playwright's, such as
    `color_scheme="dark"`, `reduced_motion="no-preference"` or `forced_colors="active"`. Questions cover their
    figures with `covers=True` alone.

    A page's process starts as slowly as many a test runs. Tests with `pytest.mark.tidy`, often all of a
    module, leave nothing behind but what `tidy` puts away, and take a page that was opened in the same way.
    """
    keep = request.node.get_closest_marker("tidy") is not None
    opened: list[tuple[dict[str, Any], Page]] = []

    def open_page(
        device: str = "desktop", javascript: bool = True, covers: bool = False, **options: Any
    ) -> Page:
        settings = {"color_scheme": "light", "reduced_motion": "reduce", "locale": "en-GB"} | DEVICES[device]
        settings |= options | {"java_script_enabled": javascript, "base_url": server}
        reusable = kept_pages[how(settings)] if keep and not covers else []
        page = reusable.pop() if reusable else None
        if not page:
            context = browser.new_context(**settings)
            context.set_default_timeout(STEP_LIMIT)
            for script in (FIRST_MOVE, REPORT_CSP, *([] if covers else [UNCOVER])):
                context.add_init_script(script)
            page = context.new_page()
        watch.follow(page.context)
        opened.append((settings | {"covers": covers}, page))
        return page

    yield open_page
    for settings, page in opened:
        watch.leave(page.context)
        covered = settings.pop("covers")
        kept = kept_pages[how(settings)]
        if keep and not covered and len(kept) < MOST_KEPT and tidy(page, settings):
            kept.append(page)
        else:
            page.context.close()


def until(page: Page, true: Callable[[], bool]) -> None:
    """Wait until something comes true on this side; the page's requests and messages come in meanwhile."""
    end = time.monotonic() + STEP_LIMIT / 1000
    while not true():
        assert time.monotonic() < end, "it did not come true"
        page.wait_for_timeout(20)


def how(settings: dict[str, Any]) -> str:
    return str(sorted(settings.items()))


def tidy(page: Page, settings: dict[str, Any]) -> bool:
    """Put away what a test may have left in its page; say whether the next one may have it."""
    if page.is_closed() or len(page.context.pages) > 1:
        return False
    page.unroute_all(behavior="ignoreErrors")
    page.context.set_offline(False)
    page.goto(EMPTY)  # the lesson's scripts would write again what is cleared now
    page.context.clear_cookies()
    page.evaluate("() => [localStorage, sessionStorage].forEach(kept => kept.clear())")
    page.mouse.move(0, 0)
    page.set_viewport_size(settings["viewport"])
    page.emulate_media(
        media="null",
        color_scheme=settings["color_scheme"],
        reduced_motion=settings["reduced_motion"],
        forced_colors=settings.get("forced_colors", "null"),
    )
    return True


@pytest.fixture(scope="module")
def kept_page(browser: Browser, server: str) -> Iterator[Callable[..., Page]]:
    """Give a function that opens a page once for all tests of a module that only read it.

    `kept_page(address, prepare, **options)`: `prepare(page)` is called once, when it is open. These pages
    are not watched; the same addresses are, in the tests that act on them.
    """
    pages: dict[str, Page] = {}

    def open_once(address: str, prepare: Callable[[Page], object] | None = None, **options: Any) -> Page:
        key = f"{address} {sorted(options.items(), key=str)}"
        if key not in pages:
            settings = {"color_scheme": "light", "reduced_motion": "reduce", "locale": "en-GB"} | DEVICES[
                "desktop"
            ]
            context = browser.new_context(base_url=server, **(settings | options))
            context.set_default_timeout(STEP_LIMIT)
            for script in (FIRST_MOVE, UNCOVER):
                context.add_init_script(script)
            pages[key] = context.new_page()
            pages[key].goto(address)
            if address != EMPTY:
                pages[key].locator("html.js").wait_for()
            if prepare:
                prepare(pages[key])
        return pages[key]

    yield open_once
    for page in pages.values():
        page.context.close()


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """A desktop page, 1440 × 900, light."""
    return new_page()


@pytest.fixture
def dark(new_page: NewPage) -> Page:
    """A desktop page in the dark colour scheme."""
    return new_page(color_scheme="dark")


@pytest.fixture
def phone(new_page: NewPage) -> Page:
    """A phone's page, 390 × 844 at twice the density, with touch."""
    return new_page("phone")


@pytest.fixture
def no_js(new_page: NewPage) -> Page:
    """A desktop page without JavaScript."""
    return new_page(javascript=False)


@pytest.fixture(scope="session")
def axe_source() -> str:
    return (ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.fixture
def axe(axe_source: str) -> Callable[..., list[str]]:
    """Give a function that checks a page against WCAG 2.2 A and AA and lists what it found, one line each.

    `axe(page, within, but, only, outside)`: the part of the page, the rules to leave out, or the only ones
    to ask, and parts that are passed over.
    """

    def violations(
        page: Page,
        within: str = "html",
        but: Sequence[str] = (),
        only: Sequence[str] = (),
        outside: Sequence[str] = (),
    ) -> list[str]:
        if not page.evaluate("'axe' in window"):
            page.evaluate(axe_source)
        options = {
            "runOnly": {"type": "rule", "values": list(only)} if only else WCAG,
            "rules": {rule: {"enabled": False} for rule in but},
            "resultTypes": ["violations"],
        }
        context = {"include": [within], "exclude": list(outside)}
        result = page.evaluate("([context, options]) => axe.run(context, options)", [context, options])
        return [
            f"{violation['id']}: {violation['help']} — {node['target'][0]}"
            for violation in result["violations"]
            for node in violation["nodes"]
        ]

    return violations
