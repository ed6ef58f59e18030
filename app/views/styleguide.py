"""What the style guide shows beside the specimens: the tokens of the style sheet, with their contrasts."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import tinycss2
from coloraide import Color

from app.cache.response import CachedResponse
from app.export.sheets import Tokens, plain, root_tokens
from app.views.environment import html
from app.views.figure import figure_context
from app.views.lesson import Teaser, defaults_of
from app.views.problems import Problem, problems_for_people
from app.views.question import QuestionContext, ask, reveal
from lessons.catalogue import lesson_slugs, load_lesson
from lessons.kit.arrangement import FigureQuery
from lessons.kit.controls import ControlError
from lessons.kit.job import JobState
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


@dataclass(frozen=True, slots=True)
class Token:
    """A custom property of `:root`; of a colour, `light` and `dark` are #rrggbb."""

    name: str
    value: str
    light: str | None = None
    dark: str | None = None


@functools.cache
def tokens() -> dict[str, Token]:
    """The tokens as `tokens.css` declares them, in its order."""
    declared = root_tokens()
    return {name.removeprefix("--"): _token(name.removeprefix("--"), declared) for name in declared}


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2.2 for two colours."""
    ratio: float = Color(one).contrast(other, method="wcag21")
    return ratio


def styleguide_page() -> CachedResponse:
    """Every component in every state."""
    specimen = load_lesson(SPECIMEN)
    colours = [token for token in tokens().values() if token.light]
    return html(
        "styleguide.jinja",
        lesson=specimen,
        sections=[
            {"slug": slug, "title": title, "short": title, "number": f"{i:02}", "minutes": 1}
            for i, (slug, title) in enumerate(SECTIONS, 1)
        ],
        colours=colours,
        measures=[token for token in tokens().values() if not token.light],
        grounds=GROUNDS,
        ratios={token.name: _ratios(token) for token in colours},
        figures={
            name: figure_context(specimen, name, FigureQuery(figure.controls()))
            for name, figure in specimen.figures.items()
        },
        questions=_questions(),
        job=next(iter(specimen.jobs.values())),
        job_state=JobState(True, 0.4, ({"number": 1, "square": 1}, {"number": 2, "square": 4}), 41.0),
        listing_of=source_named("quant_core.methods.metrics.sqnr_db"),
        problems=_problems(),
        wave=Teaser(specimen, specimen.workshop[0], defaults_of(specimen)),
    )


def _token(name: str, declared: dict[str, Tokens]) -> Token:
    value = declared[f"--{name}"]
    light, dark = plain(value, declared, "light"), plain(value, declared, "dark")
    written = tinycss2.serialize(value).strip()
    return Token(name, written, light, dark) if light.startswith("#") else Token(name, written)


def _ratios(token: Token) -> dict[str, dict[str, float]]:
    """Contrast with each ground, by scheme."""
    return {
        scheme: {
            ground: contrast(getattr(token, scheme), getattr(tokens()[ground], scheme)) for ground in GROUNDS
        }
        for scheme in ("light", "dark")
    }


def _questions() -> list[QuestionContext]:
    """One before its guess, one for each verdict on a guess, and one that was skipped; each another one."""
    lessons = [load_lesson(slug) for slug in lesson_slugs()]
    left = [(lesson, name) for lesson in lessons for name in lesson.questions]
    shown = [ask(*left.pop(0))]
    seen: set[str] = set()
    for lesson, name in left[:]:
        if seen == {"right", "close", "off"}:
            break  # trying all guesses of all questions takes a second
        question = lesson.questions[name]
        for guess in question.widget.states():
            found = reveal(lesson, name, guess)
            assert found.reveal is not None
            if found.reveal.verdict not in seen:
                seen.add(found.reveal.verdict)
                shown.append(found)
                left.remove((lesson, name))
                break
    return [*shown, reveal(*left[0], None)]


def _problems() -> list[Problem]:
    """What a figure says of an address with three mistakes, one of them near to a name."""
    figure = next(iter(load_lesson(SPECIMEN).figures.values()))
    try:
        figure.controls.parse([("bits", "99"), ("shapes", "sine"), ("scheme", "")])
    except ControlError as error:
        return problems_for_people(error, load_lesson(SPECIMEN).texts[figure.name], figure.label)
    raise AssertionError("the specimen accepts every address")
