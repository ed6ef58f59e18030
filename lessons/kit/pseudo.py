"""Pseudo-languages: English that shows whether a text went the way that a translation would go.

Every letter is changed, but for what a translator leaves as it is: slots such as `{bits}` and `%(name)s`,
tags and entities of HTML.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable

_ACCENTED = str.maketrans(
    string.ascii_letters,
    "àƀçđéƒĝħîĵķļɱñöþǫŕšţûṽŵẋýž" + "ÀƁÇĐÉƑĜĦÎĴĶĻṀÑÖÞǪŔŠŢÛṼŴẊÝŽ",
)
_MIRRORED = str.maketrans(
    string.ascii_letters,
    2 * "אבגדהוזחטיכלמנסעפצקרשתךםןף",
)
_POINT = re.compile(r"(?<=\d)\.(?=\d)")
_KEPT = re.compile(r"(%\(\w+\)[sd]|%%|\{[^{}]*\}|<[^<>]+>|&#?\w+;)")
_CODE = re.compile(r"(<(?:code|pre|math|svg)\b.*?</(?:code|pre|math|svg)>)", re.DOTALL)
_TAG = re.compile(r"(<[^<>]+>)")


def accented(text: str) -> str:
    """With an accent on every letter and a comma in every number, between brackets.

    >>> accented("a {block} of 4.5 bits")
    '⟦à {block} öƒ 4,5 ƀîţš⟧'
    """
    return f"⟦{_POINT.sub(',', _changed(text, _ACCENTED))}⟧" if text.strip() else text


def mirrored(text: str) -> str:
    """In letters that run from right to left.

    >>> mirrored("a %(kind)s")
    'א %(kind)s'
    """
    return _changed(text, _MIRRORED)


def between_tags(rendered: str, change: Callable[[str], str]) -> str:
    """HTML with its text changed, but for code and formulas.

    >>> between_tags("<p>a <code>int</code> b</p>", str.upper)
    '<p>A <code>int</code> B</p>'
    """
    return "".join(
        piece if i % 2 else "".join(t if j % 2 else change(t) for j, t in enumerate(_TAG.split(piece)))
        for i, piece in enumerate(_CODE.split(rendered))
    )


def _changed(text: str, letters: dict[int, int]) -> str:
    pieces = _KEPT.split(text)
    return "".join(piece if i % 2 else piece.translate(letters) for i, piece in enumerate(pieces))
