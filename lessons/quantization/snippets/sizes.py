"""Snippets of the figures that add up a model's bytes: FIG.05, FIG.05C and FIG.06."""

from __future__ import annotations

from lessons.quantization.figures import mixes as mixes_figure
from lessons.quantization.figures import quality as quality_figure
from lessons.quantization.snippets.parts import code, written

DATA = "lessons/quantization/data"


def _shape(model: str) -> str:
    return f"""\
models = json.loads(Path("{DATA}/models.json").read_text("utf-8"))["models"]
model = next(entry for entry in models if entry["id"] == "{model}")
shape = memory.model_shape(model["config"])"""


def quality(c: quality_figure.Controls) -> str:
    scheme = quality_figure.chosen_scheme(c)
    measured = f"""\
types = json.loads(Path("{DATA}/llama31_8b_gguf.json").read_text("utf-8"))["types"]
base, row = types["{quality_figure.BASELINE}"], types["{scheme}"]"""
    sizes = f"""\
scheme = "{scheme}"
bits_per_weight = memory.bits_per_weight(shape, scheme, {scheme == "IQ3_XXS"})
size = memory.weight_bytes(shape, scheme, {scheme == "IQ3_XXS"})
size_gb = size / 1e9
size_gib = size / memory.GIB"""
    if c.data == "instruct":
        numbers = """\
base, row = base["llama31_8b_instruct"], row["llama31_8b_instruct"]
perplexity = row["wikitext2_ppl"]
benchmark_loss = 100 * (base["avg"] - row["avg"]) / base["avg"]
gsm8k = row["gsm8k"]"""
    else:
        numbers = """\
def of(entry, key):
    scores = entry["llama3_8b_base"][key]
    return scores["ppl"] if scores else ""


perplexity = of(row, "no_imatrix")
perplexity_imatrix = of(row, "imatrix_WT_10m")
reference = of(base, "no_imatrix")
removed = ""
if perplexity != "" and perplexity_imatrix != "":
    removed = 100 * (perplexity - perplexity_imatrix) / (perplexity - reference)"""
    return code(
        "import json\nfrom pathlib import Path\n\nfrom quant_core import memory",
        _shape("llama-3.1-8b"),
        measured,
        sizes,
        numbers,
    )


def mixes(c: mixes_figure.Controls) -> str:
    against = c.mix if c.against == "none" else c.against
    return code(
        "import json\nfrom pathlib import Path\n\n"
        "from quant_core import memory\nfrom quant_core.ggml import mixes",
        _shape(c.model),
        f"""\
kinds = {written(mixes_figure.KINDS[:4])}
kinds += {written((*mixes_figure.KINDS[4:], "token_embd", "output"))}


def matrices(mix):
    found = mixes.tensor_types(shape, mix)
    return [tensor for tensor in found if tensor.kind in kinds and tensor.name.endswith(".weight")]


def bits(type_name):
    weights, size = mixes.BLOCK_SIZES[type_name]
    return 8 * size / weights""",
        f"""\
tensors, others = matrices("{c.mix}"), matrices("{against}")
default = mixes.MIXES["{c.mix}"].default
size = memory.weight_bytes(shape, "{c.mix}")
bits_per_weight = memory.bits_per_weight(shape, "{c.mix}")
size_gb = size / 1e9
size_gib = size / memory.GIB
raised = sum(bits(tensor.type) > bits(default) for tensor in tensors)
changed = sum(new.type != old.type for new, old in zip(tensors, others))
size_change = (size - memory.weight_bytes(shape, "{against}")) / 1e9""",
    )
