"""Time each method on a real layer, as a multiple of round-to-nearest in the same run, with one BLAS thread.

python bench/methods.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is imported

import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lessons.quantization.sources import load_layer
from quant_core import ggml
from quant_core.methods import awq, gptq, nf4, rtn, smoothquant

RUNS = 9
LAYER, BITS, GROUP = "minilm.5.ffn_in", 3, 128


def main() -> None:
    layer = load_layer(LAYER)
    assert layer.hessian is not None
    assert layer.mean_abs is not None
    assert layer.activations_test is not None
    weights, hessian, mean, inputs = layer.weights, layer.hessian, layer.mean_abs, layer.activations_test
    methods: dict[str, Callable[[], object]] = {
        "RTN": lambda: rtn.round_to_nearest(weights, BITS, GROUP),
        "NF4": lambda: nf4.quantize(weights),
        "Q4_K (first 256 columns)": lambda: ggml.quantize(weights[:, :256], "Q4_K"),
        "SmoothQuant W8A8": lambda: smoothquant.quantize_w8a8(inputs, weights),
        "GPTQ": lambda: gptq.gptq(weights, hessian, BITS, GROUP),
        "GPTQ, act-order": lambda: gptq.gptq(weights, hessian, BITS, GROUP, act_order=True),
        "AWQ, 21 tries": lambda: awq.search_statistics(weights, hessian, mean, BITS, GROUP),
    }
    times: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(RUNS):  # alternately, so that other load on the machine affects all of them
        for name, run in methods.items():
            start = perf_counter()
            run()
            times[name].append(perf_counter() - start)
    unit = statistics.median(times["RTN"])
    rows, columns = weights.shape
    print(f"{LAYER}, {rows} x {columns}, {BITS} bits, groups of {GROUP}, {RUNS} runs\n")
    print(f"{'method':<26}{'x RTN':>8}{'ms':>9}")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:<26}{median / unit:>8.1f}{1000 * median:>9.1f}")


if __name__ == "__main__":
    main()
