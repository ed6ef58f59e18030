"""The current language: its messages, numbers and dates, and the languages that only tests read.

The language is part of the address (`/de/lessons/…`; English has no prefix). A response is made under
`with use_language("de")`; whatever prints a message or a number asks `current_language()`. Words of a lesson
are files in a folder of the language's tag; messages of the interface are `lessons/locale/TAG.po`.

Two pseudo-languages are made on the fly from English (`lessons.kit.pseudo`): one with an accent on every
letter, one that runs from right to left. What stays plain in them no translator can reach.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date
from gettext import c2py
from pathlib import Path
from typing import Any

from babel import Locale
from babel.dates import format_date
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from lessons.kit import pseudo

SOURCE = "en"
"""The language in which everything is written first."""

PSEUDO = {"en-XA": (pseudo.accented, "de"), "ar-XB": (pseudo.mirrored, "he")}
"""CLDR's tags of pseudo-languages: what each does to a text, and whose numbers and direction it has."""

CATALOGUES = Path(__file__).parents[1] / "locale"
NARROW_SPACE = "\u202f"
LEFT_TO_RIGHT = "\u200e"


@dataclass(frozen=True, eq=False)
class Language:
    """One language. `messages` holds its translations: a text, or for a plural the texts of its forms."""

    tag: str
    locale: Locale
    messages: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    plural: Callable[[int], int] = lambda count: int(count != 1)

    @functools.cached_property
    def is_source(self) -> bool:
        return self.tag == SOURCE

    @property
    def prefix(self) -> str:
        """The beginning of its addresses."""
        return "" if self.is_source else f"/{self.tag}"

    @functools.cached_property
    def direction(self) -> str:
        """`ltr` or `rtl`."""
        return str(self.locale.text_direction)

    @property
    def name(self) -> str:
        """Its name in the language itself."""
        return str(self.locale.get_display_name(self.locale) or self.tag)

    def gettext(self, message: str) -> str:
        found = self.messages.get(message, message)
        return self.word(found if isinstance(found, str) else found[0])

    def ngettext(self, singular: str, plural: str, count: int) -> str:
        found = self.messages.get(singular)
        if not isinstance(found, tuple):
            return self.gettext(singular if count == 1 else plural)
        return found[self.plural(count)]

    def word(self, text: str) -> str:
        """A text of a lesson's files as its readers get it: changed only in the pseudo-languages."""
        return PSEUDO[self.tag][0](text) if self.tag in PSEUDO else text

    def markup(self, rendered: str) -> str:
        """HTML of a lesson's files as its readers get it: text between tags, except code and formulas."""
        return pseudo.between_tags(rendered, self.word) if self.tag in PSEUDO else rendered

    def words(self, content: Any) -> Any:
        """The content of a TOML file as its readers get it: every string in it."""
        if self.tag not in PSEUDO:
            return content
        if isinstance(content, dict):
            return {key: self.words(value) for key, value in content.items()}
        if isinstance(content, list):
            return [self.words(value) for value in content]
        return self.word(content) if isinstance(content, str) else content

    def number(self, text: str) -> str:
        """A number printed the English way, rewritten for this language.

        >>> Language("de", Locale("de")).number("12\u202f345.6")
        '12\u202f345,6'
        """
        return text if self.is_source else text.translate(_marks(self.locale))

    @property
    def decimal(self) -> str:
        """The mark before the first decimal."""
        return "." if self.is_source else _marks(self.locale)[ord(".")]

    def percent(self, number: str) -> str:
        """A number that is already in the way of this language, as per cent.

        >>> Language("tr", Locale("tr")).percent("25,3")
        '%25,3'
        """
        pattern = self.locale.percent_formats[None].pattern.partition(";")[0]
        if self.is_source or pattern.endswith("%"):
            return f"{number}{NARROW_SPACE}%"  # our house style for every language with the sign behind
        before, after = pattern.split("#,##0")
        return f"{before}{number}{after}"

    def minus(self, sign: str) -> str:
        """Between letters that run from right to left a sign would end up behind its number."""
        return LEFT_TO_RIGHT + sign if self.direction == "rtl" else sign

    def coordinates(self, number: str) -> str:
        """The number of a lesson, such as 02·03, whose two halves must not change places."""
        mark = LEFT_TO_RIGHT if self.direction == "rtl" else ""
        return number.replace("·", f"{mark}·{mark}")

    def date(self, day: date) -> str:
        """A day in words.

        >>> language("en").date(date(2026, 11, 5))
        '5 November 2026'
        """
        return self.word(format_date(day, "d MMMM y" if self.is_source else "long", self.locale))


