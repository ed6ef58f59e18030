"""Snippets of the figures that show a whole layer: FIG.03 and FIG.03B."""

from __future__ import annotations

from lessons.quantization.figures import gptq as gptq_figure
from lessons.quantization.figures import rounding as rounding_figure
from lessons.quantization.snippets.parts import LOAD, LOADER, code, layer_parts, stored_row

NUMPY = f"import numpy as np\n{LOADER}"


def rounding(c: rounding_figure.Controls) -> str:
    pair, block = rounding_figure.PAIRS[c.pair], rounding_figure.BLOCK
    first = pair.column // block * block
    two, crowd = (min(pair.column, first + block - count) for count in (2, c.n))
    return code(
        f"{NUMPY}\n\nfrom quant_core.methods import grid, rounding",
        f"""\
{LOAD}
row = {stored_row(pair.layer, pair.row)}
token = layers["{pair.layer}.X_test"][{pair.token}].astype(np.float64)
fitted = grid.fit_asymmetric(row[{first}:{first + block}], {c.bits})""",
        f"""\
pair = row[{two}:{two + 2}].astype(np.float64)
x1 = token[{two}]
four = rounding.all_roundings(pair, np.array([x1, {c.x2}]), fitted)
nearest_error = float(four.output_error[four.nearest])
best_error = float(four.output_error[four.best])
weight_ratio = float(four.weight_error[four.best] / four.weight_error[four.nearest])""",
        f"""\
nudges = pair - four.values
a, b = nudges[:, 0] * x1, nudges[:, 1]
with np.errstate(divide="ignore", invalid="ignore"):
    meets = np.concatenate([-(a[:, None] + s * a) / (b[:, None] + s * b) for s in (1, -1)]).ravel()
meets = np.unique(meets[np.isfinite(meets) & (meets > 0) & (meets < {rounding_figure.X2_HIGH})].round(9))
stops = [0.0, *meets.tolist(), {rounding_figure.X2_HIGH}]
flip = "none"
for low, high in zip(stops, stops[1:]):
    best = np.lexsort((four.weight_error, np.abs(a + b * (low + high) / 2)))[0]
    if best != four.nearest:
        flip = low
        break""",
        f"""\
columns = slice({crowd}, {crowd + c.n})
every = rounding.all_roundings(row[columns].astype(np.float64), token[columns], fitted)
roundings = len(every.output_error)
rank = 1 + int(np.count_nonzero(every.output_error < every.output_error[every.nearest]))
crowd_best = float(every.output_error[every.best])""",
    )


def gptq(c: gptq_figure.Controls) -> str:
    cut, columns = gptq_figure.CUTS[c.slice], gptq_figure.COLUMNS
    channels = (
        f'channels = np.sort(np.argsort(-np.diag(hessian), kind="stable")[:{columns}])'
        if cut.first is None
        else f"channels = np.arange({cut.first}, {cut.first + columns})"
    )
    act_order = c.order == "act-order"
    before_after = 'column = error_before = error_after = "none"'
    if c.step:
        before_after = f"""\
last = result.trace[{c.step - 1}]
start = result.trace[{c.step - 2}].weights_after if {c.step} > 1 else weights
alone = start.copy()
alone[:, last.column] = last.quantized
column = int(channels[last.column])
error_before = error(alone) - error(start)
error_after = error(last.weights_after) - error(start)"""
    state = f"result.trace[{c.step - 1}].weights_after" if c.step else "weights"
    return code(
        f"{NUMPY}\n\nfrom quant_core.methods import gptq, metrics, rtn",
        f"""\
{LOAD}
{layer_parts(cut.layer, "H", "X_test")}
{channels}
weights = weights[:{gptq_figure.ROWS}, channels].astype(np.float64)
hessian = 2 * hessian[np.ix_(channels, channels)].astype(np.float64)""",
        f"""\
result = gptq.gptq(
    weights, hessian, {c.bits}, act_order={act_order}, damping={gptq_figure.DAMPING}, trace=True
)
rounded = np.asarray(rtn.round_to_nearest(weights, {c.bits}, group_size=None).dequantize(), np.float64)


def error(approximation):
    return metrics.relative_output_error_from_hessian(hessian, weights, approximation)""",
        before_after,
        f"""\
done = result.order[:{c.step}]
plain = weights.copy()
plain[:, done] = rounded[:, done]
gptq_error = error({state})
rtn_error = error(plain)
ratio = error(rounded) / error(result.trace[-1].weights_after)
inputs = held_out[:, channels]
held_out_ratio = metrics.relative_output_error(inputs, weights, rounded) / metrics.relative_output_error(
    inputs, weights, result.dequantized
)""",
    )
