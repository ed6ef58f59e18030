"""The style guide shows every token, control, role, macro and component."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import pytest
import tinycss2
from starlette.testclient import TestClient

from app.assets import ROOT
from app.export.sheets import plain
from app.views.environment import environment
from app.views.styleguide import contrast, tokens
from lessons.catalogue import load_lesson
from lessons.kit.chart import SHAPES, Chart
from lessons.kit.controls import Choice, Slider, Widget
from lessons.kit.view import View
from tests.app.html import Element, parse

CSS, TEMPLATES = ROOT / "static" / "css", ROOT / "templates"
SPECIMEN = load_lesson("specimen")
VIEWS: dict[str, View] = {name: f.view(f.controls()) for name, f in SPECIMEN.figures.items()}
SET_BY_SCRIPTS = {"js", "textpoint"}
"""Classes that only a browser gives: that scripts run, and the labels of Plotly."""

BY_CONTENT = re.compile(r"k|kn|ow|kc|kd|kr|nb|sd|c|c1|cm|ch|s|s1|s2|sa|si|mi|mf|nf|nc|chars-\d|minutes-\d")
"""Classes of highlighted Python, of sliders by the width of their values, of sections by their minutes."""


@pytest.fixture(scope="module")
def markup(client: TestClient) -> str:
    return client.get("/styleguide").text


@pytest.fixture(scope="module")
def page(markup: str) -> Element:
    return parse(markup)


def test_style_guide_is_not_linked_or_indexed(client: TestClient, page: Element) -> None:
    assert page.one("meta", name="robots").attributes["content"] == "noindex, nofollow"
    for address in ("/", "/lessons/quantization", "/nowhere"):
        answer = client.get(address).text
        assert "styleguide" not in answer
        assert "specimen" not in answer
    assert client.get("/readyz").json()["lessons"] == ["quantization"]


def test_every_token_is_shown_with_its_name(page: Element) -> None:
    declared = re.findall(r"--([\w-]+):", (CSS / "tokens.css").read_text().split("}")[0])
    named = [code.text for code in page.all("code")]
    assert [name for name in declared if f"--{name}" not in named] == []


def test_every_colour_has_a_swatch_in_both_schemes(page: Element) -> None:
    filled = [rect.attributes.get("fill") for rect in page.all("rect")]
    colours = [token.name for token in tokens().values() if token.light]
    assert len(colours) >= 18
    assert {name: filled.count(f"var(--{name})") for name in colours} == dict.fromkeys(colours, 2)


def test_every_other_token_has_a_sample() -> None:
    sheet = (CSS / "styleguide.css").read_text()
    measures = [token.name for token in tokens().values() if not token.light]
    assert [name for name in measures if f".measure-{name}" not in sheet] == []


@pytest.mark.parametrize(
    ("name", "ground", "least"),
    [
        *((name, ground, 4.5) for name in ("ink", "soft", "q") for ground in ("paper", "card")),
        *((name, "card", 3) for name in ("edge", *(f"method-{i}" for i in range(1, 6)))),
        ("on-q", "q", 4.5),
    ],
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_token_stands_out(name: str, ground: str, least: float, scheme: str) -> None:
    assert contrast(getattr(tokens()[name], scheme), getattr(tokens()[ground], scheme)) >= least


def test_oklch_is_read_as_css_reads_it() -> None:
    """The keyword green in OKLCH, from the tests of CSS Color 4."""
    pair = tinycss2.parse_component_value_list("light-dark(oklch(51.975% .17686 142.495), oklch(100% 0 0))")
    assert [plain(pair, {}, scheme) for scheme in ("light", "dark")] == ["#008000", "#ffffff"]
    assert contrast("#000", "#fff") == pytest.approx(21)


def test_every_kind_of_control_is_in_the_specimen() -> None:
    widgets = list(SPECIMEN.figures["marks"].controls.widgets().values())
    assert {type(widget) for widget in widgets} == set(typing.get_args(Widget))
    sliders = [widget for widget in widgets if isinstance(widget, Slider)]
    assert {(bool(s.unit), bool(s.show)) for s in sliders} >= {(False, False), (True, False), (True, True)}
    choices = [widget for widget in widgets if isinstance(widget, Choice)]
    assert {choice.style for choice in choices} == {"menu", "segments", "drawn"}
    assert any(choice.groups for choice in choices)


def chart() -> Chart:
    found = VIEWS["series"].chart
    assert found
    return found


def test_every_role_kind_and_symbol_of_a_series_is_in_the_specimen() -> None:
    roles = set(re.findall(r"\.role-([\w-]+)", (CSS / "chart.css").read_text()))
    assert {series.role for series in chart().series} == {
        *roles,
        "true",
    }  # true: the default style
    assert {series.kind for series in chart().series} == {"line", "points", "both"}
    assert {series.symbol for series in chart().series} <= {"circle", *SHAPES}
    drawn = {series.symbol for series in chart().series if series.kind != "line"}
    assert drawn == {*SHAPES}


def test_every_form_of_a_point_and_a_rule_is_in_the_specimen() -> None:
    points = [point for series in chart().series for point in series.points]
    assert {point.label_side for point in points if point.label} == {"right", "left", "top", "bottom"}
    assert any(point.error for point in points)
    assert any(point.marked for point in points)
    assert any(point.label_minor for point in points)
    assert {rule.axis for rule in chart().rules} == {"x", "y"}
    assert any(rule.spread for rule in chart().rules)
    assert {chart().x.log, chart().y.log} == {True, False}


def template_text(name: str) -> str:
    loader = environment().loader
    assert loader
    return loader.get_source(environment(), name)[0]


def used_templates() -> dict[str, str]:
    """The guide's template and all templates that it includes, with their text."""
    waiting = ["styleguide.jinja", *(figure.template for figure in SPECIMEN.figures.values())]
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = template_text(name)
            waiting += re.findall(r"{% (?:include|from|extends) \"([^\"]+)\"", found[name])
    return found


