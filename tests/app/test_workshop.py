"""The workshop: its index and its pages, the teasers that lead there, the way back, and old addresses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from lessons.catalogue import load_lesson
from tests.app.html import parse
from tests.app.test_pages import ASIDE, IDS, LESSON, WHERE

QUANTIZATION = load_lesson("quantization")
SLUGS = [page.slug for page in QUANTIZATION.workshop]
SPINE = ["hero", "zoom", "fold", "primitive", "noise", "rtn", "rounding", "awq", "quality", "fit"]


def test_the_spine_shows_its_figures_and_no_other(client: TestClient) -> None:
    shown = [figure.attributes["data-figure"] for figure in parse(client.get(LESSON).text).all("figure")]
    assert [name for name in shown if name in SPINE] == SPINE
    assert not set(shown) & set(ASIDE)


def test_the_index_leads_to_every_page(client: TestClient) -> None:
    index = parse(client.get(f"{LESSON}/workshop").text)
    links = [teaser.all("a")[0].attributes["href"] for teaser in index.all("article")]
    assert links == [f"{LESSON}/workshop/{slug}" for slug in SLUGS]
    assert len(index.all("svg", class_="still")) == len(SLUGS)


@pytest.mark.parametrize("slug", SLUGS)
def test_a_page_has_its_promise_its_figures_and_the_way_back(client: TestClient, slug: str) -> None:
    page = QUANTIZATION.workshop_page(slug)
    shown = parse(client.get(f"{LESSON}/workshop/{slug}").text)
    assert shown.one("h1").text == page.title
    assert len(shown.one("p", class_="lead").text) > 30
    assert [figure.attributes["data-figure"] for figure in shown.all("figure")] == list(page.figures)
    back = [a.attributes["href"] for a in shown.all("a") if "data-way-back" in a.attributes]
    assert len(back) == 2
    (place,) = set(back)
    path, _, anchor = place.partition("#")
    assert path == LESSON
    teaser = parse(client.get(path).text).one("article", id=anchor)
    assert teaser.all("a")[0].attributes["href"] == f"{LESSON}/workshop/{slug}"
    assert shown.text.count("minute")


@pytest.mark.parametrize("slug", SLUGS)
def test_a_still_is_drawn_from_numbers(client: TestClient, slug: str) -> None:
    assert QUANTIZATION.stills[slug].compute()
    page = parse(client.get(f"{LESSON}/workshop").text)
    (teaser,) = (
        each for each in page.all("article") if each.all("a")[0].attributes["href"].endswith(f"/{slug}")
    )
    shapes = [shape for tag in ("rect", "circle", "polyline", "line") for shape in teaser.all(tag)]
    assert shapes


def test_figures_of_the_workshop_keep_their_anchor_in_the_lesson(client: TestClient) -> None:
    page = parse(client.get(LESSON).text)
    for name in ASIDE:
        page.one("article", id=IDS[name])
        if name in QUANTIZATION.questions:
            page.one("span", id=f"ask-{name}")


@pytest.mark.parametrize("name", ASIDE)
def test_an_old_address_leads_to_the_page_of_its_figure(client: TestClient, name: str) -> None:
    controls = QUANTIZATION.figures[name].controls
    pair = next(pairs[0] for state in controls.every() if len(pairs := state.query()) == 1)
    answer = client.get(f"{LESSON}?{name}.{pair[0]}={pair[1]}", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{WHERE[name]}?{name}.{pair[0]}={pair[1]}#{IDS[name]}"
    assert client.get(answer.headers["location"]).status_code == 200


def test_an_address_of_several_pages_stays_and_its_teaser_carries_the_state(client: TestClient) -> None:
    answer = client.get(f"{LESSON}?rtn.bits=5&gptq.step=9", follow_redirects=False)
    assert answer.status_code == 200
    teaser = parse(answer.text).one("article", id="fig-03b")
    assert teaser.all("a")[0].attributes["href"] == f"{LESSON}/workshop/gptq?gptq.step=9"
    page = parse(client.get(f"{LESSON}/workshop/gptq?rtn.bits=5&gptq.step=9").text)
    back = next(a.attributes["href"] for a in page.all("a") if "data-way-back" in a.attributes)
    assert back == f"{LESSON}?rtn.bits=5#fig-03b"
    form = page.one("form", id="fig-03b-form")
    assert form.one("input", name="step").attributes["value"] == "9"


def test_without_scripts_a_form_leads_back_to_its_page(client: TestClient) -> None:
    for name, location in (
        ("gptq", f"{LESSON}/workshop/gptq?gptq.step=9#fig-03b"),
        ("rtn", f"{LESSON}?rtn.bits=5#fig-02"),
    ):
        control = location.partition("?")[2].partition("#")[0].partition(".")[2]
        answer = client.get(f"{LESSON}/figures/{name}?in=lesson&{control}", follow_redirects=False)
        assert answer.headers["location"] == location


def test_an_unknown_page_is_told_with_those_that_are_there(client: TestClient) -> None:
    answer = client.get(f"{LESSON}/workshop/nothing")
    assert answer.status_code == 404
    assert all(slug in answer.text for slug in SLUGS)
    assert client.get("/lessons/specimen/workshop/gptq").status_code == 404


def test_a_lesson_without_a_workshop_says_so(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = replace(load_lesson("specimen"), workshop=())
    monkeypatch.setattr("app.routes.lesson.find_lesson", lambda _slug: bare)
    for page in ("workshop", "workshop/wave"):
        answer = client.get(f"/lessons/specimen/{page}")
        assert answer.status_code == 404
        assert "no workshop" in answer.text


def test_a_wrong_control_is_told_with_the_way_back_to_the_page(client: TestClient) -> None:
    answer = client.get(f"{LESSON}/workshop/gptq?gptq.step=99&gptq.bits=4")
    assert answer.status_code == 422
    links = [a.attributes["href"] for a in parse(answer.text).all("a")]
    assert f"{LESSON}/workshop/gptq?gptq.bits=4" in links


def test_the_guess_of_a_question_leads_to_its_page(client: TestClient) -> None:
    page = parse(client.get(f"{LESSON}/questions/gptq?answer=20").text)
    (see,) = (a.attributes["href"] for a in page.all("a") if "data-see" in a.attributes)
    assert see.startswith(f"{LESSON}/workshop/gptq?gptq.")
    assert "gptq.guess=20" in see
