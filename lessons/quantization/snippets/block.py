"""Snippets of the figures that show one block of weights: FIG.00, FIG.0A, FIG.02 and FIG.05B."""

from __future__ import annotations

from lessons.quantization import sources
from lessons.quantization.blocks import start
from lessons.quantization.figures import fold as fold_figure
from lessons.quantization.figures import primitive as primitive_figure
from lessons.quantization.figures import xray as xray_figure
from lessons.quantization.snippets.parts import LOAD, LOADER, TINY, block_row, code, stored_row
from lessons.quantization.super_blocks import SUPER_BLOCKS, place_of

NUMPY = f"import numpy as np\n{LOADER}"


def fold(c: fold_figure.Controls) -> str:
    bits, first = fold_figure.FLOAT_BITS - c.step, start(c.block, fold_figure.GROUP_SIZE)
    types = fold_figure.FILE_TYPES
    above, below = min(b for b in types if b >= bits), max(b for b in types if b <= bits)
    fit = f"fitted = grid.fit_asymmetric(weights, {bits})"
    if bits > 8:
        fit = f"""\
low, high = min(weights.min(), 0), max(weights.max(), 0)
scale = np.asarray((high - low) / np.float32(2**{bits} - 1))
fitted = grid.Grid("asymmetric", {bits}, scale, zero_point=-np.rint(low / scale).astype(np.int32))"""
    there_and_back = f"""\
{fit}
codes = fitted.quantize(weights)
code = int(codes[{c.weight}])
restored = float(fitted.dequantize(codes)[{c.weight}])"""
    whole = f'code = ""\nrestored = float(weights[{c.weight}])'
    return code(
        f"import json\nfrom pathlib import Path\n\n{NUMPY}\n\n"
        "from quant_core import memory\nfrom quant_core.methods import floats, grid",
        f"{LOAD}\nrow = {block_row(c.block)}",
        f'weights = floats.float_bits(row[{first}:{first + fold_figure.GROUP_SIZE}], "{c.format}").value',
        whole if bits == fold_figure.FLOAT_BITS else there_and_back,
        f"bits_kept = {bits}\nerror = restored - float(weights[{c.weight}])",
        f"""\
models = json.loads(Path("lessons/quantization/data/models.json").read_text("utf-8"))["models"]
model = next(entry for entry in models if entry["id"] == "{fold_figure.MODEL}")
shape = memory.model_shape(model["config"])
above = memory.weight_bytes(shape, "{types[above]}")
below = memory.weight_bytes(shape, "{types[below]}")
model_size = above + {above - bits} / {above - below or 1} * (below - above)
model_bits_per_weight = 8 * model_size / model["total_params"]
smaller = memory.weight_bytes(shape, "F16") / model_size""",
    )


def primitive(c: primitive_figure.Controls) -> str:
    size, first = primitive_figure.GROUP_SIZE, start(c.block, primitive_figure.GROUP_SIZE)
    fit = "fit_symmetric" if c.convention == "symmetric" else "fit_asymmetric"
    other = "\nfitted = grid.as_float_offset(fitted)" if c.convention == "float_offset" else ""
    offset = "min = float(fitted.minimum)" if other else "zero_point = int(fitted.zero_point)"
    return code(
        f"{NUMPY}\n\nfrom quant_core.methods import grid, rtn",
        f"{LOAD}\nrow = {block_row(c.block)}\nweights = row[{first}:{first + size}]",
        f"fitted = grid.{fit}(weights, {c.bits}){other}\ncodes = fitted.quantize(weights)",
        f"""\
w = float(weights[{c.weight}])
q = int(codes[{c.weight}])
restored = float(fitted.dequantize(codes)[{c.weight}])
error = restored - w
scale = float(fitted.scale)
{offset}
bits_per_weight = rtn.bits_per_weight({c.bits}, {size}, fitted.scheme)""",
    )


def xray(c: xray_figure.Controls) -> str:
    layer, row, first = place_of(c.block)
    picked = xray_figure.picked_by(c)
    stored = layer in sources.LAYERS
    load = LOAD if stored else f'layers = load_file("{TINY}/model.safetensors")'
    whole = stored_row(layer, row) if stored else f'layers["{layer}"][{row}].astype(np.float32)'
    importance = _importance(c.block, layer, first)
    used = "importance" if c.importance and importance else "None"
    flip = ""
    if c.flip != "none":
        flip = f"\ndata.reshape(-1)[{picked.byte}] ^= 1 << {c.flip}"
    judged = """\
loudness = np.sqrt(importance.astype(np.float64))
weighted_error = metrics.relative_weight_error(loudness * weights, loudness * restored)"""
    errors = "plain_error = metrics.relative_weight_error(weights, restored)\n"
    guard = ""
    if c.flip != "none":
        guard = "finite = np.isfinite(restored).all()\n"
        errors = "plain_error = metrics.relative_weight_error(weights, restored) if finite else np.inf\n"
        judged = judged.replace("loudness * restored)", "loudness * restored) if finite else np.inf")
    return code(
        f"{NUMPY}\n\nfrom quant_core import ggml\nfrom quant_core.methods import metrics",
        f"{load}\nweights = {whole}[{first}:{first + 256}]",
        importance,
        f"""\
data = ggml.quantize(weights, "{c.format}", {used}){flip}
restored = ggml.dequantize(data, "{c.format}").reshape(-1)""",
        f"""\
bytes = data.size
bits_per_weight = ggml.FORMATS["{c.format}"].bits_per_weight
value = float(restored[{picked.weight}])
original = float(weights[{picked.weight}])
error = value - original""",
        guard + errors + (judged if importance else 'weighted_error = "none"'),
    )


def _importance(block: str, layer: str, first: int) -> str:
    """How loud the channels are: the diagonal of a shipped H, or for the tiny model its own embedding."""
    assert block in SUPER_BLOCKS
    if layer not in sources.LAYERS:
        return f"""\
embedding = layers["model.embed_tokens.weight"].astype(np.float32).astype(np.float64)
gain = layers["model.layers.0.input_layernorm.weight"].astype(np.float32).astype(np.float64)
norm = np.sqrt(np.mean(embedding**2, axis=1, keepdims=True) + 1e-5)
tokens = np.load("{TINY}/heldout_tokens.npy")
counts = np.bincount(tokens, minlength=len(embedding))
loud = counts @ (embedding / norm * gain) ** 2 / counts.sum()
importance = loud.astype(np.float32)[{first}:{first + 256}]"""
    if sources.load_layer(layer).hessian is None:
        return ""
    return f'importance = np.diag(layers["{layer}.H"]).astype(np.float32)[{first}:{first + 256}]'
