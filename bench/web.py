"""The web bench: what a reader waits for, what a page weighs, what a server bears. See bench/README.md.

python bench/web.py                      everything, in about eight minutes
python bench/web.py input page server compute class     those parts only
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the server does, before numpy is imported

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import browser_latency, classroom, compute, page_weight, routes

PARTS = {
    "input": browser_latency.main,
    "page": page_weight.main,
    "server": routes.main,
    "compute": compute.main,
    "class": classroom.main,
}


def main(asked: list[str]) -> None:
    unknown = [name for name in asked if name not in PARTS]
    if unknown:
        sys.exit(f"There is no part {unknown[0]!r}. There is: {', '.join(PARTS)}.")
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, of which other work held {load:.1f} in the last minute.", flush=True)
    for name in asked or PARTS:
        start = time.monotonic()
        PARTS[name]()
        print(f"({name}: {time.monotonic() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
