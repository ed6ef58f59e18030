"""Worker processes of one server: forked when everything is read, watched, replaced, and stopped in time.

All workers are copies of one process, so they hold the same lessons whatever happens to the files meanwhile,
and one that is started in the place of another does too. A worker that dies or hangs is replaced; a worker
whose supervisor is gone stops.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import uvicorn

log = logging.getLogger("uvicorn.error")

GRACE = 6  # seconds in which what is open may be finished after a stop
KILLED_AFTER = 8.0  # seconds after a stop; Docker kills everything after 10
STARTS_WITHIN = 60.0  # seconds
HANGS_AFTER = 30.0  # seconds without a turn of a worker's event loop
SWITCH_SECONDS = 0.001
"""After which a thread that computes lets the event loop go on; each of several takes as long."""
QUICK_DEATH = 5.0  # a worker that lived no longer is replaced after a pause
PAUSE = 1.0
LOOK = 0.1  # seconds between two looks at the workers
STOPS = (signal.SIGTERM, signal.SIGINT)
FAILED = 3  # exit status of a worker that did not start


@dataclass(slots=True)
class Worker:
    """A process and its place in the table of signs of life."""

    pid: int
    place: int
    began: float


class SignsOfLife:
    """For each worker the time of its last turn, in memory that all processes share; 0 before the first."""

    def __init__(self, workers: int) -> None:
        self._times = memoryview(mmap.mmap(-1, 8 * workers)).cast("d")

    def give(self, place: int, time: float) -> None:
        self._times[place] = time

    def last(self, place: int) -> float:
        return self._times[place]


class Server(uvicorn.Server):
    """uvicorn's server: it gives signs of life, says at once that it has to stop, and returns when it has."""

    def __init__(
        self, config: uvicorn.Config, sign_of_life: Callable[[], None], stopping: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._sign_of_life, self._stopping = sign_of_life, stopping

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        await super().serve(sockets)

    async def on_tick(self, counter: int) -> bool:
        self._sign_of_life()  # uvicorn's own notice follows the clock, which may be set back
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()  # what waits is refused, so that what is begun can be finished
        await super().shutdown(sockets)


class Supervisor:
    """Keep a number of workers.

    Parameters
    ----------
    make
        In a worker: the server, from what it has to call at every turn.
    sockets
        Bound and shared by all workers.
    """

    def __init__(
        self,
        workers: int,
        make: Callable[[Callable[[], None]], uvicorn.Server],
        sockets: Sequence[socket.socket],
    ) -> None:
        self._make = make
        self._sockets = list(sockets)
        self._signs = SignsOfLife(workers)
        self._places = range(workers)
        self._workers: dict[int, Worker] = {}
        self._empty: list[int] = list(self._places)  # places without a worker
        self._served = False
        self._looked = self._awake_since = time.monotonic()
        self._stopped_by: int | None = None
        self._status = 0

    def run(self) -> int:
        """Serve until a signal comes, or until no worker can start. Gives the status to exit with."""
        if threading.active_count() > 1:
            raise RuntimeError("a process with threads cannot be copied")
        for number in STOPS:
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who started this may have ignored it
        while self._stopped_by is None:
            self._fill_places()
            self._kill_the_hanging()
            self._see_to_the_dead()
            time.sleep(LOOK)
        self._end()
        return self._status

    def _stop(self, number: int, _frame: object) -> None:
        self._stopped_by = number

    def _fill_places(self) -> None:
        while self._empty and self._stopped_by is None:
            try:
                self._start(self._empty[0])
            except OSError as error:
                if not self._served:
                    raise
                log.error("No worker can be started now: %s", error)
                time.sleep(PAUSE)
                return
            del self._empty[0]

    def _start(self, place: int) -> None:
        self._signs.give(place, 0.0)
        supervisor = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # a stop comes after this, to both
        try:
            pid = os.fork()
            if pid == 0:
                self._work(place, supervisor)
            self._workers[pid] = Worker(pid, place, time.monotonic())
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)

    def _work(self, place: int, supervisor: int) -> None:
        """A worker's whole life; it does not return."""
        status = FAILED
        try:
            for number in STOPS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
            os.setpgid(0, 0)  # Ctrl-C is for the supervisor, who tells the workers
            threading.Thread(target=stop_without, args=(supervisor,), daemon=True).start()
            server = self._make(lambda: self._signs.give(place, time.monotonic()))
            server.run(self._sockets)
            status = 0 if server.started else FAILED
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else FAILED
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):  # whoever read it may be gone
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)  # threads that still compute are not waited for

    def _see_to_the_dead(self) -> None:
        self._served = self._served or any(map(self._signs.last, self._places))
        for worker, how in self._dead():
            if not self._served:
                log.error("A worker cannot start: its reason is above.")
                self._status, self._stopped_by = 1, signal.SIGTERM
            if self._stopped_by is not None:
                return
            log.error("Worker %d ended (%s); another one takes its place.", worker.pid, how)
            if time.monotonic() - worker.began < QUICK_DEATH:
                time.sleep(PAUSE)
            self._empty.append(worker.place)

    def _dead(self) -> list[tuple[Worker, str]]:
        """Workers that have ended. Their orphans, which a container gives to this process, are let go too."""
        found = []
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                worker = self._workers.pop(ended[0], None)
                code = os.waitstatus_to_exitcode(ended[1])
                if worker:
                    found.append((worker, signal.Signals(-code).name if code < 0 else f"status {code}"))
        return found

    def _kill_the_hanging(self) -> None:
        now = time.monotonic()
        if now - self._looked > HANGS_AFTER / 2:  # the whole container stood still: nobody could give a sign
            self._awake_since = now
        self._looked = now
        for worker in self._workers.values():
            last = self._signs.last(worker.place)
            since = max(last or worker.began, self._awake_since)
            if now - since > (HANGS_AFTER if last else STARTS_WITHIN):
                log.error("Worker %d does not answer any more and is killed.", worker.pid)
                os.kill(worker.pid, signal.SIGKILL)

    def _end(self) -> None:
        """Refuse new connections, and let the workers finish what is open while there is time."""
        for listening in self._sockets:
            listening.close()
        end = time.monotonic() + KILLED_AFTER
        self._tell(signal.SIGTERM)
        while self._workers and time.monotonic() < end:
            self._dead()
            time.sleep(LOOK / 2)
        self._tell(signal.SIGKILL)
        while self._workers:
            self._dead()
            time.sleep(LOOK / 10)

    def _tell(self, number: signal.Signals) -> None:
        for pid in self._workers:
            os.kill(pid, number)


def stop_without(supervisor: int) -> None:
    """Wait until the supervisor is gone, and stop then: in peace if that is possible."""
    while os.getppid() == supervisor:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(KILLED_AFTER)
    os._exit(1)
