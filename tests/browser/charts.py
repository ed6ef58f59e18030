"""The figures with a data chart; apart from `figures.py`, because computing every view takes seconds."""

from __future__ import annotations

from tests.browser.figures import FIGURES

CHARTS = [name for name, each in FIGURES.items() if each.view(each.controls()).chart]
