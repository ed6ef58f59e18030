"""Snippets of the figure that shows two weights of a layer: FIG.03."""

from __future__ import annotations

from lessons.quantization.figures import rounding as rounding_figure
from lessons.quantization.snippets.parts import LOAD, LOADER, code, stored_row

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
