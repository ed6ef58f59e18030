"""Snippets of the figures that run the small model, or read what was measured: FIG.04B, FIG.05D, FIG.05E."""

from __future__ import annotations

import json

from lessons.quantization import measuring, small_model
from lessons.quantization.figures import awq as awq_figure
from lessons.quantization.figures import calibration as calibration_figure
from lessons.quantization.figures import measured as measured_figure
from lessons.quantization.figures import sentence as sentence_figure
from lessons.quantization.figures.awq import GROUP_SIZES
from lessons.quantization.snippets import bigger_model
from lessons.quantization.snippets.parts import LOAD, LOADER, TINY, code, layer_parts, written
from lessons.quantization.sources import name_of

MEASURED = "lessons/quantization/data/measured.json"
LOAD_MODEL = f'tiny = model.load("{TINY}/model.safetensors")'


def measured(c: measured_figure.Controls) -> str:
    if c.model == "smollm2":
        return bigger_model.measured(c)
    rows = measured_figure.shown_rows(c)
    chosen = measured_figure.chosen_row(c)
    name = name_of(chosen)
    assert chosen in rows
    return code(
        "import json\nfrom pathlib import Path",
        f"""\
# What `make measure` wrote; it takes minutes.
file = json.loads(Path("{MEASURED}").read_text("utf-8"))
rows = {{one["key"]: one for one in file["rows"]}}
measured = rows["{chosen.key}"]
row = {json.dumps(name)}
bits_per_weight, size = measured["bits_per_weight"], measured["bytes"]
perplexity = measured["perplexity"]
rise = 100 * (perplexity / rows["F16"]["perplexity"] - 1)
divergence, agreement = measured["divergence"], measured["agreement"]""",
    )


def sentence(c: sentence_figure.Controls) -> str:
    said = sentence_figure.said(c)
    small = c.model == "tinylm"
    name = "tiny" if small else "smol"
    path = f'"{TINY}/model.safetensors"' if small else "path"
    imports = (
        "import numpy as np\n\nfrom quant_core import files\n"
        "from quant_core.llm import bpe, evaluate, model\nfrom quant_core.methods import rtn"
    )
    return code(
        imports if small else f"{bigger_model.IMPORTS}\n\n{imports}",
        f"""\
{LOAD_MODEL if small else bigger_model.LOAD}
tokenizer = bpe.tokenizer_of(files.open_model({path}))
ids = tokenizer.encode({said!r})
tokens = len(ids)""",
        f"""\
def losses(bits):
    if bits == 16:
        return evaluate.losses({name}, [{small_model.BEGIN}, *ids])
    rounded = {{
        name: rtn.round_to_nearest({name}.weights[name], bits, {measuring.GROUP_SIZE}).dequantize()
        for name in {name}.matrices
    }}
    return evaluate.losses({name}.replaced(rounded), [{small_model.BEGIN}, *ids])""",
        f"""\
of_width = {{bits: losses(bits) for bits in {sentence_figure.SHOWN}}}
perplexity_16, perplexity_4, perplexity_3, perplexity_2 = (
    float(np.exp(of_width[bits].mean())) for bits in {sentence_figure.SHOWN}
)
rise = of_width[{sentence_figure.FIRST_AT}] - of_width[16]
first = tokenizer.decode([ids[int(rise.argmax())]]).replace(" ", "␣")
first_rise = float(rise.max())""",
    )


def calibration(c: calibration_figure.Controls) -> str:
    if c.question == "channels":
        return _channels()
    if c.question == "kept":
        return _kept(int(c.bits))
    return _amount(int(c.bits)) if c.question == "amount" else _domain(c.method)


