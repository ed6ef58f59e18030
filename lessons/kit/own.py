"""A reader's own weights: pasted numbers, or a small file that the browser has cut out of a large one.

They come with a request beside the state of the controls, a figure draws itself on them, and nothing of them
is kept.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lessons.kit.language import gettext as _
from quant_core.files import FormatError
from quant_core.files.errors import printable
from quant_core.files.single import MOST_BYTES, MOST_NUMBERS, read_single

PREFIX = "own."
"""Of the names of its fields in a form, so that they never meet a control's."""

FIELDS = ("own.text", "own.file", "own.name", "own.at", "own.column")
MOST_NAME = 80
MOST_COLUMN = 2**31
LARGEST = 60_000.0
"""Scales of block formats are half-precision numbers, which end at 65504."""
SMALLEST = 1e-6

_SEPARATOR = re.compile(r"[\s,;\[\]()]+")


class OwnError(ValueError):
    """The weights cannot be used; the message says why, for the reader."""


@dataclass(frozen=True, slots=True, eq=False)
class Own:
    """Weights of the reader's.

    Attributes
    ----------
    name : str
        Of the file and tensor, or "" for pasted numbers.
    values : ndarray of float32, shape (n,)
        From `column` of their row on; n is at most 4096.
    """

    name: str
    values: NDArray[np.float32]
    column: int = 0

    def take(self, count: int) -> NDArray[np.float32]:
        """The first `count` weights; checked, so that every grid and format can be fitted to them.

        Raises
        ------
        OwnError
            There are fewer, or they are all the same, or too large or too small for a half-precision scale.
        """
        if len(self.values) < count:
            raise OwnError(
                _(
                    "This figure needs %(needed)s weights from here on, and there are %(given)s.",
                    needed=str(count),
                    given=str(len(self.values)),
                )
            )
        block = self.values[:count]
        largest = float(np.abs(block).max())
        if not SMALLEST <= largest <= LARGEST:
            raise OwnError(
                _("The largest of these weights is %(largest)s; it must lie between %(low)s and %(high)s.")
                % {"largest": f"{largest:g}", "low": f"{SMALLEST:g}", "high": f"{LARGEST:g}"}
            )
        if float(np.ptp(block)) < 1e-4 * largest:
            raise OwnError(_("These weights are all the same: there is nothing to round."))
        return block.copy()


def read_own(fields: Mapping[str, str]) -> Own:
    """Read the weights that a form has sent: `own.text`, or `own.file` in base64 with its `own.name`.

    `own.at` is the first of the pasted numbers that is looked at; `own.column` says where in its row the
    first number of a file lies.

    Raises
    ------
    OwnError
        Whatever is wrong with them, in words for the reader.
    """
    column = _count(fields.get("own.column", "0"), "own.column", MOST_COLUMN)
    if fields.get("own.file"):
        name, values = _file(fields["own.file"])
        label = " · ".join(part for part in (fields.get("own.name", ""), name) if part)
        return Own(printable(label, MOST_NAME), _finite(values), column)
    at = _count(fields.get("own.at", "0"), "own.at", MOST_NUMBERS - 1)
    values = _finite(_text(fields.get("own.text", "")))
    if at >= len(values):
        raise OwnError(
            _(
                "There are %(count)s numbers; number %(at)s is not among them.",
                count=str(len(values)),
                at=str(at),
            )
        )
    return Own("", values[at:], at)


def _text(text: str) -> NDArray[np.float32]:
    parts = [part for part in _SEPARATOR.split(text) if part]
    if not parts:
        raise OwnError(_("There are no numbers."))
    if len(parts) > MOST_NUMBERS:
        raise OwnError(_("There are more than %(most)s numbers.", most=str(MOST_NUMBERS)))
    values = []
    for i, part in enumerate(parts):
        try:
            values.append(float(part))
        except ValueError:
            raise OwnError(
                _("Number %(index)s is “%(part)s”, which is none.", index=str(i), part=printable(part, 24))
            ) from None
    with np.errstate(over="ignore"):
        return np.array(values, np.float32)


def _file(encoded: str) -> tuple[str, NDArray[np.float32]]:
    if len(encoded) > math.ceil(MOST_BYTES / 3) * 4:
        raise OwnError(_("The block is larger than %(most)s bytes.", most=str(MOST_BYTES)))
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise OwnError(_("The block did not arrive whole.")) from None
    try:
        return read_single(data)
    except FormatError as error:
        raise OwnError(str(error)) from None


def _finite(values: NDArray[np.float32]) -> NDArray[np.float32]:
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise OwnError(_("Number %(index)s is not finite.", index=str(wrong[0])))
    return values


def _count(text: str, name: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) > most:
        raise OwnError(_("%(name)s must be %(allowed)s.", name=name, allowed=f"0–{most}"))
    return int(text)
