"""What the snippets share: where the weights lie, and how a piece of code is put together."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from textwrap import dedent

from lessons.quantization.blocks import BLOCKS
from lessons.quantization.sources import load_layer

WEIGHTS = "lessons/quantization/weights/real_blocks.safetensors"
TINY = "lessons/quantization/weights/tinylm"
LOAD = f'layers = load_file("{WEIGHTS}")'
LOADER = "from safetensors.numpy import load_file"


def code(*parts: str) -> str:
    """Pieces of code with an empty line between them, and two around a function."""
    pieces = [dedent(part).strip("\n") for part in parts if part.strip()]
    text = pieces[0]
    for before, after in itertools.pairwise(pieces):
        beside_function = after.startswith("def ") or before.splitlines()[-1].startswith("    ")
        text += ("\n\n\n" if beside_function else "\n\n") + after
    return text + "\n"


def written(names: Iterable[str]) -> str:
    """A tuple of texts as it is typed."""
    return "(" + ", ".join(f'"{name}"' for name in names) + ")"


def stored_row(layer: str, row: int) -> str:
    """The expression of a row of a shipped layer, by its index in the full tensor; float32."""
    rows = load_layer(layer).rows
    whole = rows == tuple(range(len(rows)))
    return f'layers["{layer}.{"W" if whole else "W_rows"}"][{rows.index(row)}].astype(np.float32)'


def block_row(name: str) -> str:
    """The expression of the row that holds a named block."""
    return stored_row(BLOCKS[name].layer, BLOCKS[name].row)
