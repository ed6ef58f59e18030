"""A student's browser: the bar in the lesson, votes by hand and by key, without a line, without scripts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.addresses import path
from app.classroom import operations
from app.classroom.flow import Action
from app.classroom.models import Answer, Classroom, Item, Progress, Vote
from tests.browser.classroom.conftest import Class
from tests.browser.conftest import NewPage, until
from tests.browser.watch import Watch

pytestmark = pytest.mark.tidy

LESSON = "/lessons/quantization"
SLIDER = "#vote-rtn-answer"
CARD = "#class-sheet"


def send(page: Page, key: str = "ArrowRight") -> None:
    page.locator(SLIDER).focus()
    page.keyboard.press(key)
    page.locator("[data-class-send]").click()


def own_vote(class_: Class) -> list[tuple[int, str | None]]:
    return class_.do(
        lambda session, _: [
            (vote.round, vote.value)
            for vote in session.scalars(select(Vote).join(Item).order_by(Vote.id))
            if vote.item_id in {item.id for item in operations.running_order(session, _)}
        ]
    )


# --- the bar -----------------------------------------------------------------------------------------------


def test_without_a_class_nothing_of_it_is_asked_for(page: Page) -> None:
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.goto(LESSON)
    page.wait_for_load_state("networkidle")
    assert not [url for url in urls if "class" in url]
    assert page.locator("#class").count() == 0
    assert page.context.cookies() == []


def test_two_votes_on_a_phone(class_: Class, phone: Page, axe: Callable[..., list[str]]) -> None:
    class_.enter(phone)
    card = phone.locator(CARD)
    expect(card).to_be_hidden()
    class_.ask()
    card.wait_for()
    expect(card).to_contain_text("Question 1 of 3 · first vote · open")
    expect(phone.locator("[data-class-send]")).to_be_disabled()
    assert axe(phone, "#class") == []
    phone.locator(SLIDER).evaluate(
        "slider => { slider.value = 6; slider.dispatchEvent(new Event('input', {bubbles: true})) }"
    )
    phone.locator("[data-class-send]").tap()
    expect(card).to_contain_text("Your guess, 6×, is in. Move it until the vote closes.")
    expect(phone.locator("[data-class-send]")).to_be_disabled()
    send(phone)
    expect(card).to_contain_text("Your guess, 7×, is in.")
    class_.act(Action.CLOSE)
    expect(card).to_contain_text("You said 7×. Guesses stay covered until everybody has voted again.")
    class_.act(Action.DISCUSS)
    expect(card).to_contain_text("Find somebody who said something else.")
    class_.act(Action.ASK_AGAIN)
    expect(card).to_contain_text("first 7×")
    expect(phone.locator("[data-class-send]")).to_be_disabled()
    assert axe(phone, "#class") == []
    phone.locator("label", has_text="fairly sure").tap()
    expect(phone.locator("[data-class-send]")).to_be_disabled()  # how sure one is, is no guess
    phone.get_by_role("button", name="Keep 7×").tap()
    expect(card).to_contain_text("Your guess, 7×, is in.")
    class_.act(Action.CLOSE)
    expect(card).to_contain_text("You said 7×, then 7×.")
    class_.act(Action.REVEAL)
    expect(card).to_contain_text("You stayed at 7×.")
    card.locator("svg.dots").wait_for()
    assert axe(phone, "#class") == []
    assert own_vote(class_) == [(1, "7"), (2, "7")]


def test_by_keyboard_alone(class_: Class, page: Page) -> None:
    class_.enter(page)
    class_.ask()
    page.locator(CARD).wait_for()
    expect(page.locator("#live")).to_have_text("Question 1 is open: the first vote.")
    assert page.evaluate("document.activeElement === document.body"), "the focus was taken"
    page.locator(SLIDER).focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.locator(CARD)).to_contain_text("Your guess, 19×, is in.")
    expect(page.locator("#live")).to_contain_text("Your guess, 19×, is in.")
    expect(page.locator(SLIDER)).to_be_focused()
    class_.act(Action.CLOSE, Action.DISCUSS, Action.ASK_AGAIN)
    expect(page.locator(CARD)).to_contain_text("second vote · open")
    page.locator(CARD).wait_for()
    page.locator(SLIDER).focus()
    page.keyboard.press("3")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect(page.locator(CARD)).to_contain_text("Your guess, 1×, is in.")
    expect(page.locator("input[name=confidence]:checked")).to_have_value("3")


def test_to_rather_not_is_of_equal_rank(class_: Class, page: Page) -> None:
    class_.enter(page)
    class_.ask()
    page.locator(CARD).wait_for()
    expect(page.get_by_role("button", name="I would rather not")).to_be_enabled()
    page.get_by_role("button", name="I would rather not").click()
    expect(page.locator(CARD)).to_contain_text("You would rather not.")
    assert own_vote(class_) == [(1, None)]


def test_on_my_own_the_bar_waits(class_: Class, page: Page) -> None:
    class_.join(page)
    page.locator("#class-following").click()
    expect(page.locator("#class-following")).to_have_attribute("aria-checked", "false")
    expect(page.locator("#class-following")).to_be_focused()
    class_.ask()
    expect(page.locator(".class-bar")).to_contain_text("Question 1 is open in 02 Rounding.")
    page.wait_for_timeout(1500)
    expect(page.locator(CARD)).to_be_hidden()
    assert page.evaluate("scrollY") == 0
    page.get_by_role("button", name="Answer", exact=True).click()
    page.locator(CARD).wait_for()
    expect(page.locator("#class-q")).to_be_focused()
    page.reload()
    page.locator("#class-following").wait_for()
    expect(page.locator("#class-following")).to_have_attribute("aria-checked", "false")
    expect(page.locator(CARD)).to_be_hidden()


def test_on_my_own_an_open_card_gives_way_to_no_other_question(class_: Class, page: Page) -> None:
    class_.enter(page)
    class_.ask()
    page.locator(CARD).wait_for()
    page.locator("#class-following").click()
    expect(page.locator("#class-following")).to_have_attribute("aria-checked", "false")
    class_.act(Action.CLOSE)
    expect(page.locator(CARD)).to_contain_text("first vote · closed")
    page.locator(CARD).wait_for()  # it was left open
    class_.act(Action.SKIP)
    class_.ask("awq")
    expect(page.locator(".class-bar")).to_contain_text("Question 2 is open in 04 AWQ.")
    expect(page.locator(CARD)).to_be_hidden()
    expect(page.locator("#class-show")).to_have_text("Answer")


def test_the_count_of_an_open_vote_follows(class_: Class, page: Page, new_page: NewPage) -> None:
    page.clock.install()
    class_.enter(page)
    other = new_page()
    class_.enter(other)
    class_.ask()
    bar = page.locator(".class-bar")
    expect(bar).to_contain_text("0 of 2 have answered.")
    other.get_by_role("button", name="I would rather not").click()
    expect(other.locator(".class-bar")).to_contain_text("1 of 2 have answered.")
    page.clock.run_for(16_000)
    expect(bar).to_contain_text("1 of 2 have answered.")


def test_following_the_question_comes_to_the_fore(class_: Class, page: Page) -> None:
    class_.join(page)
    class_.ask()
    expect(page.locator("#ask-rtn")).to_be_in_viewport()
    page.locator("#class-show").click()
    expect(page.locator(CARD)).to_be_hidden()
    page.reload()
    page.locator(".class-bar").wait_for()
    expect(page.locator(CARD)).to_be_hidden()  # put away stays put away
    class_.act(Action.CLOSE)
    page.locator(CARD).wait_for()


def test_nothing_comes_while_somebody_drags(class_: Class, page: Page) -> None:
    class_.enter(page)
    page.locator("#fig-02-bits").scroll_into_view_if_needed()
    box = page.locator("#fig-02-bits").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    class_.ask()
    expect(page.locator(".class-bar")).to_contain_text("Question 1, first vote.")
    page.wait_for_timeout(1500)
    expect(page.locator(CARD)).to_be_hidden()
    page.mouse.up()
    page.locator(CARD).wait_for()


def test_what_is_not_sent_yet_stays_in_the_form(class_: Class, page: Page) -> None:
    """Word of a change comes while a thumb is on its way."""
    class_.join(page)
    class_.ask()
    page.locator(SLIDER).focus()
    page.keyboard.press("End")
    class_.do(lambda session, found: operations.call_all(session, found, found.version, "gguf"))
    expect(page.locator(".class-bar")).to_contain_text("All are called to 05 GGUF.")
    expect(page.locator(SLIDER)).to_have_value("20")
    expect(page.locator("[data-class-send]")).to_be_enabled()
    assert page.evaluate("location.hash") == ""


def test_the_lesson_waits_with_the_same_question(class_: Class, page: Page) -> None:
    class_.join(page)
    class_.ask()
    card = page.locator("#ask-rtn")
    expect(card).to_contain_text("Your class is voting on this question.")
    expect(card.locator("form")).to_be_hidden()
    page.locator("#class-show").click()
    card.get_by_role("button", name="Answer with the class").click()
    page.locator(CARD).wait_for()
    class_.act(Action.SKIP)
    card.locator("form").wait_for()
    expect(card).not_to_contain_text("Your class is voting")


# --- the line ----------------------------------------------------------------------------------------------


def test_a_vote_without_a_line_is_kept_and_sent(class_: Class, page: Page, watch: Watch) -> None:
    watch.expect(r"ERR_INTERNET_DISCONNECTED|Failed to load")
    class_.enter(page)
    class_.ask()
    page.locator(CARD).wait_for()
    page.context.set_offline(True)
    send(page, "End")
    expect(page.locator(".class-bar")).to_contain_text("No line. 1 answer kept, will be sent.")
    expect(page.locator(CARD)).to_contain_text("Your answer is kept here.")
    assert own_vote(class_) == []
    page.context.set_offline(False)
    expect(page.locator(CARD)).to_contain_text("Your guess, 20×, is in.")
    expect(page.locator("[data-class-lost]")).to_be_hidden()
    assert own_vote(class_) == [(1, "20")]
    until(page, lambda: "outbox" not in page.evaluate("Object.keys(localStorage).join()"))


def test_what_was_kept_outlives_a_reload_and_is_late_after_closing(
    class_: Class, page: Page, watch: Watch
) -> None:
    watch.expect(r"ERR_|Failed to load")
    class_.enter(page)
    class_.ask()
    page.locator(CARD).wait_for()
    page.route("**/vote", lambda route: route.abort())
    send(page, "End")
    expect(page.locator(".class-bar")).to_contain_text("1 answer kept, will be sent.")
    class_.act(Action.CLOSE)
    page.unroute("**/vote")
    page.reload()
    expect(page.locator(CARD)).to_contain_text("The vote closed before your guess, 20×, came in.")
    expect(page.locator(CARD)).to_contain_text("The second vote is open to you.")


def test_an_answer_whose_acknowledgement_is_lost_is_stored_once(
    class_: Class, page: Page, watch: Watch
) -> None:
    watch.expect(r"ERR_|Failed to load|503")
    class_.join(page)
    arrived: list[str] = []

    def lose(route: Route) -> None:
        arrived.append(route.request.post_data or "")
        answer = route.fetch()
        if len(arrived) == 1:
            route.fulfill(status=503, body="")
        else:
            route.fulfill(response=answer)

    page.route("**/answers", lose)
    card = page.locator("#ask-rtn")
    card.scroll_into_view_if_needed()
    card.locator("input[type=range]").focus()
    page.keyboard.press("End")
    card.get_by_role("button", name="Commit").click()
    until(page, lambda: len({body for body in arrived if "question" in body}) == 1 and len(arrived) > 1)
    page.wait_for_timeout(500)
    stored = class_.do(
        lambda session, _: session.scalars(select(Answer.value).where(Answer.name == "rtn")).all()
    )
    assert "20" in stored


# --- the lesson at one's own pace --------------------------------------------------------------------------


def test_predictions_and_sections_are_sent_as_they_are_made(class_: Class, page: Page) -> None:
    class_.join(page)
    card = page.locator("#ask-rtn")
    card.scroll_into_view_if_needed()
    card.locator("input[type=range]").focus()
    page.keyboard.press("Home")
    with page.expect_response("**/answers"):
        card.get_by_role("button", name="Commit").click()
    until(page, lambda: class_.count(Answer) == 1)
    until(page, lambda: class_.count(Progress) > 0)
    sections = class_.do(lambda session, _: session.scalars(select(Progress.section)).all())
    assert "rounding" in sections


def test_steps_of_tasks_are_sent_as_they_are_checked(class_: Class, page: Page) -> None:
    """At the end of a section and on a page of its own; what was sent is not sent again."""
    class_.join(page)
    fold = page.locator("#task-rounding")
    fold.locator("summary").click()
    step = fold.locator(".exercise .blank input").first
    step.fill("1")
    with page.expect_response("**/answers"):
        fold.get_by_role("button", name="Check").click()
    until(page, lambda: class_.count(Answer) == 1)
    task, seed = (
        fold.locator("[data-task]").get_attribute("data-task"),
        fold.locator("[name=seed]").input_value(),
    )
    page.goto(f"/lessons/quantization/tasks/{task}?stage=fresh&seed={seed}")
    page.locator(".class-bar").wait_for()
    page.locator(".exercise .blank input").first.fill("2")
    with page.expect_response("**/answers"):
        page.get_by_role("button", name="Check").click()
    until(page, lambda: class_.count(Answer) == 2)
    page.reload()
    page.locator(".class-bar").wait_for()
    page.wait_for_timeout(500)
    attempts = class_.do(
        lambda session, _: session.execute(
            select(Answer.value, Answer.attempt, Answer.variant)
            .where(Answer.name == task)
            .order_by(Answer.id)
        ).all()
    )
    assert [tuple(line) for line in attempts][-2:] == [("1", 1, int(seed)), ("2", 2, int(seed))]


def test_what_the_class_was_asked_the_lesson_does_not_ask_again(class_: Class, page: Page) -> None:
    class_.join(page)
    class_.ask()
    page.locator(CARD).wait_for()
    send(page, "End")
    expect(page.locator(CARD)).to_contain_text("Your guess, 20×, is in.")
    class_.act(Action.SKIP)
    page.locator("#ask-rtn .verdict").wait_for()
    expect(page.locator("#ask-rtn .verdict")).to_contain_text("You said 20×")


def test_a_figure_that_is_shown_comes_to_who_follows(class_: Class, page: Page) -> None:
    class_.join(page)

    def show(session: Session, classroom: Classroom) -> None:
        figures = [item for item in operations.running_order(session, classroom) if item.kind == "figure"]
        operations.show(session, classroom, classroom.version, figures[-1].id)

    class_.do(show)
    expect(page.locator(".class-bar")).to_contain_text("On the screen:")
    expect(page.locator("#live")).to_contain_text("On the screen:")
    until(page, lambda: page.evaluate("scrollY") > 500)
    page.evaluate("scrollTo(0, 0)")
    page.locator("#class-following").click()
    class_.do(lambda session, found: operations.call_all(session, found, found.version, "gguf"))
    expect(page.locator(".class-bar")).to_contain_text("All are called to 05 GGUF.")
    page.wait_for_timeout(1500)
    assert page.evaluate("scrollY") == 0
    page.get_by_role("link", name="05 GGUF").last.click()
    until(page, lambda: page.evaluate("scrollY") > 500)


def test_who_has_to_wait_is_let_in(class_: Class, page: Page, watch: Watch) -> None:
    watch.expect("429")
    page.goto(path("join class", class_.code))
    tokens = range(400)
    any(page.request.post(path("join class", class_.code), form={"own": "x"}).status == 429 for _ in tokens)
    page.get_by_role("button", name="Join").click()
    page.wait_for_url("**/lessons/quantization")
    page.locator(".class-bar").wait_for()


# --- pages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["/lessons/quantization/figures/rtn", "/lessons/quantization/workshop/gptq"]
)
def test_every_page_of_the_lesson_has_the_bar(class_: Class, page: Page, address: str) -> None:
    class_.enter(page, address)
    page.emulate_media(media="print")
    expect(page.locator(".class-bar")).to_be_hidden()
    page.emulate_media(media="screen")
    for bare in ("embed", "present"):
        page.goto(f"/lessons/quantization/figures/rtn?{bare}=1")
        page.wait_for_load_state("networkidle")
        assert page.locator("#class").count() == 0, bare


def test_the_bar_covers_no_control_of_a_figure(class_: Class, phone: Page) -> None:
    class_.join(phone)
    phone.locator("#fig-hero").scroll_into_view_if_needed()
    box, bar = (phone.locator(part).bounding_box() for part in ("#fig-hero-step", ".class-bar"))
    assert box
    assert bar
    assert box["y"] + box["height"] <= bar["y"] + 1
    phone.evaluate("scrollTo(0, document.body.scrollHeight)")
    phone.wait_for_timeout(300)
    foot = phone.locator("footer.colophon a").last.bounding_box()
    assert foot
    assert foot["y"] + foot["height"] <= phone.locator(".class-bar").bounding_box()["y"]  # type: ignore[index]


def test_two_classes_in_one_browser(class_: Class, page: Page) -> None:
    class_.enter(page)
    other = Class(
        class_.database,
        class_.do(
            lambda s, found: operations.create(s, "Other", found.ends_on, lesson="quantization")
        ).classroom.code,
    )
    other.enter(page)
    expect(page.locator("#class")).to_have_attribute("data-code", other.code)
    assert len({cookie["value"] for cookie in page.context.cookies()}) == 2
    page.goto(path("class", class_.code))
    page.goto(f"{LESSON}/figures/rtn")
    expect(page.locator("#class")).to_have_attribute("data-code", class_.code)
    page.goto(path("join class", class_.code))  # who is in goes on as who they are
    page.wait_for_url(f"**{path('class', class_.code)}")


def test_when_the_class_has_ended_or_is_deleted_the_bar_says_so_and_goes(
    class_: Class, page: Page, watch: Watch
) -> None:
    watch.expect(r"404")
    class_.enter(page)
    class_.do(lambda session, found: operations.end(session, found, found.version))
    expect(page.locator(".class-bar")).to_contain_text("The class has ended. The lesson stays open.")
    class_.do(lambda session, found: operations.reopen_class(session, found, found.version))
    page.locator("#class-following").wait_for()
    class_.do(operations.delete_class)
    page.reload()
    expect(page.locator(".class-bar")).to_contain_text("This class has been deleted.")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#class")).to_have_count(0)
    page.reload()
    page.wait_for_load_state("networkidle")
    assert page.locator("#class").count() == 0


def test_another_device_goes_on_by_its_link(class_: Class, page: Page, new_page: NewPage) -> None:
    class_.enter(page)
    name = page.locator(".class-who").inner_text().strip()
    page.goto(path("class resume", class_.code))
    secret = page.locator(".class-secret").inner_text().strip()
    phone = new_page("phone")
    asked: list[str] = []
    phone.on("request", lambda request: asked.append(request.url))
    phone.goto(f"{path('class resume', class_.code)}#{secret}")
    phone.wait_for_url("**/lessons/quantization")
    expect(phone.locator(".class-who")).to_have_text(name)
    assert not [url for url in asked if secret in url.partition("#")[0]]


def test_a_link_to_the_page_of_who_has_left_makes_nobody_leave(class_: Class, page: Page) -> None:
    class_.enter(page)
    kept = page.evaluate("localStorage.getItem('class')")
    page.goto(f"{path('join class', class_.code)}?left=deleted")
    page.locator("[data-left]").wait_for()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("localStorage.getItem('class')") == kept


def test_leave_and_delete(class_: Class, page: Page) -> None:
    class_.enter(page)
    page.locator("#class-menu").click()
    page.get_by_role("link", name="Leave and delete what is mine").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your name and your answers are deleted.")
    assert page.context.cookies() == []
    page.get_by_role("link", name="Read the lesson").click()
    page.wait_for_load_state("networkidle")
    assert page.locator("#class").count() == 0


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_pages_of_a_student_are_accessible(
    class_: Class, new_page: NewPage, axe: Callable[..., list[str]], device: str
) -> None:
    page = new_page(device, color_scheme="dark")
    class_.enter(page)
    for address in ("class me", "class resume", "class leave", "class"):
        page.goto(path(address, class_.code))
        assert axe(page) == [], address
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
    for address in (path("join"), f"{path('join class', class_.code)}?again=1"):
        page.goto(address)
        assert axe(page) == [], address


def test_without_scripts_a_student_votes_twice_and_sees_the_reveal(class_: Class, no_js: Page) -> None:
    no_js.goto(path("join"))
    no_js.get_by_role("textbox").fill(class_.code.lower())
    no_js.get_by_role("button", name="Next").click()
    no_js.get_by_role("button", name="Join").click()
    expect(no_js.locator("h1")).to_contain_text("You are in,")
    class_.ask()
    no_js.get_by_role("link", name="Look for what is new").click()
    no_js.locator(SLIDER).press("End")
    no_js.get_by_role("button", name="Send my guess").click()
    expect(no_js.locator(CARD)).to_contain_text("Your guess, 20×, is in.")
    class_.act(Action.CLOSE, Action.DISCUSS, Action.ASK_AGAIN)
    no_js.get_by_role("link", name="Look for what is new").click()
    no_js.locator("label", has_text="certain").click()
    no_js.get_by_role("button", name="Keep 20×").click()
    class_.act(Action.CLOSE, Action.REVEAL)
    no_js.get_by_role("link", name="Look for what is new").click()
    expect(no_js.locator(CARD)).to_contain_text("You stayed at 20×.")
    no_js.get_by_role("switch").click()
    expect(no_js.get_by_role("switch")).to_have_attribute("aria-checked", "false")
    no_js.get_by_role("link", name="Menu").click()
    expect(no_js.locator("h1")).to_have_text("You, in this class")
    assert own_vote(class_) == [(1, "20"), (2, "20")]
