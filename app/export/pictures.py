"""A figure's drawing as an SVG file that stands alone: styles resolved, typeface within, nothing to load.

It is made of the drawing of the page. What of a drawing is HTML (lists, cells to choose from) has no place in
such a file; a figure that is HTML altogether has no picture, and says so. Beside the classes of the kit
(`panel-title`, `legend in-view`, `plot`, `titled-x`, `chart-static`), `data-export` tells of a part:

- `title`: words above the drawing that follows;
- `titles`: holds two of them, which stand left and right;
- `keys`: marks with words, within a title;
- `bars`: rows of three, a name, a bar and its value;
- `buttons`: lie over the drawing before them, in places of their own;
- `roomy`: an axis and its title stand under the drawing;
- `names`: marks are named on the right of the drawing;
- `beside`: words that say nothing without the marks beside them, which only the page has.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import math
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from xml.etree.ElementTree import Element, SubElement, register_namespace, tostring

import tinyhtml5

from app.addresses import local_address
from app.assets import STATIC
from app.export.sheets import Looks, Scheme, looks, read_sheets
from app.views.environment import render
from app.views.figure import FigureContext
from lessons.kit.controls import Choice, Slider, as_parameter

WIDTH = 1080
MARGIN = 32
CHARACTER = 7.2
"""Width of a character of the typeface at 12 px: all of its characters are as wide."""

FACES = {
    "mono": "font-family:'IBM Plex Mono'|mono-latin-400-normal",
    "sans": "font-family:'IBM Plex Sans'|sans-latin-400-normal",
    "serif": "font-family:'IBM Plex Serif'|serif-latin-300-normal",
    "serif italic": "font-family:'IBM Plex Serif';font-style:italic|serif-latin-300-italic",
}
"""The typefaces of the page, as the file names them, and where they are."""

FONT = re.compile(r'(?:(italic) )?(\d+) ([\d.]+px)(?:/\S+)? "IBM Plex (\w+)"')
SVG = "{http://www.w3.org/2000/svg}"
ATTRIBUTES = re.compile(
    r"(fill|stroke)(-opacity)?|stroke-(width|dasharray|linejoin|linecap)|opacity|paint-order|vector-effect"
    r"|font-(size|weight|style)|letter-spacing|text-anchor|dominant-baseline|transform|overflow|[xyr]|width|height"
)
"""Properties of our sheets that are attributes of SVG, too."""

LEFT_OUT = re.compile(r"role|tabindex|(aria|data|hx)-.*")

register_namespace("", SVG[1:-1])


@dataclass
class Panel:
    """One drawing of a figure, with the words above it and the marks of what it stands in.

    A bar in a row of its own has its `name` before it, in `indent` pixels, and its `value` behind it.
    """

    svg: Element
    around: frozenset[str]
    titles: list[Element]
    name: str = ""
    value: str = ""
    indent: float = 0.0

    @property
    def height(self) -> float:
        return float(self.svg.attrib["height"])

    @property
    def plotted(self) -> bool:
        """Whether ticks stand beside it."""
        return "plot" in self.around

    @property
    def room_below(self) -> int:
        if self.around & {"titled-x", "chart-static", "export=roomy"}:
            return 60
        return 36 if self.plotted else 20


@dataclass
class Paper:
    """The file while it is laid out from above: `y` is how far down it has come."""

    body: Element
    looks: dict[Element, Looks]
    words: Looks
    y: float = MARGIN - 2.0

    def write(self, words: str, x: float, y: float, **attributes: str) -> None:
        look = {"class": "axis-title", **self.words, "x": f"{x:g}", "y": f"{y:g}", **attributes}
        SubElement(self.body, f"{SVG}text", look).text = words

    def write_at_end(self, words: str, y: float) -> None:
        self.write(words, WIDTH - MARGIN, y, **{"text-anchor": "end"})

    def keys(self, marks: Iterable[Element], x: float) -> None:
        """Set marks with the words that follow each in a row from `x` on; `y` is the top of its line."""
        for mark in marks:
            label = " ".join((mark.tail or "").split())
            wide = 20 + CHARACTER * (len(label) + 2)
            if x > MARGIN and x + wide > WIDTH - MARGIN:
                x, self.y = float(MARGIN), self.y + 20
            self.body.append(_key(self.looks[mark], x, self.y + 8))
            self.write(label, x + 18, self.y + 12)
            x += wide

    def titles(self, panel: Panel) -> None:
        """The words above a drawing, with their keys."""
        for i, title in enumerate(panel.titles):
            if i and "export=titles" in panel.around:
                self.write_at_end(_words(title), self.y)
                continue
            lines = _wrapped(_words(title))
            for line in lines:
                self.y += 18
                self.write(line, MARGIN, self.y)
            keys = [mark for each in title if "export=keys" in _marks(each) for mark in each.iter("i")]
            if keys:
                self.y -= 12
                self.keys(keys, MARGIN + CHARACTER * (len(lines[-1]) + 3))
                self.y += 12

    def bar(self, panel: Panel) -> None:
        """A row of its own, from its top down."""
        self.y += 12 if panel.titles else 0
        middle, right = self.y + panel.height / 2 + 4, 16 + CHARACTER * 10
        self.write(panel.name, MARGIN, middle)
        self.place(panel.svg, MARGIN + panel.indent, WIDTH - 2 * MARGIN - panel.indent - right)
        self.write_at_end(panel.value, middle)
        self.y += panel.height - 4

    def drawing(self, panel: Panel) -> None:
        self.y += 42 if panel.plotted else 16
        left, right = (MARGIN + 48, MARGIN + 24) if panel.plotted else (MARGIN, MARGIN)
        right += 90 if "export=names" in panel.around else 0
        self.place(panel.svg, left, WIDTH - left - right)
        self.y += panel.height + panel.room_below

    def place(self, svg: Element, left: float, width: float) -> None:
        svg.attrib |= {"x": f"{left:g}", "y": f"{self.y:g}", "width": f"{width:g}", "overflow": "visible"}
        svg.tail = None
        self.body.append(svg)


def picture(shown: FigureContext, scheme: Scheme = "light") -> tuple[bytes, str]:
    """The SVG file of a figure in a state, and the content security policy with which it may be opened."""
    name = shown.figure.name
    document = _document(shown)
    found = looks(document, name, scheme)
    _drop_hidden(document, found)
    legend, drawing = document[-1][0]
    words, true, quantized = (_attributes(found[probe]) for probe in legend.iter(f"{SVG}g"))
    for element in drawing.iter():
        if str(element.tag).startswith(SVG):
            kept = {name: value for name, value in element.items() if value and not LEFT_OUT.fullmatch(name)}
            element.attrib = kept | _attributes(found[element])
    paper = Paper(Element(f"{SVG}g", {"class": f"fig fig-{name}"}), found, words)
    heading = {"font-size": "15px", "fill": true["stroke"]}
    for i, line in enumerate(
        [f"{shown.figure.label}  {shown.text.title}", *_wrapped(" · ".join(_said(shown)))]
    ):
        paper.write(line, MARGIN, paper.y + 12, **({} if i else heading))
        paper.y += 20
    html_alone = _classes(drawing, svg=False) - _classes(drawing, svg=True)
    caption = [
        mark for mark in legend.iter("i") if mark.attrib["class"].removeprefix("key key-") not in html_alone
    ]
    for keys in (caption, _in_view(drawing)):
        if keys:
            paper.keys(keys, MARGIN)
            paper.y += 20
    below_bars = False
    for panel in _panels(drawing, true, quantized):
        paper.y += 28 if below_bars and not panel.indent else 12
        below_bars = panel.indent > 0
        paper.titles(panel)
        (paper.bar if panel.indent else paper.drawing)(panel)
    paper.y += 14
    page = local_address("figure", shown.lesson.slug, name, query=shown.controls.query())
    paper.write(f"openalicelabs / academy  {page}", MARGIN, paper.y)
    return _file(shown, paper, ground=true["fill"])


def _document(shown: FigureContext) -> Element:
    """A page with the drawing; before it the legend, and one of each mark of the kit that the file adds."""
    probes = "".join(f'<g class="{look}"></g>' for look in ("axis-title", "true-mark", "snap-mark"))
    keys = "".join(
        f'<i class="key key-{key}"></i>{escape(label)}' for key, label in shown.text.legend.items()
    )
    document: Element = tinyhtml5.parse(
        f'<figure class="fig fig-{shown.figure.name}"><p><svg>{probes}</svg>{keys}</p><div class="drawing">'
        f"{render(shown.figure.template, f=shown).decode()}</div></figure>",
        namespace_html_elements=False,
    )
    return document


def _file(shown: FigureContext, paper: Paper, ground: str) -> tuple[bytes, str]:
    size = {"width": str(WIDTH), "height": str(round(paper.y + MARGIN * 0.7))}
    svg = Element(f"{SVG}svg", {**size, "viewBox": f"0 0 {WIDTH} {size['height']}", "role": "img"})
    SubElement(svg, f"{SVG}title").text = f"{shown.figure.label} {shown.text.title}"
    SubElement(svg, f"{SVG}desc").text = " ".join(shown.description)
    style = _style(frozenset(_face(text) for text in paper.body.iter(f"{SVG}text")))
    SubElement(svg, f"{SVG}style").text = style
    SubElement(svg, f"{SVG}rect", {"fill": ground, **size})
    svg.append(paper.body)
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{allowed}'; font-src data:; frame-ancestors 'none'"
    return f"{tostring(svg, 'unicode')}\n".encode(), policy


def _drop_hidden(node: Element, found: dict[Element, Looks]) -> None:
    """Leave out what the sheets do not display on a wide screen."""
    for child in list(node):
        if found[child].get("display") == "none" and str(child.tag).startswith(SVG):
            node.remove(child)
        else:
            _drop_hidden(child, found)


def _face(text: Element) -> str:
    """The typeface of a text: a key of `FACES`."""
    family = text.get("font-family", "mono")
    return f"{family} italic" if family == "serif" and text.get("font-style") == "italic" else family


@functools.cache
def _style(faces: frozenset[str]) -> str:
    """The typefaces of the texts, which are the one thing that no attribute can hold."""
    rules = []
    for face in sorted(faces | {"mono"}):
        says, _, name = FACES[face].partition("|")
        rules.append(f"@font-face{{{says};src:url(data:font/woff2;base64,{_font(name)}) format('woff2')}}")
    return (
        f"{''.join(rules)}text{{font-family:'IBM Plex Mono',ui-monospace,monospace}}"
        "[font-family=sans]{font-family:'IBM Plex Sans',system-ui,sans-serif}"
        "[font-family=serif]{font-family:'IBM Plex Serif',Georgia,serif}"
    )


def read_files() -> None:
    """Read the sheets and typefaces that pictures need, without making one."""
    read_sheets()
    _style(frozenset(FACES))


@functools.cache
def _font(name: str) -> str:
    """A font file in base64."""
    return base64.b64encode((STATIC / f"vendor/fonts/ibm-plex-{name}.woff2").read_bytes()).decode()


def _attributes(look: Looks) -> Looks:
    """What the sheets say of an element of SVG as its attributes."""
    found: Looks = {}
    for name, value in look.items():
        if name == "font" and (parts := FONT.match(value)):
            style, weight, size, family = parts.groups()
            found |= {"font-weight": weight, "font-size": size}
            found |= {"font-style": style} if style else {}
            found |= {"font-family": family.lower()} if family != "Mono" else {}
        elif name == "transform":
            moved = re.sub(
                r"X\((.*?)\)", r"(\1 0)", re.sub(r"translateY\((.*?)\)", r"translate(0 \1)", value)
            )
            found[name] = re.sub(r"(?<=\d)(px|deg)", "", moved)
        elif ATTRIBUTES.fullmatch(name):
            found[name] = value
    return found


# --- what a drawing consists of ---------------------------------------------------------------------------


def _marks(element: Element) -> frozenset[str]:
    """The classes of an element, and what it says that it is in a file."""
    exports = [f"export={each}" for each in element.get("data-export", "").split()]
    return frozenset([*element.get("class", "").split(), *exports])


def _panels(drawing: Element, true: Looks, quantized: Looks) -> list[Panel]:
    """The SVG drawings of a figure, from above; buttons that lie over one become marks of it."""
    found: list[Panel] = []
    for panel in _collected(drawing, frozenset(), []):
        if "export=buttons" not in panel.around:
            found.append(panel)
            continue
        for button in panel.svg.iter(f"{SVG}foreignObject"):
            chosen = any("checked" in child.attrib for child in button)
            ring = {"fill": true["fill"], "stroke": quantized["fill"], "stroke-width": "2", "r": "8.7"}
            disc = {"fill": true["stroke"], "r": "5.4"}
            for look in (ring, disc) if chosen else (true | {"r": "5.2"},):
                place = {"cx": button.attrib["x"], "cy": button.attrib["y"]}
                SubElement(found[-1].svg, f"{SVG}circle", look | place)
    return found


def _collected(node: Element, around: frozenset[str], titles: list[Element]) -> Iterator[Panel]:
    for child in node:
        marks = _marks(child)
        if "export=bars" in marks:
            yield from _rows(child, around, list(titles))
            titles.clear()
        elif child.tag == f"{SVG}svg":
            if "fluid" in marks:
                yield Panel(child, around, list(titles))
            titles.clear()
        elif "export=beside" in marks or child.tag == "table":
            titles.clear()
        elif child.tag == "p" and marks & {"panel-title", "export=title"}:
            titles.append(child)
        else:
            yield from _collected(child, around | marks, titles)


def _rows(node: Element, around: frozenset[str], titles: list[Element]) -> Iterator[Panel]:
    rows = list(zip(node[::3], node[1::3], node[2::3], strict=True))
    indent = 16.0 + math.ceil(CHARACTER * max(len(_words(name)) for name, _, _ in rows))
    for i, (name, svg, value) in enumerate(rows):
        yield Panel(svg, around, [] if i else titles, _words(name), _words(value), indent)


def _in_view(drawing: Element) -> list[Element]:
    """The keys of a legend that stands in the drawing."""
    return [mark for each in drawing.iter() if "in-view" in _marks(each) for mark in each.iter("i")]


def _classes(node: Element, *, svg: bool) -> set[str]:
    """The classes that occur within the SVG of a drawing, or outside it."""
    return {
        name
        for element in node.iter()
        if str(element.tag).startswith(SVG) is svg
        for name in element.get("class", "").split()
    }


def _words(element: Element) -> str:
    """The words of an element, without those of its keys."""
    return " ".join("".join(_texts(element)).split())


def _texts(element: Element) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        if "export=keys" not in _marks(child):
            yield from _texts(child)
        yield child.tail or ""


def _key(look: Looks, x: float, y: float) -> Element:
    """A key of ten pixels, its middle at `x` + 5 and `y`, drawn as the page's sheet says of the HTML one."""
    drawn = ("border-color", "border", "border-top", "border-left", "box-shadow")
    edge = _colour(" ".join(look[name] for name in drawn if name in look))
    outlined = {"fill": _colour(look.get("background", "")), "stroke": edge, "stroke-width": "1.5"}
    turned = _attributes({"transform": look.get("transform", "")})["transform"]
    group = Element(f"{SVG}g", {"transform": f"translate({x + 5:g} {y:g}) {turned}"})
    if "clip-path" in look:
        corners = re.findall(r"([\d.]+)%? ([\d.]+)%?", look["clip-path"])
        points = " ".join(f"{float(u) / 10 - 5:g},{float(v) / 10 - 5:g}" for u, v in corners)
        SubElement(group, f"{SVG}polygon", {"points": points, **outlined})
    elif look.get("border-radius") == "50%":
        SubElement(group, f"{SVG}circle", {"r": "5", **outlined})
    else:
        wide, high = (2 if look.get(name) == "2px" else 10 for name in ("width", "height"))
        x, y, wide, high = -wide / 2, -high / 2, wide, high
        if "border-top" in look:
            x, y, wide, high, outlined = -5, -1, 14, 2, {"fill": edge}
        elif "border-left" in look:
            x, y, wide, high, outlined = -1, -6, 2, 12, {"fill": edge}
        box = {"x": f"{x:g}", "y": f"{y:g}", "width": str(wide), "height": str(high)}
        SubElement(group, f"{SVG}rect", box | outlined)
    return group


def _colour(text: str) -> str:
    found = re.search(r"#[0-9a-f]{6}", text)
    return found[0] if found else "none"


# --- words ------------------------------------------------------------------------------------------------


def _said(shown: FigureContext) -> Iterator[str]:
    """What the figure says first, and the controls that are not as the lesson shows them.

    The cells of a drawing show theirs.
    """
    yield shown.description[0]
    widgets = type(shown.controls).widgets()
    for name, _ in shown.controls.query():
        widget, value = widgets[name], getattr(shown.controls, name)
        if isinstance(widget, Slider):
            unit = f"\u202f{shown.text.unit(widget.unit)}" if widget.unit else ""
            yield f"{shown.text.control(name)}: {widget.text(value)}{unit}"
        elif not (isinstance(widget, Choice) and widget.drawn):
            yield f"{shown.text.control(name)}: {shown.text.option(name, as_parameter(value), widget)}"


def _wrapped(text: str) -> list[str]:
    most = int((WIDTH - 2 * MARGIN) / CHARACTER)
    return textwrap.wrap(text, most, break_long_words=False, break_on_hyphens=False)
