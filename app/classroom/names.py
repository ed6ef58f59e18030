"""Names of students: pseudonyms that are offered, and names that they write themselves."""

from __future__ import annotations

import functools
import re
import secrets
import tomllib
import unicodedata
from collections.abc import Container
from pathlib import Path

from app.classroom.models import NAME_LENGTH
from app.classroom.refusals import NameRefusedError

SHORTEST = 2
MARKS_ON_A_LETTER = 2
OFFERS = 200

_LOOKS_LIKE = {
    "a": "аɑα@",
    "b": "вβьß",
    "c": "сϲ",
    "d": "ԁđ",
    "e": "еєε",
    "f": "ғ",
    "g": "ɡ",
    "h": "һнΗ",
    "j": "ј",
    "k": "кκ",
    "l": "iіιӏı1|!ł",
    "m": "мΜ",
    "n": "ηпΝ",
    "o": "оοσօø0",
    "p": "рρ",
    "q": "ԛ",
    "r": "г",
    "s": "ѕ5$",
    "t": "тτ",
    "u": "υսμ",
    "v": "νѵ",
    "w": "ԝω",
    "x": "хχ",
    "y": "уγΥ",
    "z": "ζ",
}
"""Latin letters, and what is taken for them at a glance, after Unicode's list (UTS 39, confusables)."""

_FOLD = str.maketrans({like: letter for letter, likes in _LOOKS_LIKE.items() for like in likes})


@functools.cache
def _words() -> dict[str, tuple[str, ...]]:
    lists = tomllib.loads(Path(__file__).with_name("words.toml").read_text("utf-8"))
    return {name: tuple(words) for name, words in lists.items()}


def offer(taken: Container[str] = ()) -> str:
    """A pseudonym at random, such as "quiet heron"; `taken` holds skeletons that are not free."""
    words = _words()
    for _ in range(OFFERS):
        name = f"{secrets.choice(words['adjectives'])} {secrets.choice(words['animals'])}"
        if skeleton(name) not in taken:
            return name
    while skeleton(numbered := f"{name[: NAME_LENGTH - 5]} {secrets.randbelow(9990) + 10}") in taken:
        pass
    return numbered


def is_offered(name: str) -> bool:
    """Whether a name is one that `offer` could have given."""
    adjective, _, animal = name.partition(" ")
    return adjective in _words()["adjectives"] and animal in _words()["animals"]


def clean(text: str) -> str:
    """A name as it is stored: composed as Unicode's NFKC has it, single spaces.

    Raises
    ------
    NameRefusedError
        When it is too short or too long, holds what is invisible, has no letter or digit, or is refused.
    """
    if len(text) > 10 * NAME_LENGTH:
        raise NameRefusedError("length")
    name = " ".join(part for part in unicodedata.normalize("NFKC", text).split(" ") if part)
    if not SHORTEST <= len(name) <= NAME_LENGTH:
        raise NameRefusedError("length")
    if not is_legible(name):
        raise NameRefusedError("characters")
    parts = re.split(r"[\s\-_.,]+", name)
    if {skeleton(part) for part in (*parts, name)} & _refused():
        raise NameRefusedError("words")
    return name


def is_legible(text: str) -> bool:
    """Whether a text has a letter or digit, nothing invisible but spaces, and no heap of marks."""
    kinds = "".join(unicodedata.category(letter)[0] for letter in text.replace(" ", ""))
    invisible = "C" in kinds or "Z" in kinds
    letters = "L" in kinds or "N" in kinds
    heaped = "M" * (MARKS_ON_A_LETTER + 1) in kinds
    return letters and not invisible and not heaped and not _fills_nothing(text)


def skeleton(name: str) -> str:
    """What two names have in common that are taken for each other.

    >>> skeleton("Anna Lee") == skeleton("аnnа-1ee"), skeleton("Bern") == skeleton("bem")
    (True, True)
    """
    plain = unicodedata.normalize("NFKD", name).translate(_FOLD).casefold()
    plain = unicodedata.normalize("NFKD", plain).translate(_FOLD)
    kept = "".join(letter for letter in plain if unicodedata.category(letter)[0] in "LNS")
    return kept.replace("rn", "m").replace("vv", "w")[:NAME_LENGTH]


def _fills_nothing(name: str) -> bool:
    """Whether a letter of it is drawn as nothing: fillers of Hangul, which Unicode counts as letters."""
    return any(letter in "\u115f\u1160\u3164\uffa0\u2800" for letter in name)


@functools.cache
def _refused() -> frozenset[str]:
    plain = [skeleton(word) for word in _words()["refused"]]
    return frozenset([*plain, *(f"{word}s" for word in plain)])
