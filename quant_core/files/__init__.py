"""Model files: bounded readers for GGUF and safetensors, a GGUF writer, and the conversion between them.

`opening` finds the reader that a file needs; `gguf` and `safetensors` check every number of a header before
they rely on it; `split` reads a GGUF model in several files as one; `checkpoint` gives Llama-like checkpoints
llama.cpp's names; `quantizing` writes a quantized file row by row. `quant_core.ggml` encodes the
blocks, and `quant_core.ggml.mixes` chooses the type of each tensor; `tensor_types` lets a caller choose some.
"""

from __future__ import annotations

from quant_core.files.errors import FormatError
from quant_core.files.gguf import GgufFile, Meta, read_gguf
from quant_core.files.gguf_writer import TensorSpec, create_gguf
from quant_core.files.imatrix import read_imatrix
from quant_core.files.model import Model
from quant_core.files.opening import open_model, open_tensors
from quant_core.files.quantizing import Progress, Written, quantize_model
from quant_core.files.safetensors import read_checkpoint, read_safetensors
from quant_core.files.tensors import StoredTensor

__all__ = [
    "FormatError",
    "GgufFile",
    "Meta",
    "Model",
    "Progress",
    "StoredTensor",
    "TensorSpec",
    "Written",
    "create_gguf",
    "open_model",
    "open_tensors",
    "quantize_model",
    "read_checkpoint",
    "read_gguf",
    "read_imatrix",
    "read_safetensors",
]
