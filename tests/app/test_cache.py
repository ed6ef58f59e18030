"""The cache: responses are made once, its size is bounded, and a busy worker refuses requests."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial

import pytest

from app.cache.queue import Busy
from app.cache.response import CachedResponse
from app.cache.store import ENTRY_BYTES, MOST_AHEAD, ResponseCache


def body(size: int) -> CachedResponse:
    return CachedResponse(bytes(size), "font/woff2")  # a kind that is kept as it is


def test_response_is_made_once() -> None:
    made: list[str] = []
    cache = ResponseCache(2**20)

    def make() -> CachedResponse:
        made.append("once")
        return body(10)

    async def ask_twice() -> None:
        assert await cache.get("a", make) is await cache.get("a", make)

    asyncio.run(ask_twice())
    assert made == ["once"]


def test_concurrent_requests_share_one_computation() -> None:
    made: list[str] = []
    cache, ready = ResponseCache(2**20), threading.Event()

    def make() -> CachedResponse:
        made.append("once")
        ready.wait(10)
        return body(10)

    async def ask_together() -> None:
        asking = [asyncio.create_task(cache.get("a", make)) for _ in range(50)]
        await asyncio.sleep(0.01)
        ready.set()
        assert len({id(answer) for answer in await asyncio.gather(*asking)}) == 1

    asyncio.run(ask_together())
    assert made == ["once"]


def test_stop_finishes_running_work_and_refuses_the_rest() -> None:
    cache, begun, ready = ResponseCache(2**20), threading.Semaphore(0), threading.Event()

    def make() -> CachedResponse:
        begun.release()
        ready.wait(10)
        return body(10)

    async def stop_meanwhile() -> None:
        first = [asyncio.create_task(cache.get(key, make)) for key in "ab"]  # as many as there are threads
        waiting = [
            asyncio.create_task(cache.get("c", make)),
            asyncio.create_task(cache.get("c", make)),
            asyncio.create_task(cache.run(make, queue="views")),
        ]
        for _ in first:
            while not begun.acquire(blocking=False):
                await asyncio.sleep(0.01)
        cache.close()
        refused = await asyncio.gather(
            *waiting, cache.get("d", make), cache.run(make, queue="views"), return_exceptions=True
        )
        assert [type(error) for error in refused] == [Busy] * 5
        with pytest.raises(Busy):
            await cache.get("e", make, queue="typed")
        ready.set()
        assert [answer.size for answer in await asyncio.gather(*first)] == [10, 10]

    asyncio.run(stop_meanwhile())


def test_cancelled_request_does_not_cancel_shared_work() -> None:
    cache, ready = ResponseCache(2**20), threading.Event()

    def make() -> CachedResponse:
        ready.wait(10)
        return body(10)

    async def one_leaves() -> CachedResponse:
        leaving = asyncio.create_task(cache.get("a", make))
        staying = asyncio.create_task(cache.get("a", make))
        await asyncio.sleep(0.01)
        leaving.cancel()
        ready.set()
        return await staying

    assert asyncio.run(one_leaves()).size == 10


def test_failure_is_not_cached() -> None:
    cache = ResponseCache(2**20)

    def fail() -> CachedResponse:
        raise ValueError("broken")

    async def ask_again() -> CachedResponse:
        with pytest.raises(ValueError, match="broken"):
            await cache.get("a", fail)
        return await cache.get("a", lambda: body(10))

    assert asyncio.run(ask_again()).size == 10


def test_small_responses_count_with_their_overhead() -> None:
    cache = ResponseCache(2**20)
    for key in range(1000):
        cache.put(str(key), body(1))
    assert len(cache.items()) == 2**20 // (ENTRY_BYTES + 1)


def test_least_recently_used_response_is_evicted() -> None:
    cache = ResponseCache(100 + 3 * ENTRY_BYTES)
    for key in "abc":
        cache.put(key, body(30))
    cache.find("a")
    cache.put("d", body(30))
    assert [key for key in "abcd" if cache.find(key)] == ["a", "c", "d"]
    assert cache.bytes == 90 + 3 * ENTRY_BYTES


def test_response_larger_than_the_cache_is_not_cached() -> None:
    cache = ResponseCache(100 + ENTRY_BYTES)
    cache.put("a", body(101))
    assert cache.find("a") is None
    assert cache.bytes == 0


def test_prefetched_tables_are_skipped_when_too_many_wait() -> None:
    cache, ready = ResponseCache(2**20), threading.Event()

    def make() -> CachedResponse:
        ready.wait(10)
        return body(10)

    async def ask_for_more() -> tuple[list[CachedResponse], CachedResponse]:
        asking = [
            asyncio.create_task(cache.get(str(number), make, queue="ahead"))
            for number in range(MOST_AHEAD + 1)
        ]
        await asyncio.sleep(0.01)
        with pytest.raises(Busy):
            await cache.get("more", make, queue="ahead")
        ready.set()
        return await asyncio.gather(*asking), await cache.get("more", make)

    given, waited_for = asyncio.run(ask_for_more())
    assert [response.size for response in given] == [10] * (MOST_AHEAD + 1)
    assert waited_for.size == 10


def test_requests_have_priority_over_prefetched_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cache.store.GIVES_WAY", 10)
    cache, asked, order = ResponseCache(2**20), threading.Event(), list[str]()

    def ahead() -> CachedResponse:
        asked.wait(10)
        cache.give_way()
        order.append("ahead")
        return body(10)

    def looked_at() -> CachedResponse:
        time.sleep(0.03)
        order.append("looked at")
        return body(10)

    async def both() -> None:
        asking = [
            asyncio.create_task(cache.get("a", ahead, queue="ahead")),
            asyncio.create_task(cache.get("b", looked_at)),
        ]
        await asyncio.sleep(0)
        asked.set()
        await asyncio.gather(*asking)

    asyncio.run(both())
    assert order == ["looked at", "ahead"]


def test_typed_input_does_not_block_other_work() -> None:
    """Typed input is computed one at a time; other work continues meanwhile."""
    cache, ready = ResponseCache(2**20), threading.Event()
    running: list[str] = []

    def slow(name: str) -> CachedResponse:
        running.append(name)
        ready.wait(10)
        return body(1)

    async def type_much() -> None:
        typing = [asyncio.create_task(cache.get(key, partial(slow, key), queue="typed")) for key in "abc"]
        while not running:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert running == ["a"]
        assert (await cache.get("other", lambda: body(2))).size == 2
        assert (await cache.run(lambda: body(3), queue="given")).size == 3
        assert await cache.run(lambda: "read") == "read"
        ready.set()
        await asyncio.gather(*typing)

    asyncio.run(type_much())
    cache.close()
