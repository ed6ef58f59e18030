"""Formulas: LaTeX in the view, MathML on the page, no script in between."""

from __future__ import annotations

import functools
import re

from latex2mathml.converter import convert

from lessons.kit.language import LEFT_TO_RIGHT, current_language


def mathml(latex: str) -> str:
    """Block MathML for a LaTeX formula. `latex` is written by our own code, never by a visitor."""
    return _mathml(latex, current_language().decimal)


@functools.lru_cache(maxsize=1024)
def _mathml(latex: str, decimal: str) -> str:
    """LaTeX knows only the decimal point: another mark is set afterwards, in the elements of numbers."""
    latex = latex.replace(LEFT_TO_RIGHT, "")
    if decimal == ".":
        return str(convert(latex, display="block"))
    pointed = convert(re.sub(rf"(?<=\d){re.escape(decimal)}(?=\d)", ".", latex), display="block")
    return re.sub(r"(?<=<mn>)[\d.]+", lambda number: number[0].replace(".", decimal), pointed)


def tex(printed: str) -> str:
    """A printed number for use inside LaTeX, which has its own minus sign and thin space.

    >>> tex('−0.12')
    '-0.12'
    """
    return (
        printed.replace("\u2212", "-")
        .replace("\u202f", r"\,")
        .replace("%", r"\%")
        .replace("×10", r"\times 10")
    )
