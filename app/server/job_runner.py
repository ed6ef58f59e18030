"""Begins the process that computes what waits (`lessons.kit.job_store`), and stops it with the server."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
import time
from asyncio.subprocess import Process
from pathlib import Path
from typing import Any

from app.assets import ROOT
from app.settings import Settings
from lessons.catalogue import Lesson
from lessons.kit.controls import FigureControls
from lessons.kit.figure import Figure
from lessons.kit.job import Found, JobState
from lessons.kit.job_store import SUPPORTED, JobStore

BEGINS_WITHIN = 15.0  # seconds
PAUSE = 2.0  # seconds, at least, between two processes of which the first one has ended

log = logging.getLogger("academy")


class JobRunner:
    """The jobs as a worker of the server sees them, and the process that it began."""

    def __init__(self, settings: Settings) -> None:
        self.folder = Path(settings.jobs_folder) if settings.jobs_folder else _shared_folder()
        self.followers = 0
        self.stopping = False
        self._process: Process | None = None
        self._beginning = asyncio.Lock()
        self._begun_at = -PAUSE

    def store(self) -> JobStore | None:
        """Where the jobs are, made anew if it was swept away; None where nothing can be written."""
        if not SUPPORTED or self.folder is None:
            return None
        try:
            store = JobStore(self.folder)
            store.at_work()
        except OSError as error:
            log.warning("the jobs folder cannot be used: %s", error)
            return None
        return store

    def found(self, lesson: Lesson, figure: Figure[Any], controls: FigureControls) -> Found | None:
        """What is known here of the computation that a state of a figure waits for."""
        waits_for = figure.waits_for(controls)
        if waits_for is None:
            return None
        name, asked = waits_for
        job = lesson.jobs[name]
        store = self.store() if job.runs_here() else None
        return Found(store.state(job.key(asked)) if store else JobState(), job.runs_here())

    async def see_to(self, store: JobStore) -> None:
        """Let a process compute what is waiting, if none does: the last one may have been killed."""
        if self.stopping or not store.tickets() or store.at_work() is not None:
            return
        async with self._beginning:
            await self._wait_until_begun(store)  # one that was begun a moment ago has not shown itself yet
            ended_at_once = time.monotonic() - self._begun_at < PAUSE
            if self._process is None or (self._process.returncode is not None and not ended_at_once):
                self._begun_at = time.monotonic()
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "lessons.kit.job_store", str(self.folder)),
                    cwd=ROOT,
                    stdin=asyncio.subprocess.DEVNULL,
                )
                await self._wait_until_begun(store)

    async def _wait_until_begun(self, store: JobStore) -> None:
        """Wait until the process that was begun is seen at work, or is gone."""
        end = time.monotonic() + BEGINS_WITHIN
        while self._process is not None and self._process.returncode is None and store.at_work() is None:
            if time.monotonic() > end:
                break
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        """Stop what this worker began."""
        if self._process is not None:
            if self._process.returncode is None:
                self._process.terminate()
            await self._process.wait()


def _shared_folder() -> Path | None:
    """The folder for all servers of this user on this machine, or None where there is no place for one."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    try:
        return Path(tempfile.gettempdir()) / f"quant-lesson-{user}"
    except FileNotFoundError:
        return None


def unusable(jobs_folder: str) -> str:
    """Why nothing can be kept in a folder that a host has named; "" where it can be, or none is named."""
    if not jobs_folder:
        return ""
    try:
        folder = JobStore(Path(jobs_folder)).folder
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"{error.strerror or error}; name a folder that this user can write to"
