"""The privacy statement tells every column that is stored, and nothing that is not."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from app import create_app
from app.classroom.models import Base
from app.settings import Settings
from tests.app.html import Element, parse

STORED = {
    "the class": {
        "id": "its number", "code": "code", "title": "the title", "lesson": "the lesson",
        "created_at": "when it was made", "ends_on": "its last day",
        "retention_months": "for how long it is kept", "ended_at": "when it ended",
        "asks_confidence": "whether it asks how sure you are", "admits": "whether new students may join",
        "version": "counters of its changes",
        "tally": "counters of its changes", "teacher_hash": "a hash of the teacher's secret",
        "item_id": "what is on the screen", "screen": "what is on the screen",
        "screen_seen_at": "when a screen was last connected",
        "called": "the section to which all were called",
    },
    "the running order": {
        "id": "its number", "classroom_id": "the running order", "position": "place", "kind": "its kind",
        "name": "name", "states": "the states of a figure", "twice": "whether there are two votes",
        "phase": "where it stands", "step": "where it stands", "changed_at": "its last change",
        "opened_at": "opening", "closes_at": "closing",
    },
    "you": {
        "id": "a random number", "classroom_id": "you", "name": "your pseudonym",
        "name_key": "the form of it that is compared", "secret_hash": "a hash of your secret",
        "joined_at": "when you joined", "seen_at": "were last connected",
        "following": "whether you follow the teacher", "section": "the section you are in",
    },
    "a vote": {
        "id": "a number", "item_id": "the question", "student_id": "you", "round": "first or second vote",
        "value": "your guess", "outcome": "whether it is right", "confidence": "how sure you are",
        "late": "whether it came late", "seconds": "the seconds it took", "at": "its time",
    },
    "an answer at your own pace": {
        "id": "a number", "student_id": "you", "uid": "a number that your browser made",
        "kind": "question or task", "name": "its name", "step": "step", "variant": "the exercise",
        "value": "your answer", "outcome": "whether it is right", "slip": "the known mistake",
        "attempt": "which attempt it was", "seconds": "the seconds it took", "at": "its time",
    },
    "your progress": {"student_id": "you", "section": "the section", "done": "whether it is done"},
}  # fmt: skip
"""For every table of the database the words of the page that tell of each column."""

TABLES = {
    "the class": "classroom", "the running order": "item", "you": "student", "a vote": "vote",
    "an answer at your own pace": "answer", "your progress": "progress",
}  # fmt: skip


@pytest.fixture(scope="module")
def page(client: TestClient) -> Element:
    return parse(client.get("/privacy").text).one("main")


def test_every_stored_column_is_visible_in_its_row(page: Element) -> None:
    rows: dict[str, str] = {}
    for row in page.all("tr")[1:]:
        of, what, _who = (cell.text for cell in row.all("td"))
        rows[of] = f"{rows.get(of, '')} {of} {what}"
    assert {TABLES[of]: set(columns) for of, columns in STORED.items()} == {
        name: set(table.columns.keys()) for name, table in Base.metadata.tables.items()
    }
    assert set(rows) == set(STORED)
    missing = [
        (of, column) for of, columns in STORED.items() for column, words in columns.items()
        if words.replace("'", "’") not in rows[of].replace("'", "’")
    ]  # fmt: skip
    assert missing == []


def test_nothing_that_identifies_a_person_is_stored() -> None:
    columns = {column.name for table in Base.metadata.tables.values() for column in table.columns}
    assert not {name for name in columns if any(word in name for word in ("mail", "address", "agent", "ip_"))}


@pytest.mark.parametrize(("months", "words"), [(12, "12 months after"), (1, "one month after")])
def test_the_page_has_the_time_of_this_host(months: int, words: str) -> None:
    with TestClient(create_app(Settings(retention_months=months))) as client:
        text = parse(client.get("/privacy").text).one("main").text
        assert words in " ".join(text.split())


def test_footers_lead_to_it_where_classes_are_held(client: TestClient, tmp_path: object) -> None:
    paths = ("/", "/lessons/quantization", "/teach", "/accessibility")
    assert not [path for path in paths if 'href="/privacy"' in client.get(path).text.partition("<footer")[2]]
    with TestClient(create_app(Settings(classes="open", data_dir=str(tmp_path)))) as holding:
        assert [p for p in paths if 'href="/privacy"' in holding.get(p).text.partition("<footer")[2]] == [
            *paths
        ]
