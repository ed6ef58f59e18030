"""Data charts: one neutral description, drawn twice.

`Chart` holds series and axes. The static SVG (`Chart.static`, a template draws it) is on the page from the
first paint and without JavaScript; `Chart.plotly` is the same chart for Plotly, as plain data, with no
colours in it: the style sheet themes both, so dark mode needs no redraw.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lessons.kit.language import N_, current_language, gettext
from lessons.kit.scales import Scale

STATIC_HEIGHT = 340
"""Usual height of the static SVG's plotting area in CSS pixels; Plotly's plotting area has the same."""

MARGINS = {"l": 56, "r": 16, "t": 30, "b": 54, "pad": 0}
"""Margins of both forms in CSS pixels; the style sheet gives the static one the same as padding."""

UNTITLED = 34
"""Bottom margin of a chart whose x axis has no title."""

NOTE_FONT = {"family": '"IBM Plex Serif", Georgia, serif', "size": 15, "style": "italic"}
"""The typeface of the notes on a chart, as in the style sheet."""

PLOTLY_CONFIG: dict[str, Any] = {
    "showSendToCloud": False,
    "displaylogo": False,
    "responsive": True,
    "scrollZoom": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "toImage"],
}

PLOTLY_WORDS = tuple(
    map(N_, ("Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes", "Double-click to zoom back out"))
)
"""Plotly's own texts: those of the buttons that are shown, and its hint."""

SHAPES = {
    "diamond": ((0, -6), (6, 0), (0, 6), (-6, 0)),
    "square": ((-4, -4), (4, -4), (4, 4), (-4, 4)),
    "triangle-up": ((0, -5.5), (5.5, 4.5), (-5.5, 4.5)),
    "triangle-down": ((0, 5.5), (5.5, -4.5), (-5.5, -4.5)),
    "triangle-right": ((5.5, 0), (-4.5, 5.5), (-4.5, -5.5)),
    "pentagon": ((0, -5.5), (5.3, -1.6), (3.3, 4.6), (-3.3, 4.6), (-5.3, -1.6)),
}
"""Corners of the marks that are no circle, under Plotly's names for them, in CSS pixels."""

PLOTLY_SIDES = {
    "left": "middle left",
    "right": "middle right",
    "top": "top center",
    "bottom": "bottom center",
    "top-left": "top left",
    "top-right": "top right",
    "bottom-left": "bottom left",
    "bottom-right": "bottom right",
}
"""Side of the mark on which a label stands, and Plotly's name for it."""