def isolated_text(text: str) -> str:
    """Text that people have written, isolated so that its direction affects no other text; without markup."""
    return f"\u2068{text}\u2069"


@functools.cache
def languages() -> tuple[str, ...]:
    """The languages that the lessons are offered in: English, and every one with a catalogue."""
    return (SOURCE, *sorted(path.stem for path in CATALOGUES.glob("*.po")))


@functools.cache
def language(tag: str) -> Language:
    """An offered language or a pseudo-language, by its tag."""
    if tag not in (*languages(), *PSEUDO):
        raise LookupError(f"no language {tag!r}; there are {', '.join(languages())}")
    locale = Locale.parse(PSEUDO[tag][1] if tag in PSEUDO else tag, sep="-")
    path = CATALOGUES / f"{tag}.po"
    if not path.exists():
        return Language(tag, locale)
    catalogue = read_catalogue(path)
    return Language(tag, locale, messages(catalogue), c2py(catalogue.plural_expr))


def read_catalogue(path: Path) -> Catalog:
    """Read a catalogue as translators write it; nothing is compiled."""
    with path.open("rb") as file:
        return read_po(file, path.stem.replace("-", "_"), abort_invalid=True)


def messages(catalogue: Catalog) -> dict[str, str | tuple[str, ...]]:
    """The translations of a catalogue, by the text or its singular; empty and fuzzy ones are left out."""
    found: dict[str, str | tuple[str, ...]] = {}
    for entry in catalogue:
        if not entry.id or entry.fuzzy or not entry.string:
            continue
        if isinstance(entry.id, str) and isinstance(entry.string, str):
            found[entry.id] = entry.string
        elif all(entry.string):
            found[entry.id[0]] = tuple(entry.string)
    return found


_current: ContextVar[Language | None] = ContextVar("language", default=None)


def current_language() -> Language:
    """The current language."""
    return _current.get() or language(SOURCE)


def set_language(tag: str) -> None:
    """Make a language the current one for the rest of this task."""
    _current.set(language(tag))


@contextmanager
def use_language(tag: str | Language) -> Iterator[Language]:
    """Make a language the current one within a `with` block."""
    present = language(tag) if isinstance(tag, str) else tag
    before = _current.set(present)
    try:
        yield present
    finally:
        _current.reset(before)


def gettext(message: str, **values: object) -> str:
    """A message of the interface in the current language, its `%(name)s` filled in."""
    return current_language().gettext(message) % values if values else current_language().gettext(message)


def ngettext(singular: str, plural: str, count: int) -> str:
    """A message that depends on a count."""
    return current_language().ngettext(singular, plural, count)


def N_(message: str) -> str:
    """Mark a message that is translated where it is shown."""
    return message


@functools.cache
def _marks(locale: Locale) -> dict[int, str]:
    """Decimal mark and digits of a locale. Thousands stay apart by a narrow space, as ISO 80000-1 has it."""
    system = locale.default_numbering_system
    symbols = locale.number_symbols.get(system) or locale.number_symbols["latn"]
    digits = DIGITS.get(system, "0123456789")
    return {ord("."): str(symbols["decimal"])} | {
        ord(western): own for western, own in zip("0123456789", digits, strict=True)
    }


DIGITS = {
    "arab": "٠١٢٣٤٥٦٧٨٩",
    "arabext": "۰۱۲۳۴۵۶۷۸۹",
    "beng": "০১২৩৪৫৬৭৮৯",
    "deva": "०१२३४५६७८९",
    "mymr": "၀၁၂၃၄၅၆၇၈၉",
}
"""Digits of the numbering systems that CLDR has as the default of a language."""
