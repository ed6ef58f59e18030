"""The fair queue: clients take turns, the one with most work is refused first, and nothing is done twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import pytest
from starlette.testclient import TestClient

from app import create_app
from app.cache.queue import Busy, Crowded, FairQueue, Together
from app.http.clients import client_of, current_client
from app.settings import Settings

WAIT = 10  # seconds until a test gives up


class Gate:
    """Work that records its name and waits until the gate is opened."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.open = threading.Event()

    def work(self, name: str) -> str:
        assert self.open.wait(WAIT)
        self.done.append(name)
        return name


async def ask(
    queue: FairQueue, client: str, key: str, call: Callable[[], str], together: Together | None = None
) -> str:
    current_client.set(client)  # only in the context of this task
    return await queue.do(key, call, together)


async def ask_all(queue: FairQueue, gate: Gate, asked: Sequence[tuple[str, str]]) -> list[asyncio.Task[str]]:
    """Ask for the keys of these clients in this order, while the gate is closed."""
    tasks = []
    for client, key in asked:
        tasks.append(asyncio.create_task(ask(queue, client, key, partial(gate.work, key))))
        await asyncio.sleep(0)
    return tasks


def run(test: Awaitable[None], queue: FairQueue) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test, WAIT)

    try:
        asyncio.run(bounded())
    finally:
        queue.close()


def test_clients_take_turns() -> None:
    queue, gate = FairQueue("test", 1, 100), Gate()

    async def test() -> None:
        tasks = await ask_all(queue, gate, [*[("a", f"a{i}") for i in range(6)], ("b", "b0"), ("c", "c0")])
        gate.open.set()
        await asyncio.gather(*tasks)

    run(test(), queue)
    assert gate.done[:4] == ["a0", "a1", "b0", "c0"]  # two of a's were there first
    assert sorted(gate.done[4:]) == ["a2", "a3", "a4", "a5"]


def test_full_queue_refuses_the_newest_of_the_client_with_most() -> None:
    queue, gate = FairQueue("test", 1, 4), Gate()

    async def test() -> None:
        of_a = await ask_all(queue, gate, [("a", f"a{i}") for i in range(5)])  # one runs, four wait
        (one_more,) = await ask_all(queue, gate, [("a", "a5")])
        (of_b,) = await ask_all(queue, gate, [("b", "b0")])
        gate.open.set()
        for refused in (one_more, of_a[4]):
            with pytest.raises(Crowded):
                await refused
        assert await of_b == "b0"
        assert await asyncio.gather(*of_a[:4]) == ["a0", "a1", "a2", "a3"]
        assert await ask(queue, "a", "again", lambda: "again") == "again"

    run(test(), queue)


def test_full_queue_of_equal_clients_refuses_the_newcomer() -> None:
    queue, gate = FairQueue("test", 1, 2), Gate()

    async def test() -> None:
        tasks = await ask_all(queue, gate, [("a", "a0"), ("b", "b0"), ("c", "c0")])
        with pytest.raises(Busy) as refused:
            await ask(queue, "d", "d0", lambda: "d0")
        assert not isinstance(refused.value, Crowded)
        gate.open.set()
        assert await asyncio.gather(*tasks) == ["a0", "b0", "c0"]

    run(test(), queue)


def test_shared_work_runs_at_the_earliest_turn_of_its_clients() -> None:
    queue, gate = FairQueue("test", 1, 100), Gate()

    async def test() -> None:
        tasks = await ask_all(queue, gate, [("a", f"a{i}") for i in range(6)])
        tasks += await ask_all(queue, gate, [("b", "a5")])
        gate.open.set()
        await asyncio.gather(*tasks)

    run(test(), queue)
    assert gate.done.index("a5") == 2
    assert gate.done.count("a5") == 1


def test_shared_work_is_not_refused() -> None:
    queue, gate = FairQueue("test", 1, 2), Gate()

    async def test() -> None:
        of_a = await ask_all(queue, gate, [("a", "a0"), ("a", "a1"), ("a", "a2")])
        (of_b,) = await ask_all(queue, gate, [("b", "a2")])
        (of_c,) = await ask_all(queue, gate, [("c", "c0")])
        gate.open.set()
        with pytest.raises(Crowded):
            await of_a[1]
        assert await of_b == await of_a[2] == "a2"
        assert await of_c == "c0"

    run(test(), queue)


