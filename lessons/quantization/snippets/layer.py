"""Snippets of the figures that show a whole layer: FIG.03, FIG.03B, FIG.04, FIG.07, FIG.07B and FIG.07C."""

from __future__ import annotations

from lessons.quantization import sources
from lessons.quantization.figures import gptq as gptq_figure
from lessons.quantization.figures import methods as methods_figure
from lessons.quantization.figures import qlora as qlora_figure
from lessons.quantization.figures import rounding as rounding_figure
from lessons.quantization.figures import smooth as smooth_figure
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


def smooth(c: smooth_figure.Controls) -> str:
    calibrated = sources.load_layer(c.layer).activations_calibration is not None
    texts = (
        layer_parts(c.layer, "X_cal", "X_test")
        if calibrated
        else layer_parts(c.layer, "X_test")
        + "\nhalf = len(held_out) // 2\ncalibration, held_out = held_out[:half], held_out[half:]"
    )
    product = (
        "return smoothquant.quantize_w8a8(activations, weights, alpha=None).output()"
        if c.format == "int8"
        else f"""\
x, w = (fp8.quantize(side, "{c.format}", per="row").dequantize() for side in (activations, weights))
    return x @ w.T"""
    )
    factors = (
        "np.ones_like(of_w)" if c.alpha < 0 else f"smoothquant.smoothing_factors(of_x, of_w, {c.alpha:g})"
    )
    library = "smoothquant" if c.format == "int8" else "fp8" if c.alpha < 0 else "fp8, smoothquant"
    return code(
        f"{NUMPY}\n\nfrom quant_core.methods import {library}",
        f"{LOAD}\n{texts}",
        f"""\
of_x, of_w = (np.abs(side).max(axis=0, keepdims=True) for side in (calibration, weights))
factors = {factors}


def output(activations, weights):
    {product}


def error(factors):
    exact = (held_out @ weights.T).astype(np.float64)
    difference = (output(held_out / factors, weights * factors) - held_out @ weights.T).astype(np.float64)
    return float(np.vdot(difference, difference) / np.vdot(exact, exact))


def ratio(magnitudes):
    return float(magnitudes.max() / np.median(magnitudes))""",
        """\
activation_ratio = ratio(of_x[0])
activation_ratio_smoothed = ratio(of_x[0] / factors)
weight_ratio_smoothed = ratio(of_w[0] * factors)
output_error_plain = error(np.ones_like(factors))
output_error = error(factors)
gain = output_error_plain / output_error""",
    )


def qlora(c: qlora_figure.Controls) -> str:
    highest = qlora_figure.HIGHEST_RANK
    return code(
        f"{NUMPY}\n\nfrom quant_core.methods import lora, nf4",
        f"{LOAD}\n{layer_parts(c.layer, 'H', 'X_test')}",
        f"""\
base = nf4.quantize(weights, double_quantization={c.double_quantization})
frozen = base.dequantize()
repair = lora.low_rank_repair(weights, frozen, hessian, {highest})
a, b = (part.astype(np.float16) for part in repair)
errors = lora.output_errors(held_out, weights, frozen, a, b)""",
        f"""\
bits_per_weight = base.bits_per_weight
memory = nf4.lora_memory(*weights.shape, {c.rank}, bits_per_weight)
base_bytes = memory.base
adapter_bytes = memory.adapter
adapter_share = memory.adapter / memory.base
training_bytes = memory.gradients + memory.optimizer
frozen_error = float(errors[0])
output_error = float(errors[{c.rank}])""",
    )


def methods(c: methods_figure.Controls) -> str:
    bits, size = int(c.bits), methods_figure.GROUP_SIZE
    lines = [
        line.format(bits=bits, size=size)
        for name, line in _METHODS.items()
        if bits in methods_figure.METHODS[name].widths
    ]
    names = [name for name in _METHODS if bits in methods_figure.METHODS[name].widths]
    tried = "\n".join(f'    "{name}": {line},' for name, line in zip(names, lines, strict=True))
    return code(
        f"{NUMPY}\n\nfrom quant_core import ggml\n"
        "from quant_core.methods import awq, clip, gptq, hqq, metrics, nf4, rtn",
        f"""\
{LOAD}
{layer_parts(c.layer, "H", "absmean", "X_test")}
columns = weights.shape[1] // {methods_figure.SUPER_BLOCK} * {methods_figure.SUPER_BLOCK}
weights = np.ascontiguousarray(weights[:, :columns])
moment = hessian[:columns, :columns].astype(np.float64)
mean_abs = mean_abs[:columns]
inputs = np.ascontiguousarray(held_out[:, :columns])
importance = np.diag(moment).astype(np.float32)""",
        """\
def block_format(name, importance=None):
    return ggml.dequantize(ggml.quantize(weights, name, importance), name)""",
        f"approximations = {{\n{tried}\n}}",
        """\
power = metrics.output_power(inputs, weights)
by_weight = {name: metrics.relative_weight_error(weights, w) for name, w in approximations.items()}
by_output = {name: metrics.output_power(inputs, weights - w) / power for name, w in approximations.items()}
weight_order = sorted(by_weight, key=by_weight.get)
output_order = sorted(by_output, key=by_output.get)""",
        """\
weight_best, output_best = weight_order[0], output_order[0]
output_best_rank = weight_order.index(output_best) + 1
weight_best_rank = output_order.index(weight_best) + 1
swapped = sum(
    (by_weight[a] - by_weight[b]) * (by_output[a] - by_output[b]) < 0
    for i, a in enumerate(weight_order)
    for b in weight_order[:i]
)
output_spread = by_output[output_order[-1]] / by_output[output_best]""",
    )


_METHODS = {
    "rtn": "rtn.round_to_nearest(weights, {bits}, {size}).dequantize()",
    "clipped": "clip.search_statistics(weights, moment, {bits}, {size}).quantized.dequantize()",
    "hqq": "hqq.hqq(weights, {bits}, {size}).dequantize()",
    "awq": "awq.search_statistics(weights, moment, mean_abs, {bits}, {size}).dequantized",
    "gptq": "gptq.gptq(weights, moment, {bits}, {size}).dequantized",
    "act_order": "gptq.gptq(weights, moment, {bits}, {size}, act_order=True).dequantized",
    "q4_0": 'block_format("Q4_0")',
    "iq4_nl": 'block_format("IQ4_NL")',
    "k_quant": 'block_format("Q{bits}_K")',
    "imatrix": 'block_format("Q{bits}_K", importance)',
    "nf4": "nf4.quantize(weights, double_quantization=True).dequantize()",
    "mxfp4": 'block_format("MXFP4")',
}
