"""Arrangements: locked and hidden controls, hidden explanations, links, and their documentation."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from starlette.testclient import TestClient

from app.assets import version
from lessons.catalogue import Lesson, load_lesson
from lessons.kit.arrangement import NAMES, hideable
from lessons.kit.controls import Choice, FigureControls, as_parameter
from tests.app.html import Element, parse
from tests.app.state_tables import table_of, views_of

LESSON = "/lessons/quantization"
FIGURES = load_lesson("quantization").figures


def figure(client: TestClient, address: str) -> Element:
    answer = client.get(address)
    assert answer.status_code == 200
    return parse(answer.text).one("figure")


def inputs(form: Element, name: str) -> list[Element]:
    return [e for tag in ("input", "select") for e in form.all(tag) if e.attributes.get("name") == name]


@pytest.mark.parametrize("name", FIGURES)
def test_no_control_has_the_name_of_an_arrangement(name: str) -> None:
    reserved = {*NAMES, "embed", "present", "in", "route", "ground", "task", "figure", "place"}
    assert not reserved & set(FIGURES[name].controls.model_fields)


@pytest.mark.parametrize("name", FIGURES)
def test_locked_controls_are_still_sent(client: TestClient, name: str) -> None:
    controls: FigureControls = FIGURES[name].controls()
    fields = list(type(controls).model_fields)
    form = figure(client, f"{LESSON}/figures/{name}?lock={','.join(fields)}").all("form")[0]
    for control in fields:
        sent = [e for e in inputs(form, control) if e.attributes.get("type") == "hidden"]
        assert len(sent) == 1
        shown = [e for e in inputs(form, control) if e.attributes.get("type") != "hidden"]
        fixed = [e for f in form.all("fieldset") if "disabled" in f.attributes for e in inputs(f, control)]
        assert shown
        assert all("disabled" in e.attributes or e in fixed for e in shown)


def test_hidden_controls_keep_their_value_and_are_not_shown(client: TestClient) -> None:
    form = figure(client, f"{LESSON}/figures/rtn?bits=5&hide=bits,scheme").all("form")[0]
    rows = [e for tag in ("div", "fieldset") for e in form.all(tag) if "hidden" in e.attributes]
    assert len(rows) == 2
    assert {(e.attributes["name"], e.attributes["value"]) for e in form.all("input", type="hidden")} >= {
        ("bits", "5"),
        ("scheme", "asymmetric"),
        ("hide", "bits,scheme"),
    }


def test_fragment_keeps_locked_cells_disabled(client: TestClient) -> None:
    base = f"/fragments/{version()}/quantization"
    free = client.get(f"{base}/mixes?against=none").text
    cells = free.count('name="mix"')
    fixed = client.get(f"{base}/mixes?against=none&lock=mix,model").text
    assert cells > 10
    assert "".join(fixed.replace(" disabled", "").split()) == "".join(free.split())
    assert fixed.count(" disabled") == cells
    assert client.get(f"{base}/mixes?against=none&lock=model&hide=against&explain=off").text == free
    table = table_of(client, f"{base}/mixes/along/against?lock=mix")
    assert all(view.count(" disabled") == cells for view in views_of(table).values())


def details_of(figure: Element) -> Element:
    return figure.one("details", class_="details")


@pytest.mark.parametrize("name", FIGURES)
def test_three_controls_stand_in_front_and_the_others_in_the_details(client: TestClient, name: str) -> None:
    controls = FIGURES[name].controls
    shown = figure(client, f"{LESSON}/figures/{name}")
    names = list(hideable(controls))
    folded = details_of(shown).one("div", class_="more-controls")
    fields = {e.attributes["name"] for tag in ("input", "select") for e in folded.all(tag)}
    assert fields == set(names[3:])
    front = {
        e.attributes["name"]
        for tag in ("input", "select")
        for e in shown.one("div", class_="controls").all(tag)
    }
    assert front == set(names[:3])
    outputs = shown.one("dl", class_="readouts").all("output")
    view = FIGURES[name].view(controls())
    assert [e.attributes["name"] for e in outputs] == [each.name for each in view.readouts[:3]]


def test_details_are_open_where_a_folded_control_is_in_use_or_a_link_says_so(client: TestClient) -> None:
    folded = hideable(FIGURES["rtn"].controls)[-1]
    widget = FIGURES["rtn"].controls.widgets()[folded]
    used = as_parameter(widget.states()[-1])
    for query, is_open in (
        ("", False),
        ("&open=details", True),
        (f"&{folded}={used}", True),
        (f"&{folded}={used}&hide={folded}", False),
        ("&bits=5", False),
    ):
        shown = figure(client, f"{LESSON}/figures/rtn?embed=1{query}")
        assert ("open" in details_of(shown).attributes) is is_open, query
    assert "open" in details_of(figure(client, f"{LESSON}/figures/rtn")).attributes


def test_fixed_controls_stand_in_front_and_hidden_ones_make_room(client: TestClient) -> None:
    first, second, third, fourth, *_, last = hideable(FIGURES["rtn"].controls)
    shown = figure(client, f"{LESSON}/figures/rtn?lock={last}&hide={first}")
    row = shown.one("div", class_="controls")
    front = {e.attributes["name"] for tag in ("input", "select") for e in row.all(tag)}
    assert front == {second, third, fourth, last}


def test_explain_off_keeps_the_text_alternative(client: TestClient) -> None:
    page = client.get(f"{LESSON}/figures/rtn?explain=off").text
    assert "data-unexplained" in page
    assert "css/teach.css" in page
    shown = parse(page).one("figure")
    described = shown.one("div", class_="drawing").one("svg").attributes["aria-describedby"]
    assert shown.one("p", id=described).text


def test_each_figure_of_the_lesson_has_its_own_arrangement(client: TestClient) -> None:
    page = parse(client.get(f"{LESSON}?rtn.lock=bits&fit.hide=mix&rtn.bits=6").text)
    note = page.one("figure", id="fig-02").one("p", class_="arrangement-note")
    assert note.text == "Fixed here: Bits per weight"
    assert [e.attributes["value"] for e in page.one("figure", id="fig-06").all("input", name="hide")] == [
        "mix"
    ]
    assert not page.one("figure", id="fig-03").all("p", class_="arrangement-note")
    assert "css/teach.css" not in client.get(LESSON).text


def test_without_scripts_a_change_on_the_lesson_keeps_every_arrangement(client: TestClient) -> None:
    figure = parse(client.get(f"{LESSON}?rtn.lock=bits&fit.hide=mix&fit.memory=20").text).one(
        "figure", id="fig-02"
    )
    sent = [(e.attributes["name"], e.attributes["value"]) for e in figure.all("input", type="hidden")]
    answer = client.get(f"{LESSON}/figures/rtn", params=[*sent, ("block", "llm")])
    assert answer.status_code == 303
    back = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
    assert back == {"rtn.block": "llm", "rtn.lock": "bits", "fit.hide": "mix", "fit.memory": "20"}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("lock=bit", "bits, stretch"),
        ("hide=nothing", "bits, stretch"),
        ("lock=bits&lock=block", "one value"),
        ("explain=no", "on or off"),
        ("open=all", "details"),
        ("lock=" + "a," * 400, "names of controls"),
    ],
)
def test_invalid_arrangements_are_named(client: TestClient, query: str, words: str) -> None:
    for address in (f"{LESSON}/figures/rtn?{query}", f"{LESSON}?rtn.{query.replace('&', '&rtn.')}"):
        answer = client.get(address)
        assert answer.status_code == 422
        assert words in answer.text


def test_cells_of_the_drawing_cannot_be_hidden(client: TestClient) -> None:
    assert client.get(f"{LESSON}/figures/mixes?hide=mix").status_code == 422


def test_exported_files_ignore_arrangements(client: TestClient) -> None:
    for kind in ("csv", "svg", "py"):
        assert client.get(f"{LESSON}/figures/rtn.{kind}?lock=bits").status_code == 422


# --- the page that makes links -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["primitive", "quality", "xray", "fit"])
def test_builder_makes_a_link_with_the_chosen_arrangement(
    client: TestClient, lesson: Lesson, name: str
) -> None:
    page = parse(client.get(f"{LESSON}/teach?figure={name}").text)
    form = page.one("form")
    widgets = lesson.figures[name].controls.widgets()
    for control, widget in widgets.items():
        assert len(inputs(form, f"set.{control}")) == 1
        drawn = isinstance(widget, Choice) and widget.drawn
        assert len(inputs(form, f"show.{control}")) == (2 if drawn else 3)
    query = [
        ("figure", name),
        *((f"show.{control}", "lock") for control in widgets),
        ("explain", "off"),
        ("open", "details"),
    ]
    for place in ("page", "embed", "lesson"):
        made = parse(client.get(f"{LESSON}/teach", params=[*query, ("place", place)]).text)
        link = made.one("input", id="made-link").attributes["value"]
        opened = client.get(link.partition("#")[0])
        assert opened.status_code == 200
        shown = parse(opened.text).one("figure", id=lesson.figures[name].id)
        assert "data-unexplained" in shown.attributes
        assert ("embed=1" in link) == (place == "embed")
        assert "open" in details_of(shown).attributes


def test_the_builder_opens_a_question_and_a_task(client: TestClient) -> None:
    for place, path in (("question", "questions/rtn"), ("task", "tasks/zeros")):
        made = parse(client.get(f"{LESSON}/teach?figure=rtn&place={place}").text)
        link = made.one("input", id="made-link").attributes["value"]
        assert link == f"{LESSON}/{path}"
        assert client.get(link).status_code == 200


def test_builder_starts_from_the_shared_state(client: TestClient) -> None:
    shared = parse(client.get(f"/fragments/{version()}/quantization/rtn/share?bits=6").text)
    (link,) = [a.attributes["href"] for a in shared.all("a") if "/teach?" in a.attributes["href"]]
    page = parse(client.get(link).text)
    assert page.one("input", id="set-bits").attributes["value"] == "6"
    assert page.one("input", id="made-link").attributes["value"] == f"{LESSON}/figures/rtn?bits=6"


@pytest.mark.parametrize(
    "query", ["figure=none", "figure=rtn&set.bits=99", "figure=rtn&set.bit=3", "figure=rtn&place=moon"]
)
def test_builder_refuses_unknown_names(client: TestClient, query: str) -> None:
    assert client.get(f"{LESSON}/teach?{query}").status_code == 422
