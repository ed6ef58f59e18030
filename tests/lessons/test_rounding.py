"""FIG.03: compare the four roundings with plain Python, and test the states of a drag."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest

from lessons.catalogue import load_lesson
from lessons.kit.view import View
from lessons.quantization import sources
from lessons.quantization.figures.rounding import FIGURE, PAIRS, Controls, best_ranges, weights_of
from quant_core.methods import rounding
from tests.each import each

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


@each("bits, pair, x2", itertools.product(BITS, PAIRS, [0.5, 1.125, 4.0]))
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
    assert shown.drawing["axis"]["at"] == shown.drawing["axis"]["real"]
    assert f"its x₂ is {real:.3f}." in TEXT.sentence(shown.notes[0])


def test_with_its_real_activations_the_default_pair_is_best_rounded_away_from_nearest() -> None:
    shown = view(Controls())
    assert readout(shown, "best_error") < readout(shown, "nearest_error") / 2
    assert readout(shown, "weight_ratio") > 1.5
    assert TEXT.sentence(shown.description[0]) == (
        "Round both the far way: the weights’ own error grows 1.6×, and the output’s shrinks 2.5×."
    )


FINDINGS = {"both": "Round both", "first": "Round only w₁", "second": "Round only w₂", "nearest": "At x₂ = "}


def test_the_finding_is_true_in_every_state() -> None:
    """Which weights go the far way, and by how much both errors change, computed by plain Python."""
    seen = set()
    for pair, bits, x2 in itertools.product(PAIRS, BITS, np.arange(0, 4.125, 0.125)):
        weights, activations, choices = by_hand(pair, int(bits), 2)
        x = [activations[0], float(x2)]
        near = nearest_of(weights, choices)
        ranked = sorted(
            itertools.product(*choices),
            key=lambda q: (round(output_error(weights, x, q), 12), math.dist(q, weights)),
        )
        far = [ours != theirs for ours, theirs in zip(ranked[0], near, strict=True)]
        case = "both" if all(far) else "first" if far[0] else "second" if far[1] else "nearest"
        said = TEXT.sentence(view(Controls(pair=pair, bits=bits, x2=float(x2))).description[0])
        assert said.startswith(FINDINGS[case]), (pair, bits, x2)
        assert len(said) <= 150
        seen.add(case)
        if case == "nearest":
            continue
        grown = math.dist(ranked[0], weights) / math.dist(near, weights)
        gain = output_error(weights, x, near) / output_error(weights, x, ranked[0])
        assert f"grows {grown:.1f}×" in said
        assert grown >= 1.05
        assert "shrinks 1.0×" not in said
        percent = re.search(r"shrinks by ([\d.]+)", said)
        if percent:
            assert 0 < float(percent[1]) / 100 == pytest.approx(1 - 1 / gain, abs=0.006)
        else:
            assert float(said.partition("shrinks ")[2].rstrip("×.")) == pytest.approx(gain, rel=0.05)
    assert seen == set(FINDINGS)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("pair", PAIRS)
def test_the_best_way_wins_in_the_range_that_is_named(pair: str, bits: str) -> None:
    for x2 in np.arange(0, 4.125, 0.125).tolist():
        shown = view(Controls(pair=pair, bits=bits, x2=x2))
        named = next(r for r in shown.readouts if r.name == "wins").text
        if named == "0.00":  # where the second weight does not matter, another way wins by a tie
            assert x2 == 0
            continue
        low, high = (float(end) for end in named.split("–"))
        assert low - 0.005 <= x2 <= high + 0.005
        for inside in np.linspace(low + 0.01, high - 0.01, 5).tolist():
            four = rounding.all_roundings(
                weights_of(pair, int(bits), 2).values,
                [weights_of(pair, int(bits), 2).activations[0], inside],
                weights_of(pair, int(bits), 2).grid,
            )
            assert four.best == shown.drawing["ways"]["rows"][0]["row"], (x2, inside)


def test_nearest_is_best_again_after_a_range() -> None:
    """A level up for one weight and down for the other changes the output by step·(x₁ − x₂): 0 at x₂ = x₁."""
    x1 = float(weights_of("query", 3, 2).activations[0])
    (_, _, leaves), (_, enters, returns), (_, _, end) = best_ranges("query", 3)
    assert leaves == enters == pytest.approx(x1, abs=1e-6)
    assert readout(view(Controls()), "flip") == leaves
    flipped = [keys(view(Controls(x2=x2)))[0] != "nearest_wins" for x2 in np.arange(0, 4.125, 0.125)]
    assert flipped == [leaves < x2 < returns for x2 in np.arange(0, 4.125, 0.125)]
    assert end == 4


def test_errors_in_one_direction_make_nearest_lose_at_once() -> None:
    shown = view(Controls(pair="adding", x2=0.125))
    assert keys(shown)[:2] == ["second_wins", "nowhere"]
    assert readout(shown, "flip") == 0


def test_a_real_pair_may_be_best_at_nearest() -> None:
    assert keys(view(Controls(pair="feed_forward", x2=0.75)))[0] == "nearest_wins"


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
    activations[weights_of(pair, int(bits), 7).second] = 1.125
    errors = [output_error(weights, activations, levels) for levels in itertools.product(*choices)]
    nearest = output_error(weights, activations, nearest_of(weights, choices))
    shown = view(Controls(pair=pair, bits=bits, n=7))
    assert readout(shown, "roundings") == 2**7
    assert readout(shown, "rank") == 1 + sum(error < nearest - 1e-7 for error in errors)
    assert readout(shown, "crowd_best") == pytest.approx(min(errors), abs=1e-6)


@pytest.mark.parametrize("n", range(3, 13))
def test_the_histogram_counts_every_rounding_once(n: int) -> None:
    shown = view(Controls(n=n))
    bars = shown.drawing["crowd"]["bars"]
    unit = max(bar["height"] for bar in bars)
    better = sum(bar["better_height"] for bar in bars) / sum(bar["height"] for bar in bars)
    assert unit == shown.drawing["crowd"]["height"]
    assert better == pytest.approx((readout(shown, "rank") - 1) / 2**n, abs=1e-3)


@pytest.mark.parametrize("pair", PAIRS)
def test_two_of_n_weights_are_the_pair(pair: str) -> None:
    """The second activation is the slider's in both, whatever n is."""
    for n, x2 in itertools.product((2, 5, 12), (0.5, 3.0)):
        chosen = weights_of(pair, 3, n)
        two = chosen.values[chosen.second - 1 : chosen.second + 1]
        assert two.tolist() == weights_of(pair, 3, 2).values.tolist()
        x = chosen.activations.copy()
        x[chosen.second] = x2
        every = rounding.all_roundings(chosen.values, x, chosen.grid)
        assert readout(view(Controls(pair=pair, n=n, x2=x2)), "crowd_best") == every.output_error.min()
    shown = view(Controls(pair=pair, x2=3.0))
    assert readout(shown, "crowd_best") == readout(shown, "best_error")


