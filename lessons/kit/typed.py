"""Characters that keyboards, word processors and web pages put for a sign, a space or a power of ten."""

from __future__ import annotations

import re
import unicodedata

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


def plain_numbers(text: str) -> str:
    """The text with plain minus signs and digits, powers of ten as `e-6`, and thousands joined.

    Only what separates thousands without a doubt is taken out: spaces that do not break a line, and
    apostrophes.

    >>> plain_numbers("−8.36×10⁻⁶ 12\u202f345 1'000'000"), plain_numbers("2*10^3")
    ('-8.36e-6 12345 1000000', '2e3')
    """
    text = _INVISIBLE.sub("", text).translate(_SIGNS)
    if not text.isascii():
        text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
    text = _POWER_OF_TEN.sub(lambda found: f"e{found[1] or found[2].translate(_RAISED)}", text)
    text = _GROUPED.sub(lambda found: re.sub(f"[{_NO_BREAK}]", "", found[0]), text)
    return _APOSTROPHES.sub(lambda found: re.sub("['’]", "", found[0]), text)
