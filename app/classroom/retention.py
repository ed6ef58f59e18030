"""What is deleted in the end: classes whose time is over, and copies of the database that are older."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.classroom import operations
from app.classroom.database import Database

log = logging.getLogger("academy")

LOCK = 4_210_141
"""The advisory lock of PostgreSQL that the one process holds that deletes."""
DAY = 24 * 3600.0
FIRST_SECONDS = (60.0, 600.0)
"""After the start of a worker, at random, so that not all delete at once."""
COPIES_DAYS = 30
"""After which a copy from before a change of the schema is deleted."""


async def purge_daily(database: Database) -> None:
    """Delete what is due, every day."""
    await asyncio.sleep(random.uniform(*FIRST_SECONDS))
    while True:
        try:
            deleted = await database.run(lambda: purge(database))
        except (SQLAlchemyError, OSError) as error:
            log.warning("Classes whose time is over could not be deleted: %s", type(error).__name__)
            await asyncio.sleep(DAY / 24)
            continue
        if deleted:
            log.info("%d classes whose time was over were deleted", deleted)
        await asyncio.sleep(DAY)


def purge(database: Database) -> int:
    """Delete the classes whose time is over, unless another process does so just now; return their number."""
    with database.write() as session:
        if not database.is_sqlite:
            alone = session.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": LOCK})
            if not alone:
                return 0
        deleted = len(operations.purge(session))
    if database.file:
        _delete_old_copies(database.file)
        if deleted:
            with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")  # it is in the log, too
    return deleted


def _delete_old_copies(file: Path) -> None:
    for copy in file.parent.glob(f"{file.stem}-before-*{file.suffix}"):
        if copy.stat().st_mtime < time.time() - COPIES_DAYS * DAY:
            copy.unlink(missing_ok=True)
