"""Errors of files that cannot be read: one line with the file, the field, its place and the problem."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST = 80


class FormatError(ValueError):
    """A file is truncated, damaged, hostile, or of a kind that is not supported."""


def printable(text: object, longest: int = _LONGEST) -> str:
    r"""Return text from an untrusted file as one short line that is safe to show in a terminal.

    Examples
    --------
    >>> printable("blk.0.attn_q.weight")
    'blk.0.attn_q.weight'
    >>> print(printable("clear\x1b[2J\n"))
    clear\x1b[2J\n
    """
    whole = str(text)
    safe = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in whole[: longest + 1]
    )
    return safe if len(safe) <= longest else safe[: longest - 1] + "…"


def short_path(path: object, longest: int = 240) -> str:
    r"""Return a path as one short line; of a long one the end, with the name of the file.

    Examples
    --------
    >>> short_path("/models/llama/config.json", longest=15)
    '…ma/config.json'
    """
    whole = str(path)
    if len(whole) <= longest:
        return printable(whole, longest)
    return "…" + printable(whole[1 - longest :], 4 * longest)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add this file's name to errors of the system that have none, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise
