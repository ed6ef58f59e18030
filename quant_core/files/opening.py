"""Open a model file of any kind: its first bytes and its name select the reader."""

from __future__ import annotations

from pathlib import Path

from quant_core.files.bounded import open_bounded
from quant_core.files.checkpoint import read_model
from quant_core.files.errors import FormatError, short_path
from quant_core.files.gguf import MAGIC
from quant_core.files.model import Model, model_of_gguf
from quant_core.files.safetensors import read_checkpoint
from quant_core.files.split import read_parts
from quant_core.files.tensors import StoredTensor


def open_model(path: str | Path) -> Model:
    """Read a model to quantize from a GGUF file, the first of several, or a safetensors file or index.

    Raises
    ------
    FormatError
        If a file is damaged, or holds a model of another architecture.
    OSError
        If a file cannot be opened.
    """
    path = Path(path)
    if is_gguf(path):
        return model_of_gguf(read_parts(path))
    return read_model(path)


def open_tensors(path: str | Path) -> dict[str, StoredTensor]:
    """Read the tensors of a GGUF file or a checkpoint, under GGUF names where a `config.json` lies beside it.

    Raises
    ------
    FormatError
        If a file is damaged.
    OSError
        If a file cannot be opened.
    """
    path = Path(path)
    if is_gguf(path):
        return dict(read_parts(path).tensors)
    if path.with_name("config.json").exists():
        return {tensor.name: tensor for tensor in open_model(path).tensors}
    return read_checkpoint(path)


def is_gguf(path: Path) -> bool:
    """Whether a file begins as a GGUF file does, or at least has its suffix."""
    with open_bounded(path) as cursor:
        begins = cursor.left >= len(MAGIC) and cursor.take(len(MAGIC), "magic") == MAGIC
    if not begins and path.suffix not in (".gguf", ".safetensors", ".json"):
        raise FormatError(f"{short_path(path)}: neither a GGUF file nor a .safetensors file")
    return begins or path.suffix == ".gguf"