PLOTLY_FONT = {"family": '"IBM Plex Mono", ui-monospace, monospace', "size": 12}
"""The typeface of the style sheet: Plotly measures texts with it, to place them right."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis. `title` is a key of the figure's words, or ""; `ticks` are values with their printed text.

    `domain` runs from left to right, or from the bottom up: backwards where less stands higher.
    """

    title: str
    domain: tuple[float, float]
    ticks: tuple[tuple[float, str], ...]
    log: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """One mark. `key` links it with a row of a table; `hover` is its printed description.

    `label_minor`: a narrow screen leaves the label out (see `lessons.kit.labels`).
    """

    x: float
    y: float
    key: str
    label: str = ""
    hover: str = ""
    marked: bool = False
    error: float | None = None
    label_side: str = "right"
    label_minor: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """Marks of one kind: `kind` is "line", "points" or "both"; `name` is a key of the figure's words.

    `role` names its look in the style sheet: "quantized", "true", "guess", "truth" or "method-1" …
    "method-5"; `symbol` is "circle" or one of `SHAPES`, `size` its width in pixels. `named`: the point beside
    which its name is written, counted as in a list, and on which side.
    """

    name: str
    points: tuple[Point, ...]
    kind: str = "points"
    role: str = "quantized"
    symbol: str = "circle"
    size: int = 9
    named: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A line across the plot at a value, with its label: a key of the words and where it applies.

    `spread` draws a band of that much on both sides of the line, such as a standard error. `below`: a level
    rule is named under its beginning, clear of marks that lie on it.
    """

    axis: str
    value: float
    label: str
    role: str = "true"
    spread: float = 0.0
    below: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence on the plot at a place: `text` is a key of the figure's words, `values` fill its slots.

    `anchor` is "start", "middle" or "end" of the text; `y` is its middle.
    """

    text: str
    x: float
    y: float
    anchor: str = "start"
    values: Mapping[str, str] = field(default_factory=dict)

    def filled(self, words: Mapping[str, str]) -> str:
        return words.get(self.text, self.text).format(**self.values)


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the x axis on which nothing was measured: hatched, and named at its top by `label`."""

    low: float
    high: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of `series` over two axes; `height` is that of its plotting area in CSS pixels."""

    x: Axis
    y: Axis
    series: tuple[Series, ...]
    rules: tuple[Rule, ...] = ()
    notes: tuple[Note, ...] = ()
    region: Region | None = None
    height: int = STATIC_HEIGHT

    def scales(self) -> tuple[Scale, Scale]:
        return (
            Scale(self.x.domain, (0.0, 100.0), self.x.log),
            Scale(self.y.domain, (float(self.height), 0.0), self.y.log),
        )

    def static(self) -> dict[str, Any]:
        """Positions for the static SVG: x in per cent, y in pixels; curves in a 0…1000 square."""
        x, y = self.scales()
        return {
            "height": self.height,
            "titled": bool(self.x.title),
            "x_ticks": [{"at": x.percent(v), "text": text} for v, text in self.x.ticks],
            "y_ticks": [{"at": y(v), "text": text} for v, text in self.y.ticks],
            "series": [self._static_series(series, x, y) for series in self.series],
            "rules": [
                {
                    "axis": rule.axis,
                    "at": x.percent(rule.value) if rule.axis == "x" else y(rule.value),
                    "label": rule.label,
                    "role": rule.role,
                    "below": rule.below,
                    "band": _static_band(rule, x, y) if rule.spread else None,
                }
                for rule in self.rules
            ],
            "region": self.region and _static_region(self.region, x),
            "notes": [
                {"x": x.percent(note.x), "y": y(note.y), "anchor": note.anchor, "note": note}
                for note in self.notes
            ],
        }

    def _static_series(self, series: Series, x: Scale, y: Scale) -> dict[str, Any]:
        path = " ".join(
            f"{'L' if i else 'M'}{10 * x(p.x):.0f} {1000 * y(p.y) / self.height:.0f}"
            for i, p in enumerate(series.points)
        )
        named = None
        if series.named:
            at = series.points[series.named[0]]
            named = {"x": x.percent(at.x), "y": y(at.y), "side": series.named[1]}
        return {
            "name": series.name,
            "named": named,
            "role": series.role,
            "symbol": series.symbol,
            "radius": series.size / 2,
            "shape": (_outline(series.symbol, 1.0), _outline(series.symbol, 1.42)),
            "path": path if series.kind in ("line", "both") else None,
            "points": [
                {
                    "x": x.percent(p.x),
                    "y": y(p.y),
                    "key": p.key,
                    "label": p.label,
                    "hover": p.hover,
                    "marked": p.marked,
                    "side": p.label_side,
                    "minor": p.label_minor,
                    "error": None if p.error is None else (y(p.y - p.error), y(p.y + p.error)),
                }
                for p in series.points
                if series.kind in ("points", "both")
            ],
        }

    def plotly(self, words: dict[str, str]) -> dict[str, Any]:
        """The chart for Plotly: `data`, `layout` and `config`, JSON-ready. `words` are the figure's words."""
        margins = MARGINS if self.x.title else MARGINS | {"b": UNTITLED}
        return {
            "data": [self._trace(series, words) for series in self.series],
            "layout": {
                "autosize": True,
                "height": self.height + margins["t"] + margins["b"],
                "margin": margins,
                "font": PLOTLY_FONT,
                "showlegend": False,
                "hovermode": "closest",
                "dragmode": "zoom",
                "paper_bgcolor": "rgba(0,0,0,0)",
                "plot_bgcolor": "rgba(0,0,0,0)",
                "xaxis": _plotly_axis(self.x, words) | {"ticklabelstandoff": 5},
                "yaxis": _plotly_axis(self.y, words) | {"title": {"text": ""}, "ticklabelstandoff": 9},
                "shapes": [
                    *([_region(self.region)] if self.region else []),
                    *(_band(rule) for rule in self.rules if rule.spread),
                    *(_shape(rule) for rule in self.rules),
                ],
                "annotations": [
                    _axis_title(words.get(self.y.title, self.y.title)),
                    *(_annotation(rule, words, self) for rule in self.rules if rule.label in words),
                    *([_region_label(self.region, words, self)] if self.region else []),
                    *(_note(note, words, self) for note in self.notes),
                ],
            },
            "config": PLOTLY_CONFIG | _plotly_language(),
        }

    def _trace(self, series: Series, words: dict[str, str]) -> dict[str, Any]:
        points = series.points
        texts, sides = (
            [p.label if series.kind != "line" else "" for p in points],
            [p.label_side for p in points],
        )
        if series.named:
            texts[series.named[0]], sides[series.named[0]] = (
                words.get(series.name, series.name),
                series.named[1],
            )
        mode = {"line": "lines", "points": "markers+text", "both": "lines+markers"}[series.kind]
        if series.kind != "points" and any(texts):
            mode += "+text"
        trace: dict[str, Any] = {
            "type": "scatter",
            "mode": mode,
            "name": words.get(series.name, series.name),
            "x": [p.x for p in points],
            "y": [p.y for p in points],
            "customdata": [p.key for p in points],
            "meta": {
                "role": series.role,
                "marked": [i for i, p in enumerate(points) if p.marked],
                "minor": [i for i, p in enumerate(points) if p.label_minor],
            },
            "hovertext": [p.hover for p in points],
            "hoverinfo": "text",
            "cliponaxis": False,
        }
        if mode.endswith("text"):
            trace["text"] = texts
            trace["textposition"] = [PLOTLY_SIDES[side] for side in sides]
        if series.kind != "line":
            sizes = [series.size + 4 * p.marked for p in points]
            trace["marker"] = {"size": sizes, "symbol": series.symbol, "opacity": 1}
        if any(p.error is not None for p in points):
            errors = [p.error or 0 for p in points]
            trace["error_y"] = {"type": "data", "array": errors, "thickness": 1, "width": 3}
        return trace


