"""Two routes through one lesson, and the review page."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from lessons.catalogue import Lesson
from lessons.kit.controls import Choice
from tests.app.html import Element, parse

PAGE = "/lessons/quantization"


def lesson_page(client: TestClient, query: str = "") -> Element:
    answer = client.get(f"{PAGE}{query}")
    assert answer.status_code == 200
    return parse(answer.text)


def test_guided_route_starts_sections_with_a_worked_example(client: TestClient, lesson: Lesson) -> None:
    guided = lesson_page(client, "?route=guided")
    for section in lesson.tasks:
        example = guided.one("section", id=section).one("details", class_="example")
        assert "open" in example.attributes
        assert len(example.one("ol").all("li")) == len(lesson.tasks[section].make(0).steps)
    assert not lesson_page(client).all("details", class_="example")
    assert not lesson_page(client, "?route=lab").all("details", class_="example")


def test_guided_route_hides_controls_in_details_and_loses_none(client: TestClient, lesson: Lesson) -> None:
    guided, lab = lesson_page(client, "?route=guided"), lesson_page(client, "?route=lab")
    for name, figure in lesson.figures.items():
        form, whole = (p.one("figure", id=figure.id).one("form") for p in (guided, lab))
        names = [{i.attributes["name"] for i in f.all("input") + f.all("select")} for f in (form, whole)]
        assert names[0] == names[1]
        folded = form.one("details", class_="more-controls")
        inside = {i.attributes["name"] for i in folded.all("input") + folded.all("select")}
        drawn = {n for n, w in figure.controls.widgets().items() if isinstance(w, Choice) and w.drawn}
        assert inside == set(figure.controls.model_fields) - set(lesson.first_controls(name) or ()) - drawn
        assert not whole.all("details", class_="more-controls")


@pytest.mark.parametrize("route", ["guided", "lab"])
def test_chosen_route_is_shown_and_kept(client: TestClient, route: str) -> None:
    page = lesson_page(client, f"?route={route}&rtn.bits=5")
    chosen = [a for a in page.one("nav", class_="routes").all("a") if "aria-current" in a.attributes]
    assert [a.attributes["href"] for a in chosen] == [f"{PAGE}?route={route}"]
    tasks = [a.attributes["href"] for a in page.all("a") if "/tasks/" in a.attributes.get("href", "")]
    assert tasks
    assert all(href.endswith(f"?route={route}") for href in tasks)
    question = page.one("aside", id="ask-gptq").one("form")
    assert question.one("input", name="route").attributes["value"] == route
    asked = parse(client.get(f"{PAGE}/questions/gptq?answer=50&route={route}").text)
    see = next(a for a in asked.all("a") if "data-see" in a.attributes)
    assert see.attributes["href"].startswith(f"{PAGE}?route={route}&gptq.")
    back = client.get(f"{PAGE}/figures/rtn?bits=4&in=lesson&route={route}")
    assert back.headers["location"] == f"{PAGE}?route={route}&rtn.bits=4#fig-02"


def test_without_a_route_none_is_chosen(client: TestClient) -> None:
    page = lesson_page(client)
    assert not [a for a in page.one("nav", class_="routes").all("a") if "aria-current" in a.attributes]


@pytest.mark.parametrize("query", ["route=x", "route=", "route=lab&route=guided", "route=GUIDED"])
def test_unknown_route_is_refused(client: TestClient, query: str) -> None:
    for address in (PAGE, f"{PAGE}/figures/rtn"):
        answer = client.get(f"{address}?{query}")
        assert answer.status_code == 422
        assert "guided or lab" in answer.text


def test_correction_link_keeps_the_route(client: TestClient) -> None:
    page = parse(client.get(f"{PAGE}?route=guided&rtn.bits=99").text)
    back = page.one("p", class_="way-back").one("a").attributes["href"]
    assert "route=guided" in back
    assert client.get(back).status_code == 200


def test_review_page_has_every_question_and_no_answer(client: TestClient, lesson: Lesson) -> None:
    ways = {a.attributes["href"] for a in lesson_page(client).one("section", id="close").all("a")}
    assert f"{PAGE}/questions" in ways
    page = parse(client.get(f"{PAGE}/questions").text)
    asked = [li for li in page.all("li") if "data-question" in li.attributes]
    assert [li.attributes["data-question"] for li in asked] == list(lesson.questions)
    for li in asked:
        assert [output.text for output in li.all("output")] == ["", ""]
        assert client.get(li.one("a").attributes["href"]).status_code == 200
    done = [li.attributes["data-task"] for li in page.all("li") if "data-task" in li.attributes]
    assert done == list(lesson.tasks)
    assert "nothing is kept" in page.one("noscript").text
    assert client.get("/lessons/specimen/questions").status_code == 404