def test_the_best_rounding_for_one_token_is_not_the_best_for_all() -> None:
    """The best rounding for one token is worse than nearest over the whole sample; the figure must say so."""
    (said,) = (one.values for one in view(Controls(n=8)).description if one.key == "one_token")
    assert float(said["best_mean"]) > 2 * float(said["nearest_mean"])
    place, chosen = PAIRS["query"], weights_of("query", 3, 8)
    tokens = sources.load_layer(place.layer).activations_test
    assert tokens is not None
    nudges = chosen.values - chosen.grid.dequantize(chosen.grid.quantize(chosen.values))
    mean = float(np.mean([abs(float(token @ nudges)) for token in tokens[:, chosen.columns]]))
    assert float(said["nearest_mean"]) == pytest.approx(mean, rel=5e-3)


@each("bits, pair, x2", itertools.product(BITS, PAIRS, [0.0, 1.0, 2.75, 4.0]))
def test_the_sums_are_the_errors(pair: str, bits: str, x2: float) -> None:
    """Arrows laid end to end: the second begins where the first ends, and what is left reaches to its end."""
    shown = view(Controls(pair=pair, bits=bits, x2=x2))
    rows = shown.drawing["ways"]["rows"]
    errors = [float(row[6]) for row in sorted(shown.table.rows, key=lambda row: row[7])]
    assert [abs(row["sum"]) for row in rows] == pytest.approx(errors, abs=1e-9)
    zero = percent(shown.drawing["ways"]["zero"])
    unit = max(percent(row["width"]) for row in rows) / max(errors)
    for row, error in zip(rows, errors, strict=True):
        first, second = row["arrows"]
        assert percent(first["from"]) == zero
        assert first["to"] == second["from"]
        assert abs(percent(second["to"]) - zero) == pytest.approx(unit * error, abs=0.03)
        assert percent(row["width"]) == pytest.approx(unit * error, abs=0.03)
        assert all(0 <= percent(arrow[end]) <= 100 for arrow in row["arrows"] for end in ("from", "to"))


def percent(text: str) -> float:
    return float(text.rstrip("%"))


def test_a_drag_changes_the_scale_of_the_arrows_twice_at_most() -> None:
    """Within a zoom the first arrow stays, for it does not depend on x₂."""
    for pair, bits in itertools.product(PAIRS, BITS):
        firsts = set()
        for x2 in np.arange(0, 4.125, 0.125).tolist():
            rows = view(Controls(pair=pair, bits=bits, x2=x2)).drawing["ways"]["rows"]
            firsts.add(next(row["arrows"][0]["to"] for row in rows if row["row"] == 0))
        assert len(firsts) <= 3


@pytest.mark.parametrize(("pair", "x2"), list(itertools.product(PAIRS, (0.0, 0.75, 2.75))))
def test_weight_is_drawn_at_the_level_of_the_best_choice(pair: str, x2: float) -> None:
    shown = view(Controls(pair=pair, x2=x2))
    best = next(row for i, row in enumerate(shown.table.rows) if i in shown.table.marked)
    words = TEXT.words[f"way_{shown.drawing['ways']['rows'][0]['key']}"]
    for strip, level, weight in zip(shown.drawing["strips"], best[2:4], words.split(", "), strict=True):
        on = next(mark for mark in strip["levels"] if mark["x"] == strip["snap"])
        assert float(on["value"].replace("−", "-")) == pytest.approx(level, abs=6e-5)
        assert sum(mark["nearest"] for mark in strip["levels"]) == 1
        assert ("up" in weight) == (percent(strip["snap"]) > percent(strip["true"]))