def test_every_macro_and_part_of_the_kit_is_used() -> None:
    used = used_templates()
    text = "".join(used.values())
    parts: list[Path] = sorted((TEMPLATES / "kit").glob("*.jinja"))
    assert [part.name for part in parts if f"kit/{part.name}" not in used] == []
    macros = [name for part in parts for name in re.findall(r"{% macro (\w+)\(", part.read_text())]
    macros = [name for name in macros if not name.startswith("guess_")]  # no specimen has a question
    assert [name for name in macros if not re.search(rf"{{{{ {name}\(", text)] == []


@pytest.mark.parametrize("sheet", ["base", "page", "figure"])
def test_every_component_is_shown(markup: str, sheet: str) -> None:
    """Every class of a shared style sheet is in the guide."""
    rules = re.sub(r"/\*.*?\*/", "", (CSS / f"{sheet}.css").read_text(), flags=re.DOTALL)
    selectors = "".join(re.findall(r"[^{}]+(?={)", rules))
    known = set(re.findall(r"\.([a-z][\w-]*)", selectors)) - SET_BY_SCRIPTS
    shown = {name for value in re.findall(r'class="([^"]*)"', markup) for name in value.split()}
    assert sorted(name for name in known - shown if not BY_CONTENT.fullmatch(name)) == []


def test_the_measured_claim_is_what_the_specimen_shows() -> None:
    worst = next(readout for readout in VIEWS["marks"].readouts if readout.name == "worst")
    assert SPECIMEN.claims["largest-move"].value == worst.text


def test_specimens_are_interactive(client: TestClient, page: Element) -> None:
    """Their controls, links and tables work."""
    for form in page.all("form"):
        if form.attributes.get("method") != "post":
            assert client.get(form.attributes["action"]).status_code == 200
        if "hx-get" in form.attributes:
            assert client.get(form.attributes["hx-get"]).status_code == 200
