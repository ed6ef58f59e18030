"""A model as a quantizer sees it: metadata, tensors in llama.cpp's order, and the shape that mixes decide by.

`quant_core.files.opening` reads one from a GGUF file, or from a checkpoint of Hugging Face.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quant_core.files.bounded import Cursor
from quant_core.files.errors import FormatError, printable, short_path
from quant_core.files.gguf import GgufFile, Meta, parse_gguf
from quant_core.files.split import COUNT, NUMBER, number_of
from quant_core.files.tensors import StoredTensor
from quant_core.shapes import ModelShape, model_shape

#: Architectures of GGUF files whose tensors `quant_core.shapes` lists one by one.
ARCHITECTURES = ("llama", "qwen2", "qwen3")

#: Architectures whose shape is read off a header: name in a GGUF file -> `model_type` of a `config.json`.
MODEL_TYPES = {
    **{name: name for name in ARCHITECTURES},
    "qwen3moe": "qwen3_moe",
    "gemma2": "gemma2",
    "gemma3": "gemma3",
    "gpt-oss": "gpt_oss",
    "phi3": "phi3",
    "qwen2moe": "qwen2_moe",
    "qwen3next": "qwen3_next",
    "qwen35": "qwen3_5",
    "qwen35moe": "qwen3_5_moe",
    "llama4": "llama4",
    "deepseek2": "deepseek_v2",
}

#: Field of a `config.json` -> what a GGUF file calls it, behind the name of the architecture.
NAMES_IN_FILE = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "intermediate_size": "feed_forward_length",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
    "sliding_window": "attention.sliding_window",
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
    "shared_expert_intermediate_size": "expert_shared_feed_forward_length",
    "n_shared_experts": "expert_shared_count",
    "first_k_dense_replace": "leading_dense_block_count",
    "interleave_moe_layer_step": "interleave_moe_layer_step",
    "full_attention_interval": "full_attention_interval",
    "q_lora_rank": "attention.q_lora_rank",
    "kv_lora_rank": "attention.kv_lora_rank",
    "linear_num_key_heads": "ssm.group_count",
    "linear_num_value_heads": "ssm.time_step_rank",
    "linear_key_head_dim": "ssm.state_size",
    "linear_conv_kernel_dim": "ssm.conv_kernel",
}
_SIGMOID = 2  # LLAMA_EXPERT_GATING_FUNC_TYPE_SIGMOID
_CHUNK = 8192  # n_swa of llama_model_llama4: the file does not say it


@dataclass(frozen=True)
class Model:
    """A model that can be quantized.

    Attributes
    ----------
    path : Path
    metadata : dict of str to Meta
    tensors : tuple of StoredTensor
        Under GGUF names, in the order of llama-quantize.
    shape : ModelShape
    notes : tuple of str
        What was changed or guessed in reading.
    sources : tuple of Path
        The files that it was read from, and that its weights are read from.
    parts : tuple of Path
        The files of a GGUF model in several, in order; empty otherwise.
    """

    path: Path
    metadata: Mapping[str, Meta] = field(repr=False)
    tensors: tuple[StoredTensor, ...] = field(repr=False)
    shape: ModelShape
    notes: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()
    parts: tuple[Path, ...] = ()


def in_file_order(tensors: Iterable[StoredTensor]) -> tuple[StoredTensor, ...]:
    """Return tensors as llama-quantize writes them: those of no layer first, then by layer and name."""
    return tuple(sorted(tensors, key=lambda tensor: (_layer(tensor.name), tensor.name)))


def _layer(name: str) -> int:
    found = re.match(r"blk\.(\d{1,9})\.", name)
    return int(found[1]) if found else -1


def model_of_gguf(file: GgufFile) -> Model:
    """Return the model of a GGUF file whose header has been read.

    Raises
    ------
    FormatError
        If the architecture is not one of `ARCHITECTURES`, or its numbers contradict each other.
    """
    architecture = file.value("general.architecture")
    if not isinstance(architecture, str) or architecture not in ARCHITECTURES:
        raise FormatError(
            f"{short_path(file.path)}: general.architecture: {printable(architecture)} is not quantized; "
            f"known are {', '.join(ARCHITECTURES)}"
        )
    try:
        shape = model_shape(_config(file, architecture))
    except ValueError as error:
        raise FormatError(f"{short_path(file.path)}: metadata of {architecture}: {error}") from None
    tensors = in_file_order(file.tensors.values())
    sources = file.parts or (file.path,)
    return Model(file.path, file.metadata, tensors, shape, sources=sources, parts=file.parts)


def config_of_header(header: bytes) -> dict[str, Any]:
    """Return the fields of a `config.json` that a GGUF header alone gives: `quant_core.shapes` reads them.

    Parameters
    ----------
    header : bytes
        From the first byte of the file on; the weights need not follow. Metadata and tensors that say nothing
        about the shape (the tokenizer, the layers) may have been left out and not counted.

    Raises
    ------
    FormatError
        If the header is damaged, its architecture is not one of those read here, or it lists no embedding; or
        if it is that of one file of several and does not say all.

    References
    ----------
    The names of the metadata: `gguf-py/gguf/constants.py` of ggml-org/llama.cpp (gguf 0.19.0). What an
    architecture makes of them: `load_arch_hparams` and `load_arch_tensors` of its `src/models/*.cpp` in
    ggml-org/llama.cpp: `llama_model_llama4` (8a5c4e03d11b), `llama_model_qwen35moe` (02ebd8f7f24f),
    `llama_model_qwen3next` (0a192937a14c), and `llama_model_deepseek2`, `llama_model_phi3` and
    `llama_model_qwen2moe` as of 2026.
    """
    file = parse_gguf(Cursor(io.BytesIO(header), Path("header.gguf"), len(header)), whole=False)
    _refuse_part(file)
    architecture = file.value("general.architecture")
    if not isinstance(architecture, str) or architecture not in MODEL_TYPES:
        raise FormatError(
            f"general.architecture: {printable(architecture)} is not read from a GGUF header; "
            f"known are {', '.join(MODEL_TYPES)}; its config.json may be"
        )
    return _config(file, architecture)


def _refuse_part(file: GgufFile) -> None:
    """Of several files one does not say all: a tensor that it lacks may be in another."""
    count, number = number_of(file, COUNT, 1), number_of(file, NUMBER, 0)
    if count > 1 and number:
        raise FormatError(f"part {number + 1} of {count} of a model; the first part says its shape")
    if count > 1 and "output.weight" not in file.tensors:
        raise FormatError(
            f"part 1 of {count} of a model: whether it has an output.weight is said in another part; "
            "its config.json says all"
        )


def _config(file: GgufFile, architecture: str) -> dict[str, Any]:
    """The metadata under the names of a `config.json`."""
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None:
        raise FormatError(f"{short_path(file.path)}: tensor token_embd.weight is missing")
    told = _Told(file, architecture)
    read = {name: told(key) for name, key in NAMES_IN_FILE.items()}
    config = {
        **{name: value for name, value in read.items() if value is not None},
        "model_type": MODEL_TYPES[architecture],
        "vocab_size": embedding.rows,
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "attention_bias": "blk.0.attn_q.bias" in file.tensors,
        "rope_scaling": {"rope_type": "llama3"} if "rope_freqs.weight" in file.tensors else None,
    }
    extra = told(
        "nextn_predict_layers"
    )  # multi-token-prediction layers are blocks in a file, and not counted
    if _are_integers(extra, read["num_hidden_layers"]):
        config["num_hidden_layers"] -= extra
    peculiar = _PECULIAR.get(architecture)
    return config | peculiar(told) if peculiar else config


class _Told:
    """What a header says of its architecture, by llama.cpp's names."""

    def __init__(self, file: GgufFile, architecture: str) -> None:
        self.tensors = file.tensors
        self._value, self._architecture = file.value, architecture

    def __call__(self, key: str) -> Any:
        return self._value(f"{self._architecture}.{key}")


