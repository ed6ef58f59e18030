"""Prose: Markdown files with a front matter, claims by id, and figures placed by a directive.

`[[figure: rtn]]` on a line of its own places a figure, `[[question: rtn]]` before it the question that
covers it until there is a guess, `[[workshop: gptq]]` the way to a page of the
workshop, `[[source: quant_core.methods.rtn.round_to_nearest]]` a function's own source; `{{ claim-id }}`
prints a claim of `claims.toml` and links to its source. Between `:::mistake` and `:::` stand a common mistake
and its correction, with the evidence; between `:::note TERM` and `:::` a definition. Both belong to the
paragraph before them. A summary takes a figure apart: `[[drawing: rtn?bits=3]]`, `[[formulas: rtn]]` and
`[[description: fit]]` show one piece of it, in the state that is named as in an address. There is nothing
else: no HTML, no layout.
"""

from __future__ import annotations

import html
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from markdown_it import MarkdownIt
from markdown_it.token import Token
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
    rf"^\[\[(figure|question|workshop|source|{'|'.join(PIECES)}): ([\w.-]+(?:\?[\w=&.-]+)?)\]\]$",
    re.MULTILINE,
)
FRONT = ("title", "short", "summary", "lead", "headline", "headline_emphasis", "promise")
"""The fields of a front matter that are translated."""

_markdown = MarkdownIt(
    "commonmark",
    {"html": False, "highlight": lambda code, language, _: highlight(code) if language == "python" else ""},
)
NOTES = ("container_mistake_open", "container_note_open")
"""The blocks that a wide page has in its margin."""

_MISTAKE = re.compile(r'<div class="mistake">\n<p>(.*?)</p>\n<p>', re.DOTALL)


@dataclass(frozen=True, slots=True)
class SectionPart:
    """A part of a section: `kind` is "html", "figure", "question" or "workshop" (content: its name), "source"
    (a dotted name) or one of `PIECES` (content: a figure's name, and after a question mark its state).
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
    """A section of a lesson or another page of its prose: the front matter and the parts in order."""

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
        return self._placed("figure")

    @property
    def questions(self) -> tuple[str, ...]:
        """The figures that are covered by their question."""
        return self._placed("question")

    @property
    def workshop(self) -> tuple[str, ...]:
        """The pages of the workshop whose teasers it has."""
        return self._placed("workshop")

    def _placed(self, kind: str) -> tuple[str, ...]:
        return tuple(part.content for part in self.parts if part.kind == kind)


def read_section(
    path: Path, claims: Mapping[str, Claim], sources_url: str, *, headlines_only: bool = False
) -> Section:
    """Read one Markdown file. An unknown claim is an error that names the file.

    `headlines_only`: of its claims, only those that are headlines of the lesson become links.
    """
    _, matter, body = hold_units(path.read_text("utf-8")).split("+++\n", 2)
    front = _translated(tomllib.loads(matter), FRONT)
    used = tuple(named_in(matter + body))

    def shown(claim: Claim) -> str:
        is_plain = headlines_only and not claim.headline
        return html.escape(claim.text) if is_plain else claim.link(sources_url)

    def linked(text: str) -> str:
        return with_claims(text, claims, shown, path.name)

    front = {
        key: linked(html.escape(value, quote=False))
        if key == "lead"
        else with_claims(value, claims, lambda claim: claim.text, path.name)
        for key, value in front.items()
        if isinstance(value, str)
    }
    under_h1 = "headline" in front or "promise" in front
    parts = tuple(
        SectionPart(kind, linked(_as_html(content, under_h1)) if kind == "html" else content)
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
    """The entries of these names as the readers of a pseudo-language get them, at any depth."""
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


def _as_html(content: str, under_h1: bool) -> str:
    """Markdown as HTML. Under an h1, in the opening and on a workshop page, headings are one level up."""
    rendered = _mistakes(_tables_scroll(current_language().markup(_with_margins(content))))
    return rendered.replace("<h3>", "<h2>").replace("</h3>", "</h2>") if under_h1 else rendered


def _with_margins(content: str) -> str:
    """Markdown as HTML, each note in a group with the paragraph before it and the blocks that follow.

    A wide page has the notes of a group in its margin, at the height of that paragraph.
    """
    env: dict[str, Any] = {}
    rendered = [
        (block[0].type, _markdown.renderer.render(block, _markdown.options, env))
        for block in _blocks(_markdown.parse(content, env))
    ]
    groups: list[tuple[str, str, str]] = []  # before the notes, the notes, after them
    for i, (kind, block) in enumerate(rendered):
        before, notes, after = groups[-1] if groups else ("", "", "")
        if kind in NOTES and not after and groups:
            groups[-1] = before, notes + block, ""
        elif kind in NOTES:
            groups.append(("", block, ""))
        elif notes and not _is_note(rendered, i + (2 if kind == "heading_open" else 1)):
            groups[-1] = before, notes, after + block
        else:
            groups.append((block, "", ""))
    return "".join(_group(*group) for group in groups)


def _is_note(rendered: Sequence[tuple[str, str]], i: int) -> bool:
    return i < len(rendered) and rendered[i][0] in NOTES


def _group(before: str, notes: str, after: str) -> str:
    if not notes:
        return before
    after = f'<div class="rest">\n{after}</div>\n' if after else ""
    return f'<div class="noted">\n{before}<div class="margin">\n{notes}</div>\n{after}</div>\n'


def _blocks(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """The top-level blocks of a Markdown text."""
    block: list[Token] = []
    for token in tokens:
        block.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield block
            block = []


def _definition(_self: Any, tokens: Sequence[Token], i: int, _options: Any, _env: Any) -> str:
    """The opening or the end of a note, with the term that it explains."""
    if tokens[i].nesting < 0:
        return "</div>\n"
    term = html.escape(tokens[i].info.strip().partition(" ")[2])
    return f'<div class="definition" role="note">\n<p class="term">{term}</p>\n'


_markdown.enable("table").use(deflist_plugin).use(container_plugin, "mistake")
_markdown.use(container_plugin, "note", render=_definition)


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
