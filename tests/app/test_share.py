"""Sharing a figure: link, embed, picture, data, Python."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
import tinycss2
from starlette.testclient import TestClient

from app import create_app
from app.addresses import place_of
from app.assets import STATIC, version
from app.export.sheets import plain
from app.settings import Settings
from lessons.catalogue import Lesson, all_slugs, load_lesson, style_sheets
from lessons.kit.controls import as_parameter
from tests.app.html import Element, parse
from tests.browser.covering import covering

LESSON = "/lessons/quantization"
FIGURES = load_lesson("quantization").figures
DRAWN = [name for name, figure in FIGURES.items() if not figure.is_html]
SVG = "{http://www.w3.org/2000/svg}"


def panel(client: TestClient, name: str, query: str = "") -> str:
    answer = client.get(f"/fragments/{version()}/quantization/{name}/share?{query}")
    assert answer.status_code == 200
    return answer.text


@pytest.fixture(scope="module")
def unframed() -> Iterator[TestClient]:
    with TestClient(create_app(Settings(embed_ancestors="'none'"))) as running:
        yield running


@pytest.mark.parametrize("name", FIGURES)
def test_lesson_links_to_share_and_figure_page_holds_it(
    client: TestClient, lesson: Lesson, name: str
) -> None:
    id = lesson.figures[name].id
    folded = (
        parse(client.get(place_of(lesson, name, anchor="")).text)
        .one("figure", id=id)
        .one("details", class_="sharing")
    )
    assert folded.all("textarea") == []
    address, _, place = folded.one("a").attributes["href"].partition("#")
    there = parse(client.get(address).text).one("details", id=place)
    assert there.one("input").attributes["value"] == f"{LESSON}/figures/{name}"


def test_everything_shared_is_in_the_state_of_the_figure(client: TestClient) -> None:
    shared = parse(panel(client, "rtn", "bits=5&block=calm"))
    addresses = [link.attributes["href"] for link in shared.all("a")]
    addresses.append(shared.one("input").attributes["value"])
    addresses += [b.attributes["data-png"] for b in shared.all("button") if "data-png" in b.attributes]
    assert len(addresses) == 10
    assert all("bits=5" in address and "block" not in address for address in addresses)
    assert all(client.get(address).status_code == 200 for address in addresses)


def test_embed_code_adjusts_the_frame_height(client: TestClient) -> None:
    code = parse(panel(client, "rtn", "bits=5")).one("textarea").text
    frame = parse(code).one("iframe").attributes
    assert frame["src"] == f"{LESSON}/figures/rtn?embed=1&bits=5"
    assert frame["title"].startswith("FIG.02 ")
    assert "figureHeight" in code
    assert "js/page/embed.js" in client.get(frame["src"]).text
    assert "set-cookie" not in client.get(frame["src"]).headers


def test_no_embed_is_offered_if_framing_is_forbidden(unframed: TestClient) -> None:
    assert parse(panel(unframed, "rtn")).all("textarea") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", DRAWN)
def test_picture_is_self_contained(client: TestClient, name: str, scheme: str) -> None:
    answer = client.get(f"{LESSON}/figures/{name}.svg?ground={scheme}")
    assert answer.headers["content-type"].startswith("image/svg+xml")
    root = ElementTree.fromstring(answer.text)
    style = root.findtext(f"{SVG}style") or ""
    assert not re.search(r"var\(|light-dark|oklch|@media|@container|url\((?!data:)", style)
    assert not re.search(r"(?<!font-)\bstyle=|\bon\w+=|href=|<script|foreignObject", answer.text)
    hashed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{hashed}'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize("name", DRAWN)
def test_picture_has_the_marks_of_the_page(client: TestClient, name: str) -> None:
    """Every mark of the page's plot is in the file, at the same place."""
    page = parse(client.get(f"{LESSON}/figures/{name}").text).one("figure")
    root = ElementTree.fromstring(client.get(f"{LESSON}/figures/{name}.svg").text)
    drawn = {
        (circle.get("class"), circle.get("cx"), circle.get("cy"))
        for circle in root.iter(f"{SVG}circle")
        if circle.get("class")
    }
    marks = [c for c in page.all("circle") if "mark" in c.attributes.get("class", "")]
    wanted = {(m.attributes["class"], m.attributes["cx"], m.attributes["cy"]) for m in marks}
    assert wanted <= drawn
    assert len(root.findall(f".//{SVG}text")) > 3


