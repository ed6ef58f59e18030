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
from lessons.kit.job import Desk, Nothing, Row, State, Step
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


def test_one_whose_process_died_does_not_look_like_work(desk: Desk) -> None:
    arguments = ["-m", "lessons.kit.job", str(desk.folder), "specimen", "squares"]
    key = JOBS["squares"].key(Nothing())
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
