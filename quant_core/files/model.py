"""A model as a quantizer sees it: metadata, tensors in llama.cpp's order, and the shape that mixes decide by.

`quant_core.files.opening` reads one from a GGUF file, or from a checkpoint of Hugging Face.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quant_core.files.bounded import Cursor
from quant_core.files.errors import FormatError, printable, short_path
from quant_core.files.gguf import GgufFile, Meta, parse_gguf
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
}


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
    """

    path: Path
    metadata: Mapping[str, Meta] = field(repr=False)
    tensors: tuple[StoredTensor, ...] = field(repr=False)
    shape: ModelShape
    notes: tuple[str, ...] = ()


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
    return Model(file.path, file.metadata, in_file_order(file.tensors.values()), shape)


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
        If the header is damaged, its architecture is not one of those read here, or it lists no embedding.

    References
    ----------
    The names of the metadata: `gguf-py/gguf/constants.py` of ggml-org/llama.cpp.
    """
    file = parse_gguf(Cursor(io.BytesIO(header), Path("header.gguf"), len(header)), whole=False)
    architecture = file.value("general.architecture")
    if not isinstance(architecture, str) or architecture not in MODEL_TYPES:
        raise FormatError(
            f"general.architecture: {printable(architecture)} is not read from a GGUF header; "
            f"known are {', '.join(MODEL_TYPES)}; its config.json may be"
        )
    return _config(file, architecture)


def _config(file: GgufFile, architecture: str) -> dict[str, Any]:
    """The metadata under the names of a `config.json`."""
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None:
        raise FormatError(f"{short_path(file.path)}: tensor token_embd.weight is missing")
    names = {
        "hidden_size": "embedding_length",
        "num_hidden_layers": "block_count",
        "num_attention_heads": "attention.head_count",
        "num_key_value_heads": "attention.head_count_kv",
        "intermediate_size": "feed_forward_length",
        "head_dim": "attention.key_length",
        "num_experts": "expert_count",
        "num_experts_per_tok": "expert_used_count",
        "max_position_embeddings": "context_length",
        "moe_intermediate_size": "expert_feed_forward_length",
        "sliding_window": "attention.sliding_window",
    }
    read = {name: file.metadata.get(f"{architecture}.{key}") for name, key in names.items()}
    return {
        **{name: meta.value for name, meta in read.items() if meta is not None},
        "model_type": MODEL_TYPES[architecture],
        "vocab_size": embedding.rows,
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "attention_bias": "blk.0.attn_q.bias" in file.tensors,
        "rope_scaling": {"rope_type": "llama3"} if "rope_freqs.weight" in file.tensors else None,
    }