def _plotly_language() -> dict[str, Any]:
    """Plotly's own words in the current language; its default is English."""
    if current_language().is_source:
        return {}
    words = {word: gettext(word) for word in PLOTLY_WORDS}
    return {"locale": current_language().tag, "locales": {current_language().tag: {"dictionary": words}}}


def _outline(symbol: str, size: float) -> str:
    """The path of a mark's outline; none of a circle."""
    corners = SHAPES.get(symbol, ())
    return f"M{' '.join(f'{size * x:.2g} {size * y:.2g}' for x, y in corners)}z" if corners else ""


def _plotly_axis(axis: Axis, words: dict[str, str]) -> dict[str, Any]:
    low, high = axis.domain
    spec: dict[str, Any] = {
        "title": {"text": words.get(axis.title, axis.title), "standoff": 0},
        "tickmode": "array",
        "tickvals": [v for v, _ in axis.ticks],
        "ticktext": [text for _, text in axis.ticks],
        "range": [low, high],
        "zeroline": False,
        "showline": False,
        "fixedrange": False,
    }
    if axis.log:
        spec |= {"type": "log", "range": [math.log10(low), math.log10(high)]}
    return spec


def _axis_title(text: str) -> dict[str, Any]:
    """The title of the y axis, horizontal, above its ticks."""
    place = {
        "x": 0,
        "xref": "paper",
        "xshift": -52,
        "xanchor": "left",
        "y": 1,
        "yref": "paper",
        "yanchor": "bottom",
    }
    return {"text": text, "showarrow": False, "yshift": 8, **place}


