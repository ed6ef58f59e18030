"""The standard streams of a command: either may be closed before it begins, or lose its reader while it runs.

What is lost then is what would have been printed, and not the work. At its end the interpreter flushes both
streams once more, so that a broken one must lead nowhere by then.
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
def lasting_streams() -> Iterator[None]:
    """Open what is closed, and let writing to the standard error output never fail."""
    with ExitStack() as stack:
        if sys.stdout is None or sys.stderr is None:
            _fill_descriptors()
        if sys.stdout is None:
            stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w", encoding="utf-8"))))
        if sys.stderr is None:
            stack.enter_context(redirect_stderr(stack.enter_context(open(os.devnull, "w", encoding="utf-8"))))
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # a name in a file may need any character
        stack.enter_context(redirect_stdout(_Output(sys.stdout)))
        stack.enter_context(redirect_stderr(_Lasting(sys.stderr)))
        yield


def say(line: str) -> None:
    """Print a line for a reader who may have gone: the command goes on for the sake of its exit code."""
    try:
        print(line)
    except BrokenPipeError:
        silence(sys.stdout)


def flush() -> None:
    """Write out what was printed, or let it go.

    Raises
    ------
    OSError
        If it cannot be written, and not because its reader has gone.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)
    except OSError:
        silence(sys.stdout)
        raise


def silence(stream: TextIO) -> None:
    """Let a stream lead nowhere."""
    with suppress(OSError, ValueError):  # it may have no descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _fill_descriptors() -> None:
    """Or the next file that is opened would be taken for the standard output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free


class _Output(io.TextIOBase):
    """A stream whose errors have a name, and are raised again at the end: argparse lets them pass."""

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


class _Lasting(_Output):
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
