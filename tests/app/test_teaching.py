"""The pages for teachers: links, answers, and the page that makes links, with QR codes and preview."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import pytest
from starlette.testclient import TestClient

from app import create_app
from app.assets import ROOT
from app.settings import Settings
from app.views.qr import svg_path
from app.views.teach import MOST_IN_QR, MOST_SEEDS
from lessons.catalogue import Lesson, teaching_pages
from lessons.kit.controls import Choice, as_parameter
from lessons.kit.text import FigureText, MissingText
from tests.app.html import Element, parse

LESSON = "/lessons/quantization"
PAGES = ("/teach", "/teach/plans", "/teach/answers")
SECRET = "the largest weight determines the whole grid"
"""In the answers, and nowhere else."""


@pytest.fixture(scope="module")
def public() -> Iterator[TestClient]:
    """A host that shows the answers, below a folder."""
    settings = Settings(answers="public", root_path="/academy", pseudo_languages=True)
    with TestClient(create_app(settings), follow_redirects=False) as running:
        yield running


def links_of(page: Element) -> list[str]:
    return [a.attributes["href"] for a in page.one("main").all("a")]


def label_of(text: FigureText, output: Element) -> str:
    """How a figure calls a read-out; "" for the outputs of its sliders."""
    try:
        return text.readout(output.attributes.get("name", ""))
    except MissingText:
        return ""


def test_answers_have_the_numbers_of_their_tasks(public: TestClient) -> None:
    """Lists are numbered anew when they are shown, so none may be left out."""
    tasks, answers = (parse(public.get(f"/academy/teach/{page}").text) for page in ("plans", "answers"))
    assert len(answers.one("main").all("ol")[-1].all("li")) == len(tasks.one("main").all("ol")[-1].all("li"))
    written = re.findall(r"^(\d+)\. ", (ROOT / "lessons/pages/en/teach/answers.md").read_text("utf-8"), re.M)
    assert written == [str(number) for number in range(1, len(written) + 1)]


# --- guide, plans, answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_every_link_of_a_teaching_page_opens_also_below_a_folder(public: TestClient, path: str) -> None:
    links = links_of(parse(public.get(f"/academy{path}").text))
    assert len(links) > 15
    assert [link for link in links if not link.startswith("/academy/")] == []
    assert [link for link in links if public.get(link).status_code != 200] == []


def test_links_of_a_teaching_page_stay_in_its_language(public: TestClient) -> None:
    links = links_of(parse(public.get("/academy/en-XA/teach/plans").text))
    assert [link for link in links if not link.startswith("/academy/en-XA/")] == []


def test_every_answer_is_what_its_figure_shows(public: TestClient, lesson: Lesson) -> None:
    rows = parse(public.get("/academy/teach/answers").text).all("tr")[1:]
    assert len(rows) > 20
    for row in rows:
        _task, state, readout, answer = row.all("td")
        shown = parse(public.get(state.one("a").attributes["href"]).text).one("figure")
        text = lesson.texts[shown.attributes["data-figure"]]
        (name,) = {o.attributes["name"] for o in shown.all("output") if label_of(text, o) == readout.text}
        printed = shown.one("output", name=name).text
        assert printed.split("\N{NARROW NO-BREAK SPACE}")[0] == answer.text, state.text


def test_answers_are_shown_only_where_the_host_says_so(client: TestClient, public: TestClient) -> None:
    kept = client.get("/teach/answers")
    assert kept.status_code == 200
    assert SECRET not in kept.text
    assert "ACADEMY_ANSWERS=public" in kept.text
    assert parse(kept.text).all("table") == []
    assert SECRET in public.get("/academy/teach/answers").text


@pytest.mark.parametrize("path", ["/teach/guide", "/teach/none", "/teach/answers.md"])
def test_other_teaching_pages_do_not_exist(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_teaching_pages_are_readable_where_they_are_kept() -> None:
    assert set(teaching_pages()) == {"guide", "plans", "answers"}


def test_pages_lead_to_the_teaching_pages(client: TestClient) -> None:
    for path in ("/", LESSON, f"{LESSON}/teach"):
        assert 'href="/teach"' in client.get(path).text, path


# --- the page that makes links -----------------------------------------------------------------------------


def made(client: TestClient, query: str) -> Element:
    answer = client.get(f"{LESSON}/teach?{query}")
    assert answer.status_code == 200
    return parse(answer.text).one("div", id="made")


def test_the_preview_is_the_embed_with_the_same_state(client: TestClient) -> None:
    page = made(client, "figure=rtn&set.bits=5&show.bits=lock&explain=off&place=lesson")
    preview = page.one("div", class_="teach-preview").attributes["data-from"]
    assert dict(parse_qsl(urlsplit(preview).query)) == {
        "embed": "1", "bits": "5", "lock": "bits", "explain": "off",
    }  # fmt: skip
    assert parse(client.get(preview).text).one("figure").attributes["data-place"] == "embed"


def test_a_question_is_previewed_by_its_sentence(client: TestClient, lesson: Lesson) -> None:
    page = made(client, "figure=rtn&place=question")
    assert page.one("blockquote").text.startswith("Halve the bits")
    assert page.all("div", class_="teach-preview") == []


@pytest.mark.parametrize("place", ["page", "embed", "present", "lesson", "question"])
def test_a_link_has_a_qr_code_of_its_whole_address(client: TestClient, place: str) -> None:
    page = made(client, f"figure=rtn&set.bits=5&place={place}")
    link = page.one("input", id="made-link").attributes["value"]
    picture = client.get(page.one("img").attributes["src"])
    assert picture.headers["content-type"] == "image/svg+xml"
    size, path = svg_path(f"http://testserver{link}")
    assert f'd="{path}"' in picture.text
    assert f'viewBox="0 0 {size} {size}"' in picture.text


def test_each_exercise_of_a_range_has_its_link_and_code(client: TestClient) -> None:
    page = made(client, "figure=rtn&place=task&task=rounding&seed=8&to=11&stage=faded")
    links = page.one("textarea", id="made-link").text.split()
    assert links == [f"{LESSON}/tasks/rounding?seed={seed}&stage=faded" for seed in range(8, 12)]
    assert len(page.all("img")) == 4
    assert client.get(page.all("img")[0].attributes["src"]).status_code == 200
    assert [client.get(link).status_code for link in links] == [200] * 4


def test_every_task_of_a_figures_section_can_be_chosen(client: TestClient, lesson: Lesson) -> None:
    page = parse(client.get(f"{LESSON}/teach?figure=rtn&place=task").text)
    options = page.one("select", id="task").all("option")
    assert [option.attributes["value"] for option in options] == [
        task.name for task in lesson.tasks_of("rounding")
    ]
    assert all(option.text for option in options)


@pytest.mark.parametrize(
    ("query", "allowed"),
    [
        ("seed=0", "1 to 9999"),
        ("seed=10000", "1 to 9999"),
        ("seed=x", "1 to 9999"),
        ("seed=40&to=39", "40 to 139"),
        (f"seed=1&to={MOST_SEEDS + 1}", "1 to 100"),
        ("seed=9990&to=9999&task=fit", "zeros, rounding"),
        ("stage=other", "faded, fresh"),
    ],
)
def test_exercises_out_of_range_are_refused_with_the_range(
    client: TestClient, query: str, allowed: str
) -> None:
    refused = client.get(f"{LESSON}/teach?figure=rtn&place=task&{query}")
    assert refused.status_code == 422
    assert allowed in parse(refused.text).one("main").text


@pytest.mark.parametrize(
    "to", ["", "nowhere", "//other.example/", "https://other.example", "/a\nb", "/" + "x" * MOST_IN_QR]
)
def test_a_qr_code_leads_to_this_site_only(client: TestClient, to: str) -> None:
    assert client.get("/qr.svg", params={"to": to}).status_code == 422


def test_no_option_is_named_by_its_key(client: TestClient, lesson: Lesson) -> None:
    """What the drawing of a figure writes beside its cells, a menu needs as words."""
    for name, figure in lesson.figures.items():
        page = parse(client.get(f"{LESSON}/teach?figure={name}").text)
        for control, widget in figure.controls.widgets().items():
            if isinstance(widget, Choice):
                options = page.one("select", id=f"set-{control}").all("option")
                assert len(options) == len(widget.states())
                for state, option in zip(widget.states(), options, strict=True):
                    key = as_parameter(state)
                    assert option.text != key or not re.search(r"-\d", key), (
                        name,
                        option.text,
                    )
