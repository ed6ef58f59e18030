"""FIG.03B: compare the trace with another algorithm, the errors with the outputs, the drawing with both."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lessons.kit.view import View
from lessons.quantization import sources
from lessons.quantization.figures.gptq import COLUMNS, CUTS, FIGURE, ROWS, Controls, run_of
from tests.each import each

view = FIGURE.view

BITS = ("2", "3", "4")
ORDERS = ("natural", "act-order")


def readout(shown: View, name: str) -> float:
    return float(next(r.value for r in shown.readouts if r.name == name))


def percent(position: str) -> float:
    return float(position.removesuffix("%"))


def keys(shown: View) -> list[str]:
    return [sentence.key for sentence in shown.description]


def cut_by_hand(name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weights and H = 2XXᵀ/n of a cut, from the shipped tensors."""
    layer = sources.load_layer(CUTS[name].layer)
    assert layer.hessian is not None
    channels = run_of(name, 3, False).channels
    hessian = 2 * layer.hessian[channels][:, channels].astype(float)
    return layer.weights[:ROWS, channels].astype(float), hessian


def optimal_brain_quantization(
    weights: NDArray[Any], hessian: NDArray[Any], bits: int, order: list[int]
) -> list[NDArray[Any]]:
    """The method that GPTQ speeds up, without any Cholesky factor: eliminate column after column from H⁻¹."""
    low, high = weights.min(axis=1), weights.max(axis=1)
    scale = (high - low) / (2**bits - 1)
    zero_point = np.round(-low / scale)
    inverse = np.linalg.inv(hessian + 0.01 * np.mean(np.diag(hessian)) * np.eye(len(hessian)))
    state, states = weights.copy(), []
    for j in order:
        codes = np.clip(np.round(state[:, j] / scale) + zero_point, 0, 2**bits - 1)
        error = state[:, j] - scale * (codes - zero_point)
        state = state - np.outer(error, inverse[j] / inverse[j, j])
        inverse = inverse - np.outer(inverse[:, j], inverse[j]) / inverse[j, j]
        states.append(state.copy())
    return states


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", CUTS)
def test_every_step_is_optimal_brain_quantization(name: str, bits: str, order: str) -> None:
    run = run_of(name, int(bits), order == "act-order")
    weights, hessian = cut_by_hand(name)
    expected = optimal_brain_quantization(weights, hessian, int(bits), run.result.order.tolist())
    for step, state in zip(run.result.trace, expected, strict=True):
        assert step.weights_after == pytest.approx(state, abs=1e-9)


@pytest.mark.parametrize("step", [0, 1, 7, COLUMNS])
@pytest.mark.parametrize("name", CUTS)
def test_errors_are_those_of_the_output(name: str, step: int) -> None:
    """(w − ŵ)H(w − ŵ)ᵀ through any X with XXᵀ = H/2, here its Cholesky factor."""
    run = run_of(name, 3, False)
    weights, hessian = cut_by_hand(name)
    x = np.linalg.cholesky(hessian / 2)
    state = run.result.trace[step - 1].weights_after if step else weights
    error = np.sum(((weights - state) @ x) ** 2) / np.sum((weights @ x) ** 2)
    assert readout(view(Controls(slice=name, step=step)), "gptq_error") == pytest.approx(error, abs=1e-9)


def test_the_first_column_alone_adds_its_squared_error_times_its_hessian() -> None:
    weights, hessian = cut_by_hand("strongest")
    scale = (weights.max(axis=1) - weights.min(axis=1)) / 7
    errors = weights[:, 0] - scale * np.round(weights[:, 0] / scale)
    added = np.sum(errors**2) * hessian[0, 0] / np.sum((weights @ hessian) * weights)
    assert readout(view(Controls(step=1)), "error_before") == pytest.approx(added, rel=1e-9)
    assert readout(view(Controls(step=1)), "rtn_error") == pytest.approx(added, rel=1e-9)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", CUTS)
def test_last_column_has_no_columns_to_correct(name: str, order: str) -> None:
    shown = view(Controls(slice=name, order=order, step=COLUMNS))
    assert readout(shown, "error_before") == pytest.approx(readout(shown, "error_after"), abs=1e-12)
    assert keys(shown)[0] == "last_column"
    assert not shown.drawing["flow"]["arcs"]


def test_act_order_leaves_the_least_important_for_the_end() -> None:
    """The loud channel 363 is last in natural order and pays in full; in act-order a quiet one is."""
    natural, sorted_first = (view(Controls(order=order, step=COLUMNS)) for order in ORDERS)
    assert readout(natural, "error_after") > 20 * readout(sorted_first, "error_after")
    assert readout(natural, "column") == 363
    loudness = [row[2] for row in sorted_first.table.rows]
    assert loudness == sorted(loudness, reverse=True)


def test_later_columns_absorb_a_part() -> None:
    """At the default step the outlier channel 223 is rounded: most of its error goes, not all."""
    shown = view(Controls())
    assert readout(shown, "column") == 223
    assert 0.2 < readout(shown, "error_after") / readout(shown, "error_before") < 0.3


