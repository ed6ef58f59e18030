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
from tests.each import each

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


def verdict(scheme: str) -> str:
    """What the short table says of a scheme, which is in it when it is chosen."""
    rows = view(scheme=scheme).drawing["rows"]
    return str(next(row["verdict"] for row in rows if row["scheme"] == scheme))


def finding(shown: View) -> str:
    return TEXT.sentence(shown.description[0])


@pytest.mark.parametrize("row", sources.quality_table(), ids=lambda row: row.scheme)
def test_sizes_computed_here_equal_the_published_ones(row: sources.QualityRow) -> None:
    computed = next(one for one in rows_of("instruct") if one.scheme == row.scheme)
    assert computed.size == pytest.approx(row.size_bytes, abs=0.01 * 2**20)  # published to 0.01 MiB
    assert computed.bits_per_weight == pytest.approx(row.bits_per_weight, abs=5e-5)
    baseline = rows_of("instruct")[0]
    assert computed.loss(baseline) == pytest.approx(row.benchmark_loss, abs=0.006)
    assert computed.size_change(baseline) == pytest.approx(row.size_change, abs=0.006)


@each("row", sources.base_quality_table())
def test_sizes_of_the_base_set_equal_the_published_ones(row: sources.BaseRow) -> None:
    computed = next(one for one in rows_of("base") if one.scheme == row.scheme)
    assert computed.size == pytest.approx(row.size_bytes, abs=0.01 * 2**20)


def test_q4_k_m_as_the_prose_quotes_it() -> None:
    shown = view()
    assert value(shown, "benchmark_loss") == pytest.approx(100 * (69.47 - 69.15) / 69.47)
    assert value(shown, "points") == pytest.approx(69.15 - 69.47)
    assert value(shown, "size_gib") == pytest.approx(4685.30 / 1024, abs=1e-4)
    assert "−0.32 points" in words(shown)
    assert finding(shown).startswith("Q4_K_M: 4.9\u202fGB, 0.3 points below F16: inside the noise of ±1.0")


@pytest.mark.parametrize(
    ("scheme", "side"),
    [
        ("Q8_0", "inside"),
        ("Q6_K", "inside"),
        ("Q4_K_S", "inside"),
        ("Q3_K_L", "inside"),
        ("Q5_0", "inside"),  # above F16, and no better
        ("Q4_0", "outside"),
        ("Q3_K_M", "outside"),
        ("Q3_K_S", "outside"),
    ],
)
def test_verdicts_follow_from_the_noise(scheme: str, side: str) -> None:
    shown = view(scheme=scheme)
    assert {"tie": "inside", "lower": "outside"}[verdict(scheme)] == side
    assert f"{side} the noise of ±1.0" in finding(shown)


def test_ties_have_one_rule_in_words_code_plot_and_table() -> None:
    """The noise of the finding, the band of the plot and the verdicts are the same number."""
    claims = LESSON.claims
    assert float(claims["noise-difference"].value) == pytest.approx(quality.DIFFERENCE_NOISE, abs=0.05)
    assert pytest.approx(2**0.5 * quality.AVERAGE_NOISE) == quality.DIFFERENCE_NOISE
    shown = view()
    assert shown.chart is not None
    band = next(rule.spread for rule in shown.chart.rules if rule.axis == "y")
    points = {row[0]: row[SETS["instruct"].index("points")] for row in shown.table.rows}
    ties = {scheme for scheme in points if verdict(scheme) in ("tie", "baseline")}
    assert ties == {scheme for scheme, change in points.items() if abs(change) < band}
    # No scheme lies near the limit: with the error of a difference it would be the same.
    assert ties == {scheme for scheme, change in points.items() if abs(change) < quality.DIFFERENCE_NOISE}
    assert len(ties) == 11
    assert not [change for change in points.values() if 0.7 < abs(change) < 1.35]
    assert shown.chart.notes[0].filled(TEXT.words) == "10 of 13 lie in the noise, ±1.0"
    assert "as 10 of 13 formats are" in finding(shown)
    for scheme in points:
        assert f"±{band:.1f}" in finding(view(scheme=scheme))


def test_gsm8k_has_the_same_noise_in_finding_and_band() -> None:
    """Q4_1 lies just inside: 1.59 points of 1.63."""
    for row in rows_of("instruct"):
        shown = view(scheme=row.scheme, measure="gsm8k")
        assert shown.chart is not None
        (rule,) = shown.chart.rules
        if row.scheme != "F16":
            inside = abs(value(shown, "gsm8k") - rule.value) < rule.spread
            assert f"{'inside' if inside else 'outside'} the noise of ±{rule.spread:.2f}" in finding(shown)


