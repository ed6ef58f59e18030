"""Cached responses equal the first one."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app import create_app
from app.assets import version
from app.settings import Settings
from lessons.quantization.figures.xray import PICKS

LESSON = "/lessons/quantization"
KEPT = [
    "/",
    LESSON,
    f"{LESSON}?rtn.bits=5",
    f"{LESSON}/figures/rtn?bits=5",
    f"{LESSON}/figures/rtn?bits=5&embed=1",
    f"{LESSON}/figures/rtn.csv?bits=5",
    f"/fragments/{version()}/quantization/rtn?bits=5",
    f"/fragments/{version()}/quantization/rtn/along/bits?group_size=64",
    f"/static/{version()}/lesson.css",
]


@pytest.mark.parametrize("address", KEPT)
@pytest.mark.parametrize("encoding", ["br", "gzip", "identity"])
def test_second_response_equals_the_first(client: TestClient, address: str, encoding: str) -> None:
    headers = {"accept-encoding": encoding}
    first, second = client.get(address, headers=headers), client.get(address, headers=headers)
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert dict(second.headers) == dict(first.headers)


@pytest.mark.parametrize("address", KEPT)
def test_matching_etag_gets_304(client: TestClient, address: str) -> None:
    etag = client.get(address).headers["etag"]
    again = client.get(address, headers={"if-none-match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)


def test_cached_address_still_refuses_post(client: TestClient) -> None:
    client.get(LESSON)
    assert client.post(LESSON).status_code == 405


def test_evicted_response_is_made_again() -> None:
    """With a small cache each response is soon evicted."""
    app = create_app(Settings(cache_mib=1, make_ahead=False))
    with TestClient(app) as small:
        first = small.get(f"{LESSON}/figures/xray")
        assert found(app, f"{LESSON}/figures/xray")
        for pick in PICKS:
            assert small.get(f"{LESSON}/figures/xray?pick={pick}").status_code == 200
            if not found(app, f"{LESSON}/figures/xray"):
                break
        assert not found(app, f"{LESSON}/figures/xray")
        assert found(app, f"{LESSON}/figures/xray", f"pick={pick}")
        assert small.get(f"{LESSON}/figures/xray").text == first.text


def found(app: FastAPI, path: str, query: str = "") -> bool:
    return (f"{path}?{query}" if query else path) in dict(app.state.cache.items())
