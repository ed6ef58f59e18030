"""FIG.03: compare the four roundings with plain Python, and test the states of a drag."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from lessons.catalogue import load_lesson
from lessons.kit.view import View
from lessons.quantization import sources
from lessons.quantization.figures.rounding import FIGURE, PAIRS, Controls, best_ranges, weights_of

view = FIGURE.view

TEXT = load_lesson("quantization").texts["rounding"]
BITS = ("2", "3", "4")


def readout(shown: View, name: str) -> float:
    return float(next(r.value for r in shown.readouts if r.name == name))


def keys(shown: View) -> list[str]:
    return [sentence.key for sentence in shown.description]


def by_hand(pair: str, bits: int, count: int) -> tuple[list[float], list[float], list[tuple[float, float]]]:
    """Weights, activations and the two levels around each weight, by plain Python."""
    place = PAIRS[pair]
    layer = sources.load_layer(place.layer)
    assert layer.activations_test is not None
    row = [float(w) for w in layer.weights[place.row]]
    start = place.column // 128 * 128
    block = row[start : start + 128]
    step = (max(block) - min(block)) / (2**bits - 1)
    first = min(place.column, start + 128 - count)
    weights = row[first : first + count]
    activations = [float(x) for x in layer.activations_test[place.token, first : first + count]]
    return weights, activations, [(step * math.floor(w / step), step * math.ceil(w / step)) for w in weights]


def output_error(weights: list[float], activations: list[float], levels: tuple[float, ...]) -> float:
    return abs(sum((w - q) * x for w, q, x in zip(weights, levels, activations, strict=True)))


def nearest_of(weights: list[float], choices: list[tuple[float, float]]) -> tuple[float, ...]:
    return tuple(
        min(levels, key=lambda level: abs(level - w)) for w, levels in zip(weights, choices, strict=True)
    )


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("x2", [0.5, 1.125, 4.0])
def test_the_four_errors_by_hand(pair: str, bits: str, x2: float) -> None:
    weights, activations, choices = by_hand(pair, int(bits), 2)
    errors = {
        levels: output_error(weights, [activations[0], x2], levels) for levels in itertools.product(*choices)
    }
    shown = view(Controls(pair=pair, bits=bits, x2=x2))
    assert readout(shown, "best_error") == pytest.approx(min(errors.values()), rel=1e-3, abs=1e-7)
    assert readout(shown, "nearest_error") == pytest.approx(
        errors[nearest_of(weights, choices)], rel=1e-3, abs=1e-7
    )
    assert sorted(row[6] for row in shown.table.rows) == pytest.approx(sorted(errors.values()), abs=1e-6)


@pytest.mark.parametrize("pair", PAIRS)
def test_the_real_second_activation_is_on_the_slider(pair: str) -> None:
    real = float(weights_of(pair, 3, 2).activations[1])
    assert FIGURE.controls.widgets()["x2"].accepts(real)
    shown = view(Controls(pair=pair, x2=real))
    assert not shown.drawing["moved"]
    assert shown.drawing["curves"]["at"] == shown.drawing["curves"]["real"]
    assert f"its x₂ is {shown.drawing['real']}." in TEXT.sentence(shown.notes[0])


def test_with_its_real_activations_the_default_pair_is_best_rounded_away_from_nearest() -> None:
    shown = view(Controls())
    assert readout(shown, "best_error") < readout(shown, "nearest_error") / 2
    assert readout(shown, "weight_ratio") > 1.5
    assert keys(shown)[0] == "flipped"


def test_nearest_is_best_again_after_a_range() -> None:
    """A level up for one weight and down for the other changes the output by step·(x₁ − x₂): 0 at x₂ = x₁."""
    x1 = float(weights_of("query", 3, 2).activations[0])
    (_, _, leaves), (_, enters, returns), (_, _, end) = best_ranges("query", 3)
    assert leaves == enters == pytest.approx(x1, abs=1e-6)
    assert readout(view(Controls()), "flip") == leaves
    flipped = [keys(view(Controls(x2=x2)))[0] == "flipped" for x2 in np.arange(0, 4.125, 0.125)]
    assert flipped == [leaves < x2 < returns for x2 in np.arange(0, 4.125, 0.125)]
    assert end == 4


def test_errors_in_one_direction_make_nearest_lose_at_once() -> None:
    shown = view(Controls(pair="adding", x2=0.125))
    assert keys(shown)[:2] == ["flipped", "nowhere"]
    assert readout(shown, "flip") == 0


def test_a_real_pair_may_be_best_at_nearest() -> None:
    assert keys(view(Controls(pair="feed_forward", x2=0.75)))[0] == "same"


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("pair", PAIRS)
def test_ranges_match_a_fine_search(pair: str, bits: str) -> None:
    weights, activations, choices = by_hand(pair, int(bits), 2)
    nearest = nearest_of(weights, choices)
    ranges = best_ranges(pair, int(bits))
    row_of_nearest = sum(
        int(q == up) << i for i, (q, (_, up)) in enumerate(zip(nearest, choices, strict=True))
    )
    for x2 in np.linspace(0.003, 3.997, 400).tolist():
        least = min(itertools.product(*choices), key=lambda q: output_error(weights, [activations[0], x2], q))
        row = next(row for row, low, high in ranges if low <= x2 <= high)
        if all(abs(x2 - edge) > 0.005 for _, *edges in ranges for edge in edges):
            assert (row == row_of_nearest) == (least == nearest), x2


@pytest.mark.parametrize(("pair", "bits"), [("query", "3"), ("adding", "2"), ("outlier", "4")])
def test_rank_of_nearest_by_hand(pair: str, bits: str) -> None:
    weights, activations, choices = by_hand(pair, int(bits), 7)
    errors = [output_error(weights, activations, levels) for levels in itertools.product(*choices)]
    nearest = output_error(weights, activations, nearest_of(weights, choices))
    shown = view(Controls(pair=pair, bits=bits, n=7))
    assert readout(shown, "roundings") == 2**7
    assert readout(shown, "rank") == 1 + sum(error < nearest - 1e-7 for error in errors)
    assert readout(shown, "crowd_best") == pytest.approx(min(errors), abs=1e-6)


@pytest.mark.parametrize("n", range(2, 13))
def test_the_histogram_counts_every_rounding_once(n: int) -> None:
    shown = view(Controls(n=n))
    bars = shown.drawing["crowd"]["bars"]
    unit = max(bar["height"] for bar in bars)
    better = sum(bar["better_height"] for bar in bars) / sum(bar["height"] for bar in bars)
    assert unit == shown.drawing["crowd"]["height"]
    assert better == pytest.approx((readout(shown, "rank") - 1) / 2**n, abs=1e-3)


def test_the_roundings_of_n_weights_do_not_follow_the_drag() -> None:
    first, second = view(Controls(x2=0)), view(Controls(x2=4))
    assert first.drawing["crowd"] == second.drawing["crowd"]


def test_the_best_rounding_for_one_token_is_not_the_best_for_all() -> None:
    """The best rounding for one token is worse than nearest over the whole sample; the figure must say so."""
    (said,) = (one.values for one in view(Controls()).description if one.key == "one_token")
    assert float(said["best_mean"]) > 2 * float(said["nearest_mean"])
    place, chosen = PAIRS["query"], weights_of("query", 3, 8)
    tokens = sources.load_layer(place.layer).activations_test
    assert tokens is not None
    nudges = chosen.values - chosen.grid.dequantize(chosen.grid.quantize(chosen.values))
    mean = float(np.mean([abs(float(token @ nudges)) for token in tokens[:, chosen.columns]]))
    assert float(said["nearest_mean"]) == pytest.approx(mean, rel=5e-3)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("x2", [0.0, 1.0, 2.75, 4.0])
def test_both_rankings_of_the_bars_are_the_table_s(pair: str, bits: str, x2: float) -> None:
    shown = view(Controls(pair=pair, bits=bits, x2=x2))
    bars = {row["name"]: row for row in shown.drawing["bars"]["rows"]}
    left = sorted(bars, key=lambda name: bars[name]["left"])
    right = sorted(bars, key=lambda name: bars[name]["right"])
    assert left == [row[0] for row in sorted(shown.table.rows, key=lambda row: row[5])]
    assert right == [row[0] for row in sorted(shown.table.rows, key=lambda row: row[7])]
    assert bars[left[0]]["nearest"]
    assert bars[right[0]]["best"]
    widths = {name: float(row["output_width"].rstrip("%")) for name, row in bars.items()}
    errors = {row[0]: row[6] for row in shown.table.rows}
    for name, width in widths.items():
        assert width == pytest.approx(34 * errors[name] / max(errors.values()), abs=0.01)


@pytest.mark.parametrize(("pair", "x2"), list(itertools.product(PAIRS, (0.0, 0.75, 2.75))))
def test_weight_is_drawn_at_the_level_of_the_best_choice(pair: str, x2: float) -> None:
    shown = view(Controls(pair=pair, x2=x2))
    best = next(row for i, row in enumerate(shown.table.rows) if i in shown.table.marked)
    for strip, level in zip(shown.drawing["strips"], best[2:4], strict=True):
        on = next(mark for mark in strip["levels"] if mark["x"] == strip["snap"])
        assert float(on["value"].replace("−", "-")) == pytest.approx(level, abs=6e-5)
        assert sum(mark["nearest"] for mark in strip["levels"]) == 1
