"""What the style guide shows beside the specimens: the tokens of the style sheet, with their contrasts."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from typing import Any

from app.assets import STATIC
from app.views.render import Asked, ask, problems_for_people, reveal, show
from lessons.catalogue import course, lesson_slugs, load_lesson
from lessons.kit.controls import ControlError
from lessons.kit.job import State
from lessons.kit.source import source_named

SPECIMEN = "specimen"
SECTIONS = (
    ("colour", "Colour"),
    ("type", "Type"),
    ("space", "Space and motion"),
    ("figures", "Figures"),
    ("questions", "Questions and long computations"),
    ("prose", "Prose"),
    ("messages", "Messages"),
    ("page", "The page"),
)
GROUNDS = ("paper", "card")

_DECLARATION = re.compile(r"--([\w-]+):\s*([^;]+);")
_OKLCH = re.compile(r"oklch\(([\d.]+)%\s+([\d.]+)\s+([\d.]+)\)")
_REFERENCE = re.compile(r"var\(--([\w-]+)\)")


@dataclass(frozen=True, slots=True)
class Token:
    """A custom property of `:root`; of a colour, `light` and `dark` are sRGB with channels from 0 to 1."""

    name: str
    value: str
    light: tuple[float, float, float] | None = None
    dark: tuple[float, float, float] | None = None


@functools.cache
def tokens() -> dict[str, Token]:
    """The tokens as `tokens.css` declares them, in its order."""
    sheet = re.sub(r"/\*.*?\*/", "", (STATIC / "css" / "tokens.css").read_text("utf-8"), flags=re.DOTALL)
    declared = dict(_DECLARATION.findall(sheet[: sheet.index("}")]))
    return {name: _token(name, value, declared) for name, value in declared.items()}


def contrast(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """The ratio of WCAG 2.2 for two sRGB colours."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def srgb(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    """OKLCH to sRGB (CSS Color 4), clipped as browsers clip it."""
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    level = lightness / 100
    long = (level + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (level - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (level - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        _encoded(4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short),
        _encoded(-1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short),
        _encoded(-0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short),
    )


def guide(root_path: str) -> dict[str, Any]:
    """Everything that the template needs."""
    specimen = load_lesson(SPECIMEN)
    colours = [token for token in tokens().values() if token.light]
    return {
        "course": course(),
        "lesson": specimen,
        "sections": [
            {"slug": slug, "title": title, "short": title, "number": f"{i:02}"}
            for i, (slug, title) in enumerate(SECTIONS, 1)
        ],
        "colours": colours,
        "measures": [token for token in tokens().values() if not token.light],
        "grounds": GROUNDS,
        "ratios": {token.name: _ratios(token) for token in colours},
        "shown": {
            name: show(specimen, figure, figure.controls(), root_path)
            for name, figure in specimen.figures.items()
        },
        "questions": _questions(root_path),
        "job": next(iter(specimen.jobs.values())),
        "job_state": State(True, 0.4, ({"number": 1, "square": 1}, {"number": 2, "square": 4}), 41.0),
        "listing_of": source_named("quant_core.methods.metrics.sqnr_db"),
        "problems": _problems(),
    }


def _token(name: str, value: str, declared: dict[str, str]) -> Token:
    resolved = _REFERENCE.sub(lambda match: declared[match[1]], value)
    pair = [srgb(*map(float, found)) for found in _OKLCH.findall(resolved)]
    return Token(name, value, *pair) if len(pair) == 2 else Token(name, value)


def _ratios(token: Token) -> dict[str, dict[str, float]]:
    """Contrast with each ground, by scheme."""
    return {
        scheme: {
            ground: contrast(getattr(token, scheme), getattr(tokens()[ground], scheme)) for ground in GROUNDS
        }
        for scheme in ("light", "dark")
    }


def _questions(root_path: str) -> list[Asked]:
    """One before its guess, one for each verdict on a guess, and one that was skipped; each another one."""
    asked = [load_lesson(slug) for slug in lesson_slugs()]
    left = [(lesson, name) for lesson in asked for name in lesson.questions]
    shown = [ask(*left.pop(0), root_path)]
    seen: set[str] = set()
    for lesson, name in left[:]:
        question = lesson.questions[name]
        for guess in question.widget.states():
            found = reveal(lesson, name, guess, root_path)
            assert found.reveal is not None
            if found.reveal.verdict not in seen:
                seen.add(found.reveal.verdict)
                shown.append(found)
                left.remove((lesson, name))
                break
    return [*shown, reveal(*left[0], None, root_path)]


def _problems() -> list[dict[str, Any]]:
    """What a figure says of an address with three mistakes, one of them near to a name."""
    figure = next(iter(load_lesson(SPECIMEN).figures.values()))
    try:
        figure.controls.parse([("bits", "99"), ("shapes", "sine"), ("scheme", "")])
    except ControlError as error:
        text = load_lesson(SPECIMEN).texts[figure.name]
        return [problem | {"figure": figure.label} for problem in problems_for_people(error, text)]
    raise AssertionError("the specimen accepts every address")


def _luminance(colour: tuple[float, float, float]) -> float:
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _encoded(linear: float) -> float:
    clipped = min(1.0, max(0.0, linear))
    return 12.92 * clipped if clipped <= 0.0031308 else 1.055 * clipped ** (1 / 2.4) - 0.055
