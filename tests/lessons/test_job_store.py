"""Jobs: one at a time, reported through files, stopped on request, not running without their process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lessons.kit import job_store
from lessons.kit.job import JobState, Nothing, Progress, Row
from lessons.kit.job_store import JobStore, Ticket
from lessons.specimen.jobs import COUNT, JOBS

ROOT = Path(__file__).parents[2]


def two_steps(known: Sequence[Row] = ()) -> Iterator[Progress]:
    for n in range(len(known) + 1, 3):
        yield Progress(n / 2, {"n": n})


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "store")


def test_unknown_job_has_no_result(store: JobStore) -> None:
    assert store.state("job") == JobState()
    assert store.at_work() is None


def test_results_are_visible_to_every_store_of_the_folder(store: JobStore) -> None:
    assert store.compute("job", two_steps)
    known = JobStore(store.folder).state("job")
    assert known.finished
    assert not known.running
    assert known.rows == ({"n": 1}, {"n": 2})


def test_running_job_shows_progress_and_excludes_others(store: JobStore) -> None:
    seen: list[object] = []

    def watched(_: Sequence[Row]) -> Iterator[Progress]:
        yield Progress(0.25, {"n": 1})
        other = JobStore(store.folder)
        seen.extend([other.at_work(), other.state("job"), other.compute("other", two_steps)])
        yield Progress(1.0)

    assert store.compute("job", watched)
    assert seen[0] == "job"
    assert isinstance(seen[1], JobState)
    assert (seen[1].running, seen[1].done, seen[1].rows) == (True, 0.25, ({"n": 1},))
    assert seen[2] is False


def test_stopped_job_keeps_its_rows(store: JobStore) -> None:
    def asked_to_stop(_: Sequence[Row]) -> Iterator[Progress]:
        yield Progress(0.25, {"n": 1})
        JobStore(store.folder).stop()
        yield Progress(0.5)
        raise AssertionError("went on")

    assert not store.compute("job", asked_to_stop)
    assert store.state("job").rows == ({"n": 1},)
    assert not store.state("job").finished
    assert not list(store.folder.glob("*.stop"))


def test_restarted_job_continues_from_its_rows(store: JobStore) -> None:
    given: list[Sequence[Row]] = []

    def stopped(_: Sequence[Row]) -> Iterator[Progress]:
        yield Progress(0.5, {"n": 1})
        JobStore(store.folder).stop()
        yield Progress(0.6)

    def watched(known: Sequence[Row]) -> Iterator[Progress]:
        given.append(known)
        yield from two_steps(known)

    store.compute("job", stopped)
    before = store.state("job").seconds
    assert store.compute("job", watched)
    assert given == [({"n": 1},)]
    assert store.state("job").rows == ({"n": 1}, {"n": 2})
    assert store.state("job").seconds >= before


def test_oldest_results_are_removed(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_store, "MOST_KEPT", 3)
    for number in range(5):
        assert store.compute(f"job-{number}", two_steps)
        os.utime(store.folder / f"job-{number}.json", (number, number))
    assert sorted(path.name for path in store.folder.glob("*.json")) == [
        "job-2.json", "job-3.json", "job-4.json",
    ]  # fmt: skip


def test_temporary_files_of_a_killed_process_are_removed_after_a_day(store: JobStore) -> None:
    for name, age in (("old.part", job_store.STALE + 60), ("new.part", 0.0)):
        (store.folder / name).touch()
        os.utime(store.folder / name, 2 * (time.time() - age,))
    assert store.compute("job", two_steps)
    assert [path.name for path in store.folder.glob("*.part")] == ["new.part"]


def test_job_of_a_dead_process_is_not_running(store: JobStore) -> None:
    arguments = ["-m", "lessons.kit.job_store", str(store.folder)]
    key = JOBS["squares"].key(Nothing())
    store.ask(key, "specimen", "squares", "", "token")
    with subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdin=subprocess.DEVNULL) as process:
        end = time.monotonic() + 20
        while store.at_work() is None and time.monotonic() < end:
            time.sleep(0.01)
        assert store.at_work() == key
        process.kill()
    assert store.at_work() is None
    assert not store.state(key).running
    assert len(store.state(key).rows) < COUNT


@pytest.mark.parametrize("key", ["", "../up", "a/b", "A", "x" * 65])
def test_keys_are_not_paths(store: JobStore, key: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        store.state(key)


def test_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 12345)
    with pytest.raises(PermissionError, match="another user"):
        JobStore(tmp_path)


def test_link_of_another_user_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "link").symlink_to("own")
    JobStore(tmp_path / "link")  # a link of this user's, or of the administrator's
    real = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        owner = 12345 if path.name == "link" else real(path).st_uid
        return os.stat_result([*real(path)[:4], owner, *real(path)[5:]])

    monkeypatch.setattr(Path, "lstat", lstat)
    with pytest.raises(PermissionError, match="another user"):
        JobStore(tmp_path / "link")
    JobStore(tmp_path / "own")


def test_jobs_are_computed_in_their_order(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def noted(store: JobStore, ticket: Ticket) -> bool:
        order.append(ticket.key)
        return True

    for key in ("b", "a", "c"):
        assert store.ask(key, "specimen", "squares", "", "token")
    assert not store.ask("a", "specimen", "squares", "", "token")
    monkeypatch.setattr(job_store, "compute", noted)
    store.work()
    assert order == ["b", "a", "c"]
    assert store.tickets() == []


def test_failed_job_is_dropped_and_the_next_one_runs(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(store: JobStore, ticket: Ticket) -> bool:
        if ticket.key == "bad":
            raise OSError("no space left on device")
        return True

    store.ask("bad", "specimen", "squares", "", "token")
    store.ask("good", "specimen", "squares", "", "token")
    monkeypatch.setattr(job_store, "compute", failing)
    store.work()
    assert store.tickets() == []
    assert (store.failure("bad"), store.failure("good")) == ("failed", "")


def test_repeatedly_killed_job_is_dropped(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(store: JobStore, ticket: Ticket) -> bool:
        raise Killed

    store.ask("job", "specimen", "squares", "", "token")
    monkeypatch.setattr(job_store, "compute", killed)
    for _ in range(job_store.MOST_TRIES):
        with pytest.raises(Killed):
            store.work()
    store.work()
    assert store.failure("job") == "killed"
    assert store.tickets() == []
    assert store.compute("job", two_steps)
    assert store.failure("job") == ""


def test_job_with_progress_may_be_interrupted_any_number_of_times(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def a_row_further(store: JobStore, ticket: Ticket) -> bool:
        rows = (*store.state(ticket.key).rows, {"n": 1})
        store._write(ticket.key, JobState(True, 0.5, rows))
        raise Killed

    store.ask("job", "specimen", "squares", "", "token")
    monkeypatch.setattr(job_store, "compute", a_row_further)
    for _ in range(3 * job_store.MOST_TRIES):
        with pytest.raises(Killed):
            store.work()
    assert store.failure("job") == ""


def test_old_requests_expire(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.ask("job", "specimen", "squares", "", "token")
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + job_store.STALE + 1)
    assert store.tickets() == []


def test_full_queue_refuses_jobs(store: JobStore) -> None:
    for number in range(job_store.MOST_WAITING):
        store.ask(
            f"job-{number}", "specimen", "squares", "", "token", f"client {number // job_store.MOST_OF_ONE}"
        )
    with pytest.raises(job_store.FullError):
        store.ask("one-more", "specimen", "squares", "", "token", "another client")


def test_one_client_cannot_fill_the_queue(store: JobStore) -> None:
    for number in range(job_store.MOST_OF_ONE):
        store.ask(f"job-{number}", "specimen", "squares", "", f"token {number}", "192.0.2.1")
    with pytest.raises(job_store.FullOfOneError):
        store.ask("one-more", "specimen", "squares", "", "another token", "192.0.2.1")
    assert not store.ask("job-0", "specimen", "squares", "", "another token", "192.0.2.1")
    assert store.ask("one-more", "specimen", "squares", "", "another token", "192.0.2.2")
    store.withdraw("job-0", "token 0")
    assert store.ask("job-0", "specimen", "squares", "", "another token", "192.0.2.1")
    assert "192.0.2." not in "".join(path.read_text() for path in store.folder.iterdir())


def test_tokens_are_not_stored(store: JobStore) -> None:
    store.ask("job", "specimen", "squares", "", "the token")
    assert "the token" not in "".join(path.read_text() for path in store.folder.iterdir())
    assert not store.withdraw("job", "another token")
    assert store.withdraw("job", "the token")
    assert store.tickets() == []
