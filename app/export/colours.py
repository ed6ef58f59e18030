"""Our style sheets for who cannot read them: rules of SVG with plain colours, as drawing programs know them.

The tokens are `light-dark()` pairs in OKLCH behind custom properties. A file that leaves the page takes one
side of each pair, as hexadecimal sRGB.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from app.assets import STATIC
from lessons.catalogue import style_sheets

Scheme = Literal["light", "dark"]

PROPERTIES = frozenset(
    (
        "fill",
        "fill-opacity",
        "stroke",
        "stroke-opacity",
        "stroke-width",
        "stroke-dasharray",
        "stroke-linejoin",
        "stroke-linecap",
        "opacity",
        "paint-order",
        "vector-effect",
        "font",
        "font-size",
        "font-family",
        "font-weight",
        "font-style",
        "letter-spacing",
        "font-variant-numeric",
        "text-anchor",
        "dominant-baseline",
        "transform",
        "overflow",
        "x",
        "y",
        "r",
        "width",
        "height",
    )
)
"""What of our rules an SVG file can use."""

_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_VARIABLE = re.compile(r"var\((--[\w-]+)\)")
_PAIR = re.compile(r"light-dark\(((?:[^()]|\([^()]*\))*?),\s*((?:[^()]|\([^()]*\))*)\)")
_OKLCH = re.compile(r"oklch\(([\d.]+)%\s+([\d.]+)\s+([\d.]+)\)")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a style sheet: one selector, its declarations as they are written."""

    selector: str
    declarations: Mapping[str, str]


@functools.cache
def rules(figure: str) -> tuple[Rule, ...]:
    """The rules that hold for a figure on a wide screen, in their order; those under a condition are left."""
    folder = STATIC / "css"
    files = [folder / f"{name}.css" for name in ("tokens", "figure", "chart")]
    files += [file for file, _ in style_sheets() if file.parent.name == figure]
    sheet = re.sub(r"/\*.*?\*/", "", "\n".join(file.read_text("utf-8") for file in files), flags=re.DOTALL)
    return tuple(_rules(_unconditional(sheet)))


@functools.cache
def tokens(figure: str) -> dict[str, str]:
    """Custom properties by name, as they are written: those of the page, then those of the figure."""
    found: dict[str, str] = {}
    for rule in rules(figure):
        if rule.selector in (":root", f".fig-{figure}"):
            found |= {name: value for name, value in rule.declarations.items() if name.startswith("--")}
    return found


def plain(value: str, figure: str, scheme: Scheme) -> str:
    """A value without custom properties, pairs and OKLCH.

    >>> plain("1px solid var(--ink)", "rtn", "light")
    '1px solid #1d1a15'
    """
    while variable := _VARIABLE.search(value):
        value = value.replace(variable[0], tokens(figure)[variable[1]])
    while pair := _PAIR.search(value):
        value = value.replace(pair[0], pair[1 if scheme == "light" else 2])
    return _OKLCH.sub(lambda match: hexadecimal(*(float(part) for part in match.groups())), value)


def hexadecimal(lightness: float, chroma: float, hue: float) -> str:
    """OKLCH (lightness in per cent, hue in degrees) as #rrggbb; what sRGB does not have is clipped.

    References
    ----------
    B. Ottosson, "A perceptual color space for image processing", 2020; the matrices are those of CSS Color 4.

    >>> hexadecimal(100, 0, 0), hexadecimal(62.8, .2577, 29.23)
    ('#ffffff', '#ff0000')
    """
    a, b = (chroma * part(math.radians(hue)) for part in (math.cos, math.sin))
    long = (lightness / 100 + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness / 100 - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness / 100 - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _gamma(min(max(part, 0.0), 1.0))):02x}" for part in linear)


def _gamma(linear: float) -> float:
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


def _unconditional(sheet: str) -> str:
    """A style sheet without its @-rules, whose conditions a file cannot ask."""
    kept, at = [], 0
    while (start := sheet.find("@", at)) >= 0:
        kept.append(sheet[at:start])
        depth, at = 0, start
        while True:
            depth += {"{": 1, "}": -1}.get(sheet[at], 0)
            at += 1
            if depth == 0 and sheet[at - 1] in "};":
                break
    return "".join([*kept, sheet[at:]])


def _rules(sheet: str) -> Iterator[Rule]:
    for selectors, body in _RULE.findall(sheet):
        parts = [part.partition(":") for part in body.split(";") if ":" in part]
        declarations = {name.strip(): value.replace("!important", "").strip() for name, _, value in parts}
        for selector in re.split(r",(?![^()]*\))", selectors):
            yield Rule(selector.strip(), declarations)