@pytest.mark.parametrize(
    ("asked", "batches"),
    [
        ([("a", "a0"), *[("a", f"a{i}") for i in range(1, 6)]], [["a1", "a2"], ["a3", "a4"]]),
        ([("a", "a0"), ("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b0")], [["a2", "a3"]]),
        ([("a", "a0"), ("b", "b0"), ("a", "a1"), ("a", "a2"), ("c", "c0")], [["c0", "a2"]]),
        ([("a", "a0"), ("b", "b0"), ("c", "c0"), ("a", "a1")], [["b0", "c0", "a1"]]),
        ([("a", "a0"), *[(client, f"{client}0") for client in "bcdef"]], [["b0", "c0", "d0", "e0"]]),
    ],
)
def test_pieces_of_several_clients_or_two_of_one_are_prepared_together(
    asked: Sequence[tuple[str, str]], batches: list[list[str]]
) -> None:
    queue, gate, prepared = FairQueue("test", 1, 100, batch=4), Gate(), list[list[str]]()

    def prepare(names: Sequence[str]) -> None:
        prepared.append(list(names))

    async def test() -> None:
        tasks = []
        for client, key in asked:
            together = Together(prepare, key)
            tasks.append(asyncio.create_task(ask(queue, client, key, partial(gate.work, key), together)))
            await asyncio.sleep(0)
        gate.open.set()
        assert await asyncio.gather(*tasks) == [key for _, key in asked]

    run(test(), queue)
    assert prepared == batches


def test_failed_preparation_affects_one_piece() -> None:
    queue, gate = FairQueue("test", 1, 100, batch=4), Gate()

    def prepare(names: Sequence[str]) -> None:
        raise ValueError("one of these")

    def fail() -> str:
        raise ValueError("this one")

    async def test() -> None:
        calls: dict[str, Callable[[], str]] = {
            "a0": partial(gate.work, "a0"),
            "a1": fail,
            "a2": lambda: "a2",
        }
        tasks = [
            asyncio.create_task(ask(queue, "a", key, call, Together(prepare, key)))
            for key, call in calls.items()
        ]
        await asyncio.sleep(0.01)
        gate.open.set()
        assert await tasks[0] == "a0"
        with pytest.raises(ValueError, match="this one"):
            await tasks[1]
        assert await tasks[2] == "a2"

    run(test(), queue)


def test_cancelled_wait_does_not_cancel_shared_work() -> None:
    queue, gate = FairQueue("test", 1, 100), Gate()

    async def test() -> None:
        leaving, staying = await ask_all(queue, gate, [("a", "a0"), ("b", "a0")])
        leaving.cancel()
        gate.open.set()
        assert await staying == "a0"

    run(test(), queue)


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("2001:db8:1:ffff::1%eth0", "2001:db8:1::"),
        ("2001:db8:2::1", "2001:db8:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
        ("x" * 1000, "x" * 64),
    ],
)
def test_client_is_an_ipv4_address_or_an_ipv6_network(address: str, client: str) -> None:
    assert client_of(address) == client


def test_request_belongs_to_its_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    do = FairQueue.do

    async def noted(self: FairQueue, *arguments: object, **more: object) -> object:
        seen.append(current_client.get())
        return await do(self, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(FairQueue, "do", noted)
    with TestClient(create_app(Settings(make_ahead=False)), client=("2001:db8::7", 1)) as client:
        client.get("/lessons/quantization/figures/rtn?bits=5")
    assert set(seen) == {"2001:db8::"}


def test_queue_continues_after_stop_iteration() -> None:
    queue = FairQueue("test", 1, 8)

    def stops() -> None:
        raise StopIteration

    async def test() -> str:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await asyncio.wait_for(queue.do("a", stops), 10)
        return await asyncio.wait_for(queue.do("b", lambda: "done"), 10)

    assert asyncio.run(test()) == "done"
    queue.close()
