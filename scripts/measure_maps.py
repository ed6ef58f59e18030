"""Measure how far the small model's predictions move under maps of types, for FIG.05F.

    make maps                                all maps: 6 minutes of one core
    python scripts/measure_maps.py --named   only the named maps and the single groups

Every one of the 3,125 maps that give each of five groups one of five types is rounded as llama.cpp rounds it,
without an importance matrix, and read on 16 windows of the held-out text. So are the maps that have names,
and each group rounded alone. It writes `lessons/quantization/data/maps.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is first imported

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from lessons.quantization import measuring  # noqa: E402
from lessons.quantization.maps import GROUPS, TYPES, group_of, key_of, named_maps  # noqa: E402
from lessons.quantization.sources import DATA  # noqa: E402
from quant_core import ggml  # noqa: E402
from quant_core.arrays import F32  # noqa: E402
from quant_core.llm.evaluate import Windows, evaluate_each  # noqa: E402
from scripts.recording import code_of, conditions  # noqa: E402

TARGET = DATA / "maps.json"
EVERY = 60
"""One window of so many is read: 16 of 951, from all parts of the text."""

AT_ONCE = 125
"""Maps that share one pass of the 16-bit model."""

COUNTED = (
    "scripts/measure_maps.py",
    "lessons/quantization/maps.py",
    "quant_core/ggml/legacy.py",
    "quant_core/ggml/q2_k.py",
    "quant_core/ggml/q3_k.py",
    "quant_core/ggml/q4_k.py",
    "quant_core/ggml/q5_k.py",
    "quant_core/ggml/q6_k.py",
    "quant_core/llm/evaluate.py",
)
"""The code that decides what is measured: the maps, rounding and the divergence. A test measures some maps
again, which tells whether the forward pass still gives the same."""


def text(windows: int | None = None) -> Windows:
    """The windows that are read, or the first of them."""
    return Windows(measuring.text().tokens[::EVERY][:windows], 1)


class Rounding:
    """The small model's tensors in every type that is asked for, each encoded and decoded once."""

    def __init__(self) -> None:
        self.model = measuring.tiny_model()
        self.names = [tensor.name for tensor in measuring.model_file().tensors if len(tensor.shape) > 1]
        self._known: dict[tuple[str, str], F32] = {}

    def weights(self, name: str, kind: str) -> F32:
        if (name, kind) not in self._known:
            source = np.asarray(self.model.weights[name], np.float32)
            self._known[name, kind] = ggml.dequantize(ggml.quantize(source, kind), kind).astype(np.float32)
        return self._known[name, kind]

    def measure(self, maps: Mapping[str, Mapping[str, str]], read: Windows) -> dict[str, tuple[float, float]]:
        """Divergence and its standard error, in nats, under each map of tensors to types."""
        models = {
            key: self.model.replaced({name: self.weights(name, kind) for name, kind in types.items()})
            for key, types in maps.items()
        }
        found = evaluate_each(models, read, self.model)
        return {key: (_short(found[key].divergence), _short(found[key].divergence_error)) for key in models}

    def by_group(self, types: Mapping[str, str]) -> dict[str, str]:
        """Tensors to types, of the groups that have one."""
        return {name: types[group_of(name)] for name in self.names if group_of(name) in types}


def measure_grid(
    rounding: Rounding, combinations: Iterable[tuple[str, ...]], read: Windows
) -> dict[str, float]:
    """The divergence of maps that give each group one type, by key."""
    maps = [
        (key_of(types), rounding.by_group(dict(zip(GROUPS, types, strict=True)))) for types in combinations
    ]
    found: dict[str, float] = {}
    for begin in range(0, len(maps), AT_ONCE):
        measured = rounding.measure(dict(maps[begin : begin + AT_ONCE]), read)
        found |= {key: value for key, (value, _) in measured.items()}
        print(f"{len(found)} maps", file=sys.stderr, flush=True)
    return found


def measure_single(rounding: Rounding, read: Windows) -> list[dict[str, Any]]:
    """What each group costs that is rounded alone, the rest in 16 bits."""
    maps = {(group, kind): rounding.by_group({group: kind}) for group in GROUPS for kind in TYPES}
    found = rounding.measure({" ".join(key): types for key, types in maps.items()}, read)
    return [
        {
            "group": group,
            "type": kind,
            "divergence": found[f"{group} {kind}"][0],
            "error": found[f"{group} {kind}"][1],
        }
        for group, kind in maps
    ]


def measure_named(rounding: Rounding, read: Windows) -> list[dict[str, Any]]:
    """The maps of files that people use."""
    maps = named_maps()
    found = rounding.measure(maps, read)
    return [{"name": name, "divergence": found[name][0], "error": found[name][1]} for name in maps]


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--named", action="store_true", help="keep the 3,125 maps that are in the file")
    options = parser.parse_args()
    read, rounding = text(), Rounding()
    if options.named:
        before = json.loads(TARGET.read_text("utf-8"))
        if before["code"] != code_of(COUNTED):
            sys.exit(f"{TARGET.name} was written by other code: measure all maps")
        grid = before["grid"]
    else:
        grid = measure_grid(rounding, product(TYPES, repeat=len(GROUPS)), read)
    found = {
        **conditions("Divergence of the small model under maps of types, in nats; written by `make maps`."),
        "code": code_of(COUNTED),
        "weights": measuring.fingerprint()["weights"],
        "text": {"windows": len(read.tokens), "context": measuring.CONTEXT, "predictions": read.targets.size},
        "groups": list(GROUPS),
        "types": list(TYPES),
        "single": measure_single(rounding, read),
        "named": measure_named(rounding, read),
        "grid": grid,
    }
    TARGET.write_text(as_text(found), "utf-8")
    print(f"wrote {TARGET.relative_to(ROOT)}")


def as_text(found: Mapping[str, Any]) -> str:
    """JSON with one row per line; the grid has 25 maps in a line."""
    lines = []
    for name, value in found.items():
        if name == "grid":
            pairs = [f"{json.dumps(key)}: {value[key]}" for key in value]
            rows = ",\n  ".join(", ".join(pairs[i : i + 25]) for i in range(0, len(pairs), 25))
            lines.append(f'"grid": {{\n  {rows}\n }}')
        elif name in ("single", "named"):
            rows = ",\n  ".join(json.dumps(row) for row in value)
            lines.append(f"{json.dumps(name)}: [\n  {rows}\n ]")
        else:
            lines.append(f"{json.dumps(name)}: {json.dumps(value)}")
    return "{\n " + ",\n ".join(lines) + "\n}\n"


def _short(value: float) -> float:
    return float(f"{value:.4g}")


if __name__ == "__main__":
    main()
