"""Pack integer weights as the tensors of GPTQ, AWQ and compressed-tensors checkpoints, and unpack them.

All three store unsigned b-bit codes and zero-points in int32 words, and fp16 scales. Code j of a run occupies
bits j · b … j · b + b − 1 of the run's words, the lowest bits first. They differ in what a run is:

==================  ====================================  ================================================
checkpoint          tensor, shape                         a word holds
==================  ====================================  ================================================
GPTQ                qweight (columns · b / 32, rows)      neighbouring *columns* (inputs) of one row
                    qzeros (groups, rows · b / 32)        neighbouring rows of one group; v1: minus 1
                    scales (groups, rows)
                    g_idx (columns,) int32                (the group of each column)
AWQ, GEMM, b = 4    qweight (columns, rows / 8)           eight neighbouring *rows* (outputs) of one
                                                          column, in the order 0 2 4 6 1 3 5 7
                    qzeros (groups, rows / 8)             the same of one group
                    scales (groups, rows)
compressed-tensors  weight_packed (rows, columns · b/32)  neighbouring columns of one row
"pack-quantized"    weight_zero_point (rows · b / 32,     neighbouring rows of one group; absent if
                    groups)                               symmetric
                    weight_scale (rows, groups)
                    weight_shape (2,) int64               (rows, columns)
                    weight_g_idx (columns,) int32         (the group of each column, after act-order only)
==================  ====================================  ================================================

**GPTQ's two versions.** Version 1 (`checkpoint_format` "gptq", the usual one) stores zero_point − 1, and
readers add 1. A zero-point of 0 does not fit: packers let it borrow from the neighbouring fields of the
word, in different ways, and vLLM's kernel reads 15 as 16. `pack_gptq` therefore refuses it. Version 2
("gptq_v2") stores zero_point itself.

**compressed-tensors** calls its codes signed, code − 2ᵇ⁻¹, and adds 2ᵇ⁻¹ again before it packs them: the bits
are those of the unsigned codes.

References
----------
AutoGPTQ 9f7d3707 `nn_modules/qlinear/qlinear_cuda.py` (`pack`); GPTQModel f4c327a1 `utils/model.py`
(`convert_gptq_v1_to_v2_format_module`); AutoAWQ 88e4c76b `modules/linear/gemm.py` (`from_linear`);
compressed-tensors 52792be0 `pack_quantized.py` (`pack_to_int32`) and 0.20.0; vLLM 6ab6cdd3
`csrc/quantization/gptq/q_gemm.cu`, ab07c4fc `kernels/mixed_precision/exllama.py`, 519b90d4
`compressed_tensors_wNa16.py`, 000796ac `awq.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quant_core.arrays import F32, U8
from quant_core.methods.gptq import GPTQResult
from quant_core.methods.rtn import Quantized

Tensors: TypeAlias = dict[str, NDArray[Any]]
Words: TypeAlias = NDArray[np.int32]

#: Code widths of each checkpoint. At other widths the versions of compressed-tensors disagree.
GPTQ_BITS = (2, 3, 4, 8)
AWQ_BITS = (4,)
COMPRESSED_BITS = (2, 4, 8)

#: Position in an AWQ word -> which of its eight rows; the order in which the kernel's shifts yield them.
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)

_WORD_BITS = 32


@dataclass(frozen=True, eq=False)
class IntegerWeights:
    """A matrix of unsigned codes on integer zero-point grids, the content of all three checkpoints.

    Attributes
    ----------
    codes : ndarray of uint8, shape (rows, columns)
        0 … 2ᵇ − 1.
    scale : ndarray of float16, shape (rows, groups)
    zero_point : ndarray of uint8, shape (rows, groups)
        0 … 2ᵇ − 1.
    group_index : ndarray of int32, shape (columns,)
        The group of each column.
    bits : int
        Code width.
    """

    codes: U8
    scale: NDArray[np.float16]
    zero_point: U8
    group_index: NDArray[np.int32]
    bits: int

    @property
    def in_order(self) -> bool:
        """Whether each group is a run of neighbouring columns, one after the other: no act-order."""
        columns, groups = self.codes.shape[1], self.scale.shape[1]
        in_order = np.arange(columns) // max(1, columns // groups)
        return columns % groups == 0 and np.array_equal(self.group_index, in_order)

    def dequantize(self) -> F32:
        """Return the levels scale · (code − zero_point) in float32, shape (rows, columns)."""
        zero_point = self.zero_point[:, self.group_index].astype(np.float32)
        scale = self.scale[:, self.group_index].astype(np.float32)
        levels: F32 = scale * (self.codes - zero_point)
        return levels


def integer_weights(source: Quantized | GPTQResult | IntegerWeights) -> IntegerWeights:
    """Return the codes and grids of a result, the scales rounded to float16.

    A symmetric `Quantized` gets the zero-point 2ᵇ⁻¹. AWQ's channel scales are in no checkpoint: give the
    `Quantized` of the scaled weights, and divide the preceding norm's weights by the scales.

    Parameters
    ----------
    source : Quantized, GPTQResult or IntegerWeights
        From `quant_core.methods.rtn`, `quant_core.methods.clip` or `quant_core.methods.gptq`, or
        `AWQResult.quantized.quantized`.

    Returns
    -------
    IntegerWeights

    Raises
    ------
    TypeError
        If the source is none of these.
    ValueError
        If the grid has a float offset, or a scale does not fit float16.

    Examples
    --------
    >>> from quant_core.methods.rtn import round_to_nearest
    >>> w = integer_weights(round_to_nearest([[-7.0, 3.0]], bits=4, group_size=None, scheme="symmetric"))
    >>> w.codes.tolist(), w.zero_point.tolist(), w.dequantize().tolist()
    ([[1, 11]], [[8]], [[-7.0, 3.0]])
    """
    if isinstance(source, IntegerWeights):
        return source
    if isinstance(source, GPTQResult):
        return _integers(source.codes, source.scale, source.zero_point, source.group_index, source.bits)
    if not isinstance(source, Quantized):
        raise TypeError(f"source is a {type(source).__name__}; give a Quantized or a GPTQResult")
    if source.zero_point is None:
        raise ValueError("the grid has a float offset; checkpoints of integers need an integer zero-point")
    bits = source.grid.bits
    # A symmetric grid has the codes −(2ᵇ⁻¹ − 1) … 2ᵇ⁻¹ − 1.
    shift = 2 ** (bits - 1) if source.grid.scheme == "symmetric" else 0
    group_index = np.arange(source.codes.shape[1]) // source.group_size
    return _integers(source.codes + shift, source.scale, source.zero_point + shift, group_index, bits)


def pack_gptq(source: Quantized | GPTQResult | IntegerWeights, version: Literal[1, 2] = 1) -> Tensors:
    """Return the tensors of a linear layer in a GPTQ checkpoint (AutoGPTQ, GPTQModel).

    Parameters
    ----------
    source : Quantized, GPTQResult or IntegerWeights
        2, 3, 4 or 8 bits; rows and columns multiples of 32.
    version : {1, 2}
        1: `checkpoint_format` "gptq", zero-points less 1. 2: "gptq_v2".

    Returns
    -------
    dict of str to ndarray
        qweight, qzeros (int32), scales (float16), g_idx (int32); see the module's table.

    Raises
    ------
    TypeError
        As `integer_weights`.
    ValueError
        If a size or width does not fit, or a zero-point is 0 in version 1.

    Examples
    --------
    >>> from quant_core.methods.rtn import round_to_nearest
    >>> w = np.tile(np.arange(8) - 3.0, (32, 4))
    >>> tensors = pack_gptq(round_to_nearest(w, bits=3, group_size=None))
    >>> {name: tensor.shape for name, tensor in tensors.items()}
    {'qweight': (3, 32), 'qzeros': (1, 3), 'scales': (1, 32), 'g_idx': (32,)}
    """
    w = integer_weights(source)
    _check_bits(w.bits, GPTQ_BITS, "GPTQ")
    _check_multiple(w.codes.shape, (_WORD_BITS, _WORD_BITS), "GPTQ")
    _check_version(version)
    zeros = w.zero_point.T
    if version == 1:
        if (zeros == 0).any():
            raise ValueError(
                f"{np.count_nonzero(zeros == 0)} zero-points are 0, which version 1 cannot store (it stores "
                "them less 1); write version 2, or quantize symmetrically"
            )
        zeros = zeros - np.uint8(1)
    return {
        "qweight": _to_words(w.codes, w.bits).T.copy(),
        "qzeros": _to_words(zeros, w.bits),
        "scales": w.scale.T.copy(),
        "g_idx": w.group_index,
    }


def unpack_gptq(
    tensors: Mapping[str, NDArray[Any]], bits: int = 4, version: Literal[1, 2] = 1
) -> IntegerWeights:
    """Return the weights of a linear layer in a GPTQ checkpoint.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        qweight, qzeros, scales and g_idx; without g_idx the groups are runs of neighbouring columns.
    bits : int
        `bits` of the checkpoint's configuration.
    version : {1, 2}
        2 if its `checkpoint_format` is "gptq_v2".

    Returns
    -------
    IntegerWeights

    Raises
    ------
    ValueError
        If a tensor is missing, or its shape, type or content does not fit.

    Examples
    --------
    >>> from quant_core.methods.rtn import round_to_nearest
    >>> q = round_to_nearest(np.tile(np.arange(8) - 3.0, (32, 4)), bits=3, group_size=None)
    >>> back = unpack_gptq(pack_gptq(q), bits=3)
    >>> bool((back.codes == q.codes).all()), bool((back.dequantize() == q.dequantize()).all())
    (True, True)
    """
    _check_bits(bits, GPTQ_BITS, "GPTQ")
    _check_version(version)
    scales = _tensor(tensors, "scales", 2, "fiu")
    groups, rows = scales.shape
    qweight = _words(tensors, "qweight", (None, rows))
    columns, rest = divmod(len(qweight) * _WORD_BITS, bits)
    if rest:
        raise ValueError(
            f"qweight has {len(qweight)} rows of words, which hold no whole number of {bits}-bit codes"
        )
    qzeros = _words(tensors, "qzeros", (groups, -(-rows * bits // _WORD_BITS)))
    if version == 1:
        zeros = _undo_minus_one(qzeros, bits, rows)
    else:
        zeros = _from_words(qzeros, bits, rows)
    codes = _from_words(qweight.T, bits, columns)
    group_index = _group_index(tensors, "g_idx", columns, groups)
    return IntegerWeights(codes, _half(scales.T), zeros.T.copy(), group_index, bits)


def pack_awq(source: Quantized | GPTQResult | IntegerWeights) -> Tensors:
    """Return the tensors of a linear layer in an AWQ checkpoint (AutoAWQ, version "gemm").

    Parameters
    ----------
    source : Quantized, GPTQResult or IntegerWeights
        4 bits; rows a multiple of 8; groups of neighbouring columns.

    Returns
    -------
    dict of str to ndarray
        qweight, qzeros (int32), scales (float16); see the module's table.

    Raises
    ------
    TypeError
        As `integer_weights`.
    ValueError
        If a size or width does not fit, or after act-order: the checkpoint has no `g_idx`.

    Examples
    --------
    >>> from quant_core.methods.rtn import round_to_nearest
    >>> q = round_to_nearest([[8.0, row] for row in range(8)], bits=4, group_size=1, scheme="symmetric")
    >>> {name: tensor.shape for name, tensor in pack_awq(q).items()}
    {'qweight': (2, 1), 'qzeros': (2, 1), 'scales': (2, 8)}
    """
    w = integer_weights(source)
    _check_bits(w.bits, AWQ_BITS, "AWQ")
    _check_multiple(w.codes.shape, (len(AWQ_ORDER), 1), "AWQ")
    if not w.in_order:
        raise ValueError("the groups are not runs of neighbouring columns (act-order); use static groups")
    return {
        "qweight": _to_words(_interleave(w.codes.T), w.bits),
        "qzeros": _to_words(_interleave(w.zero_point.T), w.bits),
        "scales": w.scale.T.copy(),
    }


def unpack_awq(tensors: Mapping[str, NDArray[Any]]) -> IntegerWeights:
    """Return the weights of a linear layer in an AWQ checkpoint.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        qweight, qzeros, scales.

    Returns
    -------
    IntegerWeights
        4 bits. The group size is columns / groups.

    Raises
    ------
    ValueError
        If a tensor is missing, or its shape or type does not fit.

    Examples
    --------
    >>> from quant_core.methods.rtn import round_to_nearest
    >>> q = round_to_nearest(np.arange(32.0).reshape(8, 4) - 9, bits=4, group_size=2)
    >>> bool((unpack_awq(pack_awq(q)).codes == q.codes).all())
    True
    """
    (bits,) = AWQ_BITS
    scales = _tensor(tensors, "scales", 2, "fiu")
    groups, rows = scales.shape
    _check_multiple((rows, groups), (len(AWQ_ORDER), 1), "AWQ")
    qweight = _words(tensors, "qweight", (None, rows * bits // _WORD_BITS))
    qzeros = _words(tensors, "qzeros", (groups, rows * bits // _WORD_BITS))
    codes = _deinterleave(_from_words(qweight, bits, rows)).T.copy()
    zeros = _deinterleave(_from_words(qzeros, bits, rows)).T.copy()
    return IntegerWeights(codes, _half(scales.T), zeros, _in_order(len(qweight), groups), bits)


def pack_compressed(source: Quantized | GPTQResult | IntegerWeights, symmetric: bool = False) -> Tensors:
    """Return the tensors of a linear layer in a compressed-tensors checkpoint, format "pack-quantized".

    Parameters
    ----------
    source : Quantized, GPTQResult or IntegerWeights
        2, 4 or 8 bits (vLLM loads 4 and 8); any shape, the last word of a row is filled with 0.
    symmetric : bool
        `symmetric` of the checkpoint's configuration: leave the zero-points out. They must all be 2ᵇ⁻¹.

    Returns
    -------
    dict of str to ndarray
        weight_packed (int32), weight_scale (float16), weight_shape (int64), unless symmetric
        weight_zero_point (int32), after act-order weight_g_idx (int32); see the module's table.

    Raises
    ------
    TypeError
        As `integer_weights`.
    ValueError
        If the width does not fit, or `symmetric` does not hold.

    Examples
    --------
    >>> from quant_core.methods.rtn import round_to_nearest
    >>> q = round_to_nearest(np.linspace(-1, 1, 24).reshape(2, 12), bits=4, group_size=4)
    >>> {name: tensor.shape for name, tensor in pack_compressed(q).items()}
    {'weight_packed': (2, 2), 'weight_scale': (2, 3), 'weight_shape': (2,), 'weight_zero_point': (1, 3)}
    """
    w = integer_weights(source)
    _check_bits(w.bits, COMPRESSED_BITS, "compressed-tensors")
    tensors: Tensors = {
        "weight_packed": _to_words(w.codes, w.bits),
        "weight_scale": w.scale,
        "weight_shape": np.array(w.codes.shape, np.int64),
    }
    if not symmetric:
        tensors["weight_zero_point"] = _to_words(w.zero_point.T, w.bits).T.copy()
    elif (w.zero_point != 2 ** (w.bits - 1)).any():
        raise ValueError(
            f"symmetric leaves the zero-points out, but not all of them are {2 ** (w.bits - 1)}; "
            'quantize with scheme="symmetric", or write them'
        )
    if not w.in_order:
        tensors["weight_g_idx"] = w.group_index
    return tensors


def unpack_compressed(tensors: Mapping[str, NDArray[Any]], bits: int = 4) -> IntegerWeights:
    """Return the weights of a linear layer in a compressed-tensors checkpoint, format "pack-quantized".

    Parameters
    ----------
    tensors : mapping of str to ndarray
        weight_packed, weight_scale, weight_shape; weight_zero_point unless symmetric; weight_g_idx after
        act-order.
    bits : int
        `num_bits` of the checkpoint's configuration.

    Returns
    -------
    IntegerWeights

    Raises
    ------
    ValueError
        If a tensor is missing, or its shape, type or content does not fit.

    Examples
    --------
    >>> from quant_core.methods.rtn import round_to_nearest
    >>> q = round_to_nearest(np.linspace(-1, 1, 24).reshape(2, 12), bits=4, group_size=4)
    >>> bool((unpack_compressed(pack_compressed(q)).codes == q.codes).all())
    True
    """
    _check_bits(bits, COMPRESSED_BITS, "compressed-tensors")
    scale = _tensor(tensors, "weight_scale", 2, "fiu")
    rows, groups = scale.shape
    shape = _tensor(tensors, "weight_shape", 1, "iu").tolist()
    if len(shape) != 2 or shape[0] != rows or shape[1] < 1:
        raise ValueError(f"weight_shape is {shape}, but weight_scale has {rows} rows; they must agree")
    columns = int(shape[1])
    packed = _words(tensors, "weight_packed", (rows, -(-columns * bits // _WORD_BITS)))
    if "weight_zero_point" in tensors:
        words = _words(tensors, "weight_zero_point", (-(-rows * bits // _WORD_BITS), groups))
        zero_point = _from_words(words.T, bits, rows).T.copy()
    else:
        zero_point = np.full((rows, groups), 2 ** (bits - 1), np.uint8)
    group_index = _group_index(tensors, "weight_g_idx", columns, groups)
    return IntegerWeights(_from_words(packed, bits, columns), _half(scale), zero_point, group_index, bits)


def _integers(
    codes: NDArray[Any], scale: NDArray[Any], zero_point: NDArray[Any], group_index: NDArray[Any], bits: int
) -> IntegerWeights:
    return IntegerWeights(
        codes.astype(np.uint8), _half(scale), zero_point.astype(np.uint8), group_index.astype(np.int32), bits
    )


def _to_words(codes: U8, bits: int) -> Words:
    """Pack runs along the last axis, shape (..., n) to (..., ceil(n · bits / 32))."""
    *lead, count = codes.shape
    stream = np.unpackbits(codes[..., None], axis=-1, count=bits, bitorder="little")
    stream = stream.reshape(*lead, count * bits)
    filled = np.zeros((*lead, -(-count * bits // _WORD_BITS) * _WORD_BITS), np.uint8)
    filled[..., : count * bits] = stream
    words: Words = np.packbits(filled, axis=-1, bitorder="little").view("<i4").astype(np.int32, copy=False)
    return words


def _from_words(words: Words, bits: int, count: int) -> U8:
    """Unpack runs of `count` codes along the last axis, shape (..., words) to (..., count)."""
    octets = np.ascontiguousarray(words).astype("<i4", copy=False).view(np.uint8)
    stream = np.unpackbits(octets, axis=-1, count=count * bits, bitorder="little")
    return np.packbits(stream.reshape(*words.shape[:-1], count, bits), axis=-1, bitorder="little")[..., 0]


def _undo_minus_one(words: Words, bits: int, count: int) -> U8:
    """Return the zero-points of version 1, whose fields hold them less 1.

    Where a field divides the word GPTQModel subtracted a word of ones, with a borrow from the next field if a
    zero-point was 0; adding it again as a word restores even those. At 3 bits it works by fields.
    """
    if _WORD_BITS % bits:
        return (_from_words(words, bits, count) + 1) & np.uint8(2**bits - 1)
    ones = np.uint32(sum(1 << shift for shift in range(0, _WORD_BITS, bits)))
    return _from_words((words.view(np.uint32) + ones).view(np.int32), bits, count)


def _interleave(values: U8) -> U8:
    """Bring each eight neighbours of the last axis into AWQ's order."""
    return values.reshape(*values.shape[:-1], -1, 8)[..., list(AWQ_ORDER)].reshape(values.shape)


