"""Prose: Markdown files with a front matter, claims by id, and figures placed by a directive.

`[[figure: rtn]]` on a line of its own places a figure, `[[late: measured]]` one whose drawing a lesson page
fetches when its reader is near; `[[source: quant_core.methods.rtn.round_to_nearest]]` shows a function's own
source; `{{ claim-id }}` prints a claim of `claims.toml` and links to its source. Between `:::mistake` and
`:::` stand a common mistake and its correction, with the evidence. A summary takes a figure
apart: `[[drawing: rtn?bits=3]]`, `[[formulas: rtn]]` and `[[description: fit]]` show one piece of it, in the
state that is named as in an address. There is nothing else: no HTML, no layout.
"""

from __future__ import annotations

import html
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from markdown_it import MarkdownIt
from mdit_py_plugins.container import container_plugin
from mdit_py_plugins.deflist import deflist_plugin

from lessons.kit.checked import checked
from lessons.kit.claims import Claim, named_in, with_claims
from lessons.kit.language import current_language, gettext
from lessons.kit.numbers import hold_units
from lessons.kit.source import highlight

PIECES = ("drawing", "formulas", "description")
"""What a summary may show of a figure."""

_DIRECTIVE = re.compile(
    rf"^\[\[(figure|late|source|{'|'.join(PIECES)}): ([\w.]+(?:\?[\w=&.-]+)?)\]\]$", re.MULTILINE
)
FRONT = ("title", "short", "summary", "lead", "headline", "headline_emphasis")
"""The fields of a front matter that are translated."""

_markdown = MarkdownIt(
    "commonmark",
    {"html": False, "highlight": lambda code, language, _: highlight(code) if language == "python" else ""},
)
_markdown.enable("table").use(deflist_plugin).use(container_plugin, "mistake")
_MISTAKE = re.compile(r'<div class="mistake">\n<p>(.*?)</p>\n<p>', re.DOTALL)


@dataclass(frozen=True, slots=True)
class SectionPart:
    """A part of a section: `kind` is "html", "figure" or "late" (content: its name), "source" (a dotted name)
    or one of `PIECES` (content: a figure's name, and after a question mark its state).
    """

    kind: str
    content: str

    @property
    def name(self) -> str:
        return self.content.partition("?")[0]

    @property
    def state(self) -> list[tuple[str, str]]:
        return parse_qsl(self.content.partition("?")[2])


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the lesson: its front matter and its parts in order."""

    slug: str
    title: str
    summary: str
    number: str
    front: Mapping[str, Any]
    parts: tuple[SectionPart, ...]
    claims: tuple[str, ...]

    @property
    def short(self) -> str:
        """Its short name, for the list of sections."""
        return str(self.front.get("short", self.title))

    @property
    def figures(self) -> tuple[str, ...]:
        return tuple(part.content for part in self.parts if part.kind in ("figure", "late"))

    @property
    def late(self) -> tuple[str, ...]:
        """Those whose drawing the lesson's page leaves out at first."""
        return tuple(part.content for part in self.parts if part.kind == "late")


def read_section(path: Path, claims: Mapping[str, Claim], sources_url: str) -> Section:
    """Read one Markdown file. An unknown claim is an error that names the file."""
    _, matter, body = hold_units(path.read_text("utf-8")).split("+++\n", 2)
    front = _translated(tomllib.loads(matter), FRONT)
    used = tuple(named_in(matter + body))

    def linked(text: str) -> str:
        return with_claims(text, claims, lambda claim: claim.link(sources_url), path.name)

    front = {
        key: linked(html.escape(value, quote=False))
        if key == "lead"
        else with_claims(value, claims, lambda claim: claim.text, path.name)
        for key, value in front.items()
        if isinstance(value, str)
    }
    parts = tuple(
        SectionPart(kind, linked(_as_html(content, "headline" in front)) if kind == "html" else content)
        for kind, content in _split(body)
    )
    return Section(
        front["slug"],
        front["title"],
        front.get("summary", ""),
        front.get("number", ""),
        front,
        parts,
        used,
    )


def read_claims(path: Path) -> dict[str, Claim]:
    """The claim ledger: one TOML table for each claim."""
    ledger = read_translated(path, ("value", "source", "on"))
    entries = {key: {"id": key} | entry for key, entry in ledger.items()}
    return checked(dict[str, Claim], entries, f"{path.parent.name}/{path.name}")


def read_translated(path: Path, words: Sequence[str]) -> dict[str, Any]:
    """A TOML file, the entries of these names in the current language.

    Its structure and the English words are in the file; `TAG/NAME.toml` beside it holds a translation of the
    words, table by table.
    """
    content: dict[str, Any] = tomllib.loads(hold_units(path.read_text("utf-8")))
    translation = path.parent / current_language().tag / path.name
    if translation.exists():
        content = _merged(content, tomllib.loads(hold_units(translation.read_text("utf-8"))))
    translated: dict[str, Any] = _translated(content, words)
    return translated


def _merged(content: Any, over: Any) -> Any:
    if isinstance(content, dict):
        return content | {key: _merged(content[key], value) for key, value in over.items() if key in content}
    if isinstance(content, list) and content and isinstance(content[0], dict):
        return [_merged(entry, new) for entry, new in zip(content, over, strict=True)]
    return over


def _translated(content: Any, words: Sequence[str]) -> Any:
    """The entries of these names as the readers of a pseudo-language get them, however deep they stand."""
    if isinstance(content, list):
        return [_translated(entry, words) for entry in content]
    if not isinstance(content, dict):
        return content
    word = current_language().word
    return {
        key: word(value) if key in words and isinstance(value, str) else _translated(value, words)
        for key, value in content.items()
    }


def _split(body: str) -> list[tuple[str, str]]:
    pieces: list[tuple[str, str]] = []
    position = 0
    for match in _DIRECTIVE.finditer(body):
        pieces += [("html", body[position : match.start()]), (match[1], match[2])]
        position = match.end()
    pieces.append(("html", body[position:]))
    return [(kind, content) for kind, content in pieces if content.strip()]


def _as_html(content: str, opens: bool) -> str:
    """Markdown as HTML. In the section that opens the lesson, under the h1, headings are one level up."""
    rendered = _mistakes(_tables_scroll(current_language().markup(_markdown.render(content))))
    return rendered.replace("<h3>", "<h2>").replace("</h3>", "</h2>") if opens else rendered


def _mistakes(rendered: str) -> str:
    """Give the two paragraphs of a popular mistake their class names: the claim, then the correction."""
    said, fact = gettext("Often said:"), gettext("In fact:")
    named = rf'<div class="mistake" role="note">\n<p><b>{said}</b> \1</p>\n<p><b>{fact}</b> '
    return _MISTAKE.sub(named, rendered)


def _tables_scroll(rendered: str) -> str:
    """A wide table scrolls inside its own box, reachable by keyboard, instead of widening the page.

    Column alignment becomes a class: the page's policy allows no style attributes.
    """
    rendered = rendered.replace(' style="text-align:right"', ' class="numeric"').replace(
        ' style="text-align:left"', ""
    )
    box = '<div class="table-scroll" tabindex="0" role="region" aria-label="' + gettext("table") + '"><table>'
    return rendered.replace("<table>", box).replace("</table>", "</table></div>")
