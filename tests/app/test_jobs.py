"""Long computations on the web: begun by a form of our own pages, followed by events, stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import jobs
from app.assets import version
from app.main import create_app
from app.settings import Settings
from lessons.kit.job import Nothing, Step
from lessons.quantization import bigger, bigger_sentence, measuring, sources
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
    assert "Go on squaring" in page
    found = page.count('<th scope="row">')
    assert found < COUNT
    assert "<progress" in client.post(PAGE).text
    assert events(client)[-1] == "event: end\ndata:"
    assert client.get(PAGE).text.count('<th scope="row">') == COUNT


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


@pytest.mark.parametrize("job", ["bigger", "sentence"])
def test_without_the_package_the_page_says_how_to_get_it(
    client: TestClient, monkeypatch: Patch, job: str
) -> None:
    monkeypatch.setattr("lessons.quantization.bigger.PACKAGE", "no_such_package")
    page = client.get(f"/lessons/quantization/jobs/{job}").text
    assert "make smollm2" in page
    assert "<form" not in page


# --- a sentence, and the figures that show what was found --------------------------------------------------

SENTENCE = "/lessons/quantization/jobs/sentence"
FIGURE = "/lessons/quantization/figures/sentence"
ASKED = "sentence=A+wise+king&seed=3"


@pytest.fixture
def stand_in(monkeypatch: Patch) -> None:
    """The lesson's own model in SmolLM2's place: the code that follows is the same."""
    monkeypatch.setattr("lessons.quantization.bigger.model_file", lambda: measuring.WEIGHTS_FILE)


def read(client: TestClient, sentence: str, seed: str, widths: int = 7) -> None:
    """What the process of the job does, here: it would look for the package."""
    job = bigger_sentence.JOB
    asked = job.controls.parse([("sentence", sentence), ("seed", seed)])
    desk = client.app.state.office.desk()  # type: ignore[attr-defined]
    done = desk.compute(job.key(asked), lambda known: islice(job.steps(asked, known), 1 + 2 * widths))
    assert done


@pytest.mark.usefixtures("stand_in")
def test_a_sentence_is_offered_to_be_read_and_shown_when_it_is(client: TestClient) -> None:
    figure = client.get(f"{FIGURE}?{ASKED}&model=smollm2")
    assert figure.status_code == 200
    assert "has not read this sentence on this machine yet" in figure.text
    assert f'href="{SENTENCE}?{ASKED.replace("&", "&amp;")}"' in figure.text
    page = client.get(f"{SENTENCE}?{ASKED}").text
    assert "“A wise king”" in page
    assert f'<form class="job-form" method="post" action="{SENTENCE}?{ASKED.replace("&", "&amp;")}">' in page
    read(client, "A wise king", "3")
    page = client.get(f"{SENTENCE}?{ASKED}").text
    assert page.count('<div class="width"') == 7
    assert f"{FIGURE}?{ASKED.replace('&', '&amp;')}&amp;model=smollm2" in page
    after = client.get(f"{FIGURE}?{ASKED}&model=smollm2")
    assert "rounding twice" in after.text
    assert "has not read" not in after.text


@pytest.mark.usefixtures("stand_in")
def test_the_answer_that_waits_for_a_job_is_kept_nowhere(client: TestClient) -> None:
    """Neither by this worker, nor by a browser for good: the same address says more an hour later."""
    addresses = [
        f"{FIGURE}?{ASKED}&model=smollm2",
        f"/fragments/{version()}/quantization/sentence?{ASKED}&model=smollm2",
        "/lessons/quantization?sentence.sentence=A+wise+king&sentence.seed=3&sentence.model=smollm2",
        f"{FIGURE}.csv?{ASKED}&model=smollm2",
    ]
    before = {address: client.get(address) for address in addresses}
    assert {answer.headers["cache-control"] for answer in before.values()} == {"no-cache"}
    table = f"/fragments/{version()}/quantization/sentence/along/seed?{ASKED}&model=smollm2"
    assert client.get(table).json() == {}
    assert client.get(table).headers["cache-control"] == "no-store"
    read(client, "A wise king", "3")
    changed = {address for address in addresses if client.get(address).text != before[address].text}
    assert changed >= set(addresses[:2])


@pytest.mark.usefixtures("stand_in")
def test_what_a_sentence_may_be_is_said_by_name(client: TestClient) -> None:
    for address in (f"{SENTENCE}?sentence={'x' * 101}", f"{SENTENCE}?seed=12", f"{SENTENCE}?model=smollm2"):
        for answer in (
            client.get(address),
            client.post(address),
            client.get(address.replace("?", "/steps?")),
        ):
            assert answer.status_code == 422, address
    page = client.get(f"{SENTENCE}?sentence=na%C3%AFve&seed=2").text
    assert "at most 100 characters" in page
    assert f'href="{SENTENCE}?seed=2"' in page


@pytest.mark.usefixtures("stand_in")
def test_while_another_is_computed_the_page_says_so_and_begins_nothing(client: TestClient) -> None:
    client.post(PAGE)
    page = client.post(f"{SENTENCE}?{ASKED}").text
    assert "This machine is computing something else" in page
    assert "<button" not in page[page.index('class="job-form"') :].partition("</form>")[0]
    assert client.get(PAGE).text.count("<progress") == 1


def test_what_a_reader_types_is_on_no_command_line(tmp_path: Path, monkeypatch: Patch) -> None:
    """Every user of a machine can read those of all processes."""
    begun: list[str] = []
    begin = asyncio.create_subprocess_exec

    async def noted(*arguments: Any, **options: Any) -> Any:
        begun.extend(map(str, arguments))
        return await begin(*arguments, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    office = jobs.Office(Settings(jobs_folder=str(tmp_path)))
    desk = office.desk()
    assert desk
    asked = bigger_sentence.JOB.controls.parse([("sentence", "secret")])
    monkeypatch.setattr(jobs, "BEGINS_WITHIN", 0.0)

    async def run() -> None:
        await office.begin(desk, "quantization", bigger_sentence.JOB, asked)
        await office.close()

    asyncio.run(run())
    assert "sentence" in begun
    assert not [argument for argument in begun if "secret" in argument]


@pytest.mark.usefixtures("stand_in")
def test_figure_05d_leads_to_the_job_and_back(client: TestClient) -> None:
    address = "/lessons/quantization/figures/measured?model=smollm2"
    assert 'href="/lessons/quantization/jobs/bigger"' in client.get(address).text
    desk = client.app.state.office.desk()  # type: ignore[attr-defined]
    rows = [row | {"name": "Q4_1"} if not place else row for place, row in enumerate(shipped_rows())]
    steps = [Step((place + 1) / len(rows), row) for place, row in enumerate(rows)]
    desk.compute(bigger.JOB.key(Nothing()), lambda _: iter(steps))
    page = client.get(address).text
    assert "as shipped, in Q4_1" in page
    assert "/jobs/bigger" not in page
    assert client.get(address.replace("measured?", "measured.svg?")).status_code == 200
    assert f'href="{address}"' in client.get("/lessons/quantization/jobs/bigger").text


def shipped_rows() -> list[dict[str, Any]]:
    """Rows in the form in which the job leaves them: those of the lesson's own model."""
    return [asdict(row) for row in sources.measured() if row.family in ("original", "gguf")]
