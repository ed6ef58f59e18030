"""Bit allocation: a type for each tensor, so that the file fits a budget and the errors add up to least.

Each tensor has options: a type, its bytes, and the error that it costs (a measured sensitivity: divergence,
output error, loss). The errors of different tensors are taken to add up. That is an approximation, good while
they are small; measure the chosen map as a whole.

`greedy` begins with the smallest option of each tensor and buys the upgrade that lowers the error most for
a byte, again and again. `knapsack` finds the least sum: each tensor takes one option, the bytes must fit (the
multiple-choice knapsack problem). Dynamic programming: the least error of the first tensors within each
number of bytes follows from that of one tensor fewer. Bytes are counted in units, above the smallest options.

References
----------
Kellerer, Pferschy and Pisinger 2004, "Knapsack Problems", chapter 11, "The Multiple-Choice Knapsack Problem":
the program and the greedy method. For weights: Dong et al. 2020, "HAWQ-V2", arXiv:1911.03852, picks the bits
of layers by summed sensitivities under a size limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Units of bytes of the program at most, and cells of its table (tensors times units).
MOST_UNITS = 1 << 16
_MOST_CELLS = 1 << 26


@dataclass(frozen=True)
class Option:
    """What a type costs a tensor: `bytes`, 0 or more, and `error`, a finite number of any unit."""

    bytes: int
    error: float


#: By tensor, by type.
Options = Mapping[str, Mapping[str, Option]]


@dataclass(frozen=True)
class Allocation:
    """A type for each tensor.

    Attributes
    ----------
    types : dict of str to str
        By tensor.
    bytes : int
        Their sum, at most the budget.
    error : float
        The sum of the errors.
    least_error : float
        No choice within the budget has a smaller sum. Equal to `error` where the choice is the best; -inf
        where nothing is known (`greedy`).
    """

    types: dict[str, str]
    bytes: int
    error: float
    least_error: float = -math.inf


def greedy(options: Options, budget: int) -> Allocation:
    """Choose types by the largest drop of the error for a byte.

    Parameters
    ----------
    options : mapping of str to mapping of str to Option
        By tensor, by type.
    budget : int
        Bytes.

    Returns
    -------
    Allocation
        An upgrade that does not fit is passed over for the next best.

    Raises
    ------
    ValueError
        If a tensor has no option, a number is out of range, or the smallest options exceed the budget.

    Examples
    --------
    >>> options = {"a": {"Q4": Option(4, 3.0), "Q8": Option(8, 1.0)},
    ...            "b": {"Q4": Option(4, 2.0), "Q8": Option(9, 0.0)}}
    >>> greedy(options, 12).types
    {'a': 'Q8', 'b': 'Q4'}
    """
    chosen = _smallest(options, budget)
    left = budget - sum(options[name][kind].bytes for name, kind in chosen.items())
    while True:
        best: tuple[float, str, str] | None = None
        for name, kinds in options.items():
            now = kinds[chosen[name]]
            for kind, option in kinds.items():
                more, gain = option.bytes - now.bytes, now.error - option.error
                if 0 < more <= left and gain > 0 and (best is None or gain / more > best[0]):
                    best = gain / more, name, kind
        if best is None:
            return _allocation(options, chosen)
        _, name, kind = best
        left -= options[name][kind].bytes - options[name][chosen[name]].bytes
        chosen[name] = kind


def knapsack(options: Options, budget: int, most_units: int = MOST_UNITS) -> Allocation:
    """Choose the types with the least sum of errors.

    Bytes are counted in a unit that divides all differences of size, if `most_units` of them reach from the
    smallest to the largest choice; the result is then the best. Otherwise the unit is coarser, and each
    difference is rounded up to whole units, so that the budget holds. A second run that rounds down gives
    `least_error`: how far from the best the result can be. The result is never worse than `greedy`'s.

    Parameters
    ----------
    options : mapping of str to mapping of str to Option
        By tensor, by type.
    budget : int
        Bytes.
    most_units : int
        1 to 65536. Time and memory grow with it.

    Returns
    -------
    Allocation

    Raises
    ------
    ValueError
        As `greedy`; or if `most_units` is out of range.

    Examples
    --------
    Greedy buys the better bargain first, and then has too little left for the best choice.

    >>> options = {"a": {"Q4": Option(4, 3.0), "Q8": Option(8, 1.0)},
    ...            "b": {"Q4": Option(4, 4.0), "Q8": Option(10, 1.1)}}
    >>> greedy(options, 15).types, knapsack(options, 15).types
    ({'a': 'Q8', 'b': 'Q4'}, {'a': 'Q4', 'b': 'Q8'})
    """
    if not 1 <= most_units <= MOST_UNITS:
        raise ValueError(f"most_units is {most_units}; give 1 to {MOST_UNITS}")
    smallest = _smallest(options, budget)
    base = {name: options[name][kind].bytes for name, kind in smallest.items()}
    extra = [
        {kind: option.bytes - base[name] for kind, option in kinds.items()} for name, kinds in options.items()
    ]
    most_units = min(most_units, _MOST_CELLS // max(1, len(options)))
    span = sum(max(one.values()) for one in extra)
    common = math.gcd(*(size for one in extra for size in one.values())) or 1
    unit = common * max(1, -(-span // (common * most_units)))
    room = min(budget - sum(base.values()), span)
    errors = [{kind: option.error for kind, option in kinds.items()} for kinds in options.values()]
    up = [{kind: -(-size // unit) for kind, size in one.items()} for one in extra]
    kinds = _program(up, errors, room // unit)
    found = _allocation(options, dict(zip(options, kinds, strict=True)))
    if unit == common:
        return Allocation(found.types, found.bytes, found.error, found.error)
    down = [{kind: size // unit for kind, size in one.items()} for one in extra]
    bound = _allocation(options, dict(zip(options, _program(down, errors, room // unit), strict=True))).error
    better = min(found, greedy(options, budget), key=lambda one: one.error)
    return Allocation(better.types, better.bytes, better.error, min(bound, better.error))


def _program(sizes: list[dict[str, int]], errors: list[dict[str, float]], room: int) -> list[str]:
    """Return the kind of each tensor with the least sum of errors, sizes within the room in units."""
    least = np.zeros(room + 1)  # by room: the least error of the tensors so far
    taken: list[NDArray[np.uint8]] = []
    names = [list(one) for one in sizes]
    for size, error, kinds in zip(sizes, errors, names, strict=True):
        after = np.full(room + 1, np.inf)
        which = np.zeros(room + 1, np.uint8)
        for number, kind in enumerate(kinds):
            if size[kind] <= room:
                total = least[: room + 1 - size[kind]] + error[kind]
                better = total < after[size[kind] :]
                after[size[kind] :][better] = total[better]
                which[size[kind] :][better] = number
        taken.append(which)
        least = after
    chosen = []
    for size, which, kinds in zip(reversed(sizes), reversed(taken), reversed(names), strict=True):
        kind = kinds[which[room]]
        room -= size[kind]
        chosen.append(kind)
    return chosen[::-1]


def _smallest(options: Options, budget: int) -> dict[str, str]:
    """Return the smallest option of each tensor, of several the one with the least error; check all."""
    chosen = {}
    for name, kinds in options.items():
        if not 1 <= len(kinds) <= 256:
            raise ValueError(f"tensor {name!r} has {len(kinds)} options; give 1 to 256")
        for kind, option in kinds.items():
            if option.bytes < 0 or not math.isfinite(option.error):
                raise ValueError(
                    f"tensor {name!r}, type {kind!r}: bytes is {option.bytes} and error {option.error}; "
                    "give 0 or more, and a finite number"
                )
        chosen[name] = min(kinds, key=lambda kind: (kinds[kind].bytes, kinds[kind].error))
    least = sum(options[name][kind].bytes for name, kind in chosen.items())
    if least > budget:
        raise ValueError(f"the budget is {budget} bytes; the smallest types need {least}")
    return chosen


def _allocation(options: Options, types: dict[str, str]) -> Allocation:
    picked = [options[name][kind] for name, kind in types.items()]
    return Allocation(types, sum(one.bytes for one in picked), math.fsum(one.error for one in picked))
