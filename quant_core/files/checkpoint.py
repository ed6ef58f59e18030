"""Read a Llama-like checkpoint of Hugging Face as the tensors and the metadata of a GGUF file.

`config.json` and `tokenizer.json` must lie beside the weights. Tensors get llama.cpp's names, and the queries
and keys of Llama the order of rows that its rotary embedding needs. Architectures that need more are refused.

References
----------
`conversion/base.py`, `conversion/llama.py` and `conversion/qwen.py` (what convert_hf_to_gguf.py runs) of
ggml-org/llama.cpp 0c1e57098bba.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from quant_core.files.bounded import read_json
from quant_core.files.errors import FormatError, printable, short_path
from quant_core.files.gguf import Meta
from quant_core.files.gguf_writer import float32, string, uint32
from quant_core.files.model import Model, in_file_order
from quant_core.files.safetensors import INDEX, read_checkpoint
from quant_core.files.storage import UNQUANTIZED
from quant_core.files.tensors import StoredTensor
from quant_core.files.tokenizer import tokenizer_metadata
from quant_core.llm.shapes import ModelShape, model_shape

MOST_CONFIG_BYTES = 1 << 20

#: Class in `config.json` -> architecture of the GGUF file.
ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}
#: Architectures whose queries and keys llama.cpp rotates in neighbouring pairs.
_INTERLEAVED = frozenset({"llama"})

#: Files that are read besides the weights, where they exist.
_OTHER_FILES = (INDEX, "config.json", "tokenizer.json", "tokenizer_config.json")

_MODEL_NAMES = {"embed_tokens": "token_embd", "norm": "output_norm"}
_LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_LAYER = re.compile(r"model\.layers\.(\d{1,4})\.(.+)\.(weight|bias)")
_WHOLE = re.compile(r"model\.(\w+)\.(weight|bias)")


def read_model(path: str | Path) -> Model:
    """Read a checkpoint, its configuration and its tokenizer; no weights yet.

    Parameters
    ----------
    path : path
        A safetensors file, or the index of several.

    Raises
    ------
    FormatError
        If a file is missing or damaged, or the architecture is not one of `ARCHITECTURES`.
    """
    path = Path(path)
    stored = read_checkpoint(path)
    config = _config(path)
    architecture = _architecture(path, config)
    config |= {"tie_word_embeddings": "lm_head.weight" not in stored, "rope_scaling": _rope(config) or None}
    try:
        shape = model_shape(config)
        metadata, notes = _metadata(path, config, shape, architecture)
        factors = _rope_factors(path, config, shape)
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(f"{short_path(path.with_name('config.json'))}: {error}") from None
    tensors = [_with_gguf_name(tensor, shape, architecture) for tensor in stored.values()]
    named = [tensor for tensor in (*tensors, *factors) if tensor]
    beside = (path.with_name(name) for name in _OTHER_FILES)
    sources = dict.fromkeys(
        (path, *(tensor.path for tensor in stored.values()), *(each for each in beside if each.exists()))
    )
    return Model(path, metadata, in_file_order(named), shape, tuple(notes), tuple(sources))


def _config(path: Path) -> dict[str, Any]:
    for name in ("config.json", "tokenizer.json"):
        if not path.with_name(name).is_file():
            raise FormatError(f"{short_path(path)}: {name} is missing; it must lie beside the weights")
    return read_json(path.with_name("config.json"), MOST_CONFIG_BYTES)


def _architecture(path: Path, config: Mapping[str, Any]) -> str:
    listed = config.get("architectures")
    name = listed[0] if isinstance(listed, list) and listed else listed
    where = short_path(path.with_name("config.json"))
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise FormatError(
            f"{where}: architectures: {printable(name)} is not converted; known are "
            f"{', '.join(ARCHITECTURES)}"
        )
    if config.get("quantization_config"):
        raise FormatError(f"{where}: quantization_config: the weights are quantized; give the originals")
    activation = config.get("hidden_act", "silu")
    if activation not in ("silu", "swish"):
        raise FormatError(f"{where}: hidden_act: {printable(activation)}; llama.cpp computes silu here")
    return ARCHITECTURES[name]


def _metadata(
    path: Path, config: Mapping[str, Any], shape: ModelShape, architecture: str
) -> tuple[dict[str, Meta], list[str]]:
    numbers = {
        "block_count": uint32(shape.n_layers),
        "embedding_length": uint32(shape.hidden_size),
        "feed_forward_length": uint32(shape.ffn_size),
        "attention.head_count": uint32(shape.n_heads),
        "attention.head_count_kv": uint32(shape.n_kv_heads),
        "attention.layer_norm_rms_epsilon": float32(_positive(config, "rms_norm_eps", 1e-6)),
        "rope.freq_base": float32(_positive(_rope(config) | dict(config), "rope_theta", 10000.0)),
        "attention.key_length": uint32(shape.head_dim),
        "attention.value_length": uint32(shape.head_dim),
        "vocab_size": uint32(shape.vocab_size),
        "rope.dimension_count": uint32(shape.head_dim),
        **_rope_scaling(config),
    }
    if shape.max_context:
        numbers["context_length"] = uint32(shape.max_context)
    tokenizer, notes = tokenizer_metadata(path.parent, config, shape.vocab_size)
    return {
        "general.architecture": string(architecture),
        "general.type": string("model"),
        "general.name": string(path.resolve().parent.name),
        "general.size_label": string(_size_label(shape.parameters)),
        **{f"{architecture}.{name}": meta for name, meta in numbers.items()},
        **tokenizer,
    }, notes


def _positive(config: Mapping[str, Any], name: str, default: float) -> float:
    value = config.get(name, default)
    if type(value) not in (int, float) or not 0 < value < 1e30:
        raise ValueError(f"{name} is {printable(value)}; it must be a number above 0")
    return float(value)


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """The rotary embedding's parameters, under the old name or the new one, with `rope_type` set."""
    parameters = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(parameters, dict):
        raise FormatError("config.json: rope_scaling: it must be an object")
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    return parameters | {"rope_type": kind} if parameters else {}


