"""Too large requests are refused early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import Message

from app.cache.queue import Crowded
from app.http.clients import current_client
from app.http.query import Forms
from app.http.refusals import HEADER_BYTES, PATH_BYTES
from tests.app.conftest import application
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
def test_too_large_request_gets_an_error_page(
    client: TestClient, address: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = client.request("GET", address, headers=headers, content=body or None)
    assert answer.status_code == status
    assert parse(answer.text).one("p", class_="lead").text


@pytest.mark.parametrize(
    ("address", "headers"), [(LESSON, {"Content-Length": "0"}), ("/healthz", {"Cookie": "a" * 16_000})]
)
def test_usual_headers_of_browsers_and_proxies_are_accepted(
    client: TestClient, address: str, headers: dict[str, str]
) -> None:
    assert client.get(address, headers=headers).status_code == 200


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "POST", "QUERY"])
def test_other_methods_get_405_with_allow(client: TestClient, method: str) -> None:
    answer = client.request(method, LESSON, headers={"X-Secret": "not-echoed"})
    assert answer.status_code == 405
    assert sorted(answer.headers["allow"].split(", ")) == ["GET", "HEAD"]
    assert "not-echoed" not in answer.text


@pytest.mark.parametrize(("most", "status"), [(1000, 503), (6000, 200)])
def test_total_size_of_waiting_forms_is_limited(
    client: TestClient, most: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms = Forms(most)
    monkeypatch.setitem(application(client).state._state, "forms", forms)
    weights = {"own.text": " ".join(f"{i / 256:.2f}" for i in range(256))}
    answer = client.post(f"{LESSON}/figures/rtn", data=weights)
    assert answer.status_code == status
    assert status == 200 or "retry-after" in answer.headers
    assert (forms.held, forms.of_client) == (0, {})


async def form_of(content: bytes) -> AsyncIterator[Message]:
    yield {"type": "http.request", "body": content, "more_body": False}


async def hold(forms: Forms, client: str, size: int, stack: AsyncExitStack) -> None:
    """Hold a form of a client while the stack is open."""
    current_client.set(client)
    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    request = Request({"type": "http", "headers": headers}, form_of(b"x" * size).__anext__)
    await stack.enter_async_context(forms.read(request))


def test_few_clients_cannot_use_all_space_for_forms() -> None:
    size = 100
    forms = Forms(64 * size)
    held = []

    async def test() -> None:
        async with AsyncExitStack() as stack:
            for client in ("a", "b", "c"):
                with suppress(Crowded):
                    while True:
                        await hold(forms, client, size, stack)
                held.append(forms.of_client[client] // size)
            await hold(forms, "d", size, stack)
            with pytest.raises(Crowded):  # space that is free for a new client is not for one that holds more
                await hold(forms, "a", size, stack)
        assert (forms.held, forms.of_client) == (0, {})

    asyncio.run(test())
    assert held == [32, 16, 8]
