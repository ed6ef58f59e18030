"""Collect the messages of the interface and update the catalogue of a language.

    python scripts/messages.py de      writes lessons/locale/de.po and keeps existing translations

There is no message template file: a catalogue is compared with the messages in templates and code.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lessons.quantization import receipts, sources  # noqa: E402

CATALOGUES = ROOT / "lessons" / "locale"
SOURCES = {
    "templates": [("**.jinja", "jinja2.ext:babel_extract")],
    "app": [("**.py", "python")],
    "lessons": [("**.py", "python"), ("**.jinja", "jinja2.ext:babel_extract")],
}
KEYWORDS: dict[str, tuple[int, ...] | None] = {
    "_": None,
    "N_": None,
    "gettext": None,
    "ngettext": (1, 2),
}
NOT_FOR_READERS = {"styleguide.jinja"}


def collected() -> Catalog:
    """Every message with its files, without line numbers, which change with every edit."""
    catalogue = Catalog(project="academy", fuzzy=False)
    for message, file, comments in _messages():
        catalogue.add(message, locations=[(file, 0)], auto_comments=comments)
    return catalogue


def _messages() -> Iterator[tuple[str | tuple[str, ...], str, list[str]]]:
    for folder, method in SOURCES.items():
        found = extract_from_dir(
            ROOT / folder,
            method,
            {"**.jinja": {"silent": "false", "trimmed": "true", "newstyle_gettext": "true"}},
            keywords=KEYWORDS,
            comment_tags=("For translators:",),
        )
        for file, _, message, comments, _ in found:
            if file not in NOT_FOR_READERS:
                yield message, f"{folder}/{file}", comments
    for module in (sources, receipts):
        for text in sorted(module.data_messages()):
            yield text, f"{module.__name__.replace('.', '/')}.py", ["For translators: from a table of data."]


def update(tag: str) -> Path:
    """Write the catalogue of a language: keep translations, add new messages, remove obsolete ones."""
    path = CATALOGUES / f"{tag}.po"
    catalogue = Catalog(locale=tag.replace("-", "_"), project="academy", fuzzy=False)
    if path.exists():
        with path.open("rb") as file:
            catalogue = read_po(file, tag.replace("-", "_"))
    catalogue.update(collected(), no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    with path.open("wb") as file:
        write_po(file, catalogue, width=100, include_lineno=False, sort_output=True)
    return path


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Name a language: python scripts/messages.py de")
    print(f"· {update(sys.argv[1]).relative_to(ROOT)}")