@pytest.mark.parametrize("name", DRAWN)
def test_every_rule_of_a_drawn_class_shows_in_the_picture(client: TestClient, name: str) -> None:
    """Each declaration of the page's style sheets for a mark is applied to a mark, or overridden."""
    on_page: set[tuple[frozenset[str], ...]] = set()
    marks: set[Mark] = set()
    for state in covering(name):
        page = client.get(f"{LESSON}/figures/{name}?embed=1&{urlencode(state)}").text
        on_page |= set(paths(parse(page).one("figure")))
        file = ElementTree.fromstring(client.get(f"{LESSON}/figures/{name}.svg?{urlencode(state)}").text)
        marks |= {
            (mark.tag.removeprefix(SVG), frozenset(mark.get("class", "").split()), frozenset(mark.items()))
            for mark in file.iter()
        }
    drawn = [
        rule
        for rule in declared(name)
        if any(map(rule.names, marks)) and any(rule.reaches(*path) for path in on_page)
    ]

    def shows(rule: Declared) -> bool:
        overriding = [other for other in drawn if other.rank > rule.rank]
        same = [mark for mark in marks if rule.names(mark)]
        return any(map(rule.is_in, same)) or all(
            any(other.wins(mark) for other in overriding) for mark in same
        )

    assert [rule for rule in drawn if not shows(rule)] == []
    assert len(drawn) > 5


Mark = tuple[str, frozenset[str], frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Declared:
    """A declaration of a style sheet, for light colours and wide screens, with its selector."""

    around: tuple[frozenset[str], ...]
    tag: str
    classes: frozenset[str]
    prop: str
    value: str
    order: int

    @property
    def rank(self) -> tuple[int, bool, int]:
        """The cascade's order."""
        return len(self.classes.union(*self.around)), bool(self.tag), self.order

    def reaches(self, *path: frozenset[str]) -> bool:
        *around, last = path
        return self.classes <= last and all(any(part <= each for each in around) for part in self.around)

    def names(self, mark: Mark) -> bool:
        return self.tag in ("", mark[0]) and self.classes <= mark[1]

    def is_in(self, mark: Mark) -> bool:
        return (self.prop, self.value) in mark[2]

    def wins(self, mark: Mark) -> bool:
        return self.names(mark) and self.is_in(mark)


def paths(element: Element, *around: frozenset[str]) -> Iterator[tuple[frozenset[str], ...]]:
    """The classes of an element and its descendants, each after those of its ancestors."""
    path = *around, frozenset(element.attributes.get("class", "").split())
    yield path
    for child in element.children:
        yield from paths(child, *path)


def declared(name: str) -> Iterator[Declared]:
    """The declarations of a figure's style sheets about paint and position."""
    sheets = [STATIC / "css" / f"{each}.css" for each in ("tokens", "figure", "chart")]
    sheets += [sheet for sheet, _ in style_sheets() if sheet.parent.name == name]
    assert len(sheets) == 4
    text = "".join(re.sub(r"/\*.*?\*/", "", sheet.read_text(), flags=re.DOTALL) for sheet in sheets)
    text = re.sub(r"@[\w-]+[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", text)
    variables = {
        each: tinycss2.parse_component_value_list(value)
        for each, value in re.findall(r"[{;]\s*(--[\w-]+):([^;{}]*)", text)
    }
    for order, (selectors, body) in enumerate(re.findall(r"([^{}]+)\{([^{}]*)\}", text)):
        for selector in re.split(r",(?![^()]*\))", selectors):
            *around, last = re.sub(r"\[.*?\]", "", selector).split()
            for prop, value in re.findall(r"([\w-]+):([^;]*)", body) if ":" not in selector else ():
                if re.fullmatch(r"fill|stroke|stroke-width|stroke-dasharray|opacity|r", prop):
                    said = plain(tinycss2.parse_component_value_list(value), variables, "light")
                    tag = last.partition(".")[0]
                    yield Declared(tuple(map(named, around)), tag, named(last), prop, said, order)


def named(compound: str) -> frozenset[str]:
    """The classes that a part of a selector names."""
    return frozenset(re.findall(r"\.([\w-]+)", compound))


def test_picture_accepts_every_control(client: TestClient) -> None:
    """Also one whose name has another meaning elsewhere."""
    for name in DRAWN:
        for control, widget in FIGURES[name].controls.widgets().items():
            query = f"{control}={as_parameter(widget.states()[0])}"
            assert client.get(f"{LESSON}/figures/{name}.svg?{query}").status_code == 200, query


def test_picture_names_its_state_and_source(client: TestClient) -> None:
    text = client.get(f"{LESSON}/figures/rtn.svg?bits=5&format=NF4").text
    assert "Levels: NF4, 4.5 bits" in text
    assert f"{LESSON}/figures/rtn?bits=5&amp;format=NF4" in text


@pytest.mark.parametrize("name", [name for name in FIGURES if name not in DRAWN])
def test_html_figure_has_no_svg_and_says_so(client: TestClient, name: str) -> None:
    assert client.get(f"{LESSON}/figures/{name}.svg").status_code == 404
    shown = panel(client, name)
    assert shown.count("data-html-picture=") == 4
    assert "which a browser’s script has to lay out" in shown


@pytest.mark.parametrize("name", FIGURES)
def test_python_is_a_file_and_in_the_panel(client: TestClient, lesson: Lesson, name: str) -> None:
    figure = lesson.figures[name]
    answer = client.get(f"{LESSON}/figures/{name}.py")
    assert answer.text == lesson.python(name, figure.controls())
    assert answer.headers["content-disposition"] == f'attachment; filename="{figure.id}.py"'
    shown = parse(panel(client, name)).one("pre").text
    assert shown.split() == answer.text.split()


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("rtn.svg?bits=99", 422),
        ("rtn.svg?ground=sepia", 422),
        ("rtn.svg?ground=light&ground=dark", 422),
        ("rtn.py?bits=99", 422),
        ("nothing.svg", 404),
        ("nothing.py", 404),
    ],
)
def test_invalid_requests_are_refused(client: TestClient, address: str, status: int) -> None:
    assert client.get(f"{LESSON}/figures/{address}").status_code == status