def test_the_finding_is_true_and_short_in_every_state() -> None:
    for scheme in SCHEMES:
        for data in SETS:
            for measure in quality.MEASURES:
                shown = view(scheme=scheme, data=data, measure=measure)
                said, row = finding(shown), quality.compute(Controls(scheme=scheme, data=data)).chosen
                assert said.startswith(f"{row.scheme}: {row.size / 1e9:.1f}\u202fGB, ")
                assert len(said) <= 130
                if data == "base":
                    best = row.perplexity or row.perplexity_imatrix or 0
                    assert f"perplexity {best:.2f}" in said
                    assert ("importance matrix" in said) == (row.scheme != "F16")
                elif row.scheme != "F16" and measure == "benchmark_loss":
                    change = row.points(rows_of("instruct")[0]) or 0
                    side = "above" if change > 0 else "below"
                    assert f"{abs(change):.1f} points {side} F16" in said
                assert shown.limits["measure" if data == "base" else "scheme"].options


@pytest.mark.parametrize("data", SETS)
def test_the_short_table_has_the_chosen_row_and_always_as_many(data: str) -> None:
    for scheme in schemes(view(data=data)):
        short = view(data=data, scheme=scheme).drawing["rows"]
        assert [row["scheme"] for row in short if row["chosen"]] == [scheme]
        assert len(short) == 5
        assert short[0]["scheme"] == "F16"


def test_the_chosen_mark_is_always_named_in_the_plot() -> None:
    for data in SETS:
        for scheme in schemes(view(data=data)):
            shown = view(data=data, scheme=scheme)
            assert shown.chart is not None
            marked = [p for series in shown.chart.series for p in series.points if p.marked and p.label]
            assert scheme == "F16" or [(p.label, p.label_minor) for p in marked][:1] == [(scheme, False)]


def test_better_is_up_and_what_has_no_scores_is_hatched() -> None:
    for data, measure in (("instruct", "perplexity"), ("instruct", "gsm8k"), ("base", "perplexity")):
        shown = view(data=data, measure=measure)
        assert shown.chart is not None
        _, up = shown.chart.scales()
        heights = {p.key: up(p.y) for series in shown.chart.series for p in series.points}
        lowest = "Q3_K_S" if data == "instruct" else "IQ1_S"
        assert heights[lowest] == max(heights.values())
    region = view().chart.region  # type: ignore[union-attr]
    assert region is not None
    assert region.high < min(row.size for row in rows_of("instruct")) / 1e9
    assert view(data="base").chart.region is None  # type: ignore[union-attr]


def test_the_prose_names_the_smallest_k_quant_that_ties() -> None:
    between = rows_of("instruct")
    sizes = {row.scheme: row.size for row in between}
    ties = {scheme for scheme in sizes if "_K" in scheme and verdict(scheme) == "tie"}
    smallest = min(ties, key=lambda scheme: sizes[scheme])
    prose = (ROOT / "quantization" / "en" / "05-gguf.md").read_text("utf-8")
    assert f"From Q6_K down to {smallest}, every k-quant ties with sixteen bits" in " ".join(prose.split())
    k_quants = {row.scheme for row in between if "_K" in row.scheme and row.size >= sizes[smallest]}
    assert k_quants == ties


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
            low, high = sorted(shown.chart.y.domain)
            assert low < point.y < high


@pytest.mark.parametrize("data", SETS)
def test_the_chosen_row_is_marked_everywhere(data: str) -> None:
    for scheme in schemes(view(data=data)):
        shown = view(data=data, scheme=scheme)
        assert shown.chart is not None
        marked = {point.key for series in shown.chart.series for point in series.points if point.marked}
        assert marked == {scheme}
        assert [schemes(shown)[index] for index in shown.table.marked] == [scheme]
        assert next(r.value for r in shown.readouts if r.name == "scheme") == scheme


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
    assert finding(shown).startswith("Q4_K_M:")
    assert "IQ2_XXS" in (shown.limits["scheme"].options or ())


@pytest.mark.parametrize("scheme", SCHEMES[::4])
@pytest.mark.parametrize("data", SETS)
def test_table_works_without_javascript(data: str, scheme: str) -> None:
    """Choosing is a menu, and the rows are links to their states; rows and marks share keys."""
    controls = Controls(data=data, scheme=scheme)
    f = figure_context(LESSON, FIGURE.name, FigureQuery(controls))
    markup = render("kit/view.jinja", f=f).decode()
    for row in f.view.drawing["rows"]:
        query = "&amp;".join(f"{k}={v}" for k, v in Controls(data=data, scheme=row["scheme"]).query())
        assert f'figures/quality{"?" if query else ""}{query}"' in markup
    keys = re.findall(r'data-key="([^"]+)"', markup)
    assert all(keys.count(row["scheme"]) >= 2 for row in f.view.drawing["rows"])
    assert {row.scheme for row in rows_of(data)} <= set(keys)
