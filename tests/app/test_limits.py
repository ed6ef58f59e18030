"""What is too large is refused before it costs anything."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from app.limits import HEADER_BYTES, PATH_BYTES
from app.parameters import Forms
from tests.app.html import parse
from tests.app.test_pages import LESSON


@pytest.mark.parametrize(
    ("address", "headers", "body", "status"),
    [
        ("/" + "a" * PATH_BYTES, {}, b"", 414),
        ("/" + "%C3%A9" * (PATH_BYTES // 6 + 1), {}, b"", 414),
        (LESSON, {"Cookie": "a" * HEADER_BYTES}, b"", 431),
        (LESSON, {}, b"x", 413),
        (LESSON, {"Transfer-Encoding": "chunked"}, b"", 413),
    ],
)
def test_too_large_a_request_is_answered_by_a_page_that_says_so(
    client: TestClient, address: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = client.request("GET", address, headers=headers, content=body or None)
    assert answer.status_code == status
    assert parse(answer.text).one("p", class_="lead").text


@pytest.mark.parametrize(
    ("address", "headers"), [(LESSON, {"Content-Length": "0"}), ("/healthz", {"Cookie": "a" * 16_000})]
)
def test_what_browsers_and_proxies_send_is_taken(
    client: TestClient, address: str, headers: dict[str, str]
) -> None:
    assert client.get(address, headers=headers).status_code == 200


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "POST", "QUERY"])
def test_other_methods_are_told_which_there_are(client: TestClient, method: str) -> None:
    answer = client.request(method, LESSON, headers={"X-Secret": "not-echoed"})
    assert answer.status_code == 405
    assert sorted(answer.headers["allow"].split(", ")) == ["GET", "HEAD"]
    assert "not-echoed" not in answer.text


@pytest.mark.parametrize(
    ("limits", "status"), [({"most_of_one": 1000}, 429), ({"most": 1000}, 503), ({"most": 3000}, 200)]
)
def test_forms_of_all_and_of_one_client_are_held_up_to_a_size(
    client: TestClient, limits: dict[str, int], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms = Forms(**limits)
    monkeypatch.setitem(client.app.state._state, "forms", forms)  # type: ignore[attr-defined]
    weights = {"own.text": " ".join(f"{i / 256:.2f}" for i in range(256))}
    answer = client.post(f"{LESSON}/figures/rtn", data=weights)
    assert answer.status_code == status
    assert status == 200 or "retry-after" in answer.headers
    assert (forms.held, forms.of_client) == (0, {})