def _deinterleave(values: U8) -> U8:
    back = np.argsort(AWQ_ORDER)
    return values.reshape(*values.shape[:-1], -1, 8)[..., back].reshape(values.shape)


def _half(scale: NDArray[Any]) -> NDArray[np.float16]:
    with np.errstate(over="ignore", under="ignore"):
        half: NDArray[np.float16] = np.ascontiguousarray(scale.astype(np.float16))
    if not np.isfinite(half).all() or ((half == 0) & (scale != 0)).any():
        raise ValueError(
            f"scales reach from {scale.min():g} to {scale.max():g}; "
            "checkpoints store them in float16, from 6e-08 to 65504"
        )
    return half


def _in_order(columns: int, groups: int) -> NDArray[np.int32]:
    if columns % groups:
        raise ValueError(f"{columns} columns do not divide into {groups} groups; the tensors do not fit")
    return (np.arange(columns) // (columns // groups)).astype(np.int32)


def _group_index(
    tensors: Mapping[str, NDArray[Any]], name: str, columns: int, groups: int
) -> NDArray[np.int32]:
    if name not in tensors:
        return _in_order(columns, groups)
    index = _tensor(tensors, name, 1, "iu")
    if index.shape != (columns,) or index.min() < 0 or index.max() >= groups:
        raise ValueError(
            f"{name} has shape {index.shape} and values from {index.min()} to {index.max()}; "
            f"it must give one of {groups} groups to each of {columns} columns"
        )
    return index.astype(np.int32)


def _words(tensors: Mapping[str, NDArray[Any]], name: str, shape: tuple[int | None, int]) -> Words:
    """Return a tensor of int32 words whose shape is known, but for a first size that is None."""
    words = _tensor(tensors, name, 2, "i")
    fits = words.shape[1] == shape[1] and shape[0] in (None, words.shape[0])
    if words.dtype.itemsize != 4 or not fits or not words.size:
        wanted = f"({'any' if shape[0] is None else shape[0]}, {shape[1]})"
        raise ValueError(
            f"{name} is {words.dtype} of shape {words.shape}; int32 of shape {wanted} fits the scales"
        )
    return np.ascontiguousarray(words).astype(np.int32, copy=False)


def _tensor(tensors: Mapping[str, NDArray[Any]], name: str, dimensions: int, kinds: str) -> NDArray[Any]:
    if name not in tensors:
        raise ValueError(f"{name} is missing; there are {', '.join(sorted(tensors)) or 'no tensors'}")
    tensor = np.asarray(tensors[name])
    if tensor.ndim != dimensions or tensor.size == 0 or tensor.dtype.kind not in kinds:
        raise ValueError(
            f"{name} is {tensor.dtype} of shape {tensor.shape}; it must have {dimensions} dimensions, "
            f"and hold {'integers' if 'f' not in kinds else 'numbers'}"
        )
    return tensor


def _check_bits(bits: int, allowed: tuple[int, ...], checkpoint: str) -> None:
    if bits not in allowed:
        raise ValueError(f"bits is {bits}; {checkpoint} checkpoints store {', '.join(map(str, allowed))}")


def _check_multiple(shape: tuple[int, ...], units: tuple[int, int], checkpoint: str) -> None:
    if any(size % unit for size, unit in zip(shape, units, strict=True)):
        raise ValueError(
            f"the weights have shape {shape}; {checkpoint} checkpoints take multiples of {units[0]} rows "
            f"and {units[1]} columns"
        )


def _check_version(version: int) -> None:
    if version not in (1, 2):
        raise ValueError(f"version is {version}; give 1 (checkpoint_format gptq) or 2 (gptq_v2)")
