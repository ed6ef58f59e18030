"""Measure latency, page weight and server throughput. See bench/README.md.

python bench/web.py                  everything, in about twenty minutes
python bench/web.py compute class    some parts: input, page, server, compute, class, start, typing,
                                     hostile, live
python bench/web.py input rtn xray   every control of these figures, however long it takes
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the server does, before numpy is imported

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import browser_latency, classroom, compute, hostile, live, page_weight, routes, sentences
from bench.states import FIGURES

PARTS: dict[str, Callable[..., None]] = {
    "input": browser_latency.main,
    "page": page_weight.main,
    "server": routes.main,
    "compute": compute.main,
    "class": classroom.main,
    "start": classroom.start,
    "typing": sentences.main,
    "hostile": hostile.main,
    "live": live.main,
}


def main(asked: list[str]) -> None:
    figures = [name for name in asked if name in FIGURES]
    parts = [name for name in asked if name in PARTS] or list(PARTS)
    for name in asked:
        if name not in FIGURES and name not in PARTS:
            sys.exit(f"{name!r} is neither a part ({', '.join(PARTS)}) nor a figure ({', '.join(FIGURES)}).")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers and browsers are stopped as well
    print(f"{os.cpu_count()} cores; {os.getloadavg()[0]:.1f} processes wanted one in the last minute.")
    for name in parts:
        start = time.monotonic()
        PARTS[name](*(figures if name == "input" else []))
        print(f"({name}: {time.monotonic() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