def _shape(rule: Rule) -> dict[str, Any]:
    span = {"x0": rule.value, "x1": rule.value, "y0": 0, "y1": 1, "xref": "x", "yref": "paper"}
    if rule.axis == "y":
        span = {"y0": rule.value, "y1": rule.value, "x0": 0, "x1": 1, "yref": "y", "xref": "paper"}
    return {"type": "line", "line": {"width": 1.5, "dash": "dot"}, **span}


def _band(rule: Rule) -> dict[str, Any]:
    low, high = rule.value - rule.spread, rule.value + rule.spread
    span = {"x0": low, "x1": high, "y0": 0, "y1": 1, "xref": "x", "yref": "paper"}
    if rule.axis == "y":
        span = {"y0": low, "y1": high, "x0": 0, "x1": 1, "yref": "y", "xref": "paper"}
    return {"type": "rect", "layer": "below", "line": {"width": 0}, "fillcolor": GREY, **span}


def _static_band(rule: Rule, x: Scale, y: Scale) -> dict[str, float]:
    """Start and length: per cent of the width for a band on the x axis, pixels for one on the y axis."""
    ends = sorted((x if rule.axis == "x" else y)(rule.value + side * rule.spread) for side in (-1, 1))
    return {"at": ends[0], "length": round(ends[1] - ends[0], 3)}


def _annotation(rule: Rule, words: dict[str, str], chart: Chart) -> dict[str, Any]:
    log = chart.x.log if rule.axis == "x" else chart.y.log
    at = math.log10(rule.value) if log else rule.value
    place = {"x": at, "y": 1, "xref": "x", "yref": "paper", "xanchor": "left", "yanchor": "top"}
    shift = {"xshift": 2, "yshift": 6}  # to where the static form has it
    if rule.axis == "y":
        place = {"y": at, "x": 1, "yref": "y", "xref": "paper", "xanchor": "right", "yanchor": "bottom"}
        shift = {"xshift": 4, "yshift": -1}
        if rule.below:
            place |= {"x": 0, "xanchor": "left", "yanchor": "top"}
            shift = {"xshift": 2, "yshift": -8}
    return {"text": words[rule.label], "showarrow": False, "borderpad": 3, **place, **shift}


GREY = "rgba(128,128,128,0.16)"
"""Half way between the two papers: right in light and dark."""


def _static_region(region: Region, x: Scale) -> dict[str, Any]:
    low, high = x(region.low), x(region.high)
    return {"at": low, "length": round(high - low, 3), "label": region.label}


def _region(region: Region) -> dict[str, Any]:
    """The style sheet hatches it, by its name."""
    span = {"x0": region.low, "x1": region.high, "y0": 0, "y1": 1, "xref": "x", "yref": "paper"}
    look = {"type": "rect", "name": "region", "layer": "below", "line": {"width": 0}, "fillcolor": GREY}
    return look | span


def _region_label(region: Region, words: dict[str, str], chart: Chart) -> dict[str, Any]:
    at = math.log10(region.low) if chart.x.log else region.low
    place = {"x": at, "y": 1, "xref": "x", "yref": "paper", "xanchor": "left", "yanchor": "top"}
    place |= {"showarrow": False, "borderpad": 3, "xshift": 1, "yshift": 1}
    return {"text": words.get(region.label, region.label), **place}


def _note(note: Note, words: dict[str, str], chart: Chart) -> dict[str, Any]:
    x = math.log10(note.x) if chart.x.log else note.x
    y = math.log10(note.y) if chart.y.log else note.y
    anchor, shift = {"start": ("left", -2), "middle": ("center", 0), "end": ("right", 3)}[note.anchor]
    place = {"x": x, "y": y, "xref": "x", "yref": "y", "xanchor": anchor, "yanchor": "middle"}
    return {"text": note.filled(words), "showarrow": False, "font": NOTE_FONT, "xshift": shift, **place}
