"""The page of a task: a form whose address holds the exercise and the attempt."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from app.site import Site, use_site
from app.views.task import code_for, read_codes
from lessons.catalogue import Lesson
from lessons.kit.task import StateStep, Step
from lessons.quantization.tasks import TASKS
from tests.app.html import Element, parse

PAGE = "/lessons/quantization"


def page(client: TestClient, section: str, **given: str) -> Element:
    answer = client.get(f"{PAGE}/tasks/{section}", params=given)
    assert answer.status_code == 200
    return parse(answer.text)


def right(step: Step) -> str:
    return str(step.answer) if isinstance(step, StateStep) else step.text.replace("\u202f", "")


@pytest.mark.parametrize("section", TASKS)
def test_a_page_links_to_its_task_and_back(client: TestClient, lesson: Lesson, section: str) -> None:
    in_workshop = TASKS[section].section in [page.slug for page in lesson.workshop]
    place = f"{PAGE}/workshop/{TASKS[section].section}" if in_workshop else PAGE
    ways = {a.attributes["href"] for a in parse(client.get(place).text).all("a")}
    assert f"{PAGE}/tasks/{section}" in ways
    back = page(client, section).one("p", class_="number").one("a")
    anchor = f"task-{section}" if in_workshop else TASKS[section].section
    assert back.attributes["href"] == f"{place}#{anchor}"


@pytest.mark.parametrize("section", TASKS)
def test_exercise_does_not_contain_its_answers(client: TestClient, section: str) -> None:
    shown = page(client, section, seed="5").one("div", class_="exercise")
    exercise = TASKS[section].make(5)
    assert not [i for i in shown.all("input") if "checked" in i.attributes]
    for step in exercise.steps:
        if not step.options and not step.exact:
            assert step.text not in shown.text
    typed = [i for i in shown.all("input") if i.attributes.get("type") is None]
    assert {i.attributes["value"] for i in typed} <= {""}
    assert not [s for s in shown.all("span") if s.attributes.get("class") == "how"]


@pytest.mark.parametrize("section", TASKS)
def test_correct_answers_are_confirmed(client: TestClient, section: str) -> None:
    steps = TASKS[section].make(5).steps
    given = {step.name: right(step) for step in steps}
    shown = page(client, section, seed="5", **given)
    assert shown.one("output").text == f"{len(steps)} of {len(steps)} right"


def test_a_slip_is_named_beside_its_step(client: TestClient) -> None:
    scale = next(step for step in TASKS["rounding"].make(5).steps if step.name == "scale")
    wrong = f"{float(scale.answer) * 15 / 16:.6f}"
    shown = page(client, "rounding", seed="5", scale=wrong)
    said = shown.one("p", id="step-scale-said").text
    assert "Sixteen levels have only 15 gaps" in said
    field = shown.one("input", id="step-scale")
    assert field.attributes["value"] == wrong
    assert field.attributes["aria-invalid"] == "true"
    assert field.attributes["aria-describedby"] == "step-scale-said"
    assert shown.one("p", id="step-code-said").text == "Not answered yet"


def test_the_worked_example_shows_every_step_and_is_open_with_help(client: TestClient) -> None:
    for stage, is_open in (("faded", True), ("fresh", False)):
        example = page(client, "gguf", stage=stage).one("details", class_="example")
        assert ("open" in example.attributes) is is_open
        assert len(example.one("ol").all("li")) == len(TASKS["gguf"].make(0).steps)


def test_solution_is_shown_only_on_request(client: TestClient) -> None:
    shown = page(client, "fit", seed="9", solve="1").one("div", class_="exercise")
    assert len([p for p in shown.all("p") if p.attributes.get("class") == "how"]) == 3


def test_next_exercise_has_another_seed(client: TestClient) -> None:
    links = [a.attributes["href"] for a in page(client, "idea", seed="9999").all("a")]
    assert any("seed=1#" in link for link in links), "after the last comes the first"


@pytest.mark.parametrize(
    "query",
    ["seed=0", "seed=x", "stage=all", "scale=1&scale=2", "what=1", "seed=12345"],
)
def test_invalid_parameters_are_named_with_a_correction_link(client: TestClient, query: str) -> None:
    answer = client.get(f"{PAGE}/tasks/rounding?{query}")
    assert answer.status_code == 422
    back = parse(answer.text).one("p", class_="way-back").one("a").attributes["href"]
    assert client.get(back).status_code == 200


@pytest.mark.parametrize("given", ["abc", "nan", "1e999", "5 kg", "1/0", "1" * 25, "0.5;"])
def test_unreadable_answer_is_reported_beside_its_field(client: TestClient, given: str) -> None:
    code = right(next(step for step in TASKS["rounding"].make(5).steps if step.name == "code"))
    asked = {"seed": "5", "scale": given, "code": code, "stage": "fresh"}
    answer = client.get(f"{PAGE}/tasks/rounding", params=asked)
    assert answer.status_code == 422
    assert answer.headers["cache-control"] == "no-store"
    shown = parse(answer.text)
    field = shown.one("input", id="step-scale")
    assert field.attributes["value"] == given
    assert field.attributes["aria-invalid"] == "true"
    assert field.attributes["aria-describedby"] == "step-scale-said"
    assert given[:20] in shown.one("p", id="step-scale-said").text
    assert shown.one("input", id="step-code").attributes["value"] == code
    assert shown.one("p", id="step-code-said").text == "Right"
    assert shown.one("output").text == "1 of 4 right · 1 answer cannot be read"
    assert shown.one("output").one("a").attributes["href"] == "#step-scale"
    shown.one("details", class_="example")


@pytest.mark.parametrize(
    ("section", "step", "write"),
    [
        ("fit", "gb", lambda value: f"{value:.2f} GB"),
        ("fit", "gb", lambda value: f"{value:.2f}".replace(".", ",") + " GB"),
        ("fit", "gb", lambda value: f"{value * 1e9 / 2**30:.3f} GiB"),
        ("fit", "gb", lambda value: f"{1000 * value:.0f} MB"),
        ("fit", "total", lambda value: f"{value:.2f}GiB"),
        ("idea", "smaller", lambda value: f"{value:.2f}x"),
        ("idea", "smaller", lambda value: f"{100 * value:.0f} %"),
        ("idea", "smaller", lambda value: f"16/{16 / value:.4f}"),
        ("opening", "error", lambda value: f"{value:.2e}"),
        ("opening", "error", lambda value: f"{value:.4f}".replace("-", "\u2212")),
    ],
    ids=map(str, range(10)),
)
def test_answers_are_read_with_units(
    client: TestClient, section: str, step: str, write: Callable[[float], str]
) -> None:
    answer = next(each.answer for each in TASKS[section].make(5).steps if each.name == step)
    given = write(float(answer))
    shown = page(client, section, seed="5", **{step: given})
    assert shown.one("p", id=f"step-{step}-said").text == "Right"
    assert shown.one("input", id=f"step-{step}").attributes["value"] == given


def test_unknown_choice_is_reported_beside_its_field(client: TestClient) -> None:
    answer = client.get(f"{PAGE}/tasks/fit", params={"verdict": "maybe"})
    assert answer.status_code == 422
    assert parse(answer.text).one("p", id="step-verdict-said").text == "Choose one of these."


def test_unknown_task_is_not_found(client: TestClient) -> None:
    assert client.get(f"{PAGE}/tasks/nowhere").status_code == 404
    assert client.get("/lessons/specimen/tasks/opening").status_code == 404


def test_reader_input_is_escaped(client: TestClient) -> None:
    answer = client.get(f"{PAGE}/tasks/rounding", params={"scale": '"><script>alert(1)</script>'})
    assert answer.status_code == 422
    assert "<script>alert" not in answer.text


def test_a_task_done_without_help_gives_a_code_that_can_be_checked(client: TestClient) -> None:
    given = {step.name: right(step) for step in TASKS["choose"].make(7).steps}
    code = page(client, "choose", seed="7", **given).one("p", class_="code-of-task").one("b").text
    assert code.startswith("choose-7-")
    assert not page(client, "choose", seed="7", solve="1", **given).all("p", class_="code-of-task")
    some = dict(list(given.items())[:1])
    assert not page(client, "choose", seed="7", **some).all("p", class_="code-of-task")

    forged = f"{code[:-1]}{'A' if code[-1] != 'A' else 'B'}"
    other = code.replace("7", "8", 1)
    given_codes = f"{code.lower()}\n{forged} x-1-AAAAA {other} ½-¾-<b>"
    answer = client.get(f"{PAGE}/teach/codes", params={"codes": given_codes})
    assert answer.status_code == 200
    cells = [row.all("td")[1].text for row in parse(answer.text).one("tbody").all("tr")]
    assert cells == ["✓ yes", *["✗ no"] * 4]
    assert "<b>" not in answer.text.partition("<tbody>")[2].partition("</tbody>")[0]


def test_codes_depend_on_the_hosts_key(lesson: Lesson) -> None:
    with use_site(Site(code_key="secret")):
        code = code_for("choose", 7)
        assert read_codes(lesson, code)[0][1] is not None
    assert read_codes(lesson, code)[0][1] is None


def test_a_faded_exercise_gives_no_code(client: TestClient) -> None:
    given = {step.name: right(step) for step in TASKS["rounding"].make(7).steps}
    assert not page(client, "rounding", seed="7", stage="faded", **given).all("p", class_="code-of-task")
    assert page(client, "rounding", seed="7", **given).all("p", class_="code-of-task")
