"""Predict, then see: the server keeps what is so to itself until there is a guess."""

from __future__ import annotations

import dataclasses

import pytest
from starlette.testclient import TestClient

from app import create_app
from app.assets import version
from app.settings import Settings
from lessons.catalogue import Lesson
from lessons.kit.controls import plain
from lessons.kit.question import Reveal
from tests.app.html import parse

PAGE = "/lessons/quantization"
NAMES = ("primitive", "rtn", "rounding", "gptq", "awq", "quality", "xray", "fit")


def alone(name: str, query: str = "") -> str:
    return f"{PAGE}/questions/{name}" + (f"?{query}" if query else "")


def fragment(name: str, query: str = "") -> str:
    return f"/fragments/{version()}/quantization/questions/{name}?{query}"


@pytest.mark.parametrize("name", NAMES)
def test_the_lesson_asks_before_the_figure(client: TestClient, lesson: Lesson, name: str) -> None:
    text = client.get(PAGE).text
    question = parse(text).one("aside", id=f"ask-{name}")
    form = question.one("form")
    assert form.attributes["action"] == alone(name)
    assert form.attributes.get("method", "get") == "get"
    assert {field.attributes["name"] for field in form.all("input")} == {"answer"}
    assert [button.attributes.get("name", "") for button in form.all("button")] == ["", "skip"]
    assert text.index(f'id="ask-{name}"') < text.index(f'<figure class="fig fig-{name}"')


def test_no_page_computes_what_is_so_before_a_commit(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was never computed cannot have slipped into the HTML."""

    def refuse(guess: object) -> Reveal:
        raise AssertionError("the truth was asked for without a guess")

    for name, question in lesson.questions.items():
        monkeypatch.setitem(lesson.questions, name, dataclasses.replace(question, reveal=refuse))
    with TestClient(create_app(Settings())) as fresh:
        assert fresh.get(PAGE).status_code == 200
        for name in NAMES:
            assert fresh.get(alone(name)).status_code == 200
            assert fresh.get(fragment(name)).status_code == 200


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_the_reveal_is_on_the_page_of_the_question(
    client: TestClient, lesson: Lesson, name: str
) -> None:
    page = parse(client.get(alone(name)).text).one("aside")
    text = lesson.asked[name]
    for sentence in lesson.questions[name].reveal(None).sentences:
        assert text.sentence(sentence) not in page.text
    assert not page.all("output", name="truth")
    assert not page.all("circle")
    assert not page.all("path")


@pytest.mark.parametrize("name", NAMES)
def test_a_commit_shows_the_guess_beside_what_is_so(client: TestClient, lesson: Lesson, name: str) -> None:
    question = lesson.questions[name]
    for guess in (question.widget.states()[0], question.widget.states()[-1]):
        query = f"answer={plain(guess)}"
        answer = client.get(alone(name, query))
        assert answer.status_code == 200
        page = parse(answer.text).one("aside")
        revealed = question.reveal(guess)
        assert page.one("output", name="truth").text == revealed.truth
        assert page.one("output", name="guess").text
        assert page.all("svg")[0].attributes["role"] == "img"
        assert lesson.asked[name].sentence(revealed.sentences[1]) in page.text
        same = parse(client.get(fragment(name, query)).text).one("aside")
        assert same.text.split() == page.text.split()


@pytest.mark.parametrize("name", NAMES)
def test_who_skips_is_shown_it_all_the_same(client: TestClient, name: str) -> None:
    page = parse(client.get(alone(name, "skip=1")).text).one("aside")
    assert page.one("output", name="truth").text
    assert not page.all("output", name="guess")


def test_the_figure_below_shows_what_is_so(client: TestClient) -> None:
    before, after = (parse(client.get(alone("gptq", query)).text) for query in ("", "answer=50"))
    bits = [p.one("input", name="bits", value="2").attributes for p in (before, after)]
    assert ["checked" in given for given in bits] == [False, True]
    link = next(a for a in after.all("a") if "data-see" in a.attributes)
    assert client.get(link.attributes["href"]).status_code == 200
    assert "gptq.bits=2" in link.attributes["href"]


@pytest.mark.parametrize(
    "query",
    [
        "answer=99",
        "answer=-1",
        "answer=4.5",
        "answer=",
        "answer=four",
        "answer=4&answer=5",
        "skip=yes",
        "bits=3",
    ],
)
def test_an_answer_that_cannot_be_given_is_named(client: TestClient, query: str) -> None:
    for address in (alone("rtn", query), fragment("rtn", query)):
        answer = client.get(address)
        assert answer.status_code == 422
        assert "Allowed" in answer.text or "It has" in answer.text
        assert "Traceback" not in answer.text
    assert alone("rtn") in client.get(alone("rtn", query)).text


def test_a_question_that_is_not_here(client: TestClient) -> None:
    assert client.get(alone("fold")).status_code == 404
    assert client.get(fragment("nothing")).status_code == 404
    assert client.get("/lessons/specimen/questions/marks").status_code == 404


def test_the_same_guess_is_the_same_answer(client: TestClient) -> None:
    first, second = (client.get(fragment("awq", "answer=0.5")) for _ in range(2))
    assert first.content == second.content
    assert "immutable" in first.headers["cache-control"]
    assert "set-cookie" not in first.headers
