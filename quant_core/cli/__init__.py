"""The command line: quantize or inspect a model file, compare two, print a block, measure perplexity.

Files may be damaged: a command then prints one line on the standard error output and exits with code 2.
`compare` exits like `cmp`: 0 for equal, 1 for different.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from types import FrameType

from quant_core.cli import block, compare, inspect, perplexity, quantize
from quant_core.cli.streams import flush, silence, tolerant_streams
from quant_core.files.errors import printable, short_path

COMMANDS = (quantize, inspect, compare, block, perplexity)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process if not given.

    Returns
    -------
    int
        The exit code: 0; 1 where `compare` finds a difference; 2 for a wrong argument or file. It does not
        depend on whether the output is read.
    """
    with tolerant_streams():
        try:
            code = _run(_options(arguments))
        except SystemExit as end:  # of argparse, and after a termination
            if _flushed(0):
                return 2
            raise end
        return _flushed(code)


def _flushed(code: int) -> int:
    """Flush the output; return the exit code of a command that ended with `code`."""
    try:
        flush()
    except OSError as error:
        return 2 if code == 2 else _refuse_file(error)
    return code


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=_program(), description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> int:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)
    try:
        code: int = options.run(options)
        return code
    except BrokenPipeError:
        # The reader of the pipe has closed it, as `| head` does.
        silence(sys.stdout)
        return 0
    except KeyboardInterrupt:
        print(f"{_program()}: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenExecutor:
        return _refuse("a worker process has ended: it was killed, or memory ran out; try fewer --jobs")
    except OSError as error:
        return _refuse_file(error)
    except (ValueError, MemoryError) as error:
        return _refuse(str(error) or "memory ran out")


def _refuse_file(error: OSError) -> int:
    return _refuse(f"{short_path(error.filename)}: {error.strerror}" if error.filename else str(error))


def _refuse(problem: str) -> int:
    print(f"{_program()}: {printable(problem, 600)}", file=sys.stderr)
    return 2


def _program() -> str:
    """The name that messages begin with: the installed command `quant-core`, or the package's."""
    return "quant-core" if Path(sys.argv[0]).stem == "quant-core" else "quant_core"


def _end(number: int, frame: FrameType | None) -> None:
    """Exit through the `finally` clauses, so that a terminated run removes its unfinished files."""
    raise SystemExit(128 + number)
