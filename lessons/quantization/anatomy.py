"""How FIG.05B takes 256 weights apart in each block format: what holds what, and the sum that gives a weight.

What a bit belongs to comes from `quant_core.ggml`, which reads it off the decoder. Here is the arithmetic as
it is written. A type with blocks of 32 stores 256 weights in eight blocks, which are numbered through: byte
18 of Q4_0 is the first of block 1.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_core import ggml
from quant_core.ggml import ByteRole, codebooks, fp4, iq4

SIZE = 256
PACKED_IN_QS = 48
"""Bytes of five digits in TQ1_0; those after them have four."""


Stored = Mapping[str, float]
"""The numbers that a weight is made of, by field."""


@dataclass(frozen=True, slots=True)
class Term:
    """A factor of the sum: the number `field`, less `shift`, or the entry of `table` that it points to.

    `read` computes any other factor from the stored numbers and the weight; `also` is a second field that it
    takes. `word` is the key of its name where that is not the field's.
    """

    sign: str
    field: str
    latex: str
    shift: int = 0
    table: tuple[float, ...] = ()
    read: Callable[[Stored, int], float] | None = None
    also: str = ""
    word: str = ""

    def value(self, stored: Stored, weight: int) -> float:
        if self.read:
            return self.read(stored, weight)
        number = stored[self.field]
        return self.table[int(number)] if self.table else number - self.shift


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A format as it is drawn.

    Attributes
    ----------
    products : tuple of tuple of Term
        The value of a weight is their sum; a product is subtracted where its first term has a minus sign.
    sub_block : int
        Weights that share a scale.
    sentence : str
        The key of the sentence that tells the sum.
    codebook : str
        The codebook that indices point into; "" where each weight has a code of its own.
    level : callable or None
        The integer that stands for a weight where it has no code of its own.
    """

    type_name: str
    products: tuple[tuple[Term, ...], ...]
    sub_block: int
    sentence: str = "weight"
    codebook: str = ""
    level: Callable[[Stored, int], float] | None = None

    @property
    def layout(self) -> ggml.Format:
        return ggml.FORMATS[self.type_name]

    @property
    def blocks(self) -> int:
        return SIZE // self.layout.block_size

    @property
    def bytes(self) -> int:
        """Bytes of 256 weights."""
        return self.blocks * self.layout.block_bytes

    @property
    def code_term(self) -> Term:
        return self.products[0][-1]

    def total(self, stored: Stored, weight: int) -> float:
        """The value of a weight by the sum as it is drawn."""
        signs = [-1 if product[0].sign == "−" else 1 for product in self.products]
        values = [math.prod(term.value(stored, weight) for term in product) for product in self.products]
        return sum(sign * value for sign, value in zip(signs, values, strict=True))


@dataclass(frozen=True, eq=False)
class Decoded:
    """The bytes of 256 weights with the numbers in them and the weights that they give; flat arrays."""

    type_name: str
    data: NDArray[np.uint8]
    fields: Mapping[str, NDArray[Any]]
    weights: NDArray[np.float32]

    def number(self, role: ByteRole) -> float:
        """The number to which some bits belong."""
        return float(self.fields[role.field][role.index])

    def stored(self, weight: int) -> dict[str, float]:
        """The numbers that a weight is made of, by field."""
        return {role.field: self.number(role) for role in weight_bytes(self.type_name, weight)}

    @functools.cached_property
    def levels(self) -> NDArray[Any]:
        """The code of every weight, or what stands for it where codes are shared, shape (256,)."""
        level = FORMATS[self.type_name].level
        if level is None:
            return self.fields["codes"]
        return np.array([level(self.stored(i), i) for i in range(SIZE)], np.int64)


def decode(data: NDArray[np.uint8], type_name: str) -> Decoded:
    """Read bytes back by the real decoder."""
    data.setflags(write=False)
    with np.errstate(over="ignore"):  # the highest exponent of MXFP4's scale stands for infinity
        fields = {name: array.reshape(-1) for name, array in ggml.fields(data, type_name).items()}
    if type_name == "TQ1_0":
        fields["packed"] = np.concatenate([fields["qs"], fields["qh"]])
    return Decoded(type_name, data, fields, ggml.dequantize(data, type_name)[0])


