"""Requirements of every figure, in every state of every control."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import plotly.graph_objects as go
import pytest

from lessons.catalogue import load_lesson
from lessons.kit.chart import Chart
from lessons.kit.controls import Choice, FigureControls, as_parameter
from lessons.kit.figure import Figure
from lessons.kit.view import View

LESSON = load_lesson("quantization")
FIGURES = LESSON.figures
MOST_STATES = 24
MACHINE_NUMBER = re.compile(r"\bnan\b|\binf\b|\b\d+(\.\d+)?e[-+]?\d+\b|(?<![\w.])-\d")


def states(figure: Figure[Any]) -> Iterator[FigureControls]:
    """The default, then each control through some of its states with the others at their defaults."""
    yield figure.controls()
    for name, widget in figure.controls.widgets().items():
        values = widget.states()
        step = max(1, len(values) // MOST_STATES)
        for value in dict.fromkeys((*values[::step], values[-1])):
            yield figure.controls.parse([(name, as_parameter(value))])


VIEWS: dict[str, list[tuple[FigureControls, View]]] = {}


@pytest.fixture(scope="module", params=FIGURES)
def name(request: pytest.FixtureRequest) -> str:
    """Of the module, so that the tests of one figure follow each other and share its views."""
    figure: str = request.param
    return figure


def views(name: str) -> list[tuple[FigureControls, View]]:
    if name not in VIEWS:
        VIEWS[name] = [(state, FIGURES[name].view(state)) for state in states(FIGURES[name])]
    return VIEWS[name]


def test_same_controls_give_the_same_view(name: str) -> None:
    figure = FIGURES[name]
    first, second = figure.view(figure.controls()), figure.view(figure.controls())
    for part in ("readouts", "drawing", "description", "formulas", "notes", "chart"):
        assert repr(getattr(first, part)) == repr(getattr(second, part)), part
    assert first.table.rows == second.table.rows


def test_readouts_are_few_named_once_and_labelled(name: str) -> None:
    for state, view in views(name):
        names = [readout.name for readout in view.readouts]
        assert 1 <= len(names) == len(set(names)) <= 9, state
        assert all(LESSON.texts[name].readout(readout) for readout in names)


def test_numbers_are_formatted_for_readers(name: str) -> None:
    text = LESSON.texts[name]
    for state, view in views(name):
        printed = [readout.text for readout in view.readouts]
        printed += [text.sentence(sentence) for sentence in (*view.description, *view.notes)]
        printed += [
            column.text(v)
            for row in view.table.rows
            for column, v in zip(view.table.columns, row, strict=True)
        ]
        assert not [words for words in printed if MACHINE_NUMBER.search(words)], state


def test_every_word_exists(name: str) -> None:
    text = LESSON.texts[name]
    assert text.title
    for control, widget in FIGURES[name].controls.widgets().items():
        assert text.control(control)
        if isinstance(widget, Choice) and not widget.drawn:
            assert all(text.option(control, option, widget) for option in widget.options)
    for _, view in views(name):
        assert all(text.column(column.name) for column in view.table.columns)


def test_description_starts_with_a_readout(name: str) -> None:
    """The sentence announced after a change contains a result."""
    for state, view in views(name):
        assert re.search(r"\d", LESSON.texts[name].sentence(view.description[0])), state


def test_table_rows_fit_their_columns(name: str) -> None:
    for _, view in views(name):
        assert view.table.rows
        assert all(len(row) == len(view.table.columns) for row in view.table.rows)
        assert all(0 <= index < len(view.table.rows) for index in view.table.marked)


def test_shown_functions_are_of_the_library(name: str) -> None:
    for _, view in views(name):
        assert view.ran
        assert all(function.__module__.startswith("quant_core") for function in view.ran)


def charts(name: str) -> list[Chart]:
    """The charts of a figure in all its states; a figure has one in each of them or in none."""
    found = [view.chart for _, view in views(name) if view.chart]
    assert len(found) in (0, len(views(name)))
    return found


def test_a_figure_that_has_a_chart_has_it_here_too() -> None:
    assert charts("quality")


def test_chart_is_valid_for_plotly(name: str) -> None:
    for chart in charts(name):
        spec = chart.plotly(LESSON.texts[name].words)
        go.Figure(data=spec["data"], layout=spec["layout"])
        assert spec["config"]["showSendToCloud"] is False
        assert spec["config"]["displaylogo"] is False


def test_static_chart_and_plotly_show_the_same_points(name: str) -> None:
    for chart in charts(name):
        static, live = chart.static(), chart.plotly(LESSON.texts[name].words)
        for drawn, trace, series in zip(static["series"], live["data"], chart.series, strict=False):
            assert trace["x"] == [point.x for point in series.points]
            assert len(drawn["points"]) in (0, len(trace["x"]))
