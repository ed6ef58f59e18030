"""A lesson's computations as a Jupyter notebook: for every figure with Python a heading and a cell that runs.

The format is nbformat 4.5: JSON with a list of cells, each with an id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from lessons.catalogue import Lesson
from lessons.kit.controls import FigureControls

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def notebook(lesson: Lesson, states: Mapping[str, FigureControls], opening: str) -> str:
    """The notebook of a lesson with its figures in these states, as JSON.

    Parameters
    ----------
    opening
        What stands above the first cell, in Markdown: where it runs.
    """
    title = str(lesson.about.title)
    cells = [_text(f"# {title}\n\n{opening}")]
    for page in lesson.pages:
        if page.figures:
            cells.append(_text(f"## {page.number} {page.title}".replace("  ", " ")))
        for name in page.figures:
            figure, words = lesson.figures[name], lesson.texts[name]
            state = ", ".join(f"`{key}={value}`" for key, value in states[name].query())
            cells.append(_text(f"### {figure.label} {words.title}" + (f"\n\n{state}" if state else "")))
            cells.append(_code(lesson.python(name, states[name])))
    content = {
        "cells": _numbered(cells),
        "metadata": {"kernelspec": KERNEL, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": _lines(source)}


def _code(source: str) -> dict[str, Any]:
    code: dict[str, Any] = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
    return code | {"source": _lines(source)}


def _lines(source: str) -> list[str]:
    return source.strip("\n").splitlines(keepends=True)


def _numbered(cells: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each cell with an id, which is the same whenever its place and its content are."""
    return [
        {"id": hashlib.sha256(f"{i}{cell['source']}".encode()).hexdigest()[:12], **cell}
        for i, cell in enumerate(cells)
    ]
