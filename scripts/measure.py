"""Measure every format and method on the lesson's small model, and write the data of FIG.05D.

    python scripts/measure.py                measure everything: minutes (`make measure`)
    python scripts/measure.py --calibration  regenerate the model's calibration text

Two processes share the work, each with one BLAS thread; the numbers do not depend on how many there are. Each
holds its models in memory and computes the predictions of the 16-bit model once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import monotonic, process_time
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is first imported

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from lessons.quantization import measuring  # noqa: E402
from lessons.quantization.sources import DATA, TINY_MODEL  # noqa: E402
from scripts.recording import as_text, conditions  # noqa: E402

TARGET = DATA / "measured.json"


def main() -> int:
    """Measure, or write the calibration text."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--calibration", action="store_true", help="write calibration_tokens.npy and nothing else"
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes (default: 2)")
    options = parser.parse_args()
    if options.calibration:
        np.save(TINY_MODEL / "calibration_tokens.npy", measuring.write_calibration())
        return 0
    begun = monotonic()
    found = run(options.jobs)
    TARGET.write_text(as_text(found | {"seconds": round(monotonic() - begun)}), "utf-8")
    print(f"{TARGET.relative_to(ROOT)}: {len(found['rows'])} rows in {monotonic() - begun:.0f} s")
    return 0


def run(jobs: int) -> dict[str, Any]:
    """The content of the file."""
    recipes = list(measuring.RECIPES)
    calibrations = list(measuring.calibrations())
    # Neighbours take similar time: dealt out in turn, the pieces take about equally long.
    work: list[tuple[str, list[Any]]] = [("rows", recipes[i::jobs]) for i in range(jobs)]
    work += [("calibration", calibrations[i::jobs]) for i in range(jobs)]
    done: dict[str, list[dict[str, Any]]] = {"rows": [], "calibration": []}
    spent = 0.0
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for kind, part, seconds in pool.map(piece, work):
            done[kind] += part
            spent += seconds
    order = [recipe.key for recipe in recipes]
    text = measuring.text()
    size = sum(len(measuring.tokenizer().bytes_of(token)) for token in text.targets.ravel().tolist())
    return {
        **conditions("Written by `make measure`; lessons/quantization/measuring.py says what each row is."),
        "fingerprint": measuring.fingerprint(),
        "seed": measuring.SEED,
        "cpu_seconds": round(spent),
        "text": {
            "windows": len(text.tokens),
            "context": measuring.CONTEXT,
            "predictions": text.targets.size,
            "bytes": size,
            "calibration_tokens": measuring.calibration().size,
        },
        "judged_play": {
            "predictions": measuring.judged_play().targets.size,
            "bits": measuring.CALIBRATED_BITS,
        },
        "rows": sorted(done["rows"], key=lambda row: order.index(row["key"])),
        "calibration": sorted(
            done["calibration"],
            key=lambda row: calibrations.index(
                measuring.Calibrated(row["method"], row["source"], row["tokens"])
            ),
        ),
    }


def piece(work: tuple[str, Sequence[Any]]) -> tuple[str, list[dict[str, Any]], float]:
    """One process's share of the work, and its CPU seconds."""
    kind, part = work
    begun, told = process_time(), 0.0

    def report(share: float) -> None:
        nonlocal told
        if share >= told + 0.1 or share == 1:
            told = share
            print(f"{len(part)} {kind}: {100 * share:.0f} %", file=sys.stderr, flush=True)

    if kind == "rows":
        rows = measuring.measure(part, measuring.text(), report)
    else:
        rows = measuring.measure_calibration(part, measuring.judged_play(), report)
    return kind, rows, process_time() - begun


if __name__ == "__main__":
    raise SystemExit(main())