def _rope_scaling(config: Mapping[str, Any]) -> dict[str, Meta]:
    rope = _rope(config)
    kind = rope.get("rope_type", "default")
    if kind in ("default", "llama3"):  # Llama 3's factors are a tensor
        return {}
    if kind not in ("linear", "yarn"):
        raise ValueError(
            f"rope_scaling is of type {printable(kind)}; known are default, linear, yarn and llama3"
        )
    scaling = {
        "rope.scaling.type": string(kind),
        "rope.scaling.factor": float32(_positive(rope, "factor", 1.0)),
    }
    if kind == "yarn":
        original = _positive(rope, "original_max_position_embeddings", 0.0)
        scaling["rope.scaling.original_context_length"] = uint32(int(original))
    return scaling


def _size_label(parameters: int) -> str:
    """Return the number of weights as "8.0B".

    Examples
    --------
    >>> _size_label(8_030_261_248), _size_label(135_000_000)
    ('8.0B', '135M')
    """
    units = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))
    unit, suffix = next((unit for unit in units if parameters > unit[0]), units[-1])
    return f"{parameters / unit:.{1 if round(parameters / unit) < 10 else 0}f}{suffix}"


def _with_gguf_name(tensor: StoredTensor, shape: ModelShape, architecture: str) -> StoredTensor | None:
    """Return the tensor under its GGUF name, or None for a table that llama.cpp computes by itself."""
    if tensor.name.endswith(".rotary_emb.inv_freq"):
        return None
    where = f"{short_path(tensor.path)}: tensor {printable(tensor.name)}"
    name = _gguf_name(tensor.name)
    if name is None:
        raise FormatError(f"{where}: not a tensor of a {architecture} model")
    if tensor.type_name not in UNQUANTIZED:
        raise FormatError(f"{where}: stored as {tensor.type_name}; weights must be {', '.join(UNQUANTIZED)}")
    turned = architecture in _INTERLEAVED and name.split(".")[-2] in ("attn_q", "attn_k")
    if turned and (tensor.shape[0] % shape.head_dim or shape.head_dim % 2):
        raise FormatError(f"{where}: {tensor.shape[0]} rows are not heads of {shape.head_dim}")
    return replace(tensor, name=name, head_dim=shape.head_dim if turned else 0)


def _gguf_name(name: str) -> str | None:
    """Return llama.cpp's name of a tensor.

    Examples
    --------
    >>> _gguf_name("model.layers.3.self_attn.v_proj.weight"), _gguf_name("lm_head.weight")
    ('blk.3.attn_v.weight', 'output.weight')
    """
    if name == "lm_head.weight":
        return "output.weight"
    if (found := _LAYER.fullmatch(name)) and found[2] in _LAYER_NAMES:
        return f"blk.{int(found[1])}.{_LAYER_NAMES[found[2]]}.{found[3]}"
    if (found := _WHOLE.fullmatch(name)) and found[1] in _MODEL_NAMES:
        return f"{_MODEL_NAMES[found[1]]}.{found[2]}"
    return None


def _rope_factors(path: Path, config: Mapping[str, Any], shape: ModelShape) -> list[StoredTensor]:
    """Return Llama 3.1's factors that slow down each rotation, one for each pair of a head.

    Long waves are stretched by `factor`, short ones are kept, those between are blended.
    """
    rope = _rope(config)
    if rope.get("rope_type") != "llama3":
        return []
    factor = _positive(rope, "factor", 8.0)
    context = _positive(rope, "original_max_position_embeddings", 8192)
    low = _positive(rope, "low_freq_factor", 1.0)
    high = _positive(rope, "high_freq_factor", 4.0)
    base = _positive(rope | dict(config), "rope_theta", 10000.0)
    factors = []
    for pair in range(shape.head_dim // 2):
        wavelength = 2 * math.pi * base ** (2 * pair / shape.head_dim)
        share = min(max((context / wavelength - low) / (high - low), 0), 1) if high > low else 1
        factors.append(1 / ((1 - share) / factor + share))
    data = np.array(factors, "<f4").tobytes()
    return [StoredTensor("rope_freqs.weight", (len(factors),), "F32", path, 0, inline=data)]
