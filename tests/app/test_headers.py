"""Security headers: on every response, as strict as possible."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app import create_app
from app.assets import ROOT, STATIC, static_files, version
from app.http.security import DATA_POLICY, HEADERS, POLICY, content_security_policy
from app.settings import Settings
from lessons.catalogue import style_sheets
from tests.app.html import Element, parse
from tests.app.test_pages import LESSON, PAGES
from tests.each import each


@each("address", [*PAGES, "/nowhere", f"{LESSON}/figures/rtn?bits=9"])
def test_every_page_carries_the_policy_and_every_header(client: TestClient, address: str) -> None:
    headers = client.get(address).headers
    assert headers["content-security-policy"] == content_security_policy("'none'")
    assert headers["x-frame-options"] == "DENY"
    assert "set-cookie" not in headers
    assert {name: headers[name] for name in HEADERS} == HEADERS


@pytest.mark.parametrize(
    "address", ["/healthz", f"{LESSON}/figures/rtn.csv", f"/static/{version()}/lesson.css"]
)
def test_responses_other_than_pages_may_load_nothing(client: TestClient, address: str) -> None:
    headers = client.get(address).headers
    assert headers["content-security-policy"] == DATA_POLICY
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("address", [LESSON, f"/static/{version()}/lesson.css"])
def test_304_keeps_the_headers_of_the_cached_page(client: TestClient, address: str) -> None:
    """Headers of a 304 replace those of the page in the browser's cache."""
    kept = client.get(address).headers
    answer = client.get(address, headers={"If-None-Match": kept["etag"]})
    assert answer.status_code == 304
    assert {k: v for k, v in answer.headers.items() if kept.get(k) != v} == {}


def test_refusal_before_routing_has_the_policy(client: TestClient) -> None:
    answer = client.get("/" + "a" * 5000)
    assert answer.status_code == 414
    assert answer.headers["content-security-policy"] == content_security_policy("'none'")


def test_server_error_has_the_policy_and_only_the_log_has_the_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("app.routes.common.cache_of", broken)
    answer = TestClient(create_app(Settings()), raise_server_exceptions=False).get("/?typed=words")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert "'/' failed" in caplog.text
    assert f'File "{__file__}", line' in caplog.text
    assert "words" not in caplog.text
    assert answer.headers["content-security-policy"] == content_security_policy("'none'")


def test_policy_allows_no_inline_code_and_no_other_host() -> None:
    text = content_security_policy("'none'")
    assert "unsafe" not in text
    assert "http" not in text
    assert "*" not in text
    assert POLICY["default-src"] == "'none'"
    # `default-src` is no fallback for these two.
    assert {"base-uri", "form-action"} <= set(POLICY)


def inline(page: Element) -> list[str]:
    scripts = [s.text for s in page.all("script") if "src" not in s.attributes]
    return scripts + [s.text for s in page.all("style")]


def styled(element: Element) -> list[str]:
    own = [f"<{element.tag}>"] if "style" in element.attributes else []
    return own + [found for child in element.children for found in styled(child)]


@pytest.mark.parametrize("address", PAGES)
def test_no_page_violates_the_policy_or_requests_another_host(client: TestClient, address: str) -> None:
    page = parse(client.get(address).text)
    assert inline(page) == []
    assert styled(page) == []
    wanted = [
        e.attributes.get("src") or e.attributes.get("href", "")
        for tag in ("script", "link", "img")
        for e in page.all(tag)
    ]
    assert wanted
    assert all(address.startswith("/") and not address.startswith("//") for address in wanted)


@pytest.mark.parametrize(
    "files",
    [
        [STATIC / path for path in static_files() if not path.startswith(("vendor/", "pictures/"))],
        [*(ROOT / "templates").rglob("*.jinja"), *(ROOT / "lessons").rglob("*.jinja")],
        [sheet for sheet, _ in style_sheets()],
    ],
    ids=["static", "templates", "sheets"],
)
def test_shipped_files_name_no_other_host(files: list[Path]) -> None:
    assert len(files) > 15
    text = "".join(file.read_text("utf-8") for file in files)
    named = set(re.findall(r"""(?:\w+:)?//[\w-]+\.[^\s"'`)]+""", text))
    assert named <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xhtml",
    }  # a namespace, not requested


def embed(ancestors: str) -> Mapping[str, str]:
    hosted = TestClient(create_app(Settings(embed_ancestors=ancestors)))
    return hosted.get(f"{LESSON}/figures/rtn?embed=1").headers


def test_static_files_may_be_used_in_a_sandboxed_frame(client: TestClient) -> None:
    """Such a frame has an opaque origin."""
    headers = client.get(f"/static/{version()}/vendor/fonts.css").headers
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert headers["access-control-allow-origin"] == "*"


def test_embeds_may_be_framed_by_configured_sites() -> None:
    headers = embed("https://lms.example")
    assert headers["content-security-policy"].endswith("; frame-ancestors https://lms.example")
    assert "x-frame-options" not in headers  # it supports no list and would forbid what the policy allows


@pytest.mark.parametrize(("ancestors", "option"), [("'self'", "SAMEORIGIN"), ("'none'", "DENY")])
def test_x_frame_options_matches_frame_ancestors(ancestors: str, option: str) -> None:
    headers = embed(ancestors)
    assert headers["x-frame-options"] == option
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_hsts_is_sent_only_over_https(client: TestClient) -> None:
    assert "strict-transport-security" not in client.get("/").headers
    secure = TestClient(create_app(Settings()), base_url="https://lesson.example")
    assert secure.get("/").headers["strict-transport-security"] == "max-age=31536000"


REFUSED = {
    f"{LESSON}/figures/rtn?bits=9&embed=1": 422,
    f"{LESSON}/figures/nowhere?embed=1": 404,
    f"{LESSON}/figures/rtn?embed=1&in=nowhere": 422,
    f"{LESSON}/figures/rtn?embed=1&bits=%FF": 400,
    f"{LESSON}/figures/rtn?embed=1&" + "a" * 9000: 414,
    "/" + "a" * 5000 + "?embed=1": 414,
}


@pytest.mark.parametrize("address", REFUSED)
def test_error_pages_of_an_embed_may_be_framed(address: str) -> None:
    hosted = TestClient(create_app(Settings(embed_ancestors="https://lms.example")))
    answer = hosted.get(address)
    assert answer.status_code == REFUSED[address]
    policy = answer.headers["content-security-policy"]
    assert policy == content_security_policy("https://lms.example")
    assert "x-frame-options" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    page = parse(answer.text)
    assert page.one("base").attributes == {"target": "_blank"}  # pages other than embeds may not be framed
    alone = hosted.get(address.replace("embed=1", "other=1")).headers["content-security-policy"]
    assert alone == content_security_policy("'none'")


def test_correction_link_of_an_embed_stays_in_the_frame(client: TestClient) -> None:
    page = parse(client.get(f"{LESSON}/figures/rtn?bits=9&block=outlier&embed=1").text)
    back = next(link for link in page.all("a") if link.attributes.get("target") == "_self")
    again = client.get(back.attributes["href"])
    assert again.status_code == 200
    assert "frame-ancestors *" in again.headers["content-security-policy"]


def test_server_error_of_an_embed_may_be_framed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("app.routes.common.cache_of", broken)
    hosted = TestClient(create_app(Settings(embed_ancestors="'self'")), raise_server_exceptions=False)
    answer = hosted.get(f"{LESSON}/figures/rtn?embed=1")
    assert answer.status_code == 500
    assert answer.headers["content-security-policy"] == content_security_policy("'self'")
