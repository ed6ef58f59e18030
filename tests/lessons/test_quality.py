"""FIG.05: the data sets are not mixed, rows match points, and noise is not called a difference."""

from __future__ import annotations

import re

import pytest

from app.views.environment import render
from app.views.figure import figure_context
from lessons.catalogue import ROOT, load_lesson
from lessons.kit.arrangement import FigureQuery
from lessons.kit.view import View
from lessons.quantization import sources
from lessons.quantization.figures import quality
from lessons.quantization.figures.quality import COLUMNS, FIGURE, SCHEMES, SETS, Controls, rows_of

LESSON = load_lesson("quantization")
TEXT = LESSON.texts["quality"]


def view(**controls: str) -> View:
    return FIGURE.view(Controls.model_validate(controls))


def value(shown: View, name: str) -> float:
    return float(next(readout.value for readout in shown.readouts if readout.name == name))


def schemes(shown: View) -> list[str]:
    return [str(row[0]) for row in shown.table.rows]


def words(shown: View) -> str:
    return " ".join(TEXT.sentence(sentence) for sentence in (*shown.description, *shown.notes))


@pytest.mark.parametrize("row", sources.quality_table(), ids=lambda row: row.scheme)
def test_sizes_computed_here_equal_the_published_ones(row: sources.QualityRow) -> None:
    computed = next(one for one in rows_of("instruct") if one.scheme == row.scheme)
    assert computed.size == pytest.approx(row.size_bytes, abs=0.01 * 2**20)  # published to 0.01 MiB
    assert computed.bits_per_weight == pytest.approx(row.bits_per_weight, abs=5e-5)
    baseline = rows_of("instruct")[0]
    assert computed.loss(baseline) == pytest.approx(row.benchmark_loss, abs=0.006)
    assert computed.size_change(baseline) == pytest.approx(row.size_change, abs=0.006)


@pytest.mark.parametrize(
    "row", sources.base_quality_table(), ids=lambda row: f"{row.scheme}-{row.importance}"
)
def test_sizes_of_the_base_set_equal_the_published_ones(row: sources.BaseRow) -> None:
    computed = next(one for one in rows_of("base") if one.scheme == row.scheme)
    assert computed.size == pytest.approx(row.size_bytes, abs=0.01 * 2**20)


def test_q4_k_m_as_the_prose_quotes_it() -> None:
    shown = view()
    assert value(shown, "benchmark_loss") == pytest.approx(100 * (69.47 - 69.15) / 69.47)
    assert value(shown, "size_gib") == pytest.approx(4685.30 / 1024, abs=1e-4)
    assert "−0.32 points" in words(shown)
    assert "tie with F16" in words(shown)


@pytest.mark.parametrize(
    ("scheme", "verdict"),
    [
        ("Q8_0", "tie"),
        ("Q6_K", "tie"),
        ("Q4_K_S", "tie"),
        ("Q3_K_L", "tie"),
        ("Q4_0", "borderline"),
        ("Q3_K_M", "borderline"),
        ("Q3_K_S", "lower"),
    ],
)
def test_verdicts_follow_from_the_noise(scheme: str, verdict: str) -> None:
    """Less than the noise of a difference is a tie, more than twice as much a loss."""
    shown = view(scheme=scheme)
    assert next(row["verdict"] for row in shown.drawing["rows"] if row["scheme"] == scheme) == verdict
    assert TEXT.sentence(shown.description[1]) == TEXT.sentence(type(shown.description[1])(f"is_{verdict}"))


def test_ties_have_one_rule_in_words_code_plot_and_table() -> None:
    """The printed noise, the band of the plot and the verdicts are the same number."""
    claims = LESSON.claims
    noise = float(claims["noise-difference"].value)
    assert noise == pytest.approx(quality.DIFFERENCE_NOISE, abs=0.05)
    assert pytest.approx(2**0.5 * quality.AVERAGE_NOISE) == quality.DIFFERENCE_NOISE
    shown = view()
    assert shown.chart is not None
    band = next(rule.spread for rule in shown.chart.rules if rule.axis == "y")
    losses = {row[0]: row[SETS["instruct"].index("benchmark_loss")] for row in shown.table.rows}
    ties = {row["scheme"] for row in shown.drawing["rows"] if row["verdict"] in ("tie", "baseline")}
    assert ties == {scheme for scheme, loss in losses.items() if abs(loss) < band}
    lower = {row["scheme"] for row in shown.drawing["rows"] if row["verdict"] == "lower"}
    assert lower == {scheme for scheme, loss in losses.items() if abs(loss) > 2 * band} == {"Q3_K_S"}
    for scheme in losses:
        said = words(view(scheme=scheme))
        assert scheme == "F16" or f"±{claims['noise-difference'].value} points of noise" in said


