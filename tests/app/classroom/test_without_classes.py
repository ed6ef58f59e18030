"""A host without classes: it says so, and makes no database."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app import create_app
from app.addresses import path
from app.settings import Settings

ADDRESSES = [
    path("join"),
    path("join class", "BCDFGH"),
    path("classes"),
    path("class", "BCDFGH"),
    path("class events", "BCDFGH"),
    path("desk", "BCDFGH"),
    path("desk export", "BCDFGH", "votes.csv"),
    path("screen state", "BCDFGH"),
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_of_classes_say_that_there_are_none(client: TestClient, address: str) -> None:
    for answer in (client.get(address), client.post(address)):
        assert answer.status_code == 404
        assert "This host holds no classes." in answer.text
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("classes", ["", "off"])
def test_no_database_is_made(tmp_path: Path, classes: str) -> None:
    folder = tmp_path / "data"
    app = create_app(Settings(classes=classes, data_dir=str(folder)))
    with TestClient(app) as client:
        client.get("/join")
    assert app.state.database is None
    assert not folder.exists()


def test_a_host_with_classes_makes_its_database(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(classes="open", data_dir=str(tmp_path / "data")))) as client:
        assert "This host holds no classes." not in client.get("/join").text
    assert (tmp_path / "data" / "classes.db").stat().st_mode & 0o077 == 0