def _are_integers(*values: object) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) for value in values)


def _latent(told: _Told) -> dict[str, Any]:
    """DeepSeek's attention is written as it is run, with one key for all heads; true widths come after."""
    key, value = (told(f"attention.{which}_length_mla") for which in ("key", "value"))
    if key is None and value is None:  # a file of the time before
        key, value = (told(f"attention.{which}_length") for which in ("key", "value"))
    rope = told("rope.dimension_count")
    return {
        "model_type": "deepseek_v3" if told("expert_gating_func") == _SIGMOID else "deepseek_v2",
        "head_dim": None,
        "num_key_value_heads": None,
        "qk_rope_head_dim": rope,
        "qk_nope_head_dim": key - rope if _are_integers(key, rope) else None,
        "v_head_dim": value,
    }


def _chunked(told: _Told) -> dict[str, Any]:
    """Llama 4 has chunks of one length, and none where the length is given as 0."""
    window = told("attention.sliding_window")
    return {
        "sliding_window": None if window == 0 else _CHUNK,
        "sliding_window_pattern": told("attention.sliding_window_pattern"),
        "first_k_dense_replace": None,
    }


def _long_rope(told: _Told) -> dict[str, Any]:
    """Phi-3 with a long context has two tables of factors."""
    return {"rope_scaling": {"rope_type": "longrope"}} if "rope_factors_long.weight" in told.tensors else {}


def _recurrent(told: _Told) -> dict[str, Any]:
    """Gated DeltaNet: the width of all value heads together is told, and perhaps which layers are linear."""
    inner, heads = told("ssm.inner_size"), told("ssm.time_step_rank")
    layers = told("attention.recurrent_layers")
    named = None
    if layers is not None and not isinstance(layers, bool | int | float | str):
        named = ["linear_attention" if recurrent else "full_attention" for recurrent in layers]
    return {
        "linear_value_head_dim": inner // heads if _are_integers(inner, heads) and heads else None,
        "layer_types": named,
    }


_PECULIAR: Mapping[str, Callable[[_Told], dict[str, Any]]] = {
    "deepseek2": _latent,
    "llama4": _chunked,
    "phi3": _long_rope,
    "qwen3next": _recurrent,
    "qwen35": _recurrent,
    "qwen35moe": _recurrent,
}