def _channels() -> str:
    windows = calibration_figure.TINY_WINDOWS
    return code(
        f"import numpy as np\n{LOADER}\n\nfrom quant_core.llm import calibrate, model",
        f"""\
{LOAD}
tiny = model.load("{TINY}/model.safetensors")
text = np.load("{TINY}/calibration_tokens.npy")[:{windows}].astype(np.int64)
layer = "{calibration_figure.TINY_LAYER}"
names = {written(GROUP_SIZES)}
magnitudes = [layers[f"{{name}}.absmean"].astype(np.float64) for name in names]
magnitudes.append(calibrate.statistics(tiny, text, [layer])[layer].magnitude)
loudest = [float(one.max() / np.median(one)) for one in magnitudes]
loudest_0, loudest_1, loudest_2, loudest_3 = loudest""",
    )


def _kept(bits: int) -> str:
    seeds = awq_figure.RANDOM_SEEDS
    return code(
        f"import numpy as np\n{LOADER}\n\nfrom quant_core.methods import awq, rtn",
        f"""\
{LOAD}
sizes = {json.dumps(GROUP_SIZES)}""",
        f"""\
def left(name, by, seed=0):
    weights, mean_abs, held_out = (layers[f"{{name}}.{{part}}"] for part in ("W", "absmean", "X_test"))
    weights, inputs = weights.astype(np.float32), held_out.astype(np.float64)
    rounded = rtn.round_to_nearest(weights, {bits}, sizes[name]).dequantize()
    kept = awq.keep_channels(weights, mean_abs, {bits}, sizes[name], {awq_figure.KEEP}, by, seed).dequantized
    errors = [inputs @ (weights.astype(np.float64) - one).T for one in (kept, rounded)]
    return (errors[0] ** 2).sum() / (errors[1] ** 2).sum()""",
        f"""\
layer = "{calibration_figure.LAYER}"
kept_activation, kept_weight = left(layer, "activation"), left(layer, "weight")
kept_random = np.mean([left(layer, "random", seed) for seed in range({seeds.start}, {seeds.stop})])
_, kept_of_1, kept_of_2 = (left(name, "activation") for name in sizes)""",
    )


def _amount(bits: int) -> str:
    layer = calibration_figure.LAYER
    size = GROUP_SIZES[layer]
    return code(
        f"import numpy as np\n{LOADER}\n\nfrom quant_core.methods import awq, gptq, metrics, rtn",
        f"""\
{LOAD}
{layer_parts(layer, "H", "absmean", "X_cal", "X_test")}
text, unseen = calibration.astype(np.float64), held_out.astype(np.float64)
moment = unseen.T @ unseen / len(unseen)
counts = {calibration_figure.TOKENS}
seen = [(text[:n].T @ text[:n] / n, np.abs(text[:n]).mean(axis=0)) for n in counts]
seen.append((hessian.astype(np.float64), mean_abs.astype(np.float64)))""",
        """\
def error(approximation):
    return metrics.relative_output_error_from_hessian(moment, weights, approximation)""",
        f"""\
plain = error(rtn.round_to_nearest(weights, {bits}, {size}).dequantize())
by_gptq = [plain / error(gptq.gptq(weights, h, {bits}, {size}).dequantized) for h, _ in seen]
by_awq = [
    plain / error(awq.search_statistics(weights, h, mean, {bits}, {size}).dequantized) for h, mean in seen
]
gptq_few, gptq_all, awq_few, awq_all = by_gptq[0], by_gptq[-1], by_awq[0], by_awq[-1]
ahead = [n for n, g, a in zip((*counts, {calibration_figure.ALL_TOKENS}), by_gptq, by_awq) if g > a]
crossing = ahead[0] if ahead else \"\"""",
    )


def _domain(method: str) -> str:
    return code(
        "import json\nfrom pathlib import Path",
        f"""\
# What `make measure` wrote; it takes minutes.
rows = json.loads(Path("{MEASURED}").read_text("utf-8"))["calibration"]
after = {{(one["method"], one["source"], one["tokens"]): one["perplexity"] for one in rows}}
rtn = after["rtn", "", 0]
same, own, other = (after["{method}", source, 4096] for source in ("play", "own", "bible"))""",
    )
