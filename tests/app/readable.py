"""Every text of a page that readers see or hear, in elements and attributes, with its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
SPOKEN_OR_SHOWN = (
    "alt",
    "title",
    "aria-label",
    "aria-valuetext",
    "placeholder",
    "label",
    "data-announce",
    "data-copied",
)
LISTS = ("data-labels", "data-texts")
"""Attributes that scripts print."""

CODE = {"code", "pre", "script", "style", "math", "textarea"}


@dataclass(frozen=True)
class Text:
    """A text with its place: the path of elements, or an attribute."""

    text: str
    where: str
    tags: tuple[str, ...]
    classes: frozenset[str]


def _printed(spec: Any, key: str = "") -> Iterator[str]:
    """The texts that Plotly shows of a chart's specification."""
    if isinstance(spec, dict):
        for name, value in spec.items():
            if (key, name) != ("shapes", "name"):  # a name for style sheets
                yield from _printed(value, name)
    elif isinstance(spec, list):
        for value in spec:
            yield from _printed(value, key)
    elif isinstance(spec, str) and key in ("text", "ticktext", "hovertext", "name"):
        yield spec


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.stack: list[tuple[str, frozenset[str]]] = []
        self.found: list[Text] = []

    def add(self, text: str, tag: str = "") -> None:
        if text.strip():
            tags = tuple(name for name, _ in self.stack)
            classes = frozenset().union(*(names for _, names in self.stack))
            self.found.append(Text(" ".join(text.split()), tag or " ".join(tags[-3:]), tags, classes))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.stack.append((tag, frozenset(given.get("class", "").split())))
        for name in SPOKEN_OR_SHOWN:
            if name in given:
                self.add(given[name], f"{tag}[{name}]")
        for name in LISTS:
            printed = given.get(name, "")
            for text in json.loads(printed) if printed.startswith("[") else printed.split("|"):
                self.add(text, f"{tag}[{name}]")
        if tag == "meta" and given.get("name") == "description":
            self.add(given["content"], "meta[description]")
        if tag in VOID:
            self.stack.pop()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        if any(name == tag for name, _ in self.stack):
            while self.stack.pop()[0] != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1][0] == "template" and data.startswith('{"data"'):
            for text in _printed(json.loads(data)):
                self.add(text, "chart")
        else:
            self.add(data)


def texts(markup: str) -> Iterator[Text]:
    """Every text of a page that is seen or spoken, without code and formulas."""
    reader = _Reader()
    reader.feed(markup)
    return (text for text in reader.found if not CODE & set(text.tags))
