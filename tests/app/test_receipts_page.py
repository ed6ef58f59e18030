"""The receipts page shows every case with the current results of the formulas."""

from __future__ import annotations

import re

from starlette.testclient import TestClient

from lessons.quantization.receipts import receipts
from tests.app.html import Element, parse

ADDRESS = "/lessons/quantization/receipts"


def page(client: TestClient) -> Element:
    answer = client.get(ADDRESS)
    assert answer.status_code == 200
    return parse(answer.text)


def test_every_case_is_on_the_page_once(client: TestClient) -> None:
    document = page(client)
    shown = [row.attributes["id"] for row in document.all("tr") if "id" in row.attributes]
    assert sorted(shown) == sorted(receipt.id for receipt in receipts())


def test_tally_counts_the_passing_cases(client: TestClient) -> None:
    document = page(client)
    held = sum(receipt.holds for receipt in receipts())
    assert document.one("output", name="held").text == str(held)
    assert document.one("output", name="covered").text == str(len(receipts()))
    rows = [row.attributes.get("class") for row in document.all("tr") if "id" in row.attributes]
    assert rows.count("holds") == held


def test_prediction_is_beside_the_logged_value(client: TestClient) -> None:
    """One row: the 2144 MiB that Mistral-7B logged at 32K tokens."""
    row = page(client).one("tr", id="cb-mistral-32k")
    assert [cell.text for cell in row.all("td")[:3]] == ["2144.00", "2144.00", "MiB"]
    assert row.all("a")[-1].attributes["href"].startswith("https://github.com/fedora-copr/logdetective")


def test_each_error_mark_lies_within_its_drawing(client: TestClient) -> None:
    marks = page(client).all("circle", class_="error")
    assert len(marks) == sum(receipt.error_pct is not None for receipt in receipts())
    assert all(0 <= float(mark.attributes["cx"].rstrip("%")) <= 100 for mark in marks)


def test_every_referenced_caveat_exists(client: TestClient) -> None:
    document = page(client)
    targets = {item.attributes["id"] for item in document.all("li") if "id" in item.attributes}
    links = set(re.findall(r'href="#([\w-]+-caveat-\d+)"', client.get(ADDRESS).text))
    assert links
    assert links <= targets
