"""POSTs from other sites are refused; those from our own pages and from non-browsers are accepted."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import pytest
from starlette.testclient import TestClient

from app import create_app
from app.assets import version
from app.settings import Settings
from tests.each import each

POSTS = [
    "/lessons/quantization/figures/rtn",
    "/lessons/quantization/figures/rtn.csv",
    "/lessons/quantization/figures/rtn.svg",
    f"/fragments/{version()}/quantization/rtn",
    "/lessons/specimen/jobs/squares",
    "/lessons/specimen/jobs/squares/stop",
    "/lessons/specimen/jobs/squares/steps",
    "/nowhere",
]
FOREIGN: list[dict[str, str]] = [
    {"Origin": "https://elsewhere.example"},
    {"Origin": "null"},
    {"Origin": "http://lesson.example:8080"},
    {"Origin": "http://lesson.example.elsewhere.example"},
    {"Origin": "http://user@lesson.example"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://other.lesson.example"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://lesson.example"},
]
OWN: list[dict[str, str]] = [
    {},
    {"Origin": "http://lesson.example"},
    {"Origin": "https://lesson.example"},  # a proxy terminates HTTPS
    {"Origin": "https://Lesson.example:443"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://public.example"},  # a proxy changes the host
    {"Sec-Fetch-Site": "none"},
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(jobs_folder=str(tmp_path_factory.mktemp("jobs")), root_path="/academy")
    with TestClient(create_app(settings), base_url="http://lesson.example") as client:
        yield client


@each("headers, path", itertools.product(FOREIGN, POSTS))
def test_posts_of_other_sites_are_refused(client: TestClient, path: str, headers: Mapping[str, str]) -> None:
    answer = client.post(f"/academy{path}", data={"own": "1 2 3"}, headers=headers)
    assert answer.status_code == 403
    assert "on its own page" in answer.text
    assert answer.headers["content-security-policy"]


@pytest.mark.parametrize("headers", OWN, ids=str)
def test_posts_of_own_pages_and_non_browsers_are_accepted(
    client: TestClient, headers: Mapping[str, str]
) -> None:
    for path in POSTS:
        answer = client.post(f"/academy{path}", data={"own": "1 2 3"}, headers=headers)
        assert "on its own page" not in answer.text, path


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_get_is_allowed_from_any_site(client: TestClient, headers: Mapping[str, str]) -> None:
    assert client.get("/academy/lessons/quantization/figures/rtn", headers=headers).status_code == 200
