"""Formulas as MathML: what is converted once for many states is what converting each would give."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from latex2mathml.converter import convert

from lessons.catalogue import load_lesson
from lessons.kit.controls import FigureControls
from lessons.kit.figure import Figure
from lessons.kit.mathml import mathml

FIGURES = load_lesson("quantization").figures
FORM = r"q_{%s} = \frac{%s - z}{%s} \times 10^{%s} + x_1^2 \cdot %s\,\%%"
numbers = st.one_of(
    st.integers(0, 10**9).map(str),
    st.decimals(0, 1000, places=4).map(str),
    st.sampled_from(["70000000", "70000001", "0", "007", "1.50"]),  # like what stands for a number meanwhile
)


def some_states(figure: Figure[FigureControls]) -> list[FigureControls]:
    source, widgets = random.Random(0), figure.controls.widgets()
    drawn = [{name: source.choice(widget.states()) for name, widget in widgets.items()} for _ in range(8)]
    return [figure.controls(), *(figure.controls(**state) for state in drawn)]


@pytest.mark.parametrize("name", FIGURES)
def test_every_formula_is_converted(name: str) -> None:
    formulas = [latex for state in some_states(FIGURES[name]) for latex in FIGURES[name].view(state).formulas]
    assert [mathml(latex) for latex in formulas] == [convert(latex, display="block") for latex in formulas]


@given(st.tuples(*[numbers] * 5))
def test_numbers_are_not_confused(values: tuple[str, ...]) -> None:
    assert mathml(FORM % values) == convert(FORM % values, display="block")
