"""Long computations: one at a time, told through files, stopped when asked to, gone when their process is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lessons.kit import job
from lessons.kit.job import Desk, Nothing, Row, State, Step, Ticket
from lessons.specimen.jobs import COUNT, JOBS

ROOT = Path(__file__).parents[2]


def two_steps(known: Sequence[Row] = ()) -> Iterator[Step]:
    for n in range(len(known) + 1, 3):
        yield Step(n / 2, {"n": n})


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "desk")


def test_nothing_is_known_before_it_is_begun(desk: Desk) -> None:
    assert desk.state("job") == State()
    assert desk.at_work() is None


def test_what_was_found_is_known_to_every_desk_of_the_folder(desk: Desk) -> None:
    assert desk.compute("job", two_steps)
    known = Desk(desk.folder).state("job")
    assert known.finished
    assert not known.running
    assert known.rows == ({"n": 1}, {"n": 2})


def test_while_one_computes_the_others_see_how_far_it_is_and_may_not(desk: Desk) -> None:
    seen: list[object] = []

    def watched(_: Sequence[Row]) -> Iterator[Step]:
        yield Step(0.25, {"n": 1})
        other = Desk(desk.folder)
        seen.extend([other.at_work(), other.state("job"), other.compute("other", two_steps)])
        yield Step(1.0)

    assert desk.compute("job", watched)
    assert seen[0] == "job"
    assert isinstance(seen[1], State)
    assert (seen[1].running, seen[1].done, seen[1].rows) == (True, 0.25, ({"n": 1},))
    assert seen[2] is False


def test_it_stops_before_its_next_step_and_keeps_what_it_found(desk: Desk) -> None:
    def asked_to_stop(_: Sequence[Row]) -> Iterator[Step]:
        yield Step(0.25, {"n": 1})
        Desk(desk.folder).stop()
        yield Step(0.5)
        raise AssertionError("went on")

    assert not desk.compute("job", asked_to_stop)
    assert desk.state("job").rows == ({"n": 1},)
    assert not desk.state("job").finished
    assert not list(desk.folder.glob("*.stop"))


def test_it_goes_on_from_what_it_found_before_it_was_stopped(desk: Desk) -> None:
    given: list[Sequence[Row]] = []

    def stopped(_: Sequence[Row]) -> Iterator[Step]:
        yield Step(0.5, {"n": 1})
        Desk(desk.folder).stop()
        yield Step(0.6)

    def watched(known: Sequence[Row]) -> Iterator[Step]:
        given.append(known)
        yield from two_steps(known)

    desk.compute("job", stopped)
    before = desk.state("job").seconds
    assert desk.compute("job", watched)
    assert given == [({"n": 1},)]
    assert desk.state("job").rows == ({"n": 1}, {"n": 2})
    assert desk.state("job").seconds >= before


def test_the_oldest_results_give_way(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "MOST_KEPT", 3)
    for number in range(5):
        assert desk.compute(f"job-{number}", two_steps)
        os.utime(desk.folder / f"job-{number}.json", (number, number))
    assert sorted(path.name for path in desk.folder.glob("*.json")) == [
        "job-2.json", "job-3.json", "job-4.json",
    ]  # fmt: skip


def test_what_a_killed_process_was_writing_is_removed_the_next_day(desk: Desk) -> None:
    for name, age in (("old.part", job.STALE + 60), ("new.part", 0.0)):
        (desk.folder / name).touch()
        os.utime(desk.folder / name, 2 * (time.time() - age,))
    assert desk.compute("job", two_steps)
    assert [path.name for path in desk.folder.glob("*.part")] == ["new.part"]


def test_one_whose_process_died_does_not_look_like_work(desk: Desk) -> None:
    arguments = ["-m", "lessons.kit.job", str(desk.folder)]
    key = JOBS["squares"].key(Nothing())
    desk.ask(key, "specimen", "squares", "", "token")
    with subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdin=subprocess.DEVNULL) as process:
        end = time.monotonic() + 20
        while desk.at_work() is None and time.monotonic() < end:
            time.sleep(0.01)
        assert desk.at_work() == key
        process.kill()
    assert desk.at_work() is None
    assert not desk.state(key).running
    assert len(desk.state(key).rows) < COUNT


@pytest.mark.parametrize("key", ["", "../up", "a/b", "A", "x" * 65])
def test_a_key_is_no_path(desk: Desk, key: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        desk.state(key)


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 12345)
    with pytest.raises(PermissionError, match="another user"):
        Desk(tmp_path)


def test_a_link_of_somebody_else_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "link").symlink_to("own")
    Desk(tmp_path / "link")  # a link of this user's, or of the administrator's
    real = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        owner = 12345 if path.name == "link" else real(path).st_uid
        return os.stat_result([*real(path)[:4], owner, *real(path)[5:]])

    monkeypatch.setattr(Path, "lstat", lstat)
    with pytest.raises(PermissionError, match="another user"):
        Desk(tmp_path / "link")
    Desk(tmp_path / "own")


def test_what_was_asked_for_is_computed_in_its_order(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def noted(desk: Desk, ticket: Ticket) -> bool:
        order.append(ticket.key)
        return True

    for key in ("b", "a", "c"):
        assert desk.ask(key, "specimen", "squares", "", "token")
    assert not desk.ask("a", "specimen", "squares", "", "token")
    monkeypatch.setattr(job, "compute", noted)
    desk.work()
    assert order == ["b", "a", "c"]
    assert desk.tickets() == []


def test_one_that_fails_is_given_up_and_the_next_one_computed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(desk: Desk, ticket: Ticket) -> bool:
        if ticket.key == "bad":
            raise OSError("no space left on device")
        return True

    desk.ask("bad", "specimen", "squares", "", "token")
    desk.ask("good", "specimen", "squares", "", "token")
    monkeypatch.setattr(job, "compute", failing)
    desk.work()
    assert desk.tickets() == []
    assert (desk.failure("bad"), desk.failure("good")) == ("failed", "")


def test_one_whose_process_is_killed_again_and_again_is_given_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(desk: Desk, ticket: Ticket) -> bool:
        raise Killed

    desk.ask("job", "specimen", "squares", "", "token")
    monkeypatch.setattr(job, "compute", killed)
    for _ in range(job.MOST_TRIES):
        with pytest.raises(Killed):
            desk.work()
    desk.work()
    assert desk.failure("job") == "killed"
    assert desk.tickets() == []
    assert desk.compute("job", two_steps)
    assert desk.failure("job") == ""


def test_one_that_gets_on_may_be_interrupted_as_often_as_need_be(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def a_row_further(desk: Desk, ticket: Ticket) -> bool:
        rows = (*desk.state(ticket.key).rows, {"n": 1})
        desk._write(ticket.key, State(True, 0.5, rows))
        raise Killed

    desk.ask("job", "specimen", "squares", "", "token")
    monkeypatch.setattr(job, "compute", a_row_further)
    for _ in range(3 * job.MOST_TRIES):
        with pytest.raises(Killed):
            desk.work()
    assert desk.failure("job") == ""


def test_what_was_asked_for_long_ago_is_forgotten(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.ask("job", "specimen", "squares", "", "token")
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + job.STALE + 1)
    assert desk.tickets() == []


def test_a_line_that_is_full_takes_no_more(desk: Desk) -> None:
    for number in range(job.MOST_WAITING):
        desk.ask(f"job-{number}", "specimen", "squares", "", "token", f"client {number // job.MOST_OF_ONE}")
    with pytest.raises(job.FullError):
        desk.ask("one-more", "specimen", "squares", "", "token", "another client")


def test_one_client_cannot_fill_the_line(desk: Desk) -> None:
    for number in range(job.MOST_OF_ONE):
        desk.ask(f"job-{number}", "specimen", "squares", "", f"token {number}", "192.0.2.1")
    with pytest.raises(job.FullOfOneError):
        desk.ask("one-more", "specimen", "squares", "", "another token", "192.0.2.1")
    assert not desk.ask("job-0", "specimen", "squares", "", "another token", "192.0.2.1")
    assert desk.ask("one-more", "specimen", "squares", "", "another token", "192.0.2.2")
    desk.withdraw("job-0", "token 0")
    assert desk.ask("job-0", "specimen", "squares", "", "another token", "192.0.2.1")
    assert "192.0.2." not in "".join(path.read_text() for path in desk.folder.iterdir())


def test_a_token_is_not_written_down(desk: Desk) -> None:
    desk.ask("job", "specimen", "squares", "", "the token")
    assert "the token" not in "".join(path.read_text() for path in desk.folder.iterdir())
    assert not desk.withdraw("job", "another token")
    assert desk.withdraw("job", "the token")
    assert desk.tickets() == []
