"""Small model files for the tests, built field by field so that each field can be invalid."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_core.files import Meta, StoredTensor, TensorSpec, create_gguf, read_gguf
from quant_core.files import gguf_writer as meta
from quant_core.files.split import split_metadata

ROOT = Path(__file__).resolve().parents[2]
TINYLM = ROOT / "lessons" / "quantization" / "weights" / "tinylm"
WEIGHTS = TINYLM / "model.safetensors"
#: Digests of the files that llama-quantize wrote of this model, see tests/data/README.md.
DIGESTS: Mapping[str, Any] = json.loads((ROOT / "tests" / "data" / "tinylm_gguf.json").read_text("utf-8"))


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    """A metadata entry; `value` is packed already."""
    return text(key) + struct.pack("<I", kind) + value


def listed(name: bytes, dimensions: Sequence[int], type_number: int, place: int) -> bytes:
    """An entry of the list of tensors; the contiguous dimension is the first, as in the file."""
    head = text(name) + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
    return head + struct.pack("<IQ", type_number, place)


def importance_of(tensors: Iterable[StoredTensor]) -> dict[str, NDArray[np.float32]]:
    """An importance for every matrix but the embedding, which llama-imatrix does not measure either."""
    return {
        tensor.name: ((np.arange(tensor.columns) * 7919 + 104729 * place) % 1009 / 1009).astype(np.float32)
        for place, tensor in enumerate(tensors)
        if len(tensor.shape) == 2 and tensor.name != "token_embd.weight"
    }


ARCHITECTURE = pair(b"general.architecture", 8, text(b"llama"))
TWO_TENSORS = (listed(b"a", (32, 2), 0, 0), listed(b"b", (32,), 0, 256))


def gguf_bytes(
    *,
    magic: bytes = b"GGUF",
    version: bytes = struct.pack("<I", 3),
    tensors: Sequence[bytes] = TWO_TENSORS,
    metadata: Sequence[bytes] = (ARCHITECTURE,),
    tensor_count: int | None = None,
    key_count: int | None = None,
    data: bytes = bytes(range(192)) * 2,
) -> bytes:
    """A GGUF file whose every part can be replaced: two tensors of 64 and 32 numbers if none is."""
    counts = (
        len(tensors) if tensor_count is None else tensor_count,
        len(metadata) if key_count is None else key_count,
    )
    header = magic + version + struct.pack("<QQ", *counts) + b"".join(metadata) + b"".join(tensors)
    return header + bytes(-len(header) % 32) + data


DTYPES = {"<f2": "F16", "<f4": "F32", "<f8": "F64", "|i1": "I8"}


def safetensors_bytes(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
}
TOKENIZER: dict[str, Any] = {
    "added_tokens": [
        {"id": 60, "content": "<s>", "special": True},
        {"id": 61, "content": "<|end|>", "special": False},
        {"id": 62, "content": "<own>", "special": False},
    ],
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
    "post_processor": None,
    "model": {"type": "BPE", "vocab": {f"t{i}": i for i in range(60)}, "merges": ["t 0", ["t", "1 "]]},
}


def tensors_of(config: Mapping[str, Any], seed: int = 0) -> dict[str, NDArray[Any]]:
    """The tensors of a Llama-like checkpoint, with random weights in half precision."""
    hidden, width, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    queries, keys = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    qwen = config["model_type"]
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, hidden),
        "model.norm.weight": (hidden,),
        "lm_head.weight": (vocabulary, hidden),
    }
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        shapes |= {
            f"{at}input_layernorm.weight": (hidden,),
            f"{at}post_attention_layernorm.weight": (hidden,),
            f"{at}self_attn.q_proj.weight": (queries, hidden),
            f"{at}self_attn.k_proj.weight": (keys, hidden),
            f"{at}self_attn.v_proj.weight": (keys, hidden),
            f"{at}self_attn.o_proj.weight": (hidden, queries),
            f"{at}mlp.gate_proj.weight": (width, hidden),
            f"{at}mlp.up_proj.weight": (width, hidden),
            f"{at}mlp.down_proj.weight": (hidden, width),
        }
        if qwen == "qwen2" or config.get("attention_bias"):
            shapes |= {
                f"{at}self_attn.{part}_proj.bias": (size,)
                for part, size in (("q", queries), ("k", keys), ("v", keys))
            }
        if qwen == "qwen3":
            shapes |= {f"{at}self_attn.{part}_norm.weight": (head,) for part in "qk"}
    if config.get("tie_word_embeddings"):
        del shapes["lm_head.weight"]
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(shape).astype(np.float16) for name, shape in shapes.items()}


def write_checkpoint(
    folder: Path,
    config: Mapping[str, Any] = CONFIG,
    tokenizer: Mapping[str, Any] = TOKENIZER,
    tensors: Mapping[str, NDArray[Any]] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Write a checkpoint into a folder and return the path of its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    path = folder / "model.safetensors"
    header, data = {}, b""
    for name, array in (tensors_of(config) if tensors is None else tensors).items():
        place = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": DTYPES[array.dtype.str], "shape": array.shape, "data_offsets": place}
        data += array.tobytes()
    path.write_bytes(safetensors_bytes(header, data))
    return path


def split(
    source: Path,
    folder: Path,
    cuts: Sequence[int] = (0, 8, 14),
    change: Mapping[int, Mapping[str, Meta]] | None = None,
) -> list[Path]:
    """Cut a file before these tensors, as llama-gguf-split does: the first part has the metadata."""
    file = read_gguf(source)
    names = list(file.tensors)
    paths = []
    for number, start in enumerate(cuts):
        part = names[start : cuts[number + 1] if number + 1 < len(cuts) else None]
        metadata = dict(file.metadata) if number == 0 else {"general.architecture": meta.string("llama")}
        metadata |= split_metadata(number, len(cuts), len(names)) | dict((change or {}).get(number, {}))
        specs = [TensorSpec(name, file.tensors[name].shape, file.tensors[name].type_name) for name in part]
        paths.append(folder / f"m-{number + 1:05}-of-{len(cuts):05}.gguf")
        with create_gguf(paths[-1], metadata, specs) as writer:
            for name in part:
                writer.write(file.tensors[name].raw())
    return paths
