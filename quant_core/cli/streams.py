"""The standard streams of a command: either may be closed before it begins, or lose its reader while it runs.

Only printed text is then lost; the work goes on. The interpreter flushes both streams when it exits, so a
broken stream is redirected to the null device before.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TextIO

from quant_core.files.errors import naming

_NAME = Path("the standard output")


@contextmanager
def tolerant_streams() -> Iterator[None]:
    """Open closed streams, and ignore errors of the standard error output."""
    with ExitStack() as stack:
        if sys.stdout is None or sys.stderr is None:
            _fill_descriptors()
        if sys.stdout is None:
            stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w", encoding="utf-8"))))
        if sys.stderr is None:
            stack.enter_context(redirect_stderr(stack.enter_context(open(os.devnull, "w", encoding="utf-8"))))
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # names in files may hold any character
        stack.enter_context(redirect_stdout(_NamedStream(sys.stdout)))
        stack.enter_context(redirect_stderr(_TolerantStream(sys.stderr)))
        yield


def say(line: str) -> None:
    """Print a line; if the reader has closed the pipe, go on, because the exit code still matters."""
    try:
        print(line)
    except BrokenPipeError:
        silence(sys.stdout)


def flush() -> None:
    """Write out what was printed; ignore a closed pipe.

    Raises
    ------
    OSError
        If it cannot be written, unless the reader has closed the pipe.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)
    except OSError:
        silence(sys.stdout)
        raise


def silence(stream: TextIO) -> None:
    """Redirect a stream to the null device."""
    with suppress(OSError, ValueError):  # the stream may have no descriptor
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _fill_descriptors() -> None:
    """Open descriptors 0 to 2 if closed: the next opened file would get one and be written to by `print`."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number


class _NamedStream(io.TextIOBase):
    """A stream whose errors name it. They are raised again by `flush`, because argparse ignores them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._error: OSError | None = None

    def write(self, text: str, /) -> int:
        try:
            with naming(_NAME):
                return self._stream.write(text)
        except OSError as error:
            self._error = error
            raise

    def flush(self) -> None:
        with naming(_NAME):
            self._stream.flush()
        if self._error:
            raise self._error

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


class _TolerantStream(_NamedStream):
    """A stream that drops what it cannot write."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError:
            silence(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            silence(self._stream)
