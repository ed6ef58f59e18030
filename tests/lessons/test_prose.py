"""Prose: Markdown with claims and figures only; every claim is used."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lessons import catalogue
from lessons.catalogue import ROOT, Lesson, course, load_lesson, only
from lessons.kit.claims import Claim
from lessons.kit.prose import SectionPart, read_claims, read_section
from lessons.quantization import sources
from quant_core import memory
from tests.each import each

PROSE = sorted((ROOT / "quantization" / "en").glob("**/*.md"))


@pytest.fixture(scope="module")
def lesson() -> Lesson:
    return load_lesson("quantization")


def section(tmp_path: Path, body: str) -> list[tuple[str, str]]:
    path = tmp_path / "x.md"
    path.write_text(f'+++\ntitle = "T"\nslug = "s"\n+++\n{body}')
    claims = {"size": Claim("size", "141 GB", "derived", "a source")}
    return [(part.kind, part.content) for part in read_section(path, claims, "/sources").parts]


def test_a_claim_prints_its_value_and_links_to_its_source(tmp_path: Path) -> None:
    ((_, content),) = section(tmp_path, "It is {{ size }}.")
    assert content == '<p>It is <a class="claim derived" href="/sources#size">141 GB</a>.</p>\n'


def test_an_unknown_claim_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match=r"x\.md: no claim 'weight'"):
        section(tmp_path, "It is {{ weight }}.")


def test_figures_are_placed_at_their_directives(tmp_path: Path) -> None:
    parts = section(tmp_path, "Before.\n\n[[figure: rtn]]\n\nAfter.\n")
    assert [kind for kind, _ in parts] == ["html", "figure", "html"]
    assert parts[1][1] == "rtn"


def test_markup_in_prose_is_text(tmp_path: Path) -> None:
    ((_, content),) = section(tmp_path, "A <b>bold</b> try.")
    assert "<b>" not in content


@each("path", PROSE)
def test_prose_holds_no_layout(path: Path) -> None:
    body = path.read_text("utf-8").split("+++\n", 2)[2]
    code = re.sub(r"```.*?```|`[^`]*`", "", body, flags=re.DOTALL)
    assert not re.search(r"<[a-z/!]|\{:|\bclass=", code)


def test_every_claim_is_used(lesson: Lesson) -> None:
    assert [claim for claim in lesson.claims if not lesson.uses(claim)] == []


def test_every_claim_has_a_kind_and_a_source(lesson: Lesson) -> None:
    for claim in lesson.claims.values():
        assert claim.kind in ("measured", "derived", "cited", "chosen"), claim.id
        assert len(claim.source) > 10 or claim.function, claim.id
        if claim.kind == "measured":
            assert claim.function, claim.id
            assert claim.on, claim.id


OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def arithmetic(node: ast.AST) -> float:
    """The value of an expression of numbers, + − × ÷, powers and log10."""
    if isinstance(node, ast.Expression):
        return arithmetic(node.body)
    if isinstance(node, ast.BinOp):
        return float(OPERATORS[type(node.op)](arithmetic(node.left), arithmetic(node.right)))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -arithmetic(node.operand)
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return float(node.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "log10":
        return math.log10(arithmetic(node.args[0]))
    raise ValueError(ast.dump(node))


def printed(value: str) -> tuple[float, float]:
    """The number that a claim prints, and half a unit of its last place."""
    text = value.replace("\u2212", "-").replace("\u202f", "").replace("\u00a0", "")
    found = re.search(r"(-?\d+(?:\.(\d+))?)(?:×10([⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+))?", text)
    assert found, value
    power = 10.0 ** int((found[3] or "0").translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")))
    return float(found[1]) * power, 0.5 * 10.0 ** -len(found[2] or "") * power


def test_derived_claims_match_their_formulas(lesson: Lesson) -> None:
    wrong = {}
    for claim in lesson.claims.values():
        if claim.formula:
            number, half_unit = printed(claim.value)
            result = arithmetic(ast.parse(claim.formula, mode="eval"))
            if abs(result - number) > half_unit * 1.02:
                wrong[claim.id] = (claim.value, result)
    assert not wrong


WEIGHED = {
    "quant_core.memory.weight_bytes": lambda shape, mix: memory.weight_bytes(shape, mix) / 1e9,
    "quant_core.memory.bits_per_weight": memory.bits_per_weight,
}
MODELS = {"Llama 3.1 8B": "llama-3.1-8b", "Llama 3.1 70B": "llama-3.1-70b"}


def test_every_size_of_a_model_is_what_the_library_computes(lesson: Lesson) -> None:
    weighed = [claim for claim in lesson.claims.values() if claim.function in WEIGHED]
    assert len(weighed) > 10
    wrong = {}
    for claim in weighed:
        model, mix = claim.on.split(", ")
        computed = WEIGHED[claim.function](sources.model(MODELS[model]).shape, mix)
        number, half_unit = printed(claim.value)
        if abs(computed - number) > half_unit * 1.02:
            wrong[claim.id] = (claim.value, computed)
    assert not wrong


def test_drawings_of_figures_name_their_state(tmp_path: Path) -> None:
    path = tmp_path / "x.md"
    path.write_text('+++\ntitle = "T"\nslug = "s"\n+++\n[[drawing: rtn?bits=5&block=llm]]\n')
    (part,) = read_section(path, {}, "sources").parts
    assert (part.kind, part.name, part.state) == ("drawing", "rtn", [("bits", "5"), ("block", "llm")])


def test_drawings_are_refused_in_sections(lesson: Lesson) -> None:
    section = replace(lesson.sections[0], parts=(SectionPart("drawing", "rtn"),))
    with pytest.raises(LookupError, match=r"\[\[drawing: rtn\]\] has no place"):
        only([section], "html", "figure", "source")


def test_the_lesson_has_its_seven_sections_in_order(lesson: Lesson) -> None:
    assert [s.number for s in lesson.sections if s.number] == ["01", "02", "03", "04", "05", "06", "07"]
    assert lesson.sections[0].slug == "opening"
    assert lesson.sections[-1].slug == "close"


def test_the_path_has_its_four_lessons_with_their_states() -> None:
    assert [(each.number, each.state) for each in course().lessons] == [
        ("02·01", "done"),
        ("02·02", "soon"),
        ("02·03", "here"),
        ("02·04", "next"),
    ]


@pytest.mark.parametrize(
    ("file", "old", "new", "wrong"),
    [
        ("quantization/lesson.toml", "title =", "titel =", "title: Field required; titel: Extra inputs"),
        ("course.toml", 'state = "next"', 'state = "later"', "lessons.3.state: "),
        ("quantization/claims.toml", 'kind = "cited"', 'kind = "heard"', "vram-5090.kind: "),
        ("quantization/claims.toml", "formula =", "formular =", "size-70b-f16.formular: Unexpected"),
    ],
)
def test_wrong_field_is_named_with_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str, wrong: str
) -> None:
    changed = tmp_path / file
    changed.parent.mkdir(exist_ok=True)
    text = (catalogue.ROOT / file).read_text("utf-8")
    changed.write_text(text.replace(old, new, 1), "utf-8")
    monkeypatch.setattr(catalogue, "ROOT", tmp_path)
    read: dict[str, Callable[[], object]] = {
        "lesson.toml": lambda: catalogue._about(changed.parent),
        "course.toml": lambda: catalogue._course.__wrapped__("en"),
        "claims.toml": lambda: read_claims(changed),
    }
    with pytest.raises(ValueError, match=f"^{re.escape(f'{file}: {wrong}')}"):
        read[changed.name]()
