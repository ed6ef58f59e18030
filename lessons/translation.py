"""Find what a translation lacks, file by file: for translators, and for the test of translations."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lessons.kit.language import SOURCE
from lessons.kit.prose import FRONT

_TAG = re.compile(r"[a-z]{2,3}(-[A-Za-z]+)?")
_SLOT = re.compile(r"\{\w+\}|%\(\w+\)s")
_MARK = re.compile(r"\{\{ ?[\w-]+ ?\}\}|\[\[[^\]]+\]\]|^:::\w*", re.MULTILINE)
_WORDS = {
    "course.toml": ("path", "title", "description"),
    "lesson.toml": ("title", "path", "description"),
    "claims.toml": ("source", "on"),
}


def lacking(root: Path, language: str) -> list[str]:
    """Every file, word, slot, claim and directive that English has and the language has not.

    `root` is the folder of the lessons. Messages of the interface are in `lacking_messages`.
    """
    return [*_files(root, language), *_words(root, language)]


def lacking_messages(wanted: Mapping[str, Any], have: Mapping[str, Any]) -> list[str]:
    """Messages that a catalogue leaves empty, and those that lost a slot or gained one."""
    missing = [f"no message for {message!r}" for message in wanted if message not in have]
    wrong = [
        f"{message!r} has other slots than {text!r}"
        for message, texts in have.items()
        if message in wanted
        for text in ([texts] if isinstance(texts, str) else texts)
        if not set(_SLOT.findall(text)) <= set(_SLOT.findall(message)) | {"%(num)s"}
        or (isinstance(texts, str) and set(_SLOT.findall(message)) - set(_SLOT.findall(text)))
    ]
    return missing + wrong


def translated(root: Path) -> set[str]:
    """The languages that anything has been translated into: folders of prose, and catalogues."""
    prose = {path.parent.name for path in root.glob("*/*/*.md") if _TAG.fullmatch(path.parent.name)}
    return (prose | {path.stem for path in root.glob("locale/*.po")}) - {SOURCE}


def _files(root: Path, language: str) -> Iterator[str]:
    for source in sorted(root.glob(f"*/{SOURCE}/**/*")):
        if source.suffix not in (".md", ".toml") or _read(
            root / source.relative_to(root).parts[0] / "lesson.toml"
        ).get("hidden"):
            continue
        folder, _, inner = source.relative_to(root).as_posix().partition(f"/{SOURCE}/")
        translation = root / folder / language / inner
        name = f"{folder}/{language}/{inner}"
        if not translation.exists():
            yield f"{name}: no such file"
        elif source.suffix == ".md":
            yield from (f"{name}: {what}" for what in _prose(source.read_text("utf-8"), translation))
        else:
            yield from (f"{name}: {what}" for what in _table(_read(source), _read(translation)))


def _prose(source: str, path: Path) -> Iterator[str]:
    translation = path.read_text("utf-8")
    there = tomllib.loads(translation.split("+++\n", 2)[1])
    front = tomllib.loads(source.split("+++\n", 2)[1])
    yield from (f"front matter without {key}" for key in front if key in FRONT and key not in there)
    yield from (
        f"other {key} than English" for key in front if key not in FRONT and front[key] != there.get(key)
    )
    ours, theirs = sorted(_MARK.findall(source)), sorted(_MARK.findall(translation))
    yield from (f"{mark} is missing" for mark in sorted(set(ours) - set(theirs)))
    yield from (f"{mark} is not in English" for mark in sorted(set(theirs) - set(ours)))
    if set(ours) == set(theirs) and ours != theirs:
        yield "a claim or a figure stands more often, or less"


def _table(source: Mapping[str, Any], there: Mapping[str, Any], at: str = "") -> Iterator[str]:
    for key, value in source.items():
        name = f"{at}{key}"
        if key not in there:
            yield f"no {name}"
        elif isinstance(value, dict):
            yield from _table(value, there[key], f"{name}.")
        elif isinstance(value, str) and set(_SLOT.findall(value)) != set(_SLOT.findall(there[key])):
            yield f"{name} has other slots than English"


def _words(root: Path, language: str) -> Iterator[str]:
    """The words of files that are structure first: each has a file of its name in the language's folder."""
    for name, keys in _WORDS.items():
        for source in sorted(root.glob(name if name == "course.toml" else f"*/{name}")):
            if not _read(source.parent / "lesson.toml").get("hidden"):
                translation = source.parent / language / name
                at = translation.relative_to(root).as_posix()
                yield from (f"{at}: {what}" for what in _chosen(_read(source), _read(translation), keys))


def _chosen(content: Any, there: Any, keys: tuple[str, ...], at: str = "") -> Iterator[str]:
    """The entries of these names that are missing, at any depth; lists are compared by position."""
    if isinstance(content, list):
        content = dict(enumerate(content))
        there = dict(enumerate(there if isinstance(there, list) else []))
    for key, value in content.items():
        if isinstance(value, (dict, list)):
            yield from _chosen(value, there.get(key, {}), keys, f"{at}{key}.")
        elif key in keys and key not in there:
            yield f"no {at}{key}"


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
