"""Translations contain every file, word, slot, claim and message of English; missing ones are listed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from babel import Locale

from lessons.catalogue import ROOT
from lessons.kit import numbers
from lessons.kit.language import (
    CATALOGUES,
    Language,
    language,
    languages,
    messages,
    read_catalogue,
    use_language,
)
from lessons.translation import lacking, lacking_messages, translated
from scripts.messages import collected, update


@pytest.fixture(scope="module")
def wanted() -> dict[str, str]:
    """The messages of the interface."""
    return {
        message.id if isinstance(message.id, str) else message.id[0]: ""
        for message in collected()
        if message.id
    }


def test_every_language_is_complete(wanted: dict[str, str]) -> None:
    """Also languages that are not offered yet: the failures list what is missing."""
    missing = {tag: lacking(ROOT, tag) for tag in sorted(translated(ROOT))}
    for tag in languages()[1:]:
        missing[tag] = missing.get(tag, []) + lacking_messages(wanted, language(tag).messages)
    assert {tag: lines for tag, lines in missing.items() if lines} == {}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lessons with a language that is complete, being a copy of English."""
    root = tmp_path_factory.mktemp("copy") / "lessons"
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns("__pycache__", "weights", "data"))
    for folder in list(root.glob("*/en")):
        shutil.copytree(folder, folder.with_name("xx"))
    for name in ("lesson.toml", "claims.toml"):
        shutil.copy(root / "quantization" / name, root / "quantization" / "xx" / name)
    (root / "xx").mkdir()
    shutil.copy(root / "course.toml", root / "xx" / "course.toml")
    return root


def test_copy_is_complete(copy: Path) -> None:
    assert translated(copy) == {"xx"}
    assert lacking(copy, "xx") == []


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("quantization/xx/08-close.md", None, None, "quantization/xx/08-close.md: no such file"),
        ("quantization/xx/workshop/gptq.md", None, None, "quantization/xx/workshop/gptq.md: no such file"),
        ("quantization/xx/workshop/gptq.md", "promise =", "p =", "front matter without promise"),
        ("quantization/xx/figures/rtn.toml", None, None, "quantization/xx/figures/rtn.toml: no such file"),
        ("quantization/xx/06-fit.md", "{{ gib-gap }}", "7.4 %", "{{ gib-gap }} is missing"),
        ("quantization/xx/06-fit.md", "[[figure: fit]]", "", "[[figure: fit]] is missing"),
        ("quantization/xx/06-fit.md", 'short = "Fit"\n', "", "front matter without short"),
        ("quantization/xx/06-fit.md", 'slug = "fit"', 'slug = "passt"', "other slug than English"),
        ("quantization/xx/figures/rtn.toml", 'nudge = "nudge', 'n = "nudge', "no legend.nudge"),
        (
            "quantization/xx/figures/rtn.toml",
            "share {levels} levels. No weight moves further than half a step; one",
            "share levels; one",
            "sentences.snapped_one has other slots",
        ),
        ("quantization/xx/claims.toml", "[vram-5090]", "[vram]", "no vram-5090.source"),
        ("quantization/xx/lesson.toml", "description =", "d =", "no description"),
        ("xx/course.toml", 'title = "Scaling laws"', "", "no lessons.3.title"),
        ("pages/xx/accessibility.md", None, None, "pages/xx/accessibility.md: no such file"),
    ],
)
def test_missing_parts_are_named(copy: Path, file: str, old: str | None, new: str | None, said: str) -> None:
    path = copy / file
    text = path.read_text("utf-8")
    if old is None:
        path.unlink()
    else:
        assert old in text
        path.write_text(text.replace(old, new or ""), "utf-8")
    found = lacking(copy, "xx")
    path.write_text(text, "utf-8")
    assert any(said in line for line in found)


def test_a_catalogue_is_collected_filled_and_read(
    wanted: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the templates to the page, without compiled catalogues."""
    monkeypatch.setattr("scripts.messages.CATALOGUES", tmp_path)
    path = update("de")
    assert len(lacking_messages(wanted, messages(read_catalogue(path)))) == len(wanted) > 100
    text = path.read_text("utf-8")
    text = text.replace(
        'msgid "Show this state"\nmsgstr ""', 'msgid "Show this state"\nmsgstr "Zustand zeigen"'
    )
    text = text.replace('msgid "CSV of %(figure)s"\nmsgstr ""', 'msgid "CSV of %(figure)s"\nmsgstr "CSV"')
    path.write_text(text, "utf-8")
    have = messages(read_catalogue(update("de")))
    assert have["Show this state"] == "Zustand zeigen"
    listed = lacking_messages(wanted, have)
    assert "'CSV of %(figure)s' has other slots than 'CSV'" in listed
    assert not any("Show this state" in line for line in listed)


def test_language_has_its_own_number_format() -> None:
    with use_language(Language("de", Locale("de"))):
        assert numbers.gigabytes(42_512_531_712) == "42,5\u202fGB"
        assert numbers.significant(0.0000379) == "3,79×10⁻⁵"
        assert numbers.signed(-3.98, 2) == "−3,98"
        assert numbers.as_printed("0.5–0.6") == "0,5–0,6"
    with use_language(Language("tr", Locale("tr"))):
        assert numbers.percent(0.2531) == "%25,3"
    assert numbers.percent(0.2531) == "25.3\u202f%"


def test_catalogues_are_stored_as_generated() -> None:
    assert [path for path in CATALOGUES.glob("*") if path.suffix != ".po"] == []
