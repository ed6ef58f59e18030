"""What is unfolded opens below its row: no summary moves away from under the pointer."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.figures import figure, open_alone

pytestmark = pytest.mark.tidy

ROW = """row => [...row.querySelectorAll(":scope > details > summary, :scope > a")].map(each => {
    const box = each.getBoundingClientRect(), frame = each.closest("figure").getBoundingClientRect();
    return [each.textContent.trim(), box.left - frame.left, box.top - frame.top];
})"""
WIDTHS = [1440, 768, 320]


FIGURES = ["rtn", "fit"]
"""All have the same rows; these two have a panel for the reader's own weights, or for a model of theirs."""


def test_unfolding_moves_no_summary(page: Page, subtests: pytest.Subtests) -> None:
    for name in FIGURES:
        open_alone(page, name)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            for row in (".more", ".under"):
                with subtests.test(f"{name}, {row}, {width} px"):
                    unfold_each(page, name, row)


def unfold_each(page: Page, name: str, row: str) -> None:
    shown = figure(page, name)
    if row == ".more":
        shown.locator(".details").evaluate("details => { details.open = true }")
    folds = shown.locator(f"{row} > details")
    folds.evaluate_all("all => all.forEach(each => { if (!each.matches('.details')) each.open = false })")
    before: list[Any] = shown.locator(row).evaluate(ROW)
    assert len(before) >= 2
    assert max(top for *_, top in before) - min(top for *_, top in before) < 30, "they stand in one row"
    for fold in folds.all():
        summary = fold.locator("> summary")
        summary.click()
        expect(fold).to_have_attribute("open", "")
        for (text, *place), (_, *was) in zip(shown.locator(row).evaluate(ROW), before, strict=True):
            assert place == pytest.approx(was, abs=1), f"{text}, {summary.inner_text()} open"
        opened = fold.locator("> :not(summary)").first.evaluate("e => e.getBoundingClientRect().top")
        assert opened > summary.evaluate("e => e.getBoundingClientRect().bottom") - 1
    for fold in folds.all():
        fold.locator("> summary").click()
    assert shown.evaluate("figure => figure.scrollWidth - figure.clientWidth") <= 0


def test_details_open_under_their_row_and_move_nothing_above_it(
    page: Page, subtests: pytest.Subtests
) -> None:
    for name in FIGURES:
        open_alone(page, name)
        shown = figure(page, name)
        shown.locator("details[open]").evaluate_all("all => all.forEach(each => { each.open = false })")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            with subtests.test(f"{name}, {width} px"):
                summary = shown.locator(".details > summary")
                row: list[Any] = shown.locator(".under").evaluate(ROW)
                at = summary.bounding_box()
                assert at
                assert abs(at["height"] - 44) <= 1
                summary.click()
                expect(shown.locator(".more-controls")).to_be_visible()
                for (text, *place), (_, *was) in zip(shown.locator(".under").evaluate(ROW), row, strict=True):
                    assert place == pytest.approx(was, abs=1), text
                content = shown.locator(".more-controls").bounding_box()
                assert content
                assert content["y"] >= (summary.bounding_box() or at)["y"] + 43
                summary.click()
                expect(shown.locator(".more-controls")).to_be_hidden()
