"""The super-blocks that FIG.05B takes apart: 256 weights of a real row each, and how loud their channels are.

The importance of a channel is the mean square of its activations, llama.cpp's imatrix. It is computed here
from what the project ships: a layer's H = XᵀX/n, or for the first layer of the small language model its own
embedding of real text, normalised. Nothing is quantized here.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from lessons.quantization import sources

SIZE = 256
NORM_EPSILON = 1e-5
"""`rms_norm_eps` of the small model's config.json."""

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class SuperBlock:
    """256 weights of one row, from column `start` on; no importance where no activations are shipped."""

    weights: Vector
    row: int
    start: int
    row_length: int
    importance: Vector | None

    @property
    def legal(self) -> bool:
        """Whether llama.cpp itself would cut rows of this length into super-blocks."""
        return self.row_length % SIZE == 0


@dataclass(frozen=True, slots=True)
class _Place:
    layer: str
    row: int
    start: int


_TINY = "model.layers.0.self_attn.v_proj.weight"
_PLACES = {
    "ffn_in": _Place("minilm.5.ffn_in", 28, 0),
    "tinylm": _Place(_TINY, 64, 0),
    "outlier": _Place("minilm.0.ffn_out", 99, 768),
}
"""Rows 28 and 64 are typical: an imatrix changes them as it changes the median row of their layer."""

SUPER_BLOCKS = tuple(_PLACES)


@functools.cache
def super_block(name: str) -> SuperBlock:
    """One of :data:`SUPER_BLOCKS`. Its arrays are float32 and read-only."""
    place = _PLACES[name]
    tiny = place.layer == _TINY
    row = tiny_weights(_TINY)[place.row] if tiny else sources.layer_row(place.layer, place.row)
    columns = slice(place.start, place.start + SIZE)
    importance = layer_importance(name)
    return SuperBlock(
        weights=_frozen(row[columns]),
        row=place.row,
        start=place.start,
        row_length=len(row),
        importance=None if importance is None else _frozen(importance[columns]),
    )


@functools.cache
def layer_importance(name: str) -> Vector | None:
    """Mean square of every input channel of the layer that holds this super-block, shape (columns,)."""
    layer = _PLACES[name].layer
    if layer == _TINY:
        return _first_layer_importance()
    hessian = sources.load_layer(layer).hessian
    return None if hessian is None else _frozen(np.diag(hessian))


def _first_layer_importance() -> Vector:
    """The first attention reads the normalised embedding, so real token ids are all that is needed."""
    embedding = tiny_weights("model.embed_tokens.weight").astype(np.float64)
    gain = tiny_weights("model.layers.0.input_layernorm.weight").astype(np.float64)
    norm = np.sqrt(np.mean(embedding**2, axis=1, keepdims=True) + NORM_EPSILON)
    tokens = np.load(sources.TINY_MODEL / "heldout_tokens.npy")
    counts = np.bincount(tokens, minlength=len(embedding))
    return _frozen(counts @ (embedding / norm * gain) ** 2 / counts.sum())


@functools.cache
def tiny_weights(tensor: str) -> Vector:
    """A tensor of the small language model, float32, read-only."""
    with safe_open(sources.TINY_MODEL / "model.safetensors", framework="numpy") as file:
        return _frozen(file.get_tensor(tensor))


def _frozen(array: NDArray[np.floating]) -> Vector:
    values = np.array(array, dtype=np.float32)
    values.setflags(write=False)
    return values


for _name in SUPER_BLOCKS:
    super_block(_name)  # read with the module: a server reads no weights later