def test_the_prose_names_the_smallest_k_quant_that_ties() -> None:
    rows = [row for row in view().drawing["rows"] if row["verdict"] == "tie" and "_K" in row["scheme"]]
    smallest = min(rows, key=lambda row: float(row["cells"][2]))["scheme"]
    prose = (ROOT / "quantization" / "en" / "05-gguf.md").read_text("utf-8")
    assert f"k-quants from Q6_K down to {smallest} tie with F16" in " ".join(prose.split())
    between = rows_of("instruct")
    sizes = {row.scheme: row.size for row in between}
    k_quants = {row.scheme for row in between if "_K" in row.scheme and row.size >= sizes[smallest]}
    assert k_quants == {row["scheme"] for row in rows}


def test_the_imatrix_removes_a_third_of_the_damage_at_two_bits() -> None:
    shown = view(data="base", scheme="Q2_K")
    by_hand = (9.751568 - 8.647825) / (9.751568 - 6.23316)
    assert value(shown, "removed") == pytest.approx(100 * by_hand)
    assert "31\u202f%" in words(shown)


def test_perplexities_of_the_two_sets_are_never_mixed() -> None:
    instruct = {row.perplexity for row in sources.quality_table()}
    for shown in (view(data="base"), view(data="base", measure="gsm8k")):
        assert shown.chart is not None
        drawn = {point.y for series in shown.chart.series for point in series.points}
        assert not drawn & instruct
        assert not [row for row in shown.table.rows if set(row) & instruct]
    assert "benchmark_loss" not in SETS["base"]
    assert "perplexity_imatrix" not in SETS["instruct"]


@pytest.mark.parametrize("data", SETS)
@pytest.mark.parametrize("measure", ["perplexity", "benchmark_loss", "gsm8k"])
def test_every_row_is_a_point_and_every_point_a_row(data: str, measure: str) -> None:
    shown = view(data=data, measure=measure)
    assert shown.chart is not None
    marks = [series for series in shown.chart.series if series.kind == "points"]
    assert {point.key for series in marks for point in series.points} == set(schemes(shown))
    for series in marks:
        for point in series.points:
            assert shown.chart.x.domain[0] < point.x < shown.chart.x.domain[1]
            assert shown.chart.y.domain[0] < point.y < shown.chart.y.domain[1]


@pytest.mark.parametrize("data", SETS)
def test_the_chosen_row_is_marked_everywhere(data: str) -> None:
    for scheme in schemes(view(data=data)):
        shown = view(data=data, scheme=scheme)
        assert shown.chart is not None
        marked = {point.key for series in shown.chart.series for point in series.points if point.marked}
        assert marked == {scheme}
        assert [schemes(shown)[index] for index in shown.table.marked] == [scheme]
        assert shown.readouts[0].value == scheme


@pytest.mark.parametrize("data", SETS)
@pytest.mark.parametrize("column", COLUMNS)
def test_sorting_by_every_column(data: str, column: str) -> None:
    name = column if column in SETS[data] else "size_gb"
    index = SETS[data].index(name)
    for order in ("ascending", "descending"):
        cells = [row[index] for row in view(data=data, sort=column, order=order).table.rows]
        known = [cell for cell in cells if cell is not None]
        assert known == sorted(known, reverse=order == "descending")
        assert cells[len(known) :] == [None] * (len(cells) - len(known)), "what is missing comes last"


def test_scheme_missing_from_the_set_is_named_and_replaced() -> None:
    shown = view(data="instruct", scheme="IQ2_XXS")
    assert "IQ2_XXS was not measured on this model" in words(shown)
    assert shown.readouts[0].value == "Q4_K_M"


@pytest.mark.parametrize("scheme", SCHEMES[::4])
@pytest.mark.parametrize("data", SETS)
def test_table_works_without_javascript(data: str, scheme: str) -> None:
    """Sorting and choosing are radio buttons of the form, one of each checked; rows and marks share keys."""
    controls = Controls(data=data, scheme=scheme)
    markup = render("kit/view.jinja", f=figure_context(LESSON, FIGURE.name, FigureQuery(controls))).decode()
    assert markup.count('<input type="radio" name="scheme"') == len(rows_of(data))
    assert markup.count('<input type="radio" name="sort"') == len(SETS[data])
    assert len(re.findall(r'<input type="radio"[^>]* checked', markup)) == 2
    keys = re.findall(r'data-key="([^"]+)"', markup)
    assert all(keys.count(row.scheme) >= 2 for row in rows_of(data))
