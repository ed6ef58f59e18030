"""A sweep runs every case, and names all that fail."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from tests.each import each


def test_all_cases_that_fail_are_named(tmp_path: Path) -> None:
    seen = []

    @each("number, word", [(1, "one"), (2, "two"), (3, "three")])
    def sweep(tmp_path: Path, number: int, word: str) -> None:
        seen.append((number, word, tmp_path))
        assert number == 2

    assert list(inspect.signature(sweep).parameters) == ["tmp_path"]
    with pytest.raises(BaseExceptionGroup, match="2 of 3 cases failed") as raised:
        sweep(tmp_path=tmp_path)
    assert [note for error in raised.value.exceptions for note in error.__notes__] == [
        "with {'number': 1, 'word': 'one'}",
        "with {'number': 3, 'word': 'three'}",
    ]
    assert [number for number, _, where in seen if where == tmp_path] == [1, 2, 3]


def test_a_case_that_raises_nothing_where_it_should_is_named() -> None:
    @each("text", ["1", "x"])
    def sweep(text: str) -> None:
        with pytest.raises(ValueError, match="invalid"):
            int(text)

    with pytest.raises(BaseExceptionGroup, match="1 of 2"):
        sweep()


def test_a_sweep_without_cases_is_refused() -> None:
    with pytest.raises(AssertionError, match="checks nothing"):
        each("number", [])
