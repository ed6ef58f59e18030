"""The Jinja environment, and what every template gets."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from html import escape
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from app.addresses import address, in_language, place_of, static_path
from app.assets import ROOT, static_files
from app.cache.response import QUICK, CachedResponse
from app.site import current_site
from lessons.catalogue import course
from lessons.kit import numbers
from lessons.kit.controls import Slider, Text, as_parameter
from lessons.kit.language import current_language, gettext, isolated_text, language, languages, ngettext
from lessons.kit.mathml import mathml
from lessons.kit.source import dotted_name, highlight, source_named, source_of
from lessons.kit.task import StateStep
from lessons.kit.typed import LONGEST
from lessons.kit.view import Table
from quant_core.files.single import reads
from quant_core.files.storage import SIZES, TYPE_NAMES

HTML = "text/html; charset=utf-8"
PRELOADED = ("js/lib/", "js/figure/", "js/lesson/")
"""Folders of scripts that all pages with figures use: a page names their files, to get all at once."""

PRINTED = ("ordinal", "integer", "fixed", "significant", "percent", "times", "signed", "as_printed")
"""Functions of `lessons.kit.numbers` that templates use as filters."""


@functools.cache
def environment() -> Environment:
    """The Jinja environment; strict, so that a misspelt name fails instead of printing nothing."""
    env = Environment(
        loader=FileSystemLoader([ROOT / "templates", ROOT / "lessons"]),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    install = "install_gettext_callables"  # of the extension, which has no type
    getattr(env, install)(gettext, ngettext, newstyle=True)
    env.policies["ext.i18n.trimmed"] = True
    env.globals.update(
        address=address,
        in_language=in_language,
        place_of=place_of,
        current_language=current_language,
        language=language,
        languages=languages,
        modules=[path for path in static_files() if path.startswith(PRELOADED)],
        as_parameter=as_parameter,
        is_slider=lambda widget: isinstance(widget, Slider),
        is_text=lambda widget: isinstance(widget, Text),
        is_state=lambda step: isinstance(step, StateStep),
        block_types={str(number): [name, *SIZES[name]] for number, name in TYPE_NAMES.items() if reads(name)},
        source_named=source_named,
        longest_typed=LONGEST,
    )
    env.filters.update(
        with_fixed=with_fixed,
        python=lambda code: Markup(highlight(code)),
        mathml=lambda latex: Markup(mathml(latex)),
        source=source_of,
        dotted_name=dotted_name,
        safe_html=Markup,
        isolated=isolated,
        isolated_text=isolated_text,
        table_rows=table_rows,
        **{name: getattr(numbers, name) for name in PRINTED},
    )
    return env


def render(template: str, **context: Any) -> bytes:
    """Render a template to UTF-8, in the current language."""
    site = current_site()
    context |= {"static_path": static_path(), "course": course()}
    context |= {"embeddable": site.embeddable, "holds_classes": site.holds_classes}
    months = site.retention_months
    context["retention"] = ngettext("one month", "%(num)s months", months) % {"num": months}
    return environment().get_template(template).render(**context).encode()


def html(
    template: str, *, quality: int = QUICK, headers: Mapping[str, str] | None = None, **context: Any
) -> CachedResponse:
    """A rendered template as a response."""
    return CachedResponse(render(template, **context), HTML, quality, headers=headers)


def isolated(text: str) -> Markup:
    """A name or title that people have written, isolated so that its direction affects no other text."""
    return Markup("<bdi>{}</bdi>").format(text)


def table_rows(table: Table) -> Markup:
    """The rows of a data table, its first column as their headings.

    Most of a view's elements are its cells: a loop in a template takes five times as long.
    """
    return Markup("".join(_table_row(table, i) for i in range(len(table.rows))))


def _table_row(table: Table, number: int) -> str:
    line = '<tr class="marked">' if number in table.marked else "<tr>"
    tag, attributes = "th", ' scope="row"'
    for column, value in zip(table.columns, table.rows[number], strict=True):
        numeric = ' class="numeric"' if column.numeric else ""
        line += f"<{tag}{attributes}{numeric}>{escape(column.text(value), quote=False)}</{tag}>"
        tag, attributes = "td", ""
    return line + "</tr>\n"


def with_fixed(drawing: str, names: tuple[str, ...]) -> Markup:
    """A drawing in which the cells of some controls cannot be chosen: a teacher has fixed them."""
    for name in names:
        drawing = re.sub(
            rf'<input type="radio"(?=[^>]* name="{name}")', '<input type="radio" disabled', drawing
        )
    return Markup(drawing)
