"""FIG.07B: bytes by hand, the repair compared with plain matrices, and the drawing of both."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lessons.kit.view import View
from lessons.quantization.figures.qlora import FIGURE, LAYERS, RANKS, Controls, repaired
from lessons.quantization.sources import load_layer
from quant_core.methods import lora, metrics, nf4

view = FIGURE.view

ROWS, COLUMNS = 256, 384


def readout(shown: View, name: str) -> float:
    return float(next(r.value for r in shown.readouts if r.name == name))


@pytest.mark.parametrize(("double", "bits"), [(False, 4 + 32 / 64), (True, 4 + 8 / 64 + 32 / (64 * 256))])
def test_bits_and_bytes_by_hand(double: bool, bits: float) -> None:
    shown = view(Controls(rank=16, double_quantization=double))
    assert readout(shown, "bits_per_weight") == bits
    assert readout(shown, "base_bytes") == ROWS * COLUMNS * bits / 8
    parameters = 16 * (ROWS + COLUMNS)
    assert readout(shown, "adapter_bytes") == 2 * parameters
    assert readout(shown, "training_bytes") == 10 * parameters  # gradient 2, Adam's moments 4 and 4
    assert readout(shown, "adapter_share") == 2 * parameters / readout(shown, "base_bytes")


def test_statements_of_the_prose_hold() -> None:
    """4.13 bits a weight; rank 16 adds 3 % to a square layer of 4096 inputs."""
    shown = view(Controls())
    assert round(readout(shown, "bits_per_weight"), 2) == 4.13
    said = next(sentence for sentence in shown.description if sentence.key == "usual").values
    assert said["usual_share"].startswith("3.0")


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("rank", [2, 16, 64])
def test_error_is_that_of_the_summed_matrices(layer: str, double: bool, rank: int) -> None:
    """A forward pass through base and adapter is one through the plain matrix Ŵ + B A."""
    real = load_layer(layer)
    assert real.hessian is not None
    assert real.activations_test is not None
    frozen = nf4.quantize(real.weights, double_quantization=double).dequantize()
    a, b = lora.low_rank_repair(real.weights, frozen, real.hessian, rank)
    expected = metrics.relative_output_error(real.activations_test, real.weights, frozen + b @ a)
    shown = view(Controls(rank=rank, double_quantization=double, layer=layer))
    assert readout(shown, "output_error") == pytest.approx(expected, rel=2e-3)  # the figure's is in 16 bits
    assert readout(shown, "frozen_error") == pytest.approx(
        metrics.relative_output_error(real.activations_test, real.weights, frozen), rel=1e-4
    )


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("double", [False, True])
def test_every_rank_helps_on_text_that_it_has_not_seen(layer: str, double: bool) -> None:
    assert np.all(np.diff(repaired(layer, double).errors) < 0)


def test_first_ranks_help_most_with_outlier_channels() -> None:
    """Where a few input channels are loud, rank 2 repairs much of the output; on the control layer, less."""
    main, control = (repaired(layer, True).errors for layer in LAYERS)
    assert main[0] / main[1] > 1.5
    assert control[0] / control[1] < 1.3


def test_rank_zero_is_the_frozen_layer() -> None:
    shown = view(Controls(rank=0))
    assert readout(shown, "adapter_bytes") == 0
    assert readout(shown, "training_bytes") == 0
    assert readout(shown, "output_error") == readout(shown, "frozen_error")
    assert shown.description[0].key == "frozen"


def test_the_adapter_is_called_computed() -> None:
    for rank in (0, 16):
        assert "computed" in [sentence.key for sentence in view(Controls(rank=rank)).notes]


@pytest.mark.parametrize("layer", LAYERS)
def test_the_histogram_counts_every_weight(layer: str) -> None:
    drawn = view(Controls(layer=layer)).drawing["histogram"]
    tallest = max(bar["length"] for bar in drawn["bars"])
    assert tallest == drawn["height"]
    weights = load_layer(layer).weights.reshape(-1, 64)
    normalised = weights / np.abs(weights).max(axis=1, keepdims=True)
    share_of_middle = np.mean(np.abs(normalised) <= 0.5)
    lengths = np.array([bar["length"] for bar in drawn["bars"]])
    middle = len(lengths) // 4
    assert lengths[middle:-middle].sum() / lengths.sum() == pytest.approx(share_of_middle, abs=0.003)


def test_levels_are_dense_where_weights_are_common() -> None:
    """Sixteen levels, −1 and 1 at the edges, 0 in the middle; the gap grows away from zero."""
    at = [float(level["x"].rstrip("%")) for level in view(Controls()).drawing["histogram"]["levels"]]
    assert (len(at), at[0], at[7], at[-1]) == (16, 0, 50, 100)
    gaps = np.diff(at)
    assert np.all(np.diff(gaps[7:]) > 0)
    assert np.all(np.diff(gaps[:7]) < 0)


@pytest.mark.parametrize("rank", [0, 16, 64])
def test_bars_are_as_long_as_the_bytes(rank: int) -> None:
    shown = view(Controls(rank=rank))
    bars = shown.drawing["bytes"]
    base, adapter, sixteen = (float(bars[key].rstrip("%")) for key in ("base", "adapter", "sixteen"))
    assert base / sixteen == pytest.approx(readout(shown, "base_bytes") / (2 * ROWS * COLUMNS), rel=1e-3)
    assert adapter / sixteen == pytest.approx(
        readout(shown, "adapter_bytes") / (2 * ROWS * COLUMNS), abs=2e-4
    )
    assert base + adapter <= 100


@pytest.mark.parametrize("rank", [0, 30, 64])
def test_curve_mark_and_table_agree(rank: int) -> None:
    shown = view(Controls(rank=rank))
    (marked,) = shown.table.marked
    assert shown.table.rows[marked][0] == rank
    assert shown.table.rows[marked][3] == readout(shown, "output_error")
    assert [row[0] for row in shown.table.rows] == list(RANKS)
    curve = shown.drawing["curve"]
    points = re.findall(r"[ML]([\d.]+) ([\d.]+)", curve["path"])
    x, y = points[marked]
    assert float(x) / 10 == pytest.approx(float(curve["x"].rstrip("%")), abs=0.01)
    assert float(y) * curve["height"] / 1000 == pytest.approx(curve["y"], abs=0.05)
