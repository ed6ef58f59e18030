"""A figure's drawing as an SVG file that stands alone: styles resolved, typeface within, nothing to load.

It is made of the very drawing of the page. What of a drawing is HTML (lists, cells to choose from) has no
place in such a file; a figure that is HTML altogether has no picture, and says so.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from app.assets import STATIC
from app.export.colours import PROPERTIES, Scheme, plain, rules
from app.views.render import Shown, render
from lessons.kit.controls import Choice, Slider
from lessons.kit.controls import plain as as_text

WIDTH = 1080
MARGIN = 32
CHARACTER = 7.2
"""Width of a character of the typeface at 12 px: all of its characters are as wide."""

FACE = "vendor/fonts/ibm-plex-mono-latin-400-normal.woff2"
MONO = '"IBM Plex Mono"'

CASED = {
    "viewbox": "viewBox",
    "preserveaspectratio": "preserveAspectRatio",
    "patternunits": "patternUnits",
    "patterntransform": "patternTransform",
}
"""Attributes whose capitals an HTML parser forgets."""

VOID = frozenset({"input", "br", "hr", "img"})
DROPPED = frozenset({"role", "tabindex", "aria-hidden", "aria-label", "aria-labelledby", "aria-describedby"})
TITLES = frozenset({"panel-title", "strip-name", "bar-label"})
BARS = frozenset({"keep", "qlora-bytes"})
"""Rows of three: a name, a bar and its value."""

BESIDE = frozenset({"parts", "tiles"})
"""Lists whose words stand beside their marks in HTML: without these the marks would say nothing."""

ROOMY = frozenset({"titled-x", "matrix", "chart-static", "stage"})
"""Classes of drawings under which an axis and its title stand."""


@dataclass
class Node:
    """An element of a drawing."""

    tag: str
    attributes: dict[str, str]
    children: list[Node | str] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()

    @property
    def text(self) -> str:
        return " ".join(self.raw.split())

    @property
    def raw(self) -> str:
        return "".join(child if isinstance(child, str) else child.raw for child in self.children)


@dataclass
class Panel:
    """One drawing of a figure, with the words above it and the classes of what it stands in.

    A bar in a row of its own has its `name` before it, in `indent` pixels, and its `value` behind it.
    """

    svg: Node
    around: list[str]
    titles: list[Node]
    name: str = ""
    value: str = ""
    indent: float = 0.0

    @property
    def height(self) -> float:
        return float(self.svg.attributes["height"])

    @property
    def plotted(self) -> bool:
        """Whether ticks stand beside it."""
        return any("plot" in classes.split() for classes in self.around)

    @property
    def titled(self) -> bool:
        return not ROOMY.isdisjoint(" ".join(self.around).split())


def picture(shown: Shown, scheme: Scheme = "light") -> tuple[bytes, str]:
    """The SVG file of a figure in a state, and the content security policy with which it may be opened."""
    name = shown.figure.name
    body: list[str] = []
    y = MARGIN - 2.0
    for line, look in _heading(shown):
        body.append(f'<text class="{look}" x="{MARGIN}" y="{y + 12:g}">{escape(line)}</text>')
        y += 20
    drawing = parsed(render("drawing.jinja", f=shown).decode())
    y = _legend(shown, drawing, scheme, body, y)
    below_bars = False
    for panel in panels(drawing):
        y += 28 if below_bars and not panel.indent else 12
        below_bars = panel.indent > 0
        y = _titles(panel, name, scheme, body, y)
        if panel.indent:
            y = _bar(panel, body, y)
            continue
        y += 42 if panel.plotted else 16
        left, right = (MARGIN + 48, MARGIN + 24) if panel.plotted else (MARGIN, MARGIN)
        body.append(_placed(panel, left, y, WIDTH - left - right))
        y += panel.height + (60 if panel.titled else 36 if panel.plotted else 20)
    y += 14
    body.append(f'<text class="axis-title" x="{MARGIN}" y="{y:g}">{escape(_origin(shown))}</text>')
    height = round(y + MARGIN * 0.7)
    style = _style(name, scheme, _used("".join(body)))
    title = escape(f"{shown.figure.label} {shown.text.title}")
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
        f' viewBox="0 0 {WIDTH} {height}" role="img"><title>{title}</title>'
        f"<desc>{escape(' '.join(shown.description))}</desc>"
        f"<style>{style}</style>"
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>'
        f'<g class="fig fig-{name}">{"".join(body)}</g></svg>\n'
    )
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{allowed}'; font-src data:; frame-ancestors 'none'"
    return svg.encode(), policy


def parsed(markup: str) -> Node:
    """The tree of a rendered drawing."""
    builder = _Builder()
    builder.feed(markup)
    builder.close()
    return builder.root


def panels(drawing: Node) -> list[Panel]:
    """The SVG drawings within a figure's drawing, from above."""
    found: list[Panel] = []
    _collect(drawing, [], [], found)
    return _without_picks(found)


