"""The path of a QR code draws the code's own modules, and nothing around them."""

from __future__ import annotations

import re

import pytest
import segno

from app.views.qr import QUIET, svg_path

ADDRESS = "https://academy.example/join/K7M4XP"


def _drawn(path: str, size: int) -> list[list[bool]]:
    cells = [[False] * size for _ in range(size)]
    for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", path):
        for column in range(int(x), int(x) + int(width)):
            cells[int(y)][column] = True
    return cells


@pytest.mark.parametrize("text", [ADDRESS, "a", ADDRESS + "?" + "x" * 900])
def test_the_path_is_the_matrix_with_a_quiet_zone(text: str) -> None:
    size, path = svg_path(text)
    drawn = _drawn(path, size)
    inner = [row[QUIET : size - QUIET] for row in drawn[QUIET : size - QUIET]]
    assert inner == [list(map(bool, row)) for row in segno.make_qr(text, error="m").matrix]
    assert sum(map(sum, drawn)) == sum(map(sum, inner))
    assert re.sub(r"M\d+ \d+h\d+v1h-\d+z", "", path) == ""


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        svg_path("x" * 4000)
