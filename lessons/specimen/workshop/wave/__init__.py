"""A page without a figure: its still has every mark that stills are made of."""

import math

from lessons.kit.still import Bar, bars, line


def still() -> dict[str, str | list[Bar]]:
    """A wave as bars, as a line, and shifted by half a period."""
    wave = [1 + math.sin(i / 4) for i in range(25)]
    return {"bars": bars(wave), "line": line(wave, 0, 2), "shifted": line(wave[::-1], 0, 2)}