def _without_picks(found: list[Panel]) -> list[Panel]:
    """Buttons that lie over a drawing become marks of it."""
    kept: list[Panel] = []
    for panel in found:
        if "picks" not in " ".join(panel.around).split():
            kept.append(panel)
            continue
        for child in panel.svg.children:
            if isinstance(child, Node) and child.tag == "foreignobject":
                kept[-1].svg.children += _dots(child)
    return kept


def _dots(button: Node) -> Iterator[Node]:
    """A ring for a button; for the one that is chosen a disc in a ring of the accent."""
    chosen = any(isinstance(child, Node) and "checked" in child.attributes for child in button.children)
    for look, r in (("pick-ring", "8.7"), ("pick-disc", "5.4")) if chosen else (("true-mark", "5.2"),):
        yield Node(
            "circle", {"class": look, "cx": button.attributes["x"], "cy": button.attributes["y"], "r": r}
        )


def _collect(node: Node, around: list[str], titles: list[Node], found: list[Panel]) -> None:
    for child in node.children:
        if isinstance(child, str):
            continue
        if not BARS.isdisjoint(child.classes):
            found += _rows(child, around, titles)
            titles.clear()
        elif child.tag == "svg":
            if "fluid" in child.classes:
                found.append(Panel(child, list(around), list(titles)))
            titles.clear()
        elif not BESIDE.isdisjoint(child.classes) or child.tag == "table":
            titles.clear()
        elif child.tag == "p" and not TITLES.isdisjoint(child.classes):
            titles.append(child)
        else:
            own = child.attributes.get("class", "")
            _collect(child, [*around, own] if own else around, titles, found)


def _rows(node: Node, around: list[str], titles: list[Node]) -> Iterator[Panel]:
    parts = [child for child in node.children if isinstance(child, Node)]
    rows = list(zip(parts[::3], parts[1::3], parts[2::3], strict=True))
    indent = 16.0 + math.ceil(CHARACTER * max(len(name.text) for name, _, _ in rows))
    for i, (name, svg, value) in enumerate(rows):
        own = [*around, node.attributes["class"]]
        yield Panel(svg, own, [] if i else list(titles), name.text, value.text, indent)


def _bar(panel: Panel, body: list[str], y: float) -> float:
    """A row of its own, from its top down; where it ends."""
    y += 0 if not panel.titles else 12
    middle = y + panel.height / 2 + 4
    right = 16 + CHARACTER * 10
    body.append(f'<text class="axis-title" x="{MARGIN}" y="{middle:g}">{escape(panel.name)}</text>')
    body.append(_placed(panel, MARGIN + panel.indent, y, WIDTH - 2 * MARGIN - panel.indent - right))
    end = f'x="{WIDTH - MARGIN}" y="{middle:g}" text-anchor="end"'
    body.append(f'<text class="axis-title" {end}>{escape(panel.value)}</text>')
    return y + panel.height - 4


def _placed(panel: Panel, left: float, top: float, width: float) -> str:
    """A drawing at its place, within groups that carry the classes of what it stood in."""
    attributes = {
        **panel.svg.attributes,
        "class": " ".join(name for name in panel.svg.classes if name != "fluid"),
        "x": f"{left:g}",
        "y": f"{top:g}",
        "width": f"{width:g}",
        "overflow": "visible",
    }
    inner = _markup(Node("svg", attributes, panel.svg.children))
    for classes in reversed(panel.around):
        inner = f"<g class={quoteattr(classes)}>{inner}</g>"
    return inner


def _markup(node: Node) -> str:
    attributes = "".join(
        f" {CASED.get(name, name)}={quoteattr(value)}"
        for name, value in node.attributes.items()
        if value and name not in DROPPED and not name.startswith(("data-", "hx-"))
    )
    if node.tag == "svg" and "overflow" not in node.attributes and "clip" not in node.classes:
        attributes += ' overflow="visible"'
    children = "".join(escape(child) if isinstance(child, str) else _markup(child) for child in node.children)
    return f"<{node.tag}{attributes}>{children}</{node.tag}>" if children else f"<{node.tag}{attributes}/>"


def _heading(shown: Shown) -> Iterator[tuple[str, str]]:
    yield f"{shown.figure.label}  {shown.text.title}", "heading"
    for line in _wrapped(" · ".join([shown.description[0], *_changed(shown)])):
        yield line, "axis-title"


