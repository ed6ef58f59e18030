"""Record a layer that was trained for few bits, for FIG.07E.

    make training    1 minute

The layer is that of FIG.04, with the text that flows into it. It writes
`lessons/quantization/data/trained.json`:

- `rows`: the output error at 2, 3 and 4 bits after trainings of different length with the rounding in place.
  Each is a training of its own, since the step width falls to 0 at the end. No steps: rounding afterwards.
- `lattice`: the layer trained at 4 bits, saved as BF16 and stored as Q4_0 in two ways; one block of it.
- `ternary`: the layer's first 256 inputs, trained for three levels and stored as TQ2_0; a part of a block.

Errors are ‖Y − Ŷ‖² / ‖Y‖² on text that the training has not seen.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")  # read when numpy is first imported

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from lessons.quantization.sources import DATA, load_layer  # noqa: E402
from quant_core import ggml  # noqa: E402
from quant_core.arrays import F32  # noqa: E402
from quant_core.methods.lattice import recover_q4_0  # noqa: E402
from quant_core.methods.metrics import relative_output_error  # noqa: E402
from quant_core.methods.qat import Trained, train  # noqa: E402
from scripts.recording import code_of, conditions, write  # noqa: E402

TARGET = DATA / "trained.json"
LAYER = "minilm.5.ffn_in"
WIDTHS = (2, 3, 4)
GROUP_SIZE = 32
STEPS = tuple(range(0, 201, 20))
BLOCK = 256
"""Weights of a block of TQ2_0."""

LARGEST = 1.5
"""Where ordinary weights are cut before the training for three levels, in mean magnitudes of their block."""

SHOWN = 32
"""Weights that are drawn."""

COUNTED = (
    "scripts/record_training.py",
    "quant_core/ggml/legacy.py",
    "quant_core/ggml/ternary.py",
    "quant_core/methods/grid.py",
    "quant_core/methods/lattice.py",
    "quant_core/methods/qat.py",
    "quant_core/methods/rtn.py",
)
"""The code that decides what is recorded: training, rounding, and the two formats."""

F64 = NDArray[np.float64]


def root_of(moment: NDArray[np.floating]) -> F64:
    """As many inputs as columns, with this second moment XᵀX / n: the same loss as on the text itself."""
    wide = moment.astype(np.float64)
    root: F64 = np.linalg.cholesky(wide + 1e-9 * np.trace(wide) / len(wide) * np.eye(len(wide))).T
    return root


def trained(bits: int, steps: int) -> Trained:
    """The layer after a training with the rounding in place."""
    layer = load_layer(LAYER)
    assert layer.hessian is not None
    inputs = root_of(layer.hessian)
    weights = layer.weights.astype(np.float64)
    return train(
        inputs, inputs @ weights.T, weights, aware=True, bits=bits, group_size=GROUP_SIZE, steps=steps
    )


def output_error(restored: F32, columns: int | None = None) -> float:
    """On text that the training has not seen, of the layer's first columns."""
    layer = load_layer(LAYER)
    assert layer.activations_test is not None
    error = relative_output_error(layer.activations_test[:, :columns], layer.weights[:, :columns], restored)
    return float(f"{error:.6g}")


def there_and_back(weights: F32, name: str) -> F32:
    """Weights as a ggml type keeps them."""
    return ggml.dequantize(ggml.quantize(weights, name), name)


def lattice() -> dict[str, Any]:
    """What becomes of a training when its weights are saved as BF16 and then stored as Q4_0."""
    grid = trained(4, STEPS[-1]).quantized
    saved = there_and_back(grid.dequantize().astype(np.float32), "BF16")
    recovered = recover_q4_0(saved)
    return {
        "untrained": output_error(there_and_back(load_layer(LAYER).weights, "Q4_0")),
        "saved": output_error(saved),
        "usual": output_error(there_and_back(saved, "Q4_0")),
        "recovered": output_error(recovered.dequantize()),
        "blocks": int(recovered.found.size),
        "on_lattice": int(recovered.found.sum()),
        "block": saved[0, :SHOWN].tolist(),
    }


def ternary() -> dict[str, Any]:
    """What three levels cost on ordinary weights, and on weights that were trained for them."""
    layer = load_layer(LAYER)
    assert layer.hessian is not None
    ordinary = layer.weights[:, :BLOCK]
    ends = LARGEST * np.abs(ordinary).mean(axis=1, keepdims=True)
    ends = ends.astype(np.float16).astype(np.float64)  # scales that TQ2_0 can hold
    inputs = root_of(layer.hessian[:BLOCK, :BLOCK])
    targets = inputs @ ordinary.astype(np.float64).T
    start = np.clip(ordinary, -ends, ends)
    steps = STEPS[-1]
    grid = train(inputs, targets, start, aware=True, bits=2, group_size=BLOCK, steps=steps).quantized
    weights = grid.dequantize().astype(np.float32)
    stored = there_and_back(weights, "TQ2_0")
    return {
        "usual": output_error(there_and_back(ordinary, "TQ2_0"), BLOCK),
        "trained": output_error(weights, BLOCK),
        "stored": output_error(stored, BLOCK),
        "changed": int(np.count_nonzero(stored != weights)),
        "block": weights[0].tolist(),
    }


def main() -> None:
    """Write the file, one row per line."""
    found = {
        **conditions("A layer trained with the rounding in place; scripts/record_training.py wrote this."),
        "code": code_of(COUNTED),
        "layer": LAYER,
        "group_size": GROUP_SIZE,
        "lattice": lattice(),
        "ternary": ternary(),
        "rows": [
            {"bits": bits, "steps": steps, "error": output_error(trained(bits, steps).quantized.dequantize())}
            for bits in WIDTHS
            for steps in STEPS
        ],
    }
    write(TARGET, found)


if __name__ == "__main__":
    main()
