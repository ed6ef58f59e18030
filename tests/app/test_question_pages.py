"""Questions: the server does not send the answer before there is a guess."""

from __future__ import annotations

import dataclasses
import json
import re
from urllib.parse import urlencode

import pytest
from starlette.testclient import TestClient

from app import create_app
from app.addresses import place_of
from app.assets import version
from app.settings import Settings
from lessons.catalogue import Lesson
from lessons.kit.controls import as_parameter
from lessons.kit.question import Reveal
from lessons.quantization.questions import QUESTIONS
from tests.app.html import parse
from tests.app.state_tables import table_of, views_of

PAGE = "/lessons/quantization"
NAMES = tuple(QUESTIONS)
ON_PAGES = ("rtn", "gptq", "awq", "xray", "fit")
"""Those that stand before their figures; the others are on a page of their own."""


def alone(name: str, query: str = "") -> str:
    return f"{PAGE}/questions/{name}" + (f"?{query}" if query else "")


def fragment(name: str, query: str = "") -> str:
    return f"/fragments/{version()}/quantization/questions/{name}?{query}"


@pytest.mark.parametrize("name", ON_PAGES)
def test_the_lesson_asks_before_the_figure(client: TestClient, lesson: Lesson, name: str) -> None:
    text = client.get(place_of(lesson, name, anchor="")).text
    question = parse(text).one("aside", id=f"ask-{name}")
    form = question.one("form")
    assert form.attributes["action"] == alone(name)
    assert form.attributes.get("method", "get") == "get"
    assert {field.attributes["name"] for field in form.all("input")} == {"answer"}
    assert [button.attributes.get("name", "") for button in form.all("button")] == ["", "skip"]
    assert text.index(f'id="ask-{name}"') < text.index(f'<figure class="fig fig-{name}')


