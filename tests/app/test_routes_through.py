"""Old links of a route through the lesson, and the review page."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from lessons.catalogue import Lesson
from tests.app.html import Element, parse

PAGE = "/lessons/quantization"


def lesson_page(client: TestClient, query: str = "") -> Element:
    answer = client.get(f"{PAGE}{query}")
    assert answer.status_code == 200
    return parse(answer.text)


@pytest.mark.parametrize("route", ["guided", "lab", "x"])
def test_links_from_the_time_of_several_routes_lead_on(client: TestClient, route: str) -> None:
    assert lesson_page(client, f"?route={route}&rtn.bits=5").all("figure")
    for address in ("questions/gptq?answer=50", "tasks/rounding?seed=5", "figures/rtn?bits=5"):
        answer = client.get(f"{PAGE}/{address}&route={route}")
        assert answer.status_code == 200
        assert "route=" not in answer.text
    back = client.get(f"{PAGE}/figures/rtn?bits=5&in=lesson&route={route}")
    assert back.headers["location"] == f"{PAGE}?rtn.bits=5#fig-02"


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
