"""Snippets of the figures that show one block of weights: FIG.00, FIG.0A, FIG.02 and FIG.05B."""

from __future__ import annotations

from lessons.quantization import sources
from lessons.quantization.figures import xray as xray_figure
from lessons.quantization.snippets.parts import LOAD, LOADER, TINY, code, stored_row
from lessons.quantization.super_blocks import SUPER_BLOCKS, place_of

NUMPY = f"import numpy as np\n{LOADER}"


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
