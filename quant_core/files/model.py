"""A model to quantize: metadata, tensors in llama.cpp's order, and the shape by which mixes choose types.

`quant_core.files.opening` reads one from a GGUF file, or from a checkpoint of Hugging Face.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from quant_core.files.errors import FormatError, printable, short_path
from quant_core.files.gguf import GgufFile, Meta
from quant_core.files.header import MODEL_TYPES, NAMES_IN_FILE, config_of, config_of_header
from quant_core.files.tensors import StoredTensor
from quant_core.llm.shapes import ModelShape, read_shape

__all__ = [
    "ARCHITECTURES",
    "MODEL_TYPES",
    "NAMES_IN_FILE",
    "Model",
    "config_of_header",
    "in_file_order",
    "model_of_gguf",
]

#: Architectures of GGUF files whose tensors `quant_core.llm.shapes` lists one by one.
ARCHITECTURES = ("llama", "qwen2", "qwen3")


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
        What was changed or assumed in reading.
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
    """Return tensors in llama-quantize's order: those outside the layers first, then by layer and name."""
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
        shape, _ = read_shape(config_of(file, architecture), assume=False)
    except ValueError as error:
        raise FormatError(f"{short_path(file.path)}: metadata of {architecture}: {error}") from None
    tensors = in_file_order(file.tensors.values())
    sources = file.parts or (file.path,)
    return Model(file.path, file.metadata, tensors, shape, sources=sources, parts=file.parts)
