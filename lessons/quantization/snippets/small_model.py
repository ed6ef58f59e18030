"""The snippet of FIG.05E."""

from __future__ import annotations

from lessons.quantization import measuring, small_model
from lessons.quantization.figures import sentence as sentence_figure
from lessons.quantization.snippets import smollm2_model
from lessons.quantization.snippets.parts import TINY, code

LOAD_MODEL = f'tiny = model.load("{TINY}/model.safetensors")'


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
