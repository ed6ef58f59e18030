"""`quantize IN OUT --type T`: write a GGUF file of another type."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TextIO

from quant_core.files import Meta, Progress, open_model, quantize_model, read_imatrix
from quant_core.files.atomic import check_target
from quant_core.files.errors import printable, short_path
from quant_core.files.gguf_writer import text, whole
from quant_core.files.storage import TYPES_ARE, file_type, listed_types
from quant_core.imatrix import ImportanceMatrix

_BAR = 30


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("quantize", help="write a model as a GGUF file of a smaller type")
    argument = parser.add_argument
    argument("source", metavar="IN", type=Path, help="a GGUF file, or .safetensors beside its config.json")
    argument("target", metavar="OUT.gguf", type=Path, help="appears when it is complete")
    argument("--type", required=True, metavar="TYPE", help=f"{listed_types()}; {TYPES_ARE}")
    argument("--imatrix", type=Path, metavar="FILE", help="an importance matrix of llama-imatrix")
    argument("--jobs", type=int, default=_cores(), metavar="N", help="processes (default: all cores)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Quantize, with progress on the standard error output, and say what was written."""
    mix = file_type(options.type)
    model = open_model(options.source)
    check_target(options.target, (*model.sources, *([options.imatrix] if options.imatrix else ())))
    for note in model.notes:
        print(f"note: {note}", file=sys.stderr)
    importance = None
    if options.imatrix:
        matrix = read_imatrix(options.imatrix)
        importance = matrix.vectors()
        model = replace(model, metadata={**model.metadata, **_origin(options.imatrix, matrix)})
    written = quantize_model(
        model, options.target, mix, importance, options.jobs, ProgressBar(sys.stderr).show
    )
    print(
        f"{short_path(options.target)}: {mix}, {written.tensors} tensors, "
        f"{written.bytes_before / 1e6:.1f} MB -> {written.bytes_after / 1e6:.1f} MB, "
        f"{written.bits_per_weight:.4f} bits per weight"
    )
    return 0


def _origin(path: Path, matrix: ImportanceMatrix) -> dict[str, Meta]:
    """What llama-quantize notes of the importance matrix, less the folder it lay in."""
    return {
        "quantize.imatrix.file": text(path.name),
        "quantize.imatrix.dataset": text(", ".join(matrix.datasets)),
        "quantize.imatrix.entries_count": whole(len(matrix.entries)),
        "quantize.imatrix.chunks_count": whole(matrix.chunk_count),
    }


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
        """Show how far the work is."""
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
