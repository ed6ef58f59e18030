"""Write a file so that it appears complete or not at all, and replaces nothing but a regular file.

The data is written to an unnamed file in the same folder (O_TMPFILE), which the system deletes if the process
dies. At the end it is flushed to the disk, given a temporary name and renamed over the target in one step.
Where the system has no unnamed files, the temporary name exists from the start, and a killed process leaves
it behind.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from quant_core.files.errors import naming, short_path

_KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextmanager
def atomic_file(path: str | Path, reads: Iterable[Path] = ()) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces `path` when the block ends without an error.

    Parameters
    ----------
    path : path
        An existing file is replaced, or left untouched after an error; its permissions stay. A symbolic link
        is followed.
    reads : iterable of Path
        Files that the target must not be, whatever their names.

    Raises
    ------
    OSError
        If the folder cannot be written to, or `path` is one of `reads` or no regular file.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "answer"
    >>> with atomic_file(target) as file:
    ...     _ = file.write(b"42")
    ...     print(target.exists())
    False
    >>> target.read_bytes()
    b'42'
    """
    with atomic_files([path], reads) as (file,):
        yield file


@contextmanager
def atomic_files(paths: Iterable[str | Path], reads: Iterable[Path] = ()) -> Iterator[list[BinaryIO]]:
    """Open several files as `atomic_file` does; none appears before all are on the disk, the first one last.

    Raises
    ------
    OSError
        As `atomic_file`.
    """
    targets, reads = [Path(path) for path in paths], list(reads)
    for target in targets:
        check_target(target, reads)
    with ExitStack() as stack:
        waiting = [stack.enter_context(_TemporaryFile(target)) for target in targets]
        yield [aside.file for aside in waiting]
        for aside in waiting:
            aside.settle()
        for aside in reversed(waiting):
            aside.appear()


def check_target(path: Path, reads: Iterable[Path] = ()) -> None:
    """Refuse to write over anything but a regular file, and over one that is read.

    Raises
    ------
    OSError
        If something else is there; the message says what.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return
    where = short_path(path)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(f"{where} is a folder; give the name of a file")
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(found.st_mode)), "no regular file")
        raise FileExistsError(f"{where} is {kind} and would be replaced; give the name of a file")
    if not os.access(path, os.W_OK):  # rename would replace it
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    for source in reads:
        if source.exists() and os.path.samestat(found, os.stat(source)):
            raise FileExistsError(f"{where} is {short_path(source)}, which is read; give another name")


class _NamedFile(io.FileIO):
    """A file whose errors hold its name, which those of a full disk lack."""

    def __init__(self, descriptor: int, path: Path) -> None:
        super().__init__(descriptor, "wb")
        self._path = path

    def write(self, data: Any, /) -> int:
        with naming(self._path):
            return super().write(data)


class _TemporaryFile:
    """A file that is written beside its target and renamed over it at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._target = Path(os.path.realpath(path))
        self._temporary = self._target.with_name(f".{self._target.name[:64]}.{secrets.token_hex(4)}.part")
        os.close(os.open(self._target.parent, os.O_RDONLY | os.O_DIRECTORY))
        try:
            self._descriptor, self._has_name = _open_unnamed(self._target.parent, self._temporary)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
        with suppress(FileNotFoundError):
            os.fchmod(self._descriptor, stat.S_IMODE(os.stat(self._target).st_mode))
        self.file = io.BufferedWriter(_NamedFile(self._descriptor, path))

    def __enter__(self) -> _TemporaryFile:
        return self

    def settle(self) -> None:
        """Flush everything to the disk."""
        with naming(self._path):
            self.file.flush()
            os.fsync(self._descriptor)

    def appear(self) -> None:
        """Rename the file over its target."""
        folder = os.open(self._target.parent, os.O_RDONLY)
        try:
            if not self._has_name:
                # linkat follows the link in /proc only when it is given folders (see link(2)).
                at = f"/proc/self/fd/{self._descriptor}"
                os.link(at, self._temporary, src_dir_fd=folder, follow_symlinks=True)
                self._has_name = True
            check_target(self._target)  # it may have changed meanwhile
            os.replace(self._temporary, self._target)
            self._has_name = False
            os.fsync(folder)
        finally:
            os.close(folder)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # the write error was raised already
            self.file.close()
        if self._has_name:
            with suppress(FileNotFoundError):
                os.unlink(self._temporary)


def _open_unnamed(folder: Path, temporary: Path) -> tuple[int, bool]:
    """Return a descriptor, and whether it is that of `temporary` rather than of an unnamed file."""
    if hasattr(os, "O_TMPFILE"):
        with suppress(OSError):
            return os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666), False
    return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), True
