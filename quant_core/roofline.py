"""How fast a machine can multiply by weights: a bound from its memory bandwidth and its peak arithmetic.

Each weight is read from memory once for all tokens that are worked on together, and multiplied and added
once for each of them. Reading and arithmetic overlap at best, so the slower one decides::

    seconds = max(weights · bits / 8 / bandwidth, 2 · weights · tokens / peak)

The tokens at which both are equal are the *ridge*: below it memory is the limit, above it arithmetic. This
is a bound from data sheets, not a prediction. Left out are the cache, attention, the expanding of weights,
and everything between two matrices.

References
----------
Williams, Waterman and Patterson 2009, "Roofline: An Insightful Visual Performance Model for Multicore
Architectures", Communications of the ACM 52 (4), doi:10.1145/1498765.1498785.
"""

from __future__ import annotations

import math


def seconds(weights: float, bits_per_weight: float, tokens: float, bandwidth: float, peak: float) -> float:
    """Return the least time in which all weights are multiplied with some tokens.

    Parameters
    ----------
    weights : float
        Weights that every token is multiplied with.
    bits_per_weight : float
        Bits that are read for each.
    tokens : float
        Tokens worked on together: of one prompt, or one of each reader.
    bandwidth : float
        Of the memory that holds the weights, in bytes per second.
    peak : float
        Operations per second in the type in which they are multiplied; an addition and a multiplication
        are two.

    Raises
    ------
    ValueError
        If an argument is not a positive number.

    Examples
    --------
    Eight billion weights of 16 bits at 1 TB/s: memory is the limit for one token, arithmetic for 1000.

    >>> seconds(8e9, 16, 1, 1e12, 100e12), seconds(8e9, 16, 1000, 1e12, 100e12)
    (0.016, 0.16)
    """
    _check(weights=weights, bits_per_weight=bits_per_weight, tokens=tokens, bandwidth=bandwidth, peak=peak)
    return max(weights * bits_per_weight / 8 / bandwidth, 2 * weights * tokens / peak)


def ridge(bits_per_weight: float, bandwidth: float, peak: float) -> float:
    """Return the tokens at which reading a weight takes as long as multiplying it with all of them.

    Parameters and errors are those of `seconds`.

    Examples
    --------
    >>> ridge(16, 1e12, 100e12), ridge(4, 1e12, 100e12)
    (100.0, 25.0)
    """
    _check(bits_per_weight=bits_per_weight, bandwidth=bandwidth, peak=peak)
    return bits_per_weight / 8 / bandwidth * peak / 2


def _check(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} is {value}; give a number above 0")