def test_no_page_computes_the_answer_before_a_guess(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was never computed cannot be in the HTML."""

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
    text = lesson.question_texts[name]
    for sentence in lesson.questions[name].reveal(None).sentences:
        assert text.sentence(sentence) not in page.text
    assert not page.all("output", name="truth")
    assert not parse(client.get(alone(name)).text).all("figure"), "it would show what is asked"
    assert not page.all("circle")
    assert not page.all("path")


def test_a_figure_of_the_workshop_has_its_looks_beside_the_answer(client: TestClient, lesson: Lesson) -> None:
    for name in NAMES:
        sheets = [
            link.attributes["href"] for link in parse(client.get(alone(name, "skip=1")).text).all("link")
        ]
        assert any(sheet.endswith("/workshop.css") for sheet in sheets) == lesson.in_workshop(name)


@pytest.mark.parametrize("name", NAMES)
def test_guess_is_shown_beside_the_answer(client: TestClient, lesson: Lesson, name: str) -> None:
    question = lesson.questions[name]
    for guess in (question.widget.states()[0], question.widget.states()[-1]):
        query = f"answer={as_parameter(guess)}"
        answer = client.get(alone(name, query))
        assert answer.status_code == 200
        page = parse(answer.text).one("aside")
        revealed = question.reveal(guess)
        assert page.one("output", name="truth").text == revealed.truth
        assert page.one("output", name="guess").text
        assert lesson.question_texts[name].sentence(revealed.sentences[1]) in page.text
        same = parse(client.get(fragment(name, query)).text).one("aside")
        assert same.text.split() == page.text.split()


@pytest.mark.parametrize("name", NAMES)
def test_skipping_shows_the_answer(client: TestClient, name: str) -> None:
    page = parse(client.get(alone(name, "skip=1")).text).one("aside")
    assert page.one("output", name="truth").text
    assert not page.all("output", name="guess")


def test_figure_below_shows_the_answer(client: TestClient) -> None:
    after = parse(client.get(alone("gptq", "answer=50")).text)
    assert "checked" in after.one("input", name="bits", value="2").attributes
    link = next(a for a in after.all("a") if "data-see" in a.attributes)
    assert "gptq.bits=2" in link.attributes["href"]
    lesson_page = client.get(link.attributes["href"])
    assert lesson_page.status_code == 200
    assert marked(lesson_page.text)


def state(lesson: Lesson, name: str, guess: str, **changed: str) -> str:
    seen = dict(lesson.questions[name].reveal(None).controls.query())
    return urlencode(seen | changed | {"guess": guess})


def marked(html: str) -> bool:
    """Whether a guess or the answer is drawn: as a mark, a ring of a chart or an outlined cell."""
    drawn = bool(re.search(r'class="(reveal-mark (guess|truth)|marks (guess|truth)|[^"]*\bguessed)"', html))
    assert ("Marked in the drawing" in html) == drawn, "in words wherever it is drawn"
    return drawn


@pytest.mark.parametrize("name", NAMES)
def test_guess_is_marked_in_every_state_where_it_applies(
    client: TestClient, lesson: Lesson, name: str
) -> None:
    view = f"/fragments/{version()}/quantization/{name}"
    guess = as_parameter(lesson.questions[name].widget.states()[1])
    with_guess = client.get(f"{view}?{state(lesson, name, guess)}")
    assert with_guess.status_code == 200
    assert marked(with_guess.text)
    assert marked(client.get(alone(name, f"answer={guess}")).text)
    assert marked(client.get(f"{PAGE}/figures/{name}?{state(lesson, name, guess)}").text)
    assert not marked(
        client.get(f"{view}?{urlencode(lesson.questions[name].reveal(None).controls.query())}").text
    )
    question = lesson.questions[name]
    control = next(c for c in type(question.seen).model_fields if c not in question.free)
    states = type(question.seen).widgets()[control].states()
    other = next(value for value in states if value != getattr(question.seen, control))
    elsewhere = {control: as_parameter(other)}
    assert not marked(client.get(f"{view}?{state(lesson, name, guess, **elsewhere)}").text)


def test_static_chart_and_plotly_show_the_guess(client: TestClient, lesson: Lesson) -> None:
    page = client.get(f"/fragments/{version()}/quantization/quality?{state(lesson, 'quality', '1.2')}").text
    spec = json.loads(page.partition("data-chart-spec>")[2].partition("</template>")[0].replace("&#34;", '"'))
    rings = {trace["meta"]["role"]: trace for trace in spec["data"][-2:]}
    assert set(rings) == {"guess", "truth"}
    assert rings["guess"]["text"][0].startswith("you ")
    assert parse(page).one("g", **{"class": "marks guess"}).one("text").text == rings["guess"]["text"][0]


def test_state_table_shows_the_guess_where_it_applies(client: TestClient) -> None:
    along = f"/fragments/{version()}/quantization/rtn/along/bits"
    table = views_of(table_of(client, f"{along}?guess=4"))
    assert [bits for bits, view in table.items() if marked(view)] == ["3"]
    assert client.get(f"{along}?guess=4&block=llm").content == client.get(f"{along}?block=llm").content


def test_own_weights_show_no_guess(client: TestClient) -> None:
    numbers = " ".join(str(i / 40 - 0.4) for i in range(32))
    sent = {"bits": "2", "guess": "8", "own.text": numbers, "own.at": "0"}
    answer = client.post(f"/fragments/{version()}/quantization/primitive", data=sent)
    assert answer.status_code == 200
    assert not marked(answer.text)


@pytest.mark.parametrize(
    ("name", "query", "said"),
    [
        ("rtn", "guess=99", "1 to 20"),
        ("rtn", "guess=", "1 to 20"),
        ("rtn", "guess=4&guess=5", "one value"),
        ("xray", "guess=9", "one of 1, 8, 32, 256"),
        ("fold", "guess=4", "step"),
    ],
)
def test_invalid_guess_in_a_figure_is_named(client: TestClient, name: str, query: str, said: str) -> None:
    for address in (f"{PAGE}/figures/{name}?{query}", f"/fragments/{version()}/quantization/{name}?{query}"):
        answer = client.get(address)
        assert answer.status_code == 422
        assert "guess" in answer.text
        assert said in answer.text


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
def test_invalid_guess_of_a_question_is_named(client: TestClient, query: str) -> None:
    for address in (alone("rtn", query), fragment("rtn", query)):
        answer = client.get(address)
        assert answer.status_code == 422
        assert "Allowed" in answer.text or "It has" in answer.text
        assert "Traceback" not in answer.text
    assert alone("rtn") in client.get(alone("rtn", query)).text


def test_unknown_question_is_not_found(client: TestClient) -> None:
    assert client.get(alone("fold")).status_code == 404
    assert client.get(fragment("nothing")).status_code == 404
    assert client.get("/lessons/specimen/questions/marks").status_code == 404


def test_same_guess_gets_the_same_response(client: TestClient) -> None:
    first, second = (client.get(fragment("awq", "answer=0.5")) for _ in range(2))
    assert first.content == second.content
    assert "immutable" in first.headers["cache-control"]
    assert "set-cookie" not in first.headers


def test_questions_for_the_review_can_be_fetched(client: TestClient, lesson: Lesson) -> None:
    links = parse(client.get(PAGE).text).all("a")
    link = next(link for link in links if "data-recalled" in link.attributes)
    assert link.attributes["href"] == f"{PAGE}/questions", "without scripts the link leads to a page"
    answer = client.get(link.attributes["data-recalled"])
    assert "immutable" in answer.headers["cache-control"]
    entries = parse(answer.text).all("li")
    assert [entry.attributes["data-from"] for entry in entries] == [fragment(n).rstrip("?") for n in NAMES]
    assert [entry.one("a").attributes["href"] for entry in entries] == [
        f"#ask-{name}" if name in ("rtn", "awq", "fit") else alone(name) for name in NAMES
    ]
    assert all(entry.one("output", name="truth").text == "" for entry in entries)
    assert client.get(f"/fragments/{version()}/specimen/questions").status_code == 404
