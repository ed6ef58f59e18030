"""The cache: what was made once is not made again, it stays within its bound, and a busy worker says so."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial

import pytest

from app.cache.queue import Busy
from app.cache.response import Body
from app.cache.store import ENTRY_BYTES, MOST_AHEAD, Kept


def body(size: int) -> Body:
    return Body(bytes(size), "font/woff2")  # a kind that is kept as it is


def test_response_is_made_once() -> None:
    made: list[str] = []
    kept = Kept(2**20)

    def make() -> Body:
        made.append("once")
        return body(10)

    async def ask_twice() -> None:
        assert await kept.get("a", make) is await kept.get("a", make)

    asyncio.run(ask_twice())
    assert made == ["once"]


def test_concurrent_requests_share_one_computation() -> None:
    made: list[str] = []
    kept, ready = Kept(2**20), threading.Event()

    def make() -> Body:
        made.append("once")
        ready.wait(10)
        return body(10)

    async def ask_together() -> None:
        asking = [asyncio.create_task(kept.get("a", make)) for _ in range(50)]
        await asyncio.sleep(0.01)
        ready.set()
        assert len({id(answer) for answer in await asyncio.gather(*asking)}) == 1

    asyncio.run(ask_together())
    assert made == ["once"]


def test_stop_finishes_running_work_and_refuses_the_rest() -> None:
    kept, begun, ready = Kept(2**20), threading.Semaphore(0), threading.Event()

    def make() -> Body:
        begun.release()
        ready.wait(10)
        return body(10)

    async def stop_meanwhile() -> None:
        first = [asyncio.create_task(kept.get(key, make)) for key in "ab"]  # as many as there are threads
        waiting = [
            asyncio.create_task(kept.get("c", make)),
            asyncio.create_task(kept.get("c", make)),
            asyncio.create_task(kept.fresh(make)),
        ]
        for _ in first:
            while not begun.acquire(blocking=False):
                await asyncio.sleep(0.01)
        kept.close()
        refused = await asyncio.gather(
            *waiting, kept.get("d", make), kept.fresh(make), return_exceptions=True
        )
        assert [type(error) for error in refused] == [Busy] * 5
        with pytest.raises(Busy):
            await kept.get("e", make, typed=True)
        ready.set()
        assert [answer.size for answer in await asyncio.gather(*first)] == [10, 10]

    asyncio.run(stop_meanwhile())


def test_cancelled_request_does_not_cancel_shared_work() -> None:
    kept, ready = Kept(2**20), threading.Event()

    def make() -> Body:
        ready.wait(10)
        return body(10)

    async def one_leaves() -> Body:
        leaving = asyncio.create_task(kept.get("a", make))
        staying = asyncio.create_task(kept.get("a", make))
        await asyncio.sleep(0.01)
        leaving.cancel()
        ready.set()
        return await staying

    assert asyncio.run(one_leaves()).size == 10


def test_failure_is_not_cached() -> None:
    kept = Kept(2**20)

    def fail() -> Body:
        raise ValueError("broken")

    async def ask_again() -> Body:
        with pytest.raises(ValueError, match="broken"):
            await kept.get("a", fail)
        return await kept.get("a", lambda: body(10))

    assert asyncio.run(ask_again()).size == 10


def test_small_responses_count_with_their_overhead() -> None:
    kept = Kept(2**20)
    for key in range(1000):
        kept.put(key, body(1))
    assert len(kept.items()) == 2**20 // (ENTRY_BYTES + 1)


def test_least_recently_used_response_is_evicted() -> None:
    kept = Kept(100 + 3 * ENTRY_BYTES)
    for key in "abc":
        kept.put(key, body(30))
    kept.find("a")
    kept.put("d", body(30))
    assert [key for key in "abcd" if kept.find(key)] == ["a", "c", "d"]
    assert kept.bytes == 90 + 3 * ENTRY_BYTES


def test_response_larger_than_the_cache_is_not_cached() -> None:
    kept = Kept(100 + ENTRY_BYTES)
    kept.put("a", body(101))
    assert kept.find("a") is None
    assert kept.bytes == 0


def test_prefetched_tables_are_skipped_when_too_many_wait() -> None:
    kept, ready = Kept(2**20), threading.Event()

    def make() -> Body:
        ready.wait(10)
        return body(10)

    async def ask_for_more() -> tuple[list[Body | None], Body | None, Body]:
        asking = [asyncio.create_task(kept.get_ahead(key, make)) for key in range(MOST_AHEAD + 1)]
        await asyncio.sleep(0.01)
        one_too_many = await kept.get_ahead("more", make)
        ready.set()
        return await asyncio.gather(*asking), one_too_many, await kept.get("more", make)

    given, one_too_many, waited_for = asyncio.run(ask_for_more())
    assert None not in given
    assert one_too_many is None
    assert waited_for.size == 10


def test_requests_have_priority_over_prefetched_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cache.store.GIVES_WAY", 10)
    kept, asked, order = Kept(2**20), threading.Event(), list[str]()

    def ahead() -> Body:
        asked.wait(10)
        kept.give_way()
        order.append("ahead")
        return body(10)

    def looked_at() -> Body:
        time.sleep(0.03)
        order.append("looked at")
        return body(10)

    async def both() -> None:
        asking = [
            asyncio.create_task(kept.get_ahead("a", ahead)),
            asyncio.create_task(kept.get("b", looked_at)),
        ]
        await asyncio.sleep(0)
        asked.set()
        await asyncio.gather(*asking)

    asyncio.run(both())
    assert order == ["looked at", "ahead"]


def test_typed_input_does_not_block_other_work() -> None:
    """One of it is computed at a time; all others go on meanwhile."""
    kept, ready = Kept(2**20), threading.Event()
    running: list[str] = []

    def slow(name: str) -> Body:
        running.append(name)
        ready.wait(10)
        return body(1)

    async def type_much() -> None:
        typing = [asyncio.create_task(kept.get(key, partial(slow, key), typed=True)) for key in "abc"]
        while not running:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert running == ["a"]
        assert (await kept.get("other", lambda: body(2))).size == 2
        assert (await kept.fresh(lambda: body(3), own=True)).size == 3
        assert await kept.read(lambda: "read") == "read"
        ready.set()
        await asyncio.gather(*typing)

    asyncio.run(type_much())
    kept.close()
