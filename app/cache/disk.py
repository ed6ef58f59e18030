"""Responses made ahead, stored in a file so that a restarted server has them at once.

The name of the file is a hash of what the responses depend on, so a file of another version is never read. It
holds no code: a first line with the hash of the rest, a line of JSON that lists the responses, their bytes. A
file that is damaged, or that another user could have written, is not used.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib.metadata import version as version_of
from pathlib import Path
from typing import IO

from app.assets import ROOT, version
from app.cache.response import CachedResponse

FOLDER = ROOT / "build" / "answers"
FILE = re.compile(r"answers-[0-9a-f]{16}")
PACKAGES = ("brotli", "jinja2", "latex2mathml", "numpy", "pygments")
"""Packages whose versions change the bytes of a response."""

UNFINISHED = ".new-"
"""Prefix of a file that is being written; its writer holds a lock on it."""

MOST_BYTES = 256 * 2**20
MOST_FILES = 4  # of different versions and settings; the oldest give way


class UnusableError(Exception):
    """A file of responses cannot be used; the message says why."""


def file_of(folder: Path, *settings: object) -> Path:
    """The file of the responses of this version, under settings that change their bytes."""
    depends_on = [version(), sys.version, *map(version_of, PACKAGES), *map(str, settings)]
    return folder / f"answers-{hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()[:16]}"


def save(file: Path, responses: Iterable[tuple[str, CachedResponse]]) -> None:
    """Write a file of responses, all of it or nothing, and delete the oldest of too many other files.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    listed, contents = [], []
    for address, response in responses:
        media_type, digest, encoding, content = response.stored()
        listed.append([address, media_type, digest, encoding, len(content)])
        contents.append(content)
    rest = b"\n".join([json.dumps(listed).encode(), b"".join(contents)])
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=UNFINISHED, delete=False) as new:
        try:
            fcntl.flock(new, fcntl.LOCK_EX)
            new.write(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
            os.fchmod(new.fileno(), 0o644)  # that of an image is written by root, and read by the server
            new.close()
            os.replace(new.name, file)
        except BaseException:
            os.unlink(new.name)
            raise
    others = [path for path in file.parent.iterdir() if FILE.fullmatch(path.name) and path != file]
    for old in sorted(others, key=lambda path: path.stat().st_mtime)[: -MOST_FILES + 1]:
        old.unlink(missing_ok=True)


def clean(folder: Path) -> None:
    """Remove files that were being written when their server was killed, and so are unlocked."""
    for path in folder.glob(f"{UNFINISHED}*"):
        with contextlib.suppress(OSError), open(path, "rb", opener=_open) as left:
            fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def load(file: Path) -> list[tuple[str, CachedResponse]]:
    """The responses of a file; none if there is no such file.

    Raises
    ------
    UnusableError
        If it is damaged, or if somebody else could have written it.
    """
    with contextlib.ExitStack() as stack:
        try:
            opened = stack.enter_context(open(file, "rb", opener=_open))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UnusableError(str(error)) from None
        return list(_responses(_trusted(opened)))


def _open(path: str, flags: int) -> int:
    """Open a file that may be a link or a pipe: follow no link, and do not block."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _trusted(opened: IO[bytes]) -> bytes:
    """The bytes of a file that only this user or root can have written, after a check of its hash."""
    is_of = os.fstat(opened.fileno())
    if not stat.S_ISREG(is_of.st_mode) or is_of.st_size > MOST_BYTES:
        raise UnusableError("it is not a file of responses")
    if is_of.st_uid not in (os.geteuid(), 0) or is_of.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnusableError("others than this user can write it")
    digest, _, rest = opened.read(MOST_BYTES + 1).partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != digest:
        raise UnusableError("it is damaged")
    return rest


def _responses(rest: bytes) -> Iterator[tuple[str, CachedResponse]]:
    listed, _, contents = rest.partition(b"\n")
    at = 0
    try:
        for address, media_type, digest, encoding, size in json.loads(listed):
            if encoding not in ("", "br"):
                raise ValueError(f"nothing is encoded as {encoding!r}")
            content = contents[at : at + size]
            at += size
            yield str(address), CachedResponse.restored(str(media_type), str(digest), str(encoding), content)
    except (ValueError, TypeError) as error:
        raise UnusableError(f"it cannot be read: {error}") from None
