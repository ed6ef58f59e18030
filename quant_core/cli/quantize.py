"""`quantize IN OUT --type T`: write a GGUF file of another type."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from time import monotonic
from typing import TextIO

from quant_core.files import Meta, Model, Progress, open_model, quantize_model, read_imatrix
from quant_core.files.atomic import check_target
from quant_core.files.errors import printable, short_path
from quant_core.files.gguf_writer import string, uint32
from quant_core.files.quantizing import plan, quantization_warnings, targets_of
from quant_core.files.storage import TYPES_ARE, file_type, listed_types
from quant_core.files.tensor_types import parse_tensor_type, with_tensor_types
from quant_core.methods.imatrix import ImportanceMatrix

_BAR = 30


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("quantize", help="write a model as a GGUF file of a smaller type")
    argument = parser.add_argument
    argument(
        "source",
        metavar="IN",
        type=Path,
        help="a GGUF file, the first of several, or .safetensors beside its config.json",
    )
    argument("target", metavar="OUT.gguf", type=Path, help="appears when it is complete")
    argument("--type", required=True, metavar="TYPE", help=f"{listed_types()}; {TYPES_ARE}")
    argument(
        "--tensor-type",
        action="append",
        default=[],
        metavar="NAME=TYPE",
        help="another type for the tensors whose names match the regular expression NAME; of several the "
        "first that matches counts",
    )
    argument("--imatrix", type=Path, metavar="FILE", help="an importance matrix of llama-imatrix")
    argument(
        "--keep-split",
        action="store_true",
        help="write as many files as IN has: OUT-00001-of-00003.gguf and so on",
    )
    argument("--jobs", type=int, default=_cores(), metavar="N", help="processes (default: all cores)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Quantize, show progress on the standard error output, and print what was written."""
    mix = file_type(options.type)
    tensor_types = [parse_tensor_type(option) for option in options.tensor_type]
    model = with_tensor_types(open_model(options.source), mix, tensor_types)
    for target in targets_of(model, options.target, options.keep_split):
        check_target(target, (*model.sources, *([options.imatrix] if options.imatrix else ())))
    matrix = read_imatrix(options.imatrix) if options.imatrix else None
    importance = matrix.vectors() if matrix else None
    steps = plan(model, mix, importance)
    warnings = quantization_warnings(steps, importance)
    for remark in (
        *(f"note: {note}" for note in model.notes),
        *(f"warning: {remark}" for remark in warnings),
    ):
        print(remark, file=sys.stderr)
    used = matrix is not None and any(step.importance is not None for step in steps)
    written = quantize_model(
        model,
        options.target,
        mix,
        importance,
        options.jobs,
        ProgressBar(sys.stderr).show,
        _origin(options.imatrix, matrix, model) if matrix and used else None,
        options.keep_split,
    )
    if any(step.fell_back for step in steps):  # repeated here: the progress has scrolled the list away
        print(f"warning: {warnings[-1]}", file=sys.stderr)
    files = f" in {len(written.files)} files" if len(written.files) > 1 else ""
    print(
        f"{short_path(written.files[0])}: {mix}, {written.tensors} tensors{files}, "
        f"{written.bytes_before / 1e6:.1f} MB -> {written.bytes_after / 1e6:.1f} MB, "
        f"{written.bits_per_weight:.4f} bits per weight"
    )
    return 0


def _origin(path: Path, matrix: ImportanceMatrix, model: Model) -> dict[str, Meta]:
    """Return llama-quantize's metadata about the importance matrix, without the folder of its file.

    Entries that name no tensor of the model are not counted: they were not used.
    """
    entries = sum(tensor.name in matrix.entries for tensor in model.tensors)
    noted = {"quantize.imatrix.file": string(path.name)}
    if matrix.datasets:
        noted["quantize.imatrix.dataset"] = string(", ".join(matrix.datasets))
    noted["quantize.imatrix.entries_count"] = uint32(entries)
    if matrix.chunk_count:
        noted["quantize.imatrix.chunks_count"] = uint32(matrix.chunk_count)
    return noted


class ProgressBar:
    """A bar that is redrawn on a terminal, and one line for each tensor anywhere else.

    Parameters
    ----------
    stream : text file
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._redraws = stream.isatty()
        self._begun = monotonic()
        self._number = 0

    def show(self, progress: Progress) -> None:
        """Show the progress."""
        step, share = progress.step, progress.done_bytes / progress.total_bytes
        name = printable(step.source.name, 40)
        if self._redraws:
            filled = "█" * round(_BAR * share)
            seconds = (monotonic() - self._begun) * (1 / share - 1)
            end = "\n" if share == 1 else ""
            line = f"\r{filled:░<{_BAR}} {share:4.0%}  {seconds:5.0f} s left  {name:<40}{end}"
        elif progress.number > self._number:
            types = f"{step.source.type_name} -> {step.type_name}"
            line = f"[{progress.number:4}/{progress.count}] {name}: {types}\n"
        else:
            return
        self._number = progress.number
        self._stream.write(line)
        self._stream.flush()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
