"""Generate docs/figures.md and the figure sections of docs/accessibility.md.

Run it as `make docs`. Names, ranges, read-outs and announced sentences come from the figures; other
paragraphs in a figure's section are kept.

    python scripts/figure_reference.py [--check]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lessons.catalogue import Lesson, load_lesson  # noqa: E402
from lessons.kit.controls import Choice, FigureControls, Slider, Text, Widget, as_parameter  # noqa: E402

FIGURES = ROOT / "docs" / "figures.md"
ACCESSIBILITY = ROOT / "docs" / "accessibility.md"
WIDTH = 150
SPREAD = 12
"""Number of states of a control that are tried: read-outs change with options, not with every number."""

_SECTION = re.compile(r"^#{2,3} FIG\.\w+ `(\w+)`", re.MULTILINE)


def main() -> int:
    """Write both documents, or with --check name the stale ones."""
    lesson = load_lesson("quantization")
    pages = {
        FIGURES: figures_page(lesson, FIGURES.read_text("utf-8")),
        ACCESSIBILITY: accessibility_page(lesson, ACCESSIBILITY.read_text("utf-8")),
    }
    stale = [path for path, page in pages.items() if path.read_text("utf-8") != page]
    for path in stale:
        if "--check" in sys.argv[1:]:
            print(f"{path.relative_to(ROOT)} is stale; run `make docs`")
        else:
            path.write_text(pages[path], "utf-8")
    return 1 if stale and "--check" in sys.argv[1:] else 0


def figures_page(lesson: Lesson, written: str) -> str:
    """docs/figures.md: each figure's id, its controls with their ranges, its read-outs."""
    head, _, _ = written.partition("\n## FIG.")
    asked = [lesson.figures[name].label for name in lesson.figures if name in lesson.questions]
    head = re.sub(r"FIG\.\w+, FIG[^\n]*(\n[^\n]+)* have one\.", f"{_listed(asked)} have one.", head)
    notes = _written_notes(written, ("| ", "Read-outs:"))
    return "\n".join([head, *(_contract(lesson, name, notes.get(name, [])) for name in lesson.figures)])


def _contract(lesson: Lesson, name: str, notes: list[str]) -> str:
    figure = lesson.figures[name]
    rows = [
        f"| `{key}` | {widget.allowed()} | {as_parameter(getattr(figure.controls(), key)) or 'empty'} |"
        for key, widget in figure.controls.widgets().items()
    ]
    table = "\n".join(["| control | allowed | default |", "|---|---|---|", *rows])
    names = ", ".join(f"`{readout}`" for readout in read_outs(lesson, name))
    title = lesson.texts[name].title.rstrip(".")
    parts = [
        f"## {figure.label} `{name}` · `#{figure.id}`",
        f"{title}." if title[-1] not in "?!" else title,
        table,
        *[note for note in notes if note.rstrip(".?!") != title.rstrip("?!")],
        f"Read-outs: {names}.",
    ]
    return "\n\n".join(parts) + "\n"


def read_outs(lesson: Lesson, name: str) -> list[str]:
    """The names of a figure's read-outs in all states."""
    figure = lesson.figures[name]
    shown = [
        readout.name for state in some_states(figure.controls) for readout in figure.view(state).readouts
    ]
    return list(dict.fromkeys(shown))


def some_states(controls: type[FigureControls]) -> Iterator[FigureControls]:
    """The default, and each control through a dozen of its states."""
    yield controls()
    for name, widget in controls.widgets().items():
        values = widget.states()
        for value in values[:: max(1, len(values) // SPREAD)]:
            yield controls.parse([(name, as_parameter(value))])


def accessibility_page(lesson: Lesson, written: str) -> str:
    """docs/accessibility.md with its sections on figures: controls in order, and the announced sentence."""
    head, _, rest = written.partition("\n### FIG.")
    _, _, tail = rest.partition("\n## ")
    notes = _written_notes(f"### FIG.{rest.partition(chr(10) + '## ')[0]}", ("Controls: ", "> "))
    sections = [_section(lesson, name, notes.get(name, [])) for name in lesson.figures]
    return "\n".join([head, *sections, f"## {tail}"])


def _section(lesson: Lesson, name: str, notes: list[str]) -> str:
    figure, text = lesson.figures[name], lesson.texts[name]
    widgets = figure.controls.widgets().items()
    controls = " · ".join(f"{text.control(key)} ({kind(widget)})" for key, widget in widgets)
    announced = text.sentence(figure.view(figure.controls()).description[0])
    parts = [f"### {figure.label} `{name}`", *notes, f"Controls: {controls}.", f"> {announced}"]
    return "\n\n".join(parts) + "\n"


def kind(widget: Widget) -> str:
    """The kind of a control, as in the table of keys."""
    if isinstance(widget, Slider):
        return "slider"
    if isinstance(widget, Text):
        return "text"
    if isinstance(widget, Choice) and widget.drawn:
        return "drawn"
    return "menu" if widget.style == "menu" else "options"


def _written_notes(written: str, generated: tuple[str, ...]) -> dict[str, list[str]]:
    """The paragraphs of each figure's section that are not generated."""
    starts = list(_SECTION.finditer(written))
    ends = [*(match.start() for match in starts[1:]), len(written)]
    return {
        match[1]: _paragraphs(written[match.end() : end], generated)
        for match, end in zip(starts, ends, strict=True)
    }


def _paragraphs(section: str, generated: Iterable[str]) -> list[str]:
    _, _, body = section.partition("\n")
    return [part for part in body.strip().split("\n\n") if part and not part.startswith(tuple(generated))]


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


if __name__ == "__main__":
    sys.exit(main())