def _changed(shown: Shown) -> Iterator[str]:
    """The controls that are not as the lesson shows them; the cells of a drawing show theirs."""
    widgets = type(shown.controls).widgets()
    for name, _ in shown.controls.query():
        widget, value = widgets[name], getattr(shown.controls, name)
        if isinstance(widget, Slider):
            unit = f"\u202f{shown.text.unit(widget.unit)}" if widget.unit else ""
            yield f"{shown.text.control(name)}: {widget.text(value)}{unit}"
        elif not (isinstance(widget, Choice) and widget.drawn):
            yield f"{shown.text.control(name)}: {shown.text.option(name, as_text(value), widget)}"


def _origin(shown: Shown) -> str:
    query = f"?{shown.query}" if shown.query else ""
    return f"openalicelabs / academy  {shown.lesson.url}/figures/{shown.figure.name}{query}"


def _wrapped(text: str) -> list[str]:
    most = int((WIDTH - 2 * MARGIN) / CHARACTER)
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= most:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _legend(shown: Shown, drawing: Node, scheme: Scheme, body: list[str], y: float) -> float:
    """The keys beside the caption, without those to what only the HTML of the drawing shows; then its own."""
    name = shown.figure.name
    html_alone = _classes(drawing, svg=False) - _classes(drawing, svg=True)
    caption = [(key, label) for key, label in shown.text.legend.items() if key not in html_alone]
    for keys in (caption, list(_own_legend(drawing))):
        if keys:
            looks = [(_looks(name, scheme, ".key", f".key-{key}"), label) for key, label in keys]
            y = _keys(looks, float(MARGIN), y, body) + 20
    return y


def _own_legend(node: Node) -> Iterator[tuple[str, str]]:
    """The keys of a legend that stands in the drawing: name and words."""
    for child in node.children:
        if isinstance(child, str):
            continue
        if "in-view" not in child.classes:
            yield from _own_legend(child)
            continue
        for entry in child.children:
            if isinstance(entry, Node):
                mark = next(part for part in entry.children if isinstance(part, Node))
                yield mark.classes[-1].removeprefix("key-"), entry.text


def _classes(node: Node, *, svg: bool, within: bool = False) -> set[str]:
    """The classes that occur within the SVG of a drawing, or outside it."""
    within = within or node.tag == "svg"
    found = set(node.classes) if within is svg else set()
    for child in node.children:
        if isinstance(child, Node):
            found |= _classes(child, svg=svg, within=within)
    return found


def _titles(panel: Panel, figure: str, scheme: Scheme, body: list[str], y: float) -> float:
    """The words above a drawing, with their keys; the two of a pair stand left and right."""
    pair = len(panel.titles) == 2 and any("ranked" in classes for classes in panel.around)
    for i, title in enumerate(panel.titles):
        words = Node("p", {}, [child for child in title.children if not _is_key(child)])
        if pair and i:
            place = f'x="{WIDTH - MARGIN}" y="{y:g}" text-anchor="end"'
            body.append(f'<text class="axis-title" {place}>{escape(words.text)}</text>')
            continue
        lines = _wrapped(words.text)
        for line in lines:
            y += 18
            body.append(f'<text class="axis-title" x="{MARGIN}" y="{y:g}">{escape(line)}</text>')
        keys = [key for child in title.children if _is_key(child) for key in _keys_of(child, figure, scheme)]
        y = _keys(keys, MARGIN + CHARACTER * (len(lines[-1]) + 3), y - 12, body) + 12 if keys else y
    return y


def _is_key(child: Node | str) -> bool:
    return isinstance(child, Node) and any(name.endswith("-key") for name in child.classes)


def _keys_of(node: Node | str, figure: str, scheme: Scheme) -> Iterator[tuple[dict[str, str], str]]:
    """The keys within a title: each mark with the words that follow it."""
    assert isinstance(node, Node)
    parts: list[Node | str] = []
    for child in node.children:
        parts += child.children if isinstance(child, Node) and child.tag == "span" else [child]
    for mark, words in itertools.pairwise(parts):
        if isinstance(mark, Node) and isinstance(words, str):
            own = mark.attributes.get("class", "")
            around = f".{node.classes[0]}"
            yield (
                _looks(figure, scheme, f"{around} i", f"{around} i.{own}", f".{own}"),
                " ".join(words.split()),
            )


def _keys(keys: Iterable[tuple[dict[str, str], str]], x: float, y: float, body: list[str]) -> float:
    """Set keys in a row from `x` on, in a line whose top is `y`; where the last of them came to stand."""
    for looks, label in keys:
        wide = 20 + CHARACTER * (len(label) + 2)
        if x > MARGIN and x + wide > WIDTH - MARGIN:
            x, y = float(MARGIN), y + 20
        body.append(_key(looks, x, y + 8))
        body.append(f'<text class="axis-title" x="{x + 18:g}" y="{y + 12:g}">{escape(label)}</text>')
        x += wide
    return y


