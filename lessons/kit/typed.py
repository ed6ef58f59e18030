"""Numbers as people type them: with the signs, spaces and units of keyboards and word processors."""

from __future__ import annotations

import math
import re
import unicodedata

from lessons.kit.language import gettext as _
from lessons.kit.numbers import TIMES
from quant_core.files.errors import printable

LONGEST = 24
"""Characters of a typed number, with its unit."""

_BYTES = {
    **dict.fromkeys(("B", "byte", "bytes"), 1.0),
    **{f"{prefix}B": 1000.0**power for power, prefix in enumerate(("k", "M", "G", "T"), 1)},
    **{f"{prefix}iB": 1024.0**power for power, prefix in enumerate(("K", "M", "G", "T"), 1)},
}
_ALONE = frozenset((TIMES, "x", "X", "times", "bit", "bits", "bpw", "bits/weight", "Δ"))
"""Words that may follow a number without a unit; they are ignored."""

_DECIMAL = (
    r"(?:\d{1,3}(?:,\d{3})+\.\d+|\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?: \d{3})+(?:[.,]\d+)?|\d+[.,]?\d*|[.,]\d+)"
)
_NUMBER = re.compile(rf"([+-]?)({_DECIMAL})(?:[eE]([+-]?\d{{1,3}}))?(?: ?/ ?({_DECIMAL}))?(?![\d.,])")

_SIGNS = str.maketrans(
    dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\u2014\ufe63\uff0d", "-") | {"\uff0b": "+"}
)
_INVISIBLE = re.compile("[\ufeff\u200b-\u200f\u202a-\u202e\u2060-\u2069]")
_SUPERSCRIPT = "⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹"
_RAISED = str.maketrans(_SUPERSCRIPT, "+-0123456789")
_POWER_OF_TEN = re.compile(
    rf"(?<=[\d.,])\s*[×·x*]\s*10\s*(?:(?:\^|\*\*)\s*([+-]?\d+)|([{_SUPERSCRIPT}]+))(?!\d)"
)
_NO_BREAK = "\u00a0\u2007\u2009\u202f"
_GROUPED = re.compile(rf"(?<![\d.,{_NO_BREAK}])\d{{1,3}}(?:[{_NO_BREAK}]\d{{3}})+(?![\d{_NO_BREAK}])")
_APOSTROPHES = re.compile(r"(?<![\d.,'’])\d{1,3}(?:['’]\d{3})+(?!\d)")


def ascii_numbers(text: str) -> str:
    """The text with plain minus signs and digits, powers of ten as `e-6`, and thousands joined.

    Only what separates thousands without a doubt is taken out: spaces that do not break a line, and
    apostrophes.

    >>> ascii_numbers("−8.36×10⁻⁶ 12\u202f345 1'000'000"), ascii_numbers("2*10^3")
    ('-8.36e-6 12345 1000000', '2e3')
    """
    text = _INVISIBLE.sub("", text).translate(_SIGNS)
    if not text.isascii():
        text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
    text = _POWER_OF_TEN.sub(lambda found: f"e{found[1] or found[2].translate(_RAISED)}", text)
    text = _GROUPED.sub(lambda found: re.sub(f"[{_NO_BREAK}]", "", found[0]), text)
    return _APOSTROPHES.sub(lambda found: re.sub("['’]", "", found[0]), text)


def read_typed(text: str, unit: str = "", *, whole: bool = False) -> float:
    """A number that was typed into a field with this unit.

    Decimals with a point or a comma, powers of ten, fractions, per cent of one, and other units of bytes,
    which are converted. Of a whole number a comma before three digits separates thousands.

    >>> read_typed("5,4 GiB", "GB"), read_typed("1/2"), read_typed("50 %"), read_typed("−1e-3")
    (5.7982058496, 0.5, 0.5, -0.001)

    Raises
    ------
    ValueError
        It is no such number; the message tells the reader what is accepted.
    """
    number = re.sub(r"\s+", " ", ascii_numbers(text)).strip().lstrip("=≈~").strip()
    found = _NUMBER.match(re.sub(rf"^[{TIMES}xX] ?(?=\d)", "", number))
    factor = _factor(found.string[found.end() :].strip(), unit) if found else None
    if found is None or factor is None or len(text) > LONGEST:
        raise ValueError(_refusal(text, unit))
    value = float(found[1] + _with_point(found[2], whole) + (f"e{found[3]}" if found[3] else ""))
    divisor = float(_with_point(found[4], whole)) if found[4] else 1.0
    if not divisor or not math.isfinite(value):
        raise ValueError(_refusal(text, unit))
    return value / divisor * factor


def _with_point(number: str, whole: bool) -> str:
    number = number.replace(" ", "")
    if "," in number and "." in number:
        thousands = min(",.", key=number.index)
        number = number.replace(thousands, "")
    elif whole and re.fullmatch(r"[1-9]\d{0,2}[.,]\d{3}", number):
        number = re.sub("[.,]", "", number)
    return number.replace(",", ".")


def _factor(given: str, unit: str) -> float | None:
    """What a number in the given unit has to be multiplied by; None where the unit is none of these."""
    if given in ("", unit, _(unit) if unit else ""):
        return 1.0
    if unit in _BYTES:
        known = {name.lower(): size for name, size in _BYTES.items()}
        bits = given[-1:] == "b" and given != given.lower()  # Gb is an eighth of GB
        return known[given.lower()] / _BYTES[unit] if given.lower() in known and not bits else None
    if unit in ("", TIMES):
        return 0.01 if given == "%" else 1.0 if given in _ALONE else None
    return None


def _refusal(text: str, unit: str) -> str:
    given = printable(text.strip(), LONGEST)
    if unit in _BYTES:
        return _(
            "“%(given)s” cannot be read. Write a number in %(unit)s, such as 0.5.", given=given, unit=_(unit)
        )
    return _("“%(given)s” cannot be read. Write a number, such as 0.5, 1e-3 or 1/2.", given=given)
