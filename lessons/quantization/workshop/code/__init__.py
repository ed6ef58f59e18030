"""The primitive, in code: the lines of the function that rounds a block."""

from inspect import getsource

from quant_core.methods import rtn

SHOWN = 16


def still() -> list[tuple[int, int]]:
    """Indent and length of each line of the function's body, in characters."""
    body = getsource(rtn.round_to_nearest).rpartition('"""')[2].strip("\n").splitlines()
    return [(len(text) - len(text.lstrip()), len(text.strip())) for text in body[:SHOWN]]