def flipped(block: Decoded, byte: int, bit: int) -> Decoded:
    """The same bytes with one bit flipped."""
    data = block.data.copy()
    data[byte] ^= 1 << bit
    return decode(data, block.type_name)


@functools.cache
def byte_roles(type_name: str, byte: int) -> tuple[ByteRole, ...]:
    """`ggml.byte_roles`, with bytes, numbers and weights counted through all blocks."""
    block, inside = divmod(byte, ggml.FORMATS[type_name].block_bytes)
    return tuple(_in_block(role, block, type_name) for role in ggml.byte_roles(inside, type_name))


@functools.cache
def weight_bytes(type_name: str, weight: int) -> tuple[ByteRole, ...]:
    """`ggml.weight_bytes`, with bytes, numbers and weights counted through all blocks."""
    block, inside = divmod(weight, ggml.FORMATS[type_name].block_size)
    return tuple(_in_block(role, block, type_name) for role in ggml.weight_bytes(inside, type_name))


def _in_block(role: ByteRole, block: int, type_name: str) -> ByteRole:
    layout = ggml.FORMATS[type_name]
    first = block * layout.block_size
    if role.field in ("qs", "qh"):  # of TQ1_0: one row of packed bytes
        return replace(role, field="packed", index=role.index + PACKED_IN_QS * (role.field == "qh"))
    return replace(
        role,
        byte=role.byte + block * layout.block_bytes,
        index=role.index + block * (layout.block_size // len(role.weights)),
        weights=range(first + role.weights.start, first + role.weights.stop),
    )


# --- the formats -------------------------------------------------------------------------------------------

_D = Term("=", "d", "d")
_CODE = Term("·", "codes", "q_{i}")
_SCALE = Term("·", "scales", "sc_{j}")
_MINIMUM = (Term("−", "dmin", r"d_\mathrm{min}"), Term("·", "mins", "m_{j}"))


def _less(term: Term, shift: int) -> Term:
    return replace(term, latex=f"({term.latex} - {shift})", shift=shift)


def _entry(table: NDArray[np.floating], latex: str) -> Term:
    return replace(_CODE, latex=latex, table=tuple(table.tolist()))


def _grid(name: str, stored: Stored, weight: int) -> float:
    vector = codebooks.grid(name)[int(stored["indices"])]
    return float(vector[weight % len(vector)])


def _sign(bits: int, stored: Stored, weight: int) -> float:
    """+1 or −1; of 7 bits the eighth makes the number of minus signs even."""
    pattern = int(stored["signs"])
    if bits == 7:
        pattern |= (pattern.bit_count() & 1) << 7
    return -1.0 if pattern >> weight % 8 & 1 else 1.0


def digits(packed: float, count: int) -> list[int]:
    """The base-3 digits of a byte of TQ1_0, the first first."""
    return [((int(packed) * 3**n & 255) * 3) >> 8 for n in range(count)]


def _digit(stored: Stored, weight: int) -> float:
    place = weight // 32 if weight < 160 else (weight - 160) // 16 if weight < 240 else (weight - 240) // 4
    return digits(stored["packed"], 5)[place]


def _with_signs(type_name: str, sub_block: int, scale: Term, sign_bits: int) -> Anatomy:
    """IQ2 and IQ3: a scale, a vector of a codebook, and a sign for each weight."""
    name = type_name.lower().replace("_", "")
    grid, sign = functools.partial(_grid, name), functools.partial(_sign, sign_bits)
    product = (
        _D,
        scale,
        Term("·", "indices", "G_{k, {i}}", read=grid, word="term_grid"),
        Term("·", "signs", "s_{i}", read=sign, word="term_sign"),
    )
    return Anatomy(
        type_name,
        (product,),
        sub_block,
        "weight_grid",
        name,
        lambda stored, weight: grid(stored, weight) * sign(stored, weight),
    )


def _with_shift(type_name: str, sub_block: int) -> Anatomy:
    """IQ1: a scale and a vector of −1, 0 and 1, all moved by an eighth."""
    grid = functools.partial(_grid, "iq1s")
    shifted = Term(
        "·",
        "indices",
        r"(G_{k, {i}} \pm \frac{1}{8})",
        read=lambda stored, weight: grid(stored, weight) + (-0.125 if stored["shifts"] else 0.125),
        also="shifts",
        word="term_shifted",
    )
    return Anatomy(type_name, ((_D, _ODD, shifted),), sub_block, "weight_shifted", "iq1s", grid)


def _half(factor: float, latex: str, word: str) -> Term:
    return Term(
        "·", "scales", latex, read=lambda stored, _: (0.5 + stored["scales"]) * factor, word=f"term_{word}"
    )


_ODD = Term(
    "·", "scales", r"(2 sc_{j} + 1)", read=lambda stored, _: 2 * stored["scales"] + 1, word="term_odd"
)
_QUARTER = _half(0.25, r"(\frac{1}{2} + sc_{j}) \frac{1}{4}", "quarter")
_HALVED = _half(0.5, r"(\frac{1}{2} + sc_{j}) \frac{1}{2}", "halved")
_D_OF_BLOCK = replace(_D, latex="d_{j}")
_EXPONENT = Term("=", "e", "2^{e_{j} - 127}")
_ADDED = (Term("+", "m", "m_{j}"),)
_E2M1 = _entry(fp4.E2M1, r"\mathrm{E2M1}[q_{i}]")
_T = _entry(iq4.TABLE, "T[q_{i}]")
_DIGIT = Term(
    "·",
    "packed",
    "(t_{i} - 1)",
    read=lambda stored, weight: _digit(stored, weight) - 1,
    word="term_digit",
)
_ALL = (
    Anatomy("Q4_0", ((_D_OF_BLOCK, _less(_CODE, 8)),), 32, "weight_block"),
    Anatomy("Q4_1", ((_D_OF_BLOCK, _CODE), _ADDED), 32, "weight_added"),
    Anatomy("Q5_0", ((_D_OF_BLOCK, _less(_CODE, 16)),), 32, "weight_block"),
    Anatomy("Q5_1", ((_D_OF_BLOCK, _CODE), _ADDED), 32, "weight_added"),
    Anatomy("Q8_0", ((_D_OF_BLOCK, _CODE),), 32, "weight_block"),
    Anatomy("Q2_K", ((_D, _SCALE, _CODE), _MINIMUM), 16),
    Anatomy("Q3_K", ((_D, _less(_SCALE, 32), _less(_CODE, 4)),), 16, "weight_scaled"),
    Anatomy("Q4_K", ((_D, _SCALE, _CODE), _MINIMUM), 32),
    Anatomy("Q5_K", ((_D, _SCALE, _CODE), _MINIMUM), 32),
    Anatomy("Q6_K", ((_D, _SCALE, _less(_CODE, 32)),), 16, "weight_scaled"),
    Anatomy("IQ4_NL", ((_D_OF_BLOCK, _T),), 32, "weight_IQ4_NL"),
    Anatomy("IQ4_XS", ((_D, _less(_SCALE, 32), _T),), 32, "weight_IQ4_XS"),
    _with_signs("IQ3_S", 32, _ODD, 8),
    _with_signs("IQ3_XXS", 32, _HALVED, 7),
    _with_signs("IQ2_S", 16, _QUARTER, 8),
    _with_signs("IQ2_XS", 16, _QUARTER, 7),
    _with_signs("IQ2_XXS", 32, _QUARTER, 7),
    _with_shift("IQ1_M", 16),
    _with_shift("IQ1_S", 32),
    Anatomy("MXFP4", ((_EXPONENT, _E2M1),), 32, "weight_MXFP4"),
    Anatomy("NVFP4", ((_D_OF_BLOCK, _E2M1),), 16, "weight_NVFP4"),
    Anatomy("TQ2_0", ((_D, _less(_CODE, 1)),), 256, "weight_alone"),
    Anatomy("TQ1_0", ((_D, _DIGIT),), 256, "weight_digit", level=_digit),
    Anatomy("Q2_0", ((_D_OF_BLOCK, _less(_CODE, 1)),), 64, "weight_block"),
    Anatomy("Q1_0", ((_D_OF_BLOCK, _entry(np.array([-1.0, 1.0]), "(2 q_{i} - 1)")),), 128, "weight_block"),
)

FORMATS: Mapping[str, Anatomy] = {anatomy.type_name: anatomy for anatomy in _ALL}

for _anatomy in _ALL:
    if _anatomy.codebook:
        codebooks.grid(_anatomy.codebook)  # read before a server starts, which opens no file later
