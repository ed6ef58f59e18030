"""Formulas as MathML: nothing is left of LaTeX."""

from __future__ import annotations

import random

import pytest

from lessons.catalogue import load_lesson
from lessons.kit.controls import FigureControls
from lessons.kit.figure import Figure
from lessons.kit.mathml import mathml

FIGURES = load_lesson("quantization").figures


def some_states(figure: Figure[FigureControls]) -> list[FigureControls]:
    source, widgets = random.Random(0), figure.controls.widgets()
    drawn = [{name: source.choice(widget.states()) for name, widget in widgets.items()} for _ in range(8)]
    return [figure.controls(), *(figure.controls(**state) for state in drawn)]


@pytest.mark.parametrize("name", FIGURES)
def test_every_formula_is_converted(name: str) -> None:
    formulas = [latex for state in some_states(FIGURES[name]) for latex in FIGURES[name].view(state).formulas]
    for formula in map(mathml, formulas):
        assert formula.startswith("<math")
        assert "\\" not in formula
