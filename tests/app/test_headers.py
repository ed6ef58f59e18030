"""Security headers: on every answer, and as strict as the lesson allows."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from app import create_app
from app.security import POLICY, content_security_policy
from app.settings import Settings
from tests.app.html import Element, parse
from tests.app.test_pages import LESSON, PAGES


@pytest.mark.parametrize("address", [*PAGES, "/nowhere", f"{LESSON}/figures/rtn?bits=9", "/healthz"])
def test_every_answer_carries_the_policy(client: TestClient, address: str) -> None:
    headers = client.get(address).headers
    assert headers["content-security-policy"] == content_security_policy("'none'")
    assert headers["x-content-type-options"] == "nosniff"


def test_a_failure_carries_the_policy_too_and_shows_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("app.pages._answers", broken)
    with TestClient(create_app(Settings()), raise_server_exceptions=False) as failing:
        answer = failing.get("/")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert answer.headers["content-security-policy"] == content_security_policy("'none'")


def test_policy_allows_no_inline_code_and_no_other_host() -> None:
    text = content_security_policy("'none'")
    assert "unsafe" not in text
    assert "http" not in text
    assert POLICY["default-src"] == "'none'"


def inline(page: Element) -> list[str]:
    scripts = [s.text for s in page.all("script") if "src" not in s.attributes]
    return scripts + [s.text for s in page.all("style")]


def styled(element: Element) -> list[str]:
    own = [f"<{element.tag}>"] if "style" in element.attributes else []
    return own + [found for child in element.children for found in styled(child)]


@pytest.mark.parametrize("address", PAGES)
def test_no_page_needs_what_the_policy_forbids(client: TestClient, address: str) -> None:
    page = parse(client.get(address).text)
    assert inline(page) == []
    assert styled(page) == []


@pytest.mark.parametrize("address", PAGES)
def test_no_page_asks_another_host_for_anything(client: TestClient, address: str) -> None:
    page = parse(client.get(address).text)
    wanted = [
        e.attributes.get("src") or e.attributes.get("href", "")
        for tag in ("script", "link", "img")
        for e in page.all(tag)
    ]
    assert wanted
    assert all(address.startswith("/") and not address.startswith("//") for address in wanted)


def test_embeds_may_be_framed_by_whom_the_host_names() -> None:
    with TestClient(create_app(Settings(embed_ancestors="https://lms.example"))) as hosted:
        policy = hosted.get(f"{LESSON}/figures/rtn?embed=1").headers["content-security-policy"]
    assert "frame-ancestors https://lms.example" in policy


def test_transport_security_is_said_over_https_and_only_there(client: TestClient) -> None:
    assert "strict-transport-security" not in client.get("/").headers
    with TestClient(create_app(Settings()), base_url="https://lesson.example") as secure:
        assert secure.get("/").headers["strict-transport-security"] == "max-age=31536000"
