"""A reader's own weights: pasted numbers, or a small file that the browser has cut out of a large one.

They come with a request, beside the controls; a figure is drawn on them, and nothing of them is stored.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lessons.kit.language import gettext as _
from lessons.kit.numbers import ordinal
from lessons.kit.pasted import read_pasted
from quant_core.files import FormatError
from quant_core.files.errors import printable
from quant_core.files.single import MOST_BYTES, MOST_NUMBERS, read_single

PREFIX = "own."
"""Prefix of the names of its form fields, so that they differ from those of controls."""

FIELDS = ("own.text", "own.file", "own.name", "own.at", "own.column")
MOST_NAME = 80
MOST_TEXT = 120_000
"""Characters of pasted numbers: 4096 with every digit, and what stands around them."""
MOST_COLUMN = 2**31
LARGEST = 60_000.0
"""Scales of block formats are half-precision numbers, which end at 65504."""
SMALLEST = 1e-6


class OwnError(ValueError):
    """The weights cannot be used; the message says why, for the reader."""


@dataclass(frozen=True, slots=True, eq=False)
class Own:
    """A reader's own weights.

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

    `own.at` says how many of the pasted numbers are skipped; `own.column` says where in its row the
    first number of a file lies.

    Raises
    ------
    OwnError
        Whatever is wrong with them, in words for the reader.
    """
    column = _count(fields.get("own.column", "0"), _("First column"), MOST_COLUMN)
    if fields.get("own.file"):
        name, values = _file(fields["own.file"])
        label = " · ".join(part for part in (fields.get("own.name", ""), name) if part)
        return Own(printable(label, MOST_NAME), _finite(values), column)
    at = _count(fields.get("own.at", "0"), _("Numbers to skip first"), MOST_NUMBERS - 1)
    values = _text(fields.get("own.text", ""))
    if at >= len(values):
        raise OwnError(
            _("There are only %(count)s numbers; %(at)s cannot be skipped.", count=len(values), at=at)
        )
    return Own("", values[at:], at)


def _text(text: str) -> NDArray[np.float32]:
    if len(text) > MOST_TEXT:
        raise OwnError(_("The text is longer than %(most)s characters.", most=str(MOST_TEXT)))
    try:
        return np.array(read_pasted(text, MOST_NUMBERS), np.float32)
    except ValueError as error:
        raise OwnError(str(error)) from None


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
        raise OwnError(
            _("The %(ordinal)s number of the block is not finite.", ordinal=ordinal(int(wrong[0]) + 1))
        )
    return values


def _count(text: str, name: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) > most:
        raise OwnError(
            _("%(name)s must be %(allowed)s.", name=name, allowed=_("%(low)s to %(high)s", low=0, high=most))
        )
    return int(text)
