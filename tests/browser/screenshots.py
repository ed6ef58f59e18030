"""Screenshots that are kept, and how one is compared with what the browser draws now.

What is kept is small and grey: two pixels of the screen make one, in 24 shades. Two such pictures are
compared by the ink in windows of eight pixels, anywhere within two pixels of its place: other anti-aliasing,
hinting or rounding leaves that as it is, a label that moved or a mark that is missing does not.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHRINK = 2  # pixels of the screen, each way, that make one
SHADES = 24
WINDOW = 4  # kept pixels, each way
SLACK = 1  # kept pixels by which anything may be out of place
TOLERANCE = 0.08  # of the way from black to white, by which the mean of a window may differ: symbols that our
# typefaces lack are painted in whatever the system has
SIZE_SLACK = 2  # kept pixels

Grey = NDArray[np.float64]
"""A picture, (height, width), from 0 for black to 1 for white."""


def shrink(png: bytes) -> Grey:
    """A screenshot as it is kept."""
    full = np.asarray(Image.open(io.BytesIO(png)).convert("L"), np.float64) / 255
    height, width = (length // SHRINK for length in full.shape)
    whole = full[: height * SHRINK, : width * SHRINK]
    small = whole.reshape(height, SHRINK, width, SHRINK).mean(axis=(1, 3))
    shades: Grey = np.round(small * (SHADES - 1)) / (SHADES - 1)
    return shades


def read(path: Path) -> Grey:
    return np.asarray(Image.open(path).convert("L"), np.float64) / 255


def write(path: Path, picture: Grey) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.round(255 * picture).astype(np.uint8)).save(path, optimize=True)


def difference(expected: Grey, actual: Grey) -> Grey | None:
    """How far each window is from what may stand there; None where the sizes are no match."""
    if any(abs(a - b) > SIZE_SLACK for a, b in zip(expected.shape, actual.shape, strict=True)):
        return None
    height, width = (min(a, b) for a, b in zip(expected.shape, actual.shape, strict=True))
    seen = _windows(actual[:height, :width])
    places = np.lib.stride_tricks.sliding_window_view(
        np.pad(_windows(expected[:height, :width]), SLACK, mode="edge"), (2 * SLACK + 1, 2 * SLACK + 1)
    )
    outside: Grey = np.maximum(places.min(axis=(2, 3)) - seen, seen - places.max(axis=(2, 3)))
    return np.maximum(0, outside)


def report(expected: Grey, actual: Grey, folder: Path, name: str) -> str:
    """Nothing where the pictures match; else writes them and their difference, and says where to look."""
    found = difference(expected, actual)
    if found is not None and found.max() <= TOLERANCE:
        return ""
    pictures = {"expected": expected, "actual": actual}
    if found is None:
        sizes = " to ".join(f"{w * SHRINK} × {h * SHRINK}" for h, w in (expected.shape, actual.shape))
        what = f"its size went from {sizes} pixels"
    else:
        pictures["difference"] = np.clip(1 - found / found.max(), 0, 1)
        y, x = (int(i) * SHRINK for i in np.unravel_index(int(found.argmax()), found.shape))
        what = f"most around x = {x}, y = {y} pixels (by {found.max():.2f}, {TOLERANCE} is allowed)"
    for kind, picture in pictures.items():
        write(folder / f"{name}-{kind}.png", picture)
    return (
        f"{name} does not look as it did: {what}. See {folder}/{name}-*.png; if it is meant to look so, "
        f"`make screenshots` keeps the new looks."
    )


def _windows(picture: Grey) -> Grey:
    """The mean of the window around each pixel."""
    before, after = WINDOW // 2, WINDOW - WINDOW // 2
    sums = np.pad(picture, (before, after - 1), mode="edge").cumsum(axis=0).cumsum(axis=1)
    sums = np.pad(sums, ((1, 0), (1, 0)))
    corners = sums[WINDOW:, WINDOW:] - sums[:-WINDOW, WINDOW:] - sums[WINDOW:, :-WINDOW]
    means: Grey = (corners + sums[:-WINDOW, :-WINDOW]) / WINDOW**2
    return means
