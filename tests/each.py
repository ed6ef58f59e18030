"""Sweeps: one test that checks many cases and names all that fail."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest

Test = Callable[..., None]


def each(names: str, cases: Iterable[Any]) -> Callable[[Test], Test]:
    """Run a test with every case, as `pytest.mark.parametrize` does, but as one test.

    For many quick cases: to set up and report each as a test of its own takes longer than the cases do. They
    share the fixtures of the test.
    """
    arguments, listed = names.split(", "), list(cases)
    assert listed, "a sweep without a case checks nothing"

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def sweep(**fixtures: Any) -> None:
            failed: list[BaseException] = []
            for case in listed:
                given = dict(zip(arguments, case if len(arguments) > 1 else (case,), strict=True))
                try:
                    test(**given, **fixtures)
                except (Exception, pytest.fail.Exception) as error:
                    error.add_note(f"with {str(given)[:300]}")
                    failed.append(error)
            if failed:
                raise BaseExceptionGroup(f"{len(failed)} of {len(listed)} cases failed", failed)

        signature = inspect.signature(test)
        left = [one for name, one in signature.parameters.items() if name not in arguments]
        sweep.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return sweep

    return decorate
