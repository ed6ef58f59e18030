"""A figure or a lesson as a file: its data table, its picture, its Python, a notebook."""

from __future__ import annotations

import csv
import io

from app.cache.response import CachedResponse
from app.export.pictures import picture
from app.export.sheets import Scheme
from app.views.figure import FigureContext
from app.views.lesson import FigureQueries
from lessons.catalogue import Lesson
from lessons.kit.arrangement import FigureQuery
from lessons.kit.language import gettext as _
from lessons.notebook import notebook


def csv_file(f: FigureContext, name: str = "") -> CachedResponse:
    """The figure's data table as CSV, raw values."""
    table, buffer = f.view.table, io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow([column.name for column in table.columns])
    writer.writerows(table.rows)
    headers = as_download(f"{name or f.id}.csv")
    return CachedResponse(buffer.getvalue().encode(), "text/csv; charset=utf-8", headers=headers)


def svg_file(f: FigureContext, scheme: Scheme, name: str = "") -> CachedResponse:
    """The figure's drawing as an SVG file that stands alone; saved under a name where one is given."""
    svg, policy = picture(f, scheme)
    headers = {"Content-Security-Policy": policy} | (as_download(f"{name}.svg") if name else {})
    return CachedResponse(svg, "image/svg+xml; charset=utf-8", headers=headers)


def python_file(lesson: Lesson, name: str, query: FigureQuery) -> CachedResponse:
    """The Python that reproduces a figure's read-outs."""
    code = lesson.python(name, query.controls).encode()
    headers = as_download(f"{lesson.figures[name].id}.py")
    return CachedResponse(code, "text/x-python; charset=utf-8", headers=headers)


def notebook_file(lesson: Lesson, queries: FigureQueries) -> CachedResponse:
    """The lesson's computations as a Jupyter notebook."""
    opening = _(
        "The computations behind the figures, as they are shown. Run it at the root of a copy of the "
        "repository, with what `requirements.txt` names."
    )
    content = notebook(lesson, {name: query.controls for name, query in queries.items()}, opening)
    headers = as_download(f"{lesson.slug}.ipynb")
    return CachedResponse(content.encode(), "application/x-ipynb+json", headers=headers)


def as_download(name: str) -> dict[str, str]:
    """The header that lets a browser save a response under a name."""
    return {"Content-Disposition": f'attachment; filename="{name}"'}
