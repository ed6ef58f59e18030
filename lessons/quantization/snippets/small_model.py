"""Snippets of the figures that run the small model, or read what was measured: FIG.05D and FIG.05E."""

from __future__ import annotations

import json

from lessons.quantization import measuring, small_model
from lessons.quantization.figures import measured as measured_figure
from lessons.quantization.figures import sentence as sentence_figure
from lessons.quantization.snippets import smollm2_model
from lessons.quantization.snippets.parts import TINY, code
from lessons.quantization.sources import name_of

MEASURED = "lessons/quantization/data/measured.json"
LOAD_MODEL = f'tiny = model.load("{TINY}/model.safetensors")'


def measured(c: measured_figure.Controls) -> str:
    if c.model == "smollm2":
        return smollm2_model.measured(c)
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
        imports if small else f"{smollm2_model.IMPORTS}\n\n{imports}",
        f"""\
{LOAD_MODEL if small else smollm2_model.LOAD}
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
