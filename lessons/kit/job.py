"""A computation that takes minutes: one at a time on a host, told row by row through files.

It runs in a process of its own, so that no page waits for it, and any worker of a web server can tell how
far it is: a `Desk` is a folder with what is known, and with a ticket for each computation that was asked for.
Whoever computes holds a lock there for as long as it lives, so one that dies leaves nothing behind that looks
like work; its ticket stays, and the next process goes on from what it found.

    python -m lessons.kit.job FOLDER      compute what is waiting there, one after the other
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import importlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
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
SLUG = re.compile(r"[a-z][a-z0-9_]*")

log = logging.getLogger(__name__)
MOST_KEPT = 256
"""Results in a folder; the oldest give way. Each is of kilobytes."""

MOST_WAITING = 16
"""Computations that wait for their turn."""

MOST_OF_ONE = 4
"""Of these, computations that one client has asked for."""

MOST_TRIES = 3
"""Of a computation whose process was killed, by a machine without memory for it, perhaps."""

STALE = 24 * 3600.0
"""Seconds after which nobody waits any more for what was asked."""

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


class FullError(Exception):
    """As much as may wait is waiting."""


class FullOfOneError(FullError):
    """As much of this client's as may wait is waiting."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A computation that was asked for: which, by whom, and how often it was begun.

    `owner` is the hash of what the page that asked was given: who has it may stop the computation. `client`
    is the hash of the address that asked. `tries` counts how often it was begun since it last found
    something, at `found` rows.
    """

    key: str
    lesson: str
    job: str
    query: str
    owner: str
    tries: int = 0
    found: int = 0
    name: str = ""
    client: str = ""

    def is_of(self, token: str) -> bool:
        """Whether this token was given to the page that asked."""
        return hmac.compare_digest(self.owner, hashed(token))


def hashed(text: str) -> str:
    """What of a token or an address is written down."""
    return hashlib.sha256(text.encode()).hexdigest()


class Desk:
    """A folder of this user in which jobs and what they found are kept.

    Raises
    ------
    OSError
        If the folder cannot be made, or belongs to another user.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid"):
            # Of a link to a folder, too: another user's could lead to what this one has elsewhere.
            link, owner = folder.lstat().st_uid, folder.stat().st_uid
            if owner != os.getuid() or link not in (owner, 0):
                raise PermissionError(f"{folder} belongs to another user")
        self.folder = folder

    def state(self, key: str) -> State:
        """What is known of a job; nothing where its file is damaged."""
        known = self._read(key) or State()
        return replace(known, running=self.at_work() == key)

    def is_damaged(self, key: str) -> bool:
        """Whether there is a file of what was found that cannot be read."""
        return self._file(key, "json").exists() and self._read(key) is None

    def at_work(self) -> str | None:
        """The key of the job that is being computed."""
        with self._lock() as lock:
            if _locked(lock):
                return None
            lock.seek(0)
            key = lock.read()
            return key if KEY.fullmatch(key) else None

    def ask(self, key: str, lesson: str, job: str, query: str, token: str, client: str = "") -> bool:
        """Put a job at the end of the line. Returns whether it was not there yet.

        Raises
        ------
        FullError
            If too many wait already; FullOfOneError, if too many of this client's do.
        """
        waiting = self.tickets()
        if any(ticket.key == key for ticket in waiting):
            return False
        if sum(ticket.client == hashed(client) for ticket in waiting) >= MOST_OF_ONE:
            raise FullOfOneError
        if len(waiting) >= MOST_WAITING:
            raise FullError
        name = f"{time.time_ns():020d}"
        self._put(Ticket(key, lesson, job, query, hashed(token), name=name, client=hashed(client)))
        return True

    def tickets(self) -> list[Ticket]:
        """What was asked for and is not finished, in its order. What is too old or damaged is thrown away."""
        found = []
        for path in sorted(self.folder.glob("*.ticket")):
            with contextlib.suppress(OSError):
                ticket = _ticket(path)
                if ticket is None or time.time() - int(ticket.name) / 1e9 > STALE:
                    path.unlink()
                else:
                    found.append(ticket)
        return found

    def drop(self, ticket: Ticket) -> None:
        """Take a job out of the line."""
        (self.folder / f"{ticket.name}.ticket").unlink(missing_ok=True)

    def withdraw(self, key: str, token: str) -> bool:
        """Stop a job for whoever asked for it. Returns whether that was this token."""
        mine = [ticket for ticket in self.tickets() if ticket.key == key and ticket.is_of(token)]
        for ticket in mine:
            self.drop(ticket)
        if mine and self.at_work() == key:
            self.stop()
        return bool(mine)

    def work(self) -> None:
        """Compute what is waiting, one after the other, until nothing is or somebody else does."""
        parent = os.getppid()
        while os.getppid() == parent and (waiting := self.tickets()):
            ticket = waiting[0]
            if self.at_work() is not None:
                return
            found = len(self.state(ticket.key).rows)
            tries = ticket.tries if found == ticket.found else 0
            if tries >= MOST_TRIES:
                self._fail(ticket, "killed")
                continue
            self._put(replace(ticket, tries=tries + 1, found=found))
            try:
                done = compute(self, ticket)
            except Exception:
                log.exception("the computation %s has failed", ticket.key)
                self._fail(ticket, "failed")
                continue
            if done:
                self.drop(ticket)

    def failure(self, key: str) -> str:
        """Why a job was given up, "" if it was not: failed, or killed again and again."""
        with contextlib.suppress(OSError):
            why = self._file(key, "failure").read_text()
            return why if why in ("failed", "killed") else "failed"
        return ""

    def _fail(self, ticket: Ticket, why: str) -> None:
        self.drop(ticket)
        with contextlib.suppress(OSError):
            self._file(ticket.key, "failure").write_text(why)

    def _put(self, ticket: Ticket) -> None:
        part = self.folder / f"{ticket.name}.part"
        part.write_text(json.dumps(asdict(ticket)))
        part.replace(self.folder / f"{ticket.name}.ticket")

    def _read(self, key: str) -> State | None:
        """What was found; None where there is nothing, or what is there is damaged."""
        file = self._file(key, "json")
        try:
            known = json.loads(file.read_bytes())
            rows, done, seconds = known["rows"], known["done"], known["seconds"]
            whole = known.get("check") in (None, _check(rows)) and all(isinstance(row, dict) for row in rows)
            return (
                State(False, float(done), tuple(rows), float(seconds)) if whole and 0 <= done <= 1 else None
            )
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            return None

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
            if self.is_damaged(key):
                self._file(key, "json").replace(self._file(key, "damaged"))
            known = self.state(key)
            parent, began, rows = os.getppid(), time.monotonic() - known.seconds, list(known.rows)
            for left in ("stop", "failure"):
                self._file(key, left).unlink(missing_ok=True)
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
        """Remove the oldest results where there would be too many, and what a killed process was writing."""
        for path in self.folder.glob("*.part"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE:
                    path.unlink()
        results = sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in results[: max(0, len(results) - MOST_KEPT + 1)]:
            path.unlink()

    def _write(self, key: str, state: State) -> None:
        part = self._file(key, "part")
        part.write_text(json.dumps(asdict(state) | {"check": _check(state.rows)}))
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


def _check(rows: Sequence[Row]) -> str:
    """A hash of what was found, by which damage is seen."""
    return hashlib.sha256(json.dumps(list(rows)).encode()).hexdigest()


def _ticket(path: Path) -> Ticket | None:
    """A ticket as it was written; None where it is damaged."""
    try:
        ticket = Ticket(**json.loads(path.read_bytes()))
    except (ValueError, TypeError):
        return None
    texts = (getattr(ticket, name) for name in ("key", "lesson", "job", "query", "owner", "name", "client"))
    whole = all(isinstance(text, str) for text in texts) and isinstance(ticket.tries, int)
    whole = whole and isinstance(ticket.found, int)
    named = whole and ticket.name == path.stem and ticket.name.isdigit()
    return ticket if named and KEY.fullmatch(ticket.key) and SLUG.fullmatch(ticket.lesson) else None


def compute(desk: Desk, ticket: Ticket) -> bool:
    """Compute what a ticket asks for, and nothing when somebody else is computing.

    Raises
    ------
    LookupError
        If the lesson has no such job, or has changed since it was asked for.
    """
    job: Job = importlib.import_module(f"lessons.{ticket.lesson}.jobs").JOBS[ticket.job]
    asked = job.controls.parse(parse_qsl(ticket.query, keep_blank_values=True))
    if job.key(asked) != ticket.key:
        raise LookupError("the lesson's files are others than when the server was started")
    return desk.compute(ticket.key, lambda known: job.steps(asked, known))


def main(folder: str) -> None:
    """Compute what is waiting in a folder.

    What was typed is in the tickets: a command line could be read by all users of the machine.
    """
    os.nice(NICENESS)
    Desk(Path(folder)).work()


if __name__ == "__main__":
    main(*sys.argv[1:])
