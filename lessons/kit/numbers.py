"""Numbers as people read them: rounded, with a true minus sign, thin spaces and named units.

Every printed number goes through these functions, which use the current language (`lessons.kit.language`).
The page has the raw value beside it, in `data-value`.
"""

from __future__ import annotations

import math
import re

from lessons.kit.language import N_, current_language, gettext

NARROW_SPACE = "\u202f"
MINUS = "\u2212"
TIMES = "\u00d7"
UNITS = tuple(
    map(N_, ("GB", "MB", "kB", "GiB", "MiB", "GB/s", "dB", "bytes", "tokens", "bits/weight", "B", "M"))
)
"""What read-outs and tables print behind a number; some languages write it otherwise (Go, Md)."""

_ORDINALS = {
    "one": N_("%(number)sst"),
    "two": N_("%(number)snd"),
    "few": N_("%(number)srd"),
    "other": N_("%(number)sth"),
}
"""By the plural form that a language has for them (CLDR)."""

_BEFORE_UNIT = re.compile(r"(?<=[\d}]) (?=(?:[kMG]B(?:/s)?|[KMG]iB|dB)(?!\w)|%)")
_NUMBER = re.compile(r"(?<![\w.])[−+]?\d[\d\u202f]*\.?\d*")
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def integer(value: float) -> str:
    """Whole number, groups of three from five digits on: 8192, 70 553 706 496.

    >>> integer(8192), integer(-12345)
    ('8192', '−12\u202f345')
    """
    text = (
        f"{abs(round(value)):,}".replace(",", NARROW_SPACE)
        if abs(value) >= 10_000
        else f"{abs(round(value))}"
    )
    return _signed(text, round(value) < 0)


def fixed(value: float, places: int) -> str:
    """A fixed number of decimals, so that digits align in a column.

    >>> fixed(-0.12345, 3), fixed(-0.0001, 2)
    ('−0.123', '0.00')
    """
    text = f"{abs(value):.{places}f}"
    return _signed(text, value < 0 and float(text) != 0)


def significant(value: float, digits: int = 3) -> str:
    """Rounded to significant digits; a power of ten only where zeros would hide the number.

    >>> significant(0.0383021), significant(1234.5), significant(26993), significant(0.0000379)
    ('0.0383', '1234', '26\u202f993', '3.79×10⁻⁵')
    """
    if math.isnan(value):
        return "NaN"
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else ("∞" if value > 0 else current_language().minus(MINUS) + "∞")
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    exponent = int(power)
    if exponent < -4 or exponent >= 7:
        return f"{fixed(float(mantissa), digits - 1)}{TIMES}10{str(exponent).translate(_SUPERSCRIPTS)}"
    return integer(value) if exponent >= digits - 1 else fixed(value, digits - 1 - exponent)


def shortest(value: float) -> str:
    """A number as short as it can be written: 4.5, 16.

    >>> shortest(4.5), shortest(16.0)
    ('4.5', '16')
    """
    return _signed(f"{abs(value):g}", value < 0)


def signed(value: float, places: int) -> str:
    """A change: always with its sign.

    >>> signed(0.144897, 4), signed(-3.98, 2)
    ('+0.1449', '−3.98')
    """
    text = fixed(value, places)
    return f"+{text}" if value > 0 and float(f"{value:.{places}f}") != 0 else text


def percent(fraction: float, places: int = 1) -> str:
    """A fraction as per cent.

    >>> percent(0.2531)
    '25.3\u202f%'
    """
    return current_language().percent(fixed(100 * fraction, places))


def ordinal(number: int) -> str:
    """A place in a row; a language has as many endings as its ordinal plurals.

    >>> [ordinal(number) for number in (1, 2, 3, 4, 11, 22)]
    ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    return gettext(_ORDINALS[current_language().locale.ordinal_form(number)], number=integer(number))


def times(ratio: float, places: int = 2) -> str:
    """A ratio.

    >>> times(3.268)
    '3.27×'
    """
    return fixed(ratio, places) + TIMES


def gigabytes(size: float, places: int | None = None) -> str:
    """Bytes in GB = 10⁹ bytes, to three digits by default.

    >>> gigabytes(141_107_412_992)
    '141\u202fGB'
    """
    return _size(size / 1e9, "GB", places)


def gibibytes(size: float, places: int | None = None) -> str:
    """Bytes in GiB = 2³⁰ bytes.

    >>> gibibytes(141_107_412_992)
    '131\u202fGiB'
    """
    return _size(size / 2**30, "GiB", places)


def with_unit(text: str, unit: str) -> str:
    """A printed number and its unit, held together by a narrow no-break space."""
    return f"{text}{NARROW_SPACE}{gettext(unit)}"


def as_printed(text: str) -> str:
    """A number of a data file, with or without a unit, printed in the current language."""
    language = current_language()
    return text if language.is_source else _NUMBER.sub(lambda found: language.number(found[0]), text)


def hold_units(text: str) -> str:
    """A text, or a template, with every unit held to its number by a narrow no-break space.

    >>> hold_units("62 GB of RAM, {share} % of it")
    '62\u202fGB of RAM, {share}\u202f% of it'
    """
    return _BEFORE_UNIT.sub(NARROW_SPACE, text)


def _size(value: float, unit: str, places: int | None) -> str:
    if places is None:
        places = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return with_unit(fixed(value, places), unit)


def _signed(text: str, negative: bool) -> str:
    language = current_language()
    return (language.minus(MINUS) if negative else "") + language.number(text)
