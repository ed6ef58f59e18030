"""Long computations: one at a time, told through files, stopped when asked to, gone when their process is."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lessons.kit.job import Desk, State, Step
from lessons.quantization import bigger
from lessons.specimen.jobs import COUNT

ROOT = Path(__file__).parents[2]


def two_steps() -> Iterator[Step]:
    yield Step(0.5, {"n": 1})
    yield Step(1.0, {"n": 2})


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "desk")


def test_nothing_is_known_before_it_is_begun(desk: Desk) -> None:
    assert desk.state("job") == State()
    assert desk.at_work() is None


def test_what_was_found_is_known_to_every_desk_of_the_folder(desk: Desk) -> None:
    assert desk.compute("job", two_steps())
    known = Desk(desk.folder).state("job")
    assert known.finished
    assert not known.running
    assert known.rows == ({"n": 1}, {"n": 2})


def test_while_one_computes_the_others_see_how_far_it_is_and_may_not(desk: Desk) -> None:
    seen: list[object] = []

    def watched() -> Iterator[Step]:
        yield Step(0.25, {"n": 1})
        other = Desk(desk.folder)
        seen.extend([other.at_work(), other.state("job"), other.compute("other", two_steps())])
        yield Step(1.0)

    assert desk.compute("job", watched())
    assert seen[0] == "job"
    assert isinstance(seen[1], State)
    assert (seen[1].running, seen[1].done, seen[1].rows) == (True, 0.25, ({"n": 1},))
    assert seen[2] is False


def test_it_stops_before_its_next_step_and_keeps_what_it_found(desk: Desk) -> None:
    def asked_to_stop() -> Iterator[Step]:
        yield Step(0.25, {"n": 1})
        Desk(desk.folder).stop()
        yield Step(0.5, {"n": 2})
        raise AssertionError("went on")

    assert not desk.compute("job", asked_to_stop())
    assert desk.state("job").rows == ({"n": 1}, {"n": 2})
    assert not desk.state("job").finished
    assert desk.compute("job", two_steps())  # and begins anew when asked again


def test_one_whose_process_died_does_not_look_like_work(desk: Desk) -> None:
    arguments = ["-m", "lessons.kit.job", str(desk.folder), "specimen", "squares", "squares"]
    with subprocess.Popen([sys.executable, *arguments], cwd=ROOT) as process:
        end = time.monotonic() + 20
        while desk.at_work() is None and time.monotonic() < end:
            time.sleep(0.01)
        assert desk.at_work() == "squares"
        process.kill()
    assert desk.at_work() is None
    assert not desk.state("squares").running
    assert len(desk.state("squares").rows) < COUNT


@pytest.mark.parametrize("key", ["", "../up", "a/b", "A", "x" * 65])
def test_a_key_is_no_path(desk: Desk, key: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        desk.state(key)


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 12345)
    with pytest.raises(PermissionError, match="another user"):
        Desk(tmp_path)


def test_the_bigger_model_is_said_to_be_missing_where_its_package_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bigger, "PACKAGE", "no_such_package")
    assert bigger.model_file() is None
    with pytest.raises(FileNotFoundError, match="not installed"):
        next(bigger.steps())


@pytest.mark.skipif(bigger.model_file() is None, reason="SMOLLM2 IS NOT MEASURED: `make smollm2` installs it")
def test_the_bigger_model_reads_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is shipped: 16.3 was measured on all of the text; a model that knows nothing has 49 152."""
    monkeypatch.setattr(bigger, "TOKENS", 512)
    row = next(step.row for step in bigger.steps() if step.row)
    assert row["name"] == "Q4_1"
    assert 8 < row["perplexity"] < 32


def test_its_table_compares_with_the_first_row() -> None:
    found = {"bits_per_weight": 5.0, "perplexity": 10.0, "standard_error": 0.5, "seconds": 3.0}
    rows = [
        {"method": "shipped", "name": "Q4_1"} | found,
        {"method": "rtn", "name": "2"} | found | {"perplexity": 25.0},
    ]
    table = bigger.table(rows, lambda key, **values: f"{key} {values['name']}")
    assert [column.text(value) for column, value in zip(table.columns, table.rows[1], strict=True)] == [
        "rtn 2", "5.00", "25.00", "0.50", "2.50", "3",
    ]  # fmt: skip
