"""Maps of types for the small model: groups of tensors that a reader gives a type, and maps with names.

A map says of each matrix of the model in which type it is stored. A reader's map gives one type to a whole
group; those of llama.cpp and of published files may also tell layers apart. `scripts/measure_maps.py`
measures them all.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from lessons.quantization.measuring import model_file
from quant_core.ggml.mixes import BLOCK_SIZES, tensor_types

GROUPS = {
    "embedding": ("token_embd",),
    "attention": ("attn_q", "attn_k", "attn_output"),
    "values": ("attn_v",),
    "gate_up": ("ffn_gate", "ffn_up"),
    "down": ("ffn_down",),
}
"""Kinds of tensors by group. The small model's embedding is its output matrix, too."""

TYPES = {"Q2_K": "2", "Q3_K": "3", "Q4_K": "4", "Q6_K": "6", "Q8_0": "8"}
"""Types that a reader may give, and the digit of each in the key of a map."""

DYNAMIC = "UD-Q4_K_XL"
_DYNAMIC_TYPES = {
    "embedding": "Q8_0", "attention": "Q8_0", "values": "Q8_0", "gate_up": "Q4_K", "down": "Q5_K",
}  # fmt: skip
"""Unsloth's UD-Q4_K_XL of Qwen3.8-Flash-Next (the claim `ud-map`), kind by kind, the type of most layers.

Its rows of 640 weights in `ffn_down` are no multiple of 256, so llama.cpp stored Q5_1 and Q8_0 there; Q5_K
and Q6_K are what falls back to these. The small model's rows divide.
"""


def key_of(types: Sequence[str]) -> str:
    """The key of a map that gives each group one type: a digit for each, in the order of the groups."""
    return "".join(TYPES[kind] for kind in types)


def group_of(name: str) -> str:
    """The group of a matrix, by its name in the file."""
    kind = name.removesuffix(".weight").rpartition(".")[2]
    return next(group for group, kinds in GROUPS.items() if kind in kinds)


@functools.cache
def elements() -> dict[str, int]:
    """Weights of each group."""
    counts = dict.fromkeys(GROUPS, 0)
    for tensor in model_file().tensors:
        if len(tensor.shape) > 1:
            counts[group_of(tensor.name)] += tensor.elements
    return counts


@functools.cache
def norm_elements() -> int:
    """Weights that no map touches: the norms, which a GGUF file holds in 32 bits."""
    return sum(tensor.elements for tensor in model_file().tensors if len(tensor.shape) == 1)


def bytes_of(count: int, kind: str) -> int:
    """Bytes of so many weights in a type."""
    weights, size = BLOCK_SIZES[kind]
    return count // weights * size


@functools.cache
def named_maps() -> dict[str, dict[str, str]]:
    """Maps with names: of each, the type of every matrix."""
    matrices = [tensor.name for tensor in model_file().tensors if len(tensor.shape) > 1]
    mix = {tensor.name: tensor.type for tensor in tensor_types(model_file().shape, "Q4_K_M")}
    return {
        "Q4_K_M": {name: mix[name] for name in matrices},
        DYNAMIC: {name: _DYNAMIC_TYPES[group_of(name)] for name in matrices},
    }
