"""A class for browsers: its teacher presses here, without a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from playwright.sync_api import Page
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.addresses import path
from app.classroom import operations
from app.classroom.database import Database, url_of
from app.classroom.flow import Action
from app.classroom.models import Classroom, Item, Student
from tests.browser.conftest import serving

T = TypeVar("T")


@dataclass
class Class:
    """A class in the database of the server under test."""

    database: Database
    code: str

    def do(self, work: Callable[[Session, Classroom], T]) -> T:
        with self.database.write() as session:
            return work(session, operations.find_class(session, self.code))

    def act(self, *actions: Action, name: str | None = None) -> None:
        """Press buttons of the desk; `name` is of the question to ask."""

        def press(action: Action, session: Session, classroom: Classroom) -> None:
            asked = select(Item.id).where(Item.classroom_id == classroom.id, Item.name == name)
            item = session.scalar(asked.where(Item.kind == "question")) if name else None
            operations.act(session, classroom, action, classroom.version, item)

        for action in actions:
            self.do(partial(press, action))

    def ask(self, name: str = "rtn") -> None:
        self.act(Action.ASK, name=name)

    def count(self, table: type) -> int:
        def found(session: Session, classroom: Classroom) -> int:
            students = select(Student.id).where(Student.classroom_id == classroom.id)
            return len(session.scalars(select(table).where(table.student_id.in_(students))).all())  # type: ignore[attr-defined]

        return self.do(found)

    def join(self, page: Page) -> None:
        """Let a browser in, through the pages; it stands in the lesson then, with its bar."""
        page.goto(path("join class", self.code))
        page.get_by_role("button", name="Join").click()
        page.wait_for_url("**/lessons/quantization")
        page.locator("#class .class-bar").wait_for()

    def enter(self, page: Page, address: str = "/lessons/quantization/figures/rtn") -> None:
        """Let a browser in without the form, on a page that loads faster than the lesson."""
        form: dict[str, str | float | bool] = {"own": "", "offered": ""}
        assert page.request.post(path("join class", self.code), form=form).ok
        page.goto(path("class", self.code))
        page.wait_for_function("code => localStorage.getItem('class')?.includes(code)", arg=self.code)
        page.goto(address)
        page.locator("#class .class-bar").wait_for()


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the server's classes."""
    return tmp_path_factory.mktemp("classes")


@pytest.fixture(scope="session")
def server(data_dir: Path) -> Iterator[str]:
    """A server that holds classes, in place of the one of the other tests."""
    with serving(data_dir, {"ACADEMY_CLASSES": "open", "ACADEMY_DATA_DIR": str(data_dir)}) as url:
        yield url


@pytest.fixture
def class_(server: str, data_dir: Path) -> Iterator[Class]:
    database = Database(url_of("", str(data_dir)))
    database.migrated = True  # by the server
    with database.write() as session:
        ends_on = datetime.now(UTC).date() + timedelta(days=30)
        made = operations.create(session, "Monday group", ends_on, lesson="quantization")
    yield Class(database, made.classroom.code)
    database.close()