def test_notebook_runs_from_the_first_cell_to_the_last(
    client: TestClient, lesson: Lesson, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one process and namespace, as in Jupyter; every read-out of every figure is printed."""
    answer = client.get(f"{LESSON}/notebook.ipynb?rtn.bits=5&fit.mix=Q8_0")
    assert answer.headers["content-disposition"] == 'attachment; filename="quantization.ipynb"'
    content = answer.json()
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in content["cells"]]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", id) for id in ids)
    code = ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]
    assert len(code) == len(lesson.figures)
    namespace: dict[str, object] = {}
    for cell in code:
        exec(compile(cell, "cell", "exec"), namespace)
    printed = capsys.readouterr().out.splitlines()
    expected = [
        readout.name
        for name in (name for page in lesson.pages for name in page.figures)
        for readout in lesson.figures[name].view(lesson.figures[name].controls()).readouts
    ]
    assert [line.partition(" = ")[0] for line in printed] == expected
    assert "levels = 32" in printed
    assert "rtn.bits=5" not in "".join(code)
    assert any("`bits=5`" in "".join(cell["source"]) for cell in content["cells"])


@pytest.mark.parametrize("slug", all_slugs())
def test_every_address_that_is_offered_to_take_away_answers(client: TestClient, slug: str) -> None:
    for name in load_lesson(slug).figures:
        shared = parse(client.get(f"/fragments/{version()}/{slug}/{name}/share").text)
        for address in {link.attributes["href"] for link in shared.all("a")}:
            assert client.get(address).status_code == 200, address


def test_notebook_names_errors_of_its_address(client: TestClient) -> None:
    assert client.get(f"{LESSON}/notebook.ipynb?rtn.bits=99").status_code == 422
