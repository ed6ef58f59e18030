"""Fuzz the readers of model files with atheris (libFuzzer); only a `FormatError` may be raised.

python fuzz/fuzz_gguf.py [CORPUS] [-max_total_time=SECONDS] [other options of libFuzzer]

The first byte of an input selects the reader. Without a corpus the run starts with the small valid files of
the tests. Run `pip install atheris` first; it is not a dependency of the project.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with atheris.instrument_imports(include=["quant_core.files", "json"]):
    from quant_core.files import FormatError, read_gguf, read_imatrix, read_safetensors

MEMORY_BYTES = 2 << 30  # trusting a number of the file shows up as a MemoryError
READERS: tuple[Callable[[Path], Any], ...] = (read_gguf, read_safetensors, read_imatrix)
# On a file system in memory if possible: the readers need files.
PLACE = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)) / "input"


def one_input(data: bytes) -> None:
    """Read one file and all its tensors."""
    if not data:
        return
    PLACE.write_bytes(data[1:])
    try:
        found = READERS[data[0] % len(READERS)](PLACE)
        tensors = getattr(found, "tensors", found)
        if isinstance(tensors, Mapping):
            for tensor in tensors.values():
                tensor.raw()
    except FormatError as error:
        if not str(error).isprintable():
            raise AssertionError("the message is not one safe line") from error


def seeds(folder: Path) -> None:
    """Write the valid files of the tests as an initial corpus."""
    from tests.quant_core.test_files_fuzz import a_gguf_file, a_safetensors_file

    for number, content in enumerate((a_gguf_file(), a_safetensors_file(), a_gguf_file())):
        (folder / str(number)).write_bytes(bytes([number]) + content)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    arguments = list(sys.argv)
    if not any(not argument.startswith("-") for argument in arguments[1:]):
        corpus = Path(tempfile.mkdtemp())
        seeds(corpus)
        arguments.insert(1, str(corpus))
    atheris.Setup(arguments, one_input)
    atheris.Fuzz()
