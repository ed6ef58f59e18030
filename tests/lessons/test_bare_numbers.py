"""Every number of the lesson is computed, a claim, or allowed here with a reason.

Computed numbers are slots (`{bits}`), claims are `{{ id }}`. The rest of every text is searched for digits:
prose, captions, tables, the words of figures and questions.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest

from lessons.catalogue import ROOT

WORDS = ROOT / "quantization" / "en"

NAMES = (
    # Models and machines; the number is a part of the name.
    r"Llama[ -]3(\.\d)?(( / 3\.3)?[ -]\d+B)?",
    r"LLaMA-(2-)?\d+B|OPT-[\d.]+B|SmolLM2-135M|all-MiniLM-L6-v2|Llama 8B|^3\.1 Instruct|^3 base",
    r"\b([Aa]n?|the|of an?) \d+B\b|\b\d+B(?= \||:)|, 8B\b|Mistral-7B",  # "an 8B", and the heads of a table
    r"RTX \d+|Raspberry Pi \d|M1 Max|DDR4-3200|WikiText-2|TensorRT|FIG\.\w+|0?2·0\d",
    r"[−+]0(?!\.?\d)",  # the two zeros of a float
    r"Gemma \d( \d+B(-A4B)?)?|26B-A4B|3\.5 Lightning|gpt-oss-20b|BitNet b1\.58",
    r"arXiv:\d+\.\d+(v\d)?|\bb7600\b|[0-9a-f]{7,8}\b|Table \d|Tables \d( and \d)?|\(\w* ?20\d\d\)",
)
COORDINATES = re.compile(
    r"\b(layer|rows?|[Cc]olumns?|inputs?|token|Weight|Byte|block|channel|bit)s? \d+([–-]\d+)?(( and|,) \d+)?"
)
"""Which part of a tensor is shown: an address, not a quantity."""

MATHEMATICS = re.compile(
    r"[αxsn*₂]\*? ?(=|above) ?\d+|2[ⁿᵇ]|− ?1\b|×10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+|÷ 8"
    r"|\b0…15|\b0 to \d+\b|value 0\b|code 0\b|sides of 0"
)
"""Settings of a variable, exponents, codes counted from zero."""

ALLOWED = {
    ("front matter", "title", "140 GB, onto a laptop"): "a name for the lesson; the lead has its number",
    ("front matter", "headline", "140 GB,"): "the same name",
    ("zoom.toml", "*", "16|4|4.5|32"): "sixteen bits, Q4_0's 4.5, and the block that is drawn; test_zoom.py",
    ("fold.toml", "*", "16|4|32"): "what FIG.00 is about: sixteen bits, four bits, its 32 weights",
    ("gptq.toml", "*", "16|384|576"): "the cut that is drawn: 16 inputs of 384 or 576; test_gptq.py",
    ("awq.toml", "*", "128|64"): "group sizes and rows of the layer named",
    ("rotation.toml", "controls.bits.options.*", "*"): "widths to choose from",
    ("smooth.toml", "sentences.from_*", "*"): "where the weights come from, and how much text; the data test",
    (
        "qlora.toml",
        "*",
        "16|1|512|256",
    ): "16-bit storage, 16 levels of four bits; where the weights come from",
    (
        "trained.toml",
        "*",
        "256|32|4|3|2",
    ): "a block of TQ2_0 and widths to choose from; where the weights come from",
    ("rounding.toml", "*", "*"): "rows, columns and tokens of the pairs, and x₂ of each; test_rounding.py",
    (
        "rtn.toml",
        "sentences.format_*",
        "*",
    ): "how a format is defined; test_rtn.py holds it against the codec",
    ("fit.toml", "sentences.buffer_before", "23861"): "a pull request of llama.cpp, which is a name",
    ("methods.toml", "sentences.bits_*", "0|1"): "the levels of ternary types and codebooks",
    (
        "xray.toml",
        "*",
        "256|128|63|1|2",
    ): "the block that is drawn, its sub-blocks, its scales; test_xray.py",
    (
        "xray.toml",
        "sentences.byte_*",
        "*",
    ): "layout of ggml's blocks; test_xray.py holds it against the bytes",
    ("xray.toml", "sentences.flip_*", "*"): "the same",
    ("xray.toml", "sentences.weight_*", "*"): "the same: constants of ggml's formulas",
    ("xray.toml", "sentences.table_*", "*"): "the same",
    ("xray.toml", "sentences.layout_*", "*"): "the same",
    ("xray.toml", "words.*", "*"): "the same",
    ("xray.toml", "controls.format.options.*", "*"): "test_xray.py compares them with the formats",
    ("xray.toml", "sentences.receipt", "0"): "a test compares these very bytes",
    (
        "offload.toml",
        "controls.context.options.*",
        "*",
    ): "round names of the powers of two beside which they stand",
    (
        "fit.toml",
        "controls.context.options.*",
        "*",
    ): "round names of the powers of two beside which they stand",
    ("fit.toml", "controls.mix.options.*", "4"): "names of formats",
    ("courses.md", "*", "*"): "names of units, their settings, and days; test_courses.py checks the findings",
    ("chooser.toml", "controls.*.options.*", "*"): "conversations and contexts to choose from",
    ("quality.toml", "sentences.from_*", "*"): "the source of the table, with its conditions",
    ("*.toml", "sentences.source_*", "*"): "what is drawn and where it comes from: sizes, and a year",
    ("calibration.toml", "controls.bits.options.*", "*"): "widths to choose from",
    ("calibration.toml", "*", "5|1|15"): "layers of a model",
    (
        "calibration.toml",
        "*",
        "64|128|512|4096|3",
    ): "settings of the measurement, made anew by `make measure`",
    (
        "cache.toml",
        "*",
        "8192|128|0|1",
    ): "FIG.06's context, windows that were measured, a head; test_cache.py",
    ("questions/cache.toml", "*", "64"): "the channels of a head",
    ("measured.toml", "*", "16|8|6|5|4|3|2|32|64|128"): "widths, groups and windows that were measured",
    ("measured.toml", "sentences.*", "256|576"): "windows of SmolLM2's text, and its rows; test_smollm2.py",
    ("sentence.toml", "controls.seed.options.*", "*"): "draws to choose from",
    ("sentence.toml", "*", "16|8|6|5|4|3|2|64|100"): "widths, groups; the length that the page allows",
    ("questions/gptq.toml", "*", "100|16"): "the whole that a share is of; the cut that is drawn",
    ("questions/xray.toml", "*", "32|256"): "the sizes of a sub-block and of a super-block, as answers",
    ("questions/awq.toml", "sentences.ask", "0|1"): "the ends of an exponent",
    ("tasks/*.toml", "sentences.*", "0|1|2|7|8|10|16"): "constants of the formulas that are worked through",
    ("jobs/*.toml", "words.*", "*"): "the settings of a run that a reader begins, and what it takes",
    ("questions/*.toml", "*.options.*", "*"): "answers to choose from; what is so is computed",
}
"""File, key and the numbers (alternatives, or all), with the reason why they are no claims."""

NUMBER = re.compile(r"(?<![\w.{])[±−]?\d[\d.,\u202f]*")


def bare(text: str) -> list[str]:
    """The numbers of a text that are neither slots nor claims, names, coordinates or mathematics."""
    text = re.sub(r"\{\{[^}]*\}\}|\{[^}]*\}|\[\[[^\]]*\]\]|`[^`]*`|\]\([^)]*\)", " ", text)
    for name in NAMES:
        text = re.sub(name, " ", text)
    text = MATHEMATICS.sub(" ", COORDINATES.sub(" ", text))
    return [found.rstrip(".,\u202f") for found in NUMBER.findall(text)]


def is_allowed(file: str, key: str, number: str, text: str) -> bool:
    return any(
        fnmatchcase(file, name)
        and fnmatchcase(key, keys)
        and (which in ("*", text) or number in which.split("|"))
        for name, keys, which in ALLOWED
    )


def entries(content: Any, at: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from entries(value, f"{at}.{key}" if at else key)
    elif isinstance(content, str):
        yield at, content


def found() -> Iterator[tuple[str, str, str, str]]:
    """Every bare number of the lesson: file, key, number and text."""
    for path in sorted(WORDS.glob("**/*.md")):
        _, matter, body = path.read_text("utf-8").split("+++\n", 2)
        for key, value in tomllib.loads(matter).items():
            if key not in ("number", "slug"):
                yield from (("front matter", key, number, value) for number in bare(value))
        body = re.sub(r"```.*?```", "", body, flags=re.DOTALL)
        for line in body.splitlines():
            steps = re.sub(r"^\d\. ", "", line)  # an ordered list
            yield from ((path.name, "", number, line) for number in bare(steps))
    for path in sorted(WORDS.glob("**/*.toml")):
        file = path.name if path.parent.name == "figures" else path.relative_to(WORDS).as_posix()
        for key, value in entries(tomllib.loads(path.read_text("utf-8"))):
            yield from ((file, key, number, value) for number in bare(value))


FOUND = list(found())


def test_every_number_is_computed_claimed_or_allowed() -> None:
    assert [entry for entry in FOUND if not is_allowed(*entry)] == []


def test_every_allowed_number_is_used() -> None:
    """Remove unused ones."""
    idle = [
        (name, keys, number)
        for name, keys, which in ALLOWED
        for number in which.split("|")
        if not any(
            fnmatchcase(file, name) and fnmatchcase(key, keys) and number in ("*", found, text)
            for file, key, found, text in FOUND
        )
    ]
    assert idle == []


@pytest.mark.parametrize(
    "text",
    [
        "It takes 141 GB.",
        "about ±0.5 points",
        "loses 3.98 points at {{ bpw }}",
        "5.68 to {ppl}",
        "a gain of 17×",
    ],
)
def test_bare_numbers_are_found(text: str) -> None:
    assert len(bare(text)) == 1


@pytest.mark.parametrize(
    "text",
    ["{{ size }} in {bits}", "Llama 3.1 70B on an RTX 4090", "rows 0–255, layer 5", "α = 1", "Q4_K_M", "2ⁿ"],
)
def test_names_and_claims_are_not_bare_numbers(text: str) -> None:
    assert bare(text) == []
