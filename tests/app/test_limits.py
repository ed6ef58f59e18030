"""What is too large is refused before it costs anything; what is too much at once is told to come again."""

from __future__ import annotations

import threading

import pytest
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from app.limits import HEADER_BYTES, PATH_BYTES, Gate
from tests.app.html import parse
from tests.app.test_pages import LESSON

WAIT = 10  # seconds until a test gives up


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


class Crowd:
    """Threads that stand in a gate until they are let go."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.leave = threading.Event()
        self.inside = threading.Semaphore(0)
        self.threads: list[threading.Thread] = []
        self.refused = 0

    def enter(self, count: int) -> None:
        self.threads += [threading.Thread(target=self._stand) for _ in range(count)]
        for thread in self.threads[-count:]:
            thread.start()

    def go(self) -> None:
        self.leave.set()
        for thread in self.threads:
            thread.join(WAIT)

    def _stand(self) -> None:
        try:
            with self.gate.computing():
                self.inside.release()
                self.leave.wait(WAIT)
        except HTTPException:
            self.refused += 1


def test_as_many_compute_side_by_side_as_the_gate_says_and_the_next_follows() -> None:
    crowd = Crowd(Gate(at_once=2, waiting=1, patience=WAIT))
    crowd.enter(3)
    assert crowd.inside.acquire(timeout=WAIT)
    assert crowd.inside.acquire(timeout=WAIT)
    assert not crowd.inside.acquire(timeout=0.05)
    crowd.go()
    assert crowd.inside.acquire(timeout=WAIT)
    assert crowd.refused == 0


def test_one_too_many_is_told_at_once_to_come_again() -> None:
    gate = Gate(at_once=1, waiting=0, patience=WAIT)
    with gate.computing(), pytest.raises(HTTPException) as refused, gate.computing():
        pytest.fail("the gate let two in")
    assert refused.value.status_code == 503
    assert int((refused.value.headers or {})["Retry-After"]) > 0


def test_who_waited_long_enough_is_told_and_leaves_no_trace() -> None:
    gate = Gate(at_once=1, waiting=1, patience=0.01)
    for _ in range(3):
        with gate.computing(), pytest.raises(HTTPException), gate.computing():
            pytest.fail("the gate let two in")


def test_a_computation_that_fails_gives_its_place_back() -> None:
    gate = Gate(at_once=1, waiting=0, patience=0)
    for _ in range(3):
        with pytest.raises(RuntimeError), gate.computing():
            raise RuntimeError
