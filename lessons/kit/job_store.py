"""A folder in which jobs wait, run one at a time on a host, and leave their results.

Jobs run in a process of their own, so that no page waits for one, and any worker can tell how far a job is.
The folder has a file for each result, and a ticket for each job that was asked for. The process that computes
holds a lock for as long as it lives. When it dies the lock is free, its ticket stays, and the next process
continues.

    python -m lessons.kit.job_store FOLDER      compute what is waiting there, one after the other
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Annotated
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lessons.kit.job import Job, JobState, Progress, Row

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]  # a module elsewhere

SUPPORTED = fcntl is not None
KEY = r"[a-z0-9-]{1,64}"
"""A key is part of a file's name."""

log = logging.getLogger(__name__)
MOST_KEPT = 256
"""Results in a folder; the oldest are deleted. Each takes kilobytes."""

MOST_WAITING = 16
"""Jobs that wait for their turn."""

MOST_OF_ONE = 4
"""Waiting jobs of one client."""

MOST_TRIES = 3
"""Times that a job is tried whose process was killed, perhaps for lack of memory."""

STALE = 24 * 3600.0
"""Seconds after which nobody waits for a job any more."""

NICENESS = 10
"""Pages go first."""


class FullError(Exception):
    """The queue of jobs is full."""


class FullOfOneError(FullError):
    """As many jobs of this client wait as may."""


class Ticket(BaseModel):
    """A requested job: which, by which client, and how often it was started.

    `name` is the time in nanoseconds, so that names sort as they were asked. `owner` is the hash of the token
    that the page which asked was given: who has it may stop the job. `client` is the hash of the
    address that asked. `tries` counts how often it was begun since it last found something, at `found` rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=r"^\d{20}$")]
    key: Annotated[str, Field(pattern=f"^{KEY}$")]
    lesson: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    job: str
    query: str
    owner: str
    client: str
    tries: int = 0
    found: int = 0

    def is_of(self, token: str) -> bool:
        """Whether this token was given to the page that asked."""
        return hmac.compare_digest(self.owner, hashed(token))


def hashed(text: str) -> str:
    """The hash of a token or an address, which is all that is stored of it."""
    return hashlib.sha256(text.encode()).hexdigest()


class JobStore:
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

    def state(self, key: str) -> JobState:
        """What is known of a job; nothing where its file is damaged."""
        known = self._read(key) or JobState()
        return replace(known, running=self.at_work() == key)

    def is_damaged(self, key: str) -> bool:
        """Whether there is a file of results that cannot be read."""
        return self._file(key, "json").exists() and self._read(key) is None

    def at_work(self) -> str | None:
        """The key of the job that is being computed."""
        with self._lock() as lock:
            if _locked(lock):
                return None
            lock.seek(0)
            key = lock.read()
            return key if re.fullmatch(KEY, key) else None

    def ask(self, key: str, lesson: str, job: str, query: str, token: str, client: str = "") -> bool:
        """Put a job at the end of the queue. Returns whether it was not there yet.

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
        self._put(
            Ticket(
                name=f"{time.time_ns():020d}",
                key=key,
                lesson=lesson,
                job=job,
                query=query,
                owner=hashed(token),
                client=hashed(client),
            )
        )
        return True

    def tickets(self) -> list[Ticket]:
        """What was asked for and is not finished, in its order. What is too old or damaged is thrown away."""
        found = []
        for path in sorted(self.folder.glob("*.ticket")):
            with contextlib.suppress(OSError):
                try:
                    ticket = Ticket.model_validate_json(path.read_bytes())
                except ValidationError:
                    ticket = None
                if ticket and ticket.name == path.stem and time.time() - int(ticket.name) / 1e9 <= STALE:
                    found.append(ticket)
                else:
                    path.unlink()
        return found

    def drop(self, ticket: Ticket) -> None:
        """Take a job out of the queue."""
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
            self._put(ticket.model_copy(update={"tries": tries + 1, "found": found}))
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
        with contextlib.suppress(OSError):
            self._file(ticket.key, "failure").write_text(why)
        self.drop(ticket)  # afterwards: there is always one of the two to be seen

    def _put(self, ticket: Ticket) -> None:
        part = self.folder / f"{ticket.name}.part"
        part.write_text(ticket.model_dump_json())
        part.replace(self.folder / f"{ticket.name}.ticket")

    def _read(self, key: str) -> JobState | None:
        """What was found; None where there is nothing, or what is there is damaged."""
        file = self._file(key, "json")
        try:
            known = json.loads(file.read_bytes())
            rows, done, seconds = known["rows"], known["done"], known["seconds"]
            whole = known.get("check") in (None, _check(rows)) and all(isinstance(row, dict) for row in rows)
            if not whole or not 0 <= done <= 1:
                return None
            return JobState(False, float(done), tuple(rows), float(seconds))
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            return None

    def stop(self) -> None:
        """Ask whoever computes to abandon it; it does before its next step."""
        key = self.at_work()
        if key:
            self._file(key, "stop").touch()

    def compute(self, key: str, steps: Callable[[Sequence[Row]], Iterator[Progress]]) -> bool:
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
            self._write(key, JobState(True, min(known.done, 0.999), known.rows, known.seconds))
            for step in steps(known.rows):
                if step.row is not None:
                    rows.append(step.row)
                self._write(key, JobState(True, step.done, tuple(rows), time.monotonic() - began))
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

    def _write(self, key: str, state: JobState) -> None:
        part = self._file(key, "part")
        part.write_text(json.dumps(asdict(state) | {"check": _check(state.rows)}))
        part.replace(self._file(key, "json"))

    def _file(self, key: str, kind: str) -> Path:
        if not re.fullmatch(KEY, key):
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


def compute(store: JobStore, ticket: Ticket) -> bool:
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
    return store.compute(ticket.key, lambda known: job.steps(asked, known))


def main(folder: str) -> None:
    """Compute what is waiting in a folder.

    What was typed is in the tickets: a command line could be read by all users of the machine.
    """
    os.nice(NICENESS)
    JobStore(Path(folder)).work()


if __name__ == "__main__":
    main(*sys.argv[1:])
