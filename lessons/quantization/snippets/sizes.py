"""Snippets of the figures that add up a model's bytes: FIG.05, FIG.05C and FIG.06."""

from __future__ import annotations

from lessons.quantization import sources
from lessons.quantization.figures import fit as fit_figure
from lessons.quantization.figures import mixes as mixes_figure
from lessons.quantization.figures import quality as quality_figure
from lessons.quantization.own_model import fields_of
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


def fit(c: fit_figure.Controls) -> str:
    run, _ = fit_figure.run_of(c)
    shape = _shape(c.model)
    if line := fit_figure.own_config(c):
        fields = "".join(f"    {name!r}: {value!r},\n" for name, value in fields_of(line).items())
        shape = f"shape, _ = shapes.read_shape({{\n{fields}}}, assume=False)".replace("'", '"')
    elif c.source == "size":
        shape = f"shape = memory.generic_shape(10**{c.parameters:g})"
    checkpoint = run.mix in fit_figure.CHECKPOINTS
    size = (
        f"memory.checkpoint_bytes(shape, {fit_figure.CHECKPOINT_BITS}, {fit_figure.CHECKPOINT_GROUP}, "
        f'"{run.mix.lower()}")'
        if checkpoint
        else f'memory.weight_bytes(shape, "{run.mix}")'
    )
    own = c.device == fit_figure.OWN
    gpu = False if own else sources.device(c.device).is_gpu
    machine = (
        f"usable, bandwidth = {c.memory} * memory.GIB, 1e9 * 10**{c.bandwidth:g}"
        if own
        else f"""\
devices = json.loads(Path("{DATA}/hardware.json").read_text("utf-8"))["devices"]
device = next(entry for entry in devices if entry["id"] == "{c.device}")
usable = device["usable_mib"] * memory.MIB
bandwidth = 1e9 * (device["bandwidth_gbs"] or device["assumed_bandwidth_gbs"])"""
    )
    cards = (
        int(c.device.partition("x-")[0]) if not own and sources.device(c.device).kind == "multi-gpu" else 1
    )
    everything = ""
    total = "total = weights"
    kept = "0"
    if run.everything:
        kept = "conversation"
        on_gpu = f'memory.weight_buffers(shape, "{run.mix}").gpu' if gpu and not checkpoint else "weights"
        everything = f"""\
def cache(sequences):
    tokens = {run.context} * sequences
    types = "{run.cache_type}", "{run.value_type}"
    grown = memory.kv_cache_bytes(shape, tokens, *types, sequences, flash_attention={run.flash_attention})
    return grown + memory.recurrent_state_bytes(shape, sequences)


conversation = cache(1)
buffer = {cards} * memory.compute_buffer_bytes(
    shape, {run.context}, {run.flash_attention}, logits_rows={run.sequences}
)
runtime = {f"{cards} * memory.CUDA_CONTEXT_BYTES" if gpu else 0}"""
        total = f"total = {on_gpu} + cache({run.sequences}) + buffer + runtime"
    speed = 'tokens_per_second = ""'
    if not checkpoint:
        speed = f"""\
tokens_per_second = ""
if margin >= 0:
    band = memory.speed_band(shape, "{run.mix}", bandwidth, {kept})
    tokens_per_second = f"{{band.low:.4g}}-{{band.high:.4g}}\""""
    return code(
        "import json\nfrom pathlib import Path\n\nfrom quant_core import memory"
        + ("\nfrom quant_core.llm import shapes" if "read_shape" in shape else ""),
        shape,
        machine,
        f"""\
parameters = shape.parameters
weights = {size}
bits_per_weight = 8 * weights / parameters
against_f16 = memory.weight_bytes(shape, "F16") / weights""",
        everything,
        f"{total}\nmargin = (usable - total) / memory.GIB",
        speed,
    )
