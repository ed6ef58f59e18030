"""Caches with keys from reader input are small, so that memory does not grow."""

from __future__ import annotations

import asyncio
import gc
import os
import random
from pathlib import Path

import pytest
from fastapi import FastAPI

from app import create_app
from app.settings import Settings
from bench.states import FIGURES, fragment_path, random_state
from fuzz.asgi import Request, ask
from fuzz.expensive import expensive_state

STATM = Path("/proc/self/statm")
CACHE_MIB = 2
GROWTH_MIB = 48  # beyond the cache: 40 models of 512 layers have lists of tensors of 70
GIVEN = 40  # expensive states that are asked for, each of another model or sentence


def resident_mib() -> float:
    gc.collect()
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def ask_for(app: FastAPI, paths: list[str]) -> None:
    for path in paths:
        assert (await ask(app, Request("GET", path))).status == 200


@pytest.mark.skipif(not STATM.exists(), reason="the memory of a process is read from /proc")
def test_reader_input_does_not_grow_memory() -> None:
    app, dice = create_app(Settings(make_ahead=False, cache_mib=CACHE_MIB)), random.Random(0)
    app.state.ready = True
    some = [fragment_path(name, random_state(name, dice)) for name in FIGURES for _ in range(6)]
    expensive = {
        name: [fragment_path(name, expensive_state(FIGURES[name], turn, dice)) for turn in range(GIVEN)]
        for name in ("fit", "sentence")
    }

    async def test() -> None:
        await ask_for(app, some + [paths[0] for paths in expensive.values()])
        before = resident_mib()
        for paths in expensive.values():
            await ask_for(app, paths)
        assert resident_mib() - before < CACHE_MIB + GROWTH_MIB

    asyncio.run(test())
    app.state.cache.close()
