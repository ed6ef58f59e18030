"""FIG.05F and its data: maps of types are measured, sizes are llama.cpp's, and every sentence is true."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from lessons.catalogue import load_lesson
from lessons.kit.view import View
from lessons.quantization import maps, measuring, sources
from lessons.quantization.figures.budget import (
    BESIDE,
    FIGURE,
    Controls,
    additivity,
    compute,
    every_map,
    named,
    priced,
)
from lessons.quantization.maps import DYNAMIC, GROUPS, TYPES
from lessons.quantization.sources import TINY_MODEL
from quant_core.ggml.mixes import tensor_types
from scripts import measure_maps
from scripts.recording import code_of

TEXT = load_lesson("quantization").texts["budget"]
KNOWN = sources.measured_maps()
BUDGETS = [3 + 0.25 * step for step in range(17)]


def finding(shown: View) -> str:
    return TEXT.sentence(shown.description[0])


def readout(shown: View, name: str) -> float:
    return next(float(one.value) for one in shown.readouts if one.name == name)


def controls(types: tuple[str, ...], budget: float = 5, beside: str = "none") -> Controls:
    return Controls(budget=budget, beside=beside, **dict(zip(GROUPS, types, strict=True)))


# --- the file ---------------------------------------------------------------------------------------------


def test_the_file_is_current() -> None:
    """Fails after a change to the code or the weights that the numbers depend on: run `make maps`."""
    assert KNOWN.code == code_of(measure_maps.COUNTED), "data/maps.json is stale: run `make maps`"
    assert KNOWN.weights == measuring.fingerprint()["weights"]
    assert (KNOWN.groups, KNOWN.types) == (tuple(GROUPS), tuple(TYPES))
    assert list(KNOWN.grid) == [maps.key_of(types) for types in product(TYPES, repeat=len(GROUPS))]
    assert KNOWN.text["predictions"] == measure_maps.text().targets.size


def test_some_maps_are_measured_again() -> None:
    """On all of the windows, as `make maps` does: two of the grid, one group alone, one with a name."""
    rounding, read = measure_maps.Rounding(), measure_maps.text()
    grid = measure_maps.measure_grid(
        rounding, [("Q4_K",) * 5, ("Q6_K", "Q4_K", "Q8_0", "Q3_K", "Q2_K")], read
    )
    for key, divergence in grid.items():
        assert divergence == pytest.approx(KNOWN.grid[key], rel=1e-3)
    again = rounding.measure(
        {"alone": rounding.by_group({"values": "Q4_K"}), "Q4_K_M": maps.named_maps()["Q4_K_M"]}, read
    )
    alone = next(row for row in KNOWN.single if (row.group, row.type) == ("values", "Q4_K"))
    assert again["alone"][0] == pytest.approx(alone.divergence, rel=1e-3)
    assert again["Q4_K_M"][0] == pytest.approx(KNOWN.named[0].divergence, rel=1e-3)


def test_named_maps_are_what_they_are_called() -> None:
    shape = measuring.model_file().shape
    types = {tensor.name: tensor.type for tensor in tensor_types(shape, "Q4_K_M") if tensor.type != "F32"}
    assert maps.named_maps()["Q4_K_M"] == types
    measured = next(row for row in sources.measured() if row.key == "Q4_K_M")
    assert named()["Q4_K_M"].bits_per_weight == pytest.approx(measured.bits_per_weight, abs=1e-5)
    # Another text, and a little luck: the divergence of the whole text is near.
    assert named()["Q4_K_M"].divergence == pytest.approx(measured.divergence, rel=0.1)
    assert named()[DYNAMIC].types == {
        "embedding": {"Q8_0": 1},
        "attention": {"Q8_0": 9},
        "values": {"Q8_0": 3},
        "gate_up": {"Q4_K": 6},
        "down": {"Q5_K": 3},
    }
    assert TINY_MODEL.is_dir()


# --- the figure -------------------------------------------------------------------------------------------


def test_sizes_are_those_of_the_types() -> None:
    """A map of one type takes the bits of that type, and the norms in 32 bits."""
    norms = maps.norm_elements()
    whole = sum(maps.elements().values()) + norms
    assert whole == sum(tensor.elements for tensor in measuring.model_file().tensors)
    for kind, bits in (("Q4_K", 4.5), ("Q8_0", 8.5), ("Q2_K", 2.625)):
        expected = (bits * (whole - norms) + 32 * norms) / whole
        assert compute(controls((kind,) * 5)).bits_per_weight == pytest.approx(expected, abs=1e-9)


def test_answers_fit_and_none_is_better_than_the_best() -> None:
    every = every_map()
    for budget in BUDGETS:
        result = compute(Controls(budget=budget))
        for name in ("greedy", "knapsack", "best"):
            assert result.answers[name].bits_per_weight <= budget
            assert result.answers[name].divergence >= result.best_divergence
        fits = (8 * (every.sizes + 4 * maps.norm_elements())) <= budget * sum(
            (*maps.elements().values(), maps.norm_elements())
        )
        assert result.within == np.count_nonzero(fits)
        assert result.best_divergence == every.divergences[fits].min()
        # Knapsack has the smallest sum of all that fit.
        assert result.answers["knapsack"].estimate == pytest.approx(every.estimates[fits].min())


def test_every_sentence_is_true() -> None:
    """Over all states of the budget and of what is laid beside, for maps of every kind."""
    rng = np.random.default_rng(0)
    every = every_map()
    seen = set()
    for budget in BUDGETS:
        best = tuple(
            next(iter(one)) for one in compute(Controls(budget=budget)).answers["best"].types.values()
        )
        some = [every.types[int(i)] for i in rng.integers(0, len(every.types), 12)]
        for types in (("Q4_K",) * 5, ("Q2_K",) * 5, ("Q8_0",) * 5, best, *some):
            state = controls(types, budget, str(rng.choice(BESIDE)))
            shown = FIGURE.view(state)
            key = shown.description[0].key
            seen.add(key)
            bits = readout(shown, "bits_per_weight")
            assert (key == "over") == (bits > budget)
            if key != "over":
                assert (key == "is_best") == (types == best)
                assert readout(shown, "divergence") >= readout(shown, "best_divergence")
            told = [sentence.key for sentence in shown.description]
            found = {name: readout(shown, f"{name}_divergence") for name in ("best", "greedy", "knapsack")}
            for name in ("greedy", "knapsack"):
                if told[1] in (f"methods_{name}", "methods_both"):
                    assert found[name] == found["best"]
            ratio = readout(shown, "estimate") / readout(shown, "divergence")
            assert told[4] == (
                "sum_near" if abs(ratio - 1) < 0.05 else "sum_low" if ratio < 1 else "sum_high"
            )
            assert "{" not in " ".join(TEXT.sentence(one) for one in (*shown.description, *shown.notes))
    assert seen == {"finding", "is_best", "over"}


def test_the_grid_shows_both_maps() -> None:
    shown = FIGURE.view(Controls(beside=DYNAMIC, values="Q6_K"))
    rows = {row["group"]: row for row in shown.drawing["rows"]}
    assert [cell["chosen"] for cell in rows["values"]["cells"]] == [False, False, False, True, False]
    assert [cell["beside"] for cell in rows["values"]["cells"]] == [False, False, False, False, True]
    assert rows["down"]["beside"] == "Q5_K"
    assert rows["values"]["beside"] == ""
    shown = FIGURE.view(Controls(beside="Q4_K_M"))
    rows = {row["group"]: row for row in shown.drawing["rows"]}
    assert rows["values"]["beside"] == "2× Q4_K, 1× Q6_K"
    costs = [cell["cost"] for cell in rows["embedding"]["cells"]]
    assert costs == [f"{priced()['embedding'][kind].error:.4f}" for kind in TYPES]


def test_maps_that_are_the_same_share_a_mark() -> None:
    best = compute(Controls()).answers["best"].types
    state = controls(tuple(next(iter(one)) for one in best.values()))
    chart = FIGURE.view(state).chart
    assert chart is not None
    names = [point.key for series in chart.series for point in series.points if "frontier" not in point.key]
    assert any(key.startswith("mine+best") for key in names)
    assert sorted("+".join(names).split("+")) == sorted(
        ("mine", "best", "greedy", "knapsack", "Q4_K_M", DYNAMIC)
    )


def test_what_the_prose_says_of_sums_holds() -> None:
    assert np.median(additivity()) < 0.1