def test_figure_says_if_gptq_is_no_better() -> None:
    shown = view(Controls(slice="neighbours", bits="4"))
    assert readout(shown, "ratio") < 1
    assert readout(shown, "held_out_ratio") < 1
    assert keys(shown)[-1] == "ends_worse"
    assert keys(view(Controls()))[-1] == "ends_better"


@pytest.mark.parametrize("order", ORDERS)
def test_held_out_ratio_is_that_of_the_held_out_outputs(order: str) -> None:
    run = run_of("strongest", 3, order == "act-order")
    layer = sources.load_layer("minilm.5.ffn_in")
    assert layer.activations_test is not None
    scale = np.ptp(run.weights, axis=1, keepdims=True) / 7
    nearest = scale * np.round(run.weights / scale)  # both signs in each row, so 0 is a level
    x = layer.activations_test[:, run.channels].astype(float)
    errors = [np.sum((x @ (run.weights - w).T) ** 2) for w in (nearest, run.result.dequantized)]
    shown = view(Controls(order=order))
    assert readout(shown, "held_out_ratio") == pytest.approx(errors[0] / errors[1], rel=1e-6)


@each("step, order", itertools.product(range(COLUMNS + 1), ORDERS))
def test_the_drawing_is_the_step(order: str, step: int) -> None:
    shown = view(Controls(order=order, step=step))
    run = run_of("strongest", 3, order == "act-order")
    columns, drawing = shown.drawing["columns"], shown.drawing
    assert sum(bool(cell["code"]) for column in columns for cell in column["cells"]) == ROWS * step
    edge = 100 * step / COLUMNS
    for column in columns:
        rounded = percent(column["x"]) < edge
        assert [bool(cell["code"]) for cell in column["cells"]] == [rounded] * ROWS
        assert not (rounded and any(cell["arrow"] for cell in column["cells"]))
    assert percent(drawing["column_width"]) == 100 / COLUMNS
    assert [label["text"] for label in drawing["labels"]] == [
        str(run.channels[column]) for column in run.result.order
    ]
    if step:
        assert percent(drawing["outline"]["x"]) == pytest.approx(edge - 100 / COLUMNS)
        assert shown.table.marked == {step - 1}
        assert shown.table.rows[step - 1][5] == readout(shown, "gptq_error")
        assert shown.table.rows[step - 1][6] == readout(shown, "rtn_error")


@pytest.mark.parametrize("step", range(1, COLUMNS))
def test_arrows_lead_from_the_rounded_column_to_the_shifted_ones(step: int) -> None:
    """Each of its arrows ends over a column to the right, and is as wide as that column's shifts."""
    run, flow = run_of("strongest", 3, False), view(Controls(step=step)).drawing["flow"]
    start, width = percent(flow["x"]), percent(flow["width"])
    assert start == 100 * (step - 0.5) / COLUMNS
    assert start + width == pytest.approx(100)
    update = np.asarray(run.result.trace[step - 1].update) / run.scale
    sizes, widths = np.sqrt((update**2).mean(axis=0)), []
    for arc in flow["arcs"]:
        position = (start + percent(arc["at"]) * width / 100) * COLUMNS / 100 - 0.5
        assert position == pytest.approx(round(position), abs=0.01)
        assert round(position) >= step
        widths.append((sizes[round(position)], float(arc["width"])))
    assert [w for _, w in sorted(widths)] == sorted(w for _, w in widths)


def cells(shown: View) -> list[tuple[int, int, dict[str, str]]]:
    """Channel, row and cell."""
    columns = shown.drawing["columns"]
    return [(int(c["channel"]), row, cell) for c in columns for row, cell in enumerate(c["cells"])]


def test_cells_show_the_present_weights() -> None:
    run, shown = run_of("strongest", 3, False), view(Controls())
    now = run.result.trace[6].weights_after
    for channel, row, cell in cells(shown):
        column = run.channels.tolist().index(channel)
        if not cell["code"]:
            printed = float((cell["sign"] + "0" + cell["digits"]).replace("−", "-"))
            assert printed == pytest.approx(now[row, column], abs=6e-4)
            assert cell["role"] == ("minus" if now[row, column] < 0 else "plus")


def test_arrows_show_direction_and_size_of_the_shift() -> None:
    run, shown = run_of("strongest", 3, False), view(Controls())
    update = run.result.trace[6].update / run.scale
    lengths = {}
    for channel, row, cell in cells(shown):
        shift = update[row, run.channels.tolist().index(channel)]
        if cell["arrow"]:
            start, tip = (float(part) for part in cell["arrow"].split("M")[1].removeprefix("0 ").split("V"))
            assert (tip < start) == (shift > 0)
            lengths[abs(shift)] = abs(tip - start)
    assert len(lengths) > 40
    assert [lengths[size] for size in sorted(lengths)] == sorted(lengths.values())


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize("bits", BITS)
def test_marks_of_running_errors_are_at_their_values(name: str, bits: str) -> None:
    shown = view(Controls(slice=name, bits=bits, step=9))
    lines = {line["name"]: line for line in shown.drawing["running"]["lines"]}
    height = shown.drawing["running"]["height"]
    up = [height - lines["gptq"]["y"], height - lines["rtn"]["y"]]
    assert up[0] / up[1] == pytest.approx(
        readout(shown, "gptq_error") / readout(shown, "rtn_error"), rel=1e-2
    )
