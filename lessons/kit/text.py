"""The words of a figure: labels, sentences and notes, read from a TOML file of one language.

Code refers to words by key only, so that a translation is a new folder and no line of code.
A missing word is an error with the file's name in it, never an empty label. `{{ id }}` is a claim.
"""

from __future__ import annotations

import html
import re
import tomllib
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from lessons.kit.claims import Claim, named_in, with_claims
from lessons.kit.controls import Choice, Text, Widget
from lessons.kit.language import current_language, gettext
from lessons.kit.numbers import hold_units
from lessons.kit.view import Sentence

_SLOT = re.compile(r"\{\w+\}")


class MissingText(KeyError):
    """A word that code refers to and the text file does not have."""


class FigureText:
    """The text file of one figure in one language.

    Tables of the file: `title`, `legend` (key → label), `controls.NAME` (`label`, `hint`, `options`),
    `readouts.NAME` (`label`, `note`), `sentences`, `table` (`caption`, `columns`), `words`, `units`;
    of a question `thoughts`, of a task `slips`.
    """

    def __init__(
        self, content: dict[str, Any], origin: str, claims: Mapping[str, Claim] | None = None
    ) -> None:
        self._claims = claims or {}
        self._marked = content
        self._origin = origin
        self._content: dict[str, Any] = self._with_claims(content)
        self.claims: tuple[str, ...] = tuple(_named(content))

    @classmethod
    def read(cls, path: Path, claims: Mapping[str, Claim] | None = None) -> FigureText:
        content = current_language().words(tomllib.loads(hold_units(path.read_text("utf-8"))))
        return cls(content, path.name, claims)

    @property
    def title(self) -> str:
        return str(self._find("title"))

    @property
    def legend(self) -> dict[str, str]:
        return dict(self._content.get("legend", {}))

    @property
    def words(self) -> dict[str, str]:
        return dict(self._content.get("words", {}))

    def word(self, key: str, **values: str) -> str:
        return self._fill(self._find("words", key), values)

    def filled(self, *keys: str, **values: str) -> str:
        """An entry whose slots are filled."""
        return self._fill(self._find(*keys), values)

    def control(self, name: str) -> str:
        return str(self._find("controls", name, "label"))

    def hint(self, name: str) -> str:
        return str(self._content.get("controls", {}).get(name, {}).get("hint", ""))

    def missing(self, name: str, option: str) -> str:
        """Why an option cannot be chosen on a host that lacks what it needs."""
        return str(self._find("controls", name, "missing", option))

    def option(self, name: str, value: str, widget: Widget) -> str:
        """The label of an option: the text's own word, else the name that the data gives it.

        Options such as `byte-4` may have one word for all, `byte = "byte {number}"`.
        """
        options = self._content.get("controls", {}).get(name, {}).get("options", {})
        if value in options:
            return str(options[value])
        kind, _, number = value.rpartition("-")
        if kind in options and number.isdecimal():
            return self._fill(options[kind], {"number": number})
        if isinstance(widget, Choice) and widget.labels and value in widget.labels:
            return widget.labels[value]
        if isinstance(widget, Text) or (isinstance(widget, Choice) and widget.labels is None):
            return value
        raise MissingText(f"{self._origin}: controls.{name}.options has no {value!r}")

    def readout(self, name: str) -> str:
        return str(self._find("readouts", name, "label"))

    def note(self, name: str) -> str:
        return str(self._content.get("readouts", {}).get(name, {}).get("note", ""))

    def unit(self, unit: str) -> str:
        """A unit in the current language: the figure's own word for it, else the translated symbol."""
        own = self._content.get("units", {}).get(unit)
        return str(own) if own else gettext(unit) if unit else ""

    def sentence(self, sentence: Sentence) -> str:
        return self._fill(self._find("sentences", sentence.key), sentence.slots)

    def finding(self, sentence: Sentence, accents: Container[str]) -> str:
        """The sentence as HTML, with the values of the slots in `accents` set off."""
        template = html.escape(self._find("sentences", sentence.key), quote=False)
        values = {name: html.escape(value, quote=False) for name, value in sentence.slots.items()}
        return self._fill(template, {n: f"<b>{v}</b>" if n in accents else v for n, v in values.items()})

    def linked(self, sentence: Sentence, sources_url: str) -> str:
        """The sentence as HTML, its claims leading to their sources."""
        marked = self._marked.get("sentences", {}).get(sentence.key, "")
        if not any(named_in(marked)):
            return html.escape(self.sentence(sentence), quote=False)
        shown = with_claims(
            html.escape(marked, quote=False), self._claims, lambda c: c.link(sources_url), self._origin
        )
        return self._fill(shown, {name: html.escape(v, quote=False) for name, v in sentence.slots.items()})

    def linked_note(self, name: str, sources_url: str) -> str:
        """The note of a read-out as HTML, its claims leading to their sources."""
        note = html.escape(self._marked.get("readouts", {}).get(name, {}).get("note", ""), quote=False)
        return with_claims(note, self._claims, lambda c: c.link(sources_url), self._origin)

    @property
    def table_caption(self) -> str:
        return str(self._find("table", "caption"))

    def open_label(self, name: str) -> str:
        """The label of a step of a task, an ellipsis in place of each number; "" where there is none."""
        return _SLOT.sub("…", str(self._content.get("controls", {}).get(name, {}).get("label", "")))

    def options(self, name: str) -> dict[str, str]:
        """The labels of a control's options, as far as the text has them."""
        return dict(self._content.get("controls", {}).get(name, {}).get("options", {}))

    def thought(self, key: str) -> str:
        """The thought behind a wrong guess, as a teacher reads it."""
        return str(self._find("thoughts", key))

    def slip(self, key: str) -> str:
        """A known mistake in a step of a task, as a teacher reads it."""
        return str(self._find("slips", key))

    def column(self, name: str) -> str:
        return str(self._find("table", "columns", name))

    def _with_claims(self, content: Any) -> Any:
        if isinstance(content, dict):
            return {key: self._with_claims(value) for key, value in content.items()}
        if isinstance(content, str):
            return with_claims(content, self._claims, lambda claim: claim.text, self._origin)
        return content

    def _find(self, *keys: str) -> Any:
        found: Any = self._content
        for key in keys:
            if not isinstance(found, dict) or key not in found:
                raise MissingText(f"{self._origin}: no {'.'.join(keys)}")
            found = found[key]
        return found

    def _fill(self, template: str, values: dict[str, str]) -> str:
        try:
            return template.format(**values)
        except (KeyError, IndexError) as missing:
            raise MissingText(f"{self._origin}: {template!r} needs {missing}") from None


def _named(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        for value in content.values():
            yield from _named(value)
    elif isinstance(content, str):
        yield from named_in(content)