def _looks(figure: str, scheme: Scheme, *selectors: str) -> dict[str, str]:
    """What the style sheet says of a key, in the figure or everywhere, later rules over earlier ones."""
    looks: dict[str, str] = {}
    for rule in rules(figure):
        selector = rule.selector.removeprefix(f".fig-{figure} ")
        if any(one.strip() in selectors for one in selector.removeprefix(":is(").rstrip(")").split(",")):
            looks |= {name: plain(value, figure, scheme) for name, value in rule.declarations.items()}
    return looks


def _key(looks: dict[str, str], x: float, y: float) -> str:
    """A key of ten pixels, its middle at `x` + 5 and `y`."""
    drawn = ("border-color", "border", "border-top", "border-left", "box-shadow")
    edges = " ".join(looks[name] for name in drawn if name in looks)
    edge, fill = (_colour(text) for text in (edges, looks.get("background", "")))
    look = f'fill="{fill}" stroke="{edge}" stroke-width="1.5"'
    if "clip-path" in looks:
        corners = re.findall(r"([\d.]+)%? ([\d.]+)%?", looks["clip-path"])
        points = " ".join(f"{float(u) / 10 - 5:g},{float(v) / 10 - 5:g}" for u, v in corners)
        shape = f'<polygon points="{points}" {look}/>'
    elif looks.get("border-radius") == "50%":
        shape = f'<circle r="5" {look}/>'
    elif "border-top" in looks:
        shape = f'<rect x="-5" y="-1" width="14" height="2" fill="{edge}"/>'
    elif "border-left" in looks:
        shape = f'<rect x="-1" y="-6" width="2" height="12" fill="{edge}"/>'
    else:
        wide, high = (2 if looks.get(name) == "2px" else 10 for name in ("width", "height"))
        shape = f'<rect x="{-wide / 2:g}" y="{-high / 2:g}" width="{wide}" height="{high}" {look}/>'
    turned = looks.get("transform", "").replace("deg", "")
    return f'<g transform="translate({x + 5:g} {y:g}) {turned}">{shape}</g>'


def _colour(text: str) -> str:
    found = re.search(r"#[0-9a-f]{6}", text)
    return found[0] if found else "none"


# --- style ------------------------------------------------------------------------------------------------


def _used(markup: str) -> frozenset[str]:
    """Tags, and classes with a dot before them, that occur in a piece of SVG."""
    classes = {f".{name}" for found in re.findall(r'class="([^"]*)"', markup) for name in found.split()}
    return frozenset(re.findall(r"<(\w+)", markup)) | classes | {".fig"}


@functools.lru_cache(maxsize=256)
def _style(figure: str, scheme: Scheme, used: frozenset[str]) -> str:
    """The rules that mean something here, in plain colours, after the typeface."""
    lines = [
        f"@font-face{{font-family:{MONO};src:url({_face()}) format('woff2')}}",
        f"text{{font-family:{MONO},ui-monospace,monospace}}",
        f".ground{{fill:{plain('var(--card)', figure, scheme)}}}",
        f".heading{{font-size:15px;fill:{plain('var(--ink)', figure, scheme)}}}",
        f".pick-disc{{fill:{plain('var(--ink)', figure, scheme)}}}",
        f".pick-ring{{fill:{plain('var(--card)', figure, scheme)};"
        f"stroke:{plain('var(--q)', figure, scheme)};stroke-width:2}}",
    ]
    known = used | {f".fig-{figure}"}
    for rule in rules(figure):
        declarations = {
            name: plain(value, figure, scheme)
            for name, value in rule.declarations.items()
            if name in PROPERTIES and "rem" not in value and rule.selector not in (".fluid", ":root", ".plot")
        }
        if declarations and _matches(rule.selector, known):
            lines.append(rule.selector + "{" + ";".join(f"{k}:{v}" for k, v in declarations.items()) + "}")
    return "".join(lines).replace("<", "")


_SIMPLE = re.compile(r"\.[\w-]+|(?<![\w.-])[a-z]\w*")


def _matches(selector: str, known: frozenset[str]) -> bool:
    """Whether a selector can mean something in a drawing: all its tags and classes are there."""
    if re.search(r"::|:(?!is\(|not\()|[>+~]|\[(?!text-anchor)", selector):
        return False
    required = re.sub(r":(is|not)\([^()]*\)|\[[^]]*\]", "", selector)
    return all(part in known for part in _SIMPLE.findall(required))


@functools.cache
def _face() -> str:
    return "data:font/woff2;base64," + base64.b64encode((STATIC / FACE).read_bytes()).decode()


class _Builder(HTMLParser):
    """The tree of a rendered drawing."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("drawing", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(node)
        if tag not in VOID:
            self._open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self._open[-1].children.append(Node(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if any(node.tag == tag for node in self._open[1:]):
            while self._open.pop().tag != tag:
                pass

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)
