"""Fuzz every route in process: seeded random addresses, no answer of 500 or above, memory that stays flat.

python fuzz/routes.py [REQUESTS] [SEED]
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is imported

import random
import resource
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from starlette.testclient import TestClient

from app import create_app
from app.assets import version
from app.settings import Settings
from lessons.catalogue import load_lesson
from lessons.kit.controls import plain

SLUG = "quantization"
FIGURES = load_lesson(SLUG).figures
KEPT = 64  # fragments, so that a flat memory is soon seen
GROWTH_MIB = 64  # in the second half of the run, when every bounded cache is full


def main(requests: int, seed: int) -> int:
    dice = random.Random(seed)
    statuses: Counter[int] = Counter()
    warm = 0
    with TestClient(create_app(Settings(fragment_cache=KEPT)), raise_server_exceptions=False) as client:
        for count in range(requests):
            address = any_address(dice)
            status = client.get(address, follow_redirects=False).status_code
            statuses[status] += 1
            if status >= 500:
                print(f"{status} at request {count} (seed {seed}): {address}")
                return 1
            if count == requests // 2:
                warm = peak_mib()
    grown = peak_mib() - warm
    print(f"{requests} requests, seed {seed}: {dict(sorted(statuses.items()))}; peak memory grew {grown} MiB")
    return int(grown > GROWTH_MIB)


def any_address(dice: random.Random) -> str:
    name = dice.choice(list(FIGURES))
    control = dice.choice(list(FIGURES[name].controls.model_fields))
    path = dice.choice(
        [
            f"/lessons/{SLUG}",
            f"/lessons/{SLUG}/figures/{name}",
            f"/lessons/{SLUG}/figures/{name}.csv",
            f"/fragments/{version()}/{SLUG}/{name}",
            f"/fragments/{version()}/{SLUG}/{name}/along/{control}",
            f"/lessons/{SLUG}/summary",
            f"/lessons/{SLUG}/sources",
            f"/lessons/{SLUG}/receipts",
            "/",
            f"/{noise(dice)}",
            f"/lessons/{noise(dice)}",
            f"/static/{version()}/{noise(dice)}",
        ]
    )
    pairs = [any_pair(dice, name) for _ in range(dice.choice((0, 1, 1, 2, 5)))]
    return f"{path}?{'&'.join(pairs)}" if pairs else path


def any_pair(dice: random.Random, name: str) -> str:
    control, widget = dice.choice(list(FIGURES[name].controls.widgets().items()))
    key = dice.choice([control, f"{name}.{control}", "embed", "in", noise(dice)])
    values: list[Callable[[], str]] = [
        lambda: plain(dice.choice(widget.states())),
        lambda: noise(dice),
        lambda: str(dice.randint(-10, 10**9)),
        lambda: dice.choice(("nan", "inf", "-0", "1e400", "", "on", "%ff", "%00", "½")),
    ]
    return f"{key}={dice.choice(values)()}"


def noise(dice: random.Random) -> str:
    text = "".join(
        chr(dice.choice((dice.randint(1, 127), dice.randint(128, 0xD7FF))))
        for _ in range(dice.randint(0, 12))
    )
    return quote(text, safe="")


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:3]]
    sys.exit(main(*(given + [100_000, 0][len(given) :])))
