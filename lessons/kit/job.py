"""A computation that takes minutes: one at a time on a host, told row by row through files.

It runs in a process of its own, so that no page waits for it, and any worker of a web server can tell how
far it is: a `Desk` is a folder with what is known. Whoever computes holds a lock there for as long as it
lives, so one that dies leaves nothing behind that looks like work.

    python -m lessons.kit.job FOLDER LESSON JOB < QUERY
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qsl

from lessons.kit.controls import FigureControls
from lessons.kit.view import Table

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

SUPPORTED = fcntl is not None
Row = dict[str, Any]
Words = Callable[..., str]
KEY = re.compile(r"[a-z0-9-]{1,64}")
MOST_KEPT = 256
"""Results in a folder; the oldest give way. Each is of kilobytes."""

NICENESS = 10
"""Whoever waits for a page goes first."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far a computation is, from 0 to 1, and the row that it has just found, if any."""

    done: float
    row: Row | None = None


class Nothing(FigureControls):
    """What a computation is asked that is always the same one."""


def _nothing(_: Any) -> dict[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Job:
    """A computation of a lesson.

    Parameters
    ----------
    name
        In URLs, file names and on the desk.
    runs_here
        Whether what it needs is installed.
    steps
        The computation, from what it is asked and the rows that were found before it was stopped, which it
        does not find again. It may be abandoned after any step.
    table
        The rows found so far as a table; its second argument gives the words of the job by key.
    drawing
        The rows found so far as the template of `figure` draws them, in place of a table.
    figure, state
        The figure that shows what was found, and the query of its state.
    controls, asked
        What can be asked, and what of it decides the result, as its words for the reader.
    depends_on
        A name of the code and the data that the result depends on: with another one it is computed anew.
    """

    name: str
    runs_here: Callable[[], bool]
    steps: Callable[[Any, Sequence[Row]], Iterator[Step]]
    table: Callable[[Sequence[Row], Words], Table] | None = None
    drawing: Callable[[Sequence[Row]], Mapping[str, Any]] | None = None
    figure: str = ""
    state: Callable[[Any], list[tuple[str, str]]] = lambda _: []
    controls: type[FigureControls] = Nothing
    asked: Callable[[Any], Mapping[str, str]] = _nothing
    depends_on: Callable[[], str] = str

    def key(self, asked: FigureControls) -> str:
        """The name of a result: the same for the same question to the same code."""
        told = json.dumps([self.depends_on(), dict(self.asked(asked))])
        return f"{self.name}-{hashlib.sha256(told.encode()).hexdigest()[:24]}"


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a job: all rows so far, and whether somebody is computing."""

    running: bool = False
    done: float = 0.0
    rows: tuple[Row, ...] = field(default_factory=tuple)
    seconds: float = 0.0

    @property
    def finished(self) -> bool:
        return self.done >= 1.0


@dataclass(frozen=True, slots=True)
class Found:
    """What a figure is told of the computation behind one of its states."""

    state: State = field(default_factory=State)
    installed: bool = False


class Desk:
    """A folder of this user in which jobs and what they found are kept.

    Raises
    ------
    OSError
        If the folder cannot be made, or belongs to another user.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
            raise PermissionError(f"{folder} belongs to another user")
        self.folder = folder

    def state(self, key: str) -> State:
        """What is known of a job."""
        try:
            known = json.loads(self._file(key, "json").read_bytes())
        except FileNotFoundError:
            known = {}
        return State(
            self.at_work() == key,
            known.get("done", 0.0),
            tuple(known.get("rows", ())),
            known.get("seconds", 0.0),
        )

    def at_work(self) -> str | None:
        """The key of the job that is being computed."""
        with self._lock() as lock:
            if _locked(lock):
                return None
            lock.seek(0)
            return lock.read() or None

    def stop(self) -> None:
        """Ask whoever computes to abandon it; it does before its next step."""
        key = self.at_work()
        if key:
            self._file(key, "stop").touch()

    def compute(self, key: str, steps: Callable[[Sequence[Row]], Iterator[Step]]) -> bool:
        """Compute a job here. Returns whether it was finished; somebody else's turn is one reason against.

        What was found before it was stopped is kept, and given to `steps` the next time.
        """
        with self._lock() as lock:
            if not _locked(lock):
                return False
            lock.truncate(0)
            lock.write(key)
            lock.flush()
            self._make_room()
            known = self.state(key)
            parent, began, rows = os.getppid(), time.monotonic() - known.seconds, list(known.rows)
            with contextlib.suppress(FileNotFoundError):
                self._file(key, "stop").unlink()
            self._write(key, State(True, min(known.done, 0.999), known.rows, known.seconds))
            for step in steps(known.rows):
                if step.row is not None:
                    rows.append(step.row)
                self._write(key, State(True, step.done, tuple(rows), time.monotonic() - began))
                if step.done < 1 and (self._file(key, "stop").exists() or os.getppid() != parent):
                    self._file(key, "stop").unlink(missing_ok=True)
                    return False  # who asked, or the server that began it, is gone
            return True

    def _make_room(self) -> None:
        """Let the oldest results go where there would be too many."""
        results = sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in results[: max(0, len(results) - MOST_KEPT + 1)]:
            path.unlink()

    def _write(self, key: str, state: State) -> None:
        part = self._file(key, "part")
        part.write_text(json.dumps(asdict(state)))
        part.replace(self._file(key, "json"))

    def _file(self, key: str, kind: str) -> Path:
        if not KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key of a job")
        return self.folder / f"{key}.{kind}"

    @contextlib.contextmanager
    def _lock(self) -> Iterator[IO[str]]:
        with open(self.folder / "lock", "a+") as lock:
            yield lock


def _locked(lock: IO[str]) -> bool:
    """Take the lock until the file is closed, if nobody has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def main(folder: str, lesson: str, name: str) -> int:
    """Compute one job of a lesson, and nothing when somebody else is computing.

    What it is asked comes on the standard input: a command line could be read by all users of the machine.
    """
    os.nice(NICENESS)
    job: Job = importlib.import_module(f"lessons.{lesson}.jobs").JOBS[name]
    asked = job.controls.parse(parse_qsl(sys.stdin.read(), keep_blank_values=True))
    done = Desk(Path(folder)).compute(job.key(asked), lambda known: job.steps(asked, known))
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
