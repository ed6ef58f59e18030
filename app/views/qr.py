"""A QR code as the path of an SVG, so that a template draws it in the page's own colours."""

from __future__ import annotations

import functools
from itertools import groupby
from typing import NamedTuple

import segno

QUIET = 4
"""Light modules around the code, as ISO/IEC 18004 asks for."""


class QrPath(NamedTuple):
    """A code in a square of `size` units a side, its quiet zone included; fill the path dark on light."""

    size: int
    path: str


@functools.lru_cache(maxsize=256)
def svg_path(text: str) -> QrPath:
    """The QR code of a text (an address), at level M or better where that costs no larger code.

    A template draws it with `<svg viewBox="0 0 {size} {size}"><path d="{path}"/></svg>`. Every run of dark
    modules of a row is one rectangle.

    Raises
    ------
    ValueError
        When the text is too long for a QR code.
    """
    code = segno.make_qr(text, error="m")
    pieces = []
    for y, row in enumerate(code.matrix_iter(border=QUIET)):
        x = 0
        for dark, run in groupby(row):
            width = len(list(run))
            if dark:
                pieces.append(f"M{x} {y}h{width}v1h-{width}z")
            x += width
    return QrPath(len(code.matrix) + 2 * QUIET, "".join(pieces))
