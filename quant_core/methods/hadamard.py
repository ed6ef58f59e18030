"""Rotate outliers away: the fast Walsh-Hadamard transform, with random signs, folded into weights.

A Hadamard matrix H holds only ±1/√n and is orthonormal: it keeps lengths and inner products, and spreads one
large number evenly over all n. A layer's output does not change if its inputs and its weights are rotated by
the same matrix, X Wᵀ = (X R)(W R)ᵀ, but the rotated inputs have no outlier channels and are easier to
round. Random signs D before it, R = D H, keep a regular pattern of X from adding up in one channel.

The transform exists for powers of two. Other widths are rotated in blocks, 384 as 3 × 128: an outlier then
spreads over its block only. (QuaRot multiplies 384 = 12 · 32 by a Hadamard matrix of 12 besides.)

References
----------
Ashkboos et al. 2024, "QuaRot: Outlier-Free 4-Bit Inference in Rotated LLMs" (arXiv 2404.00456), section 3;
spcl/QuaRot 12e33bad `fake_quant/hadamard_utils.py` (`matmul_hadU`, `random_hadamard_matrix`).
`ggml_gen_hadamard` in `src/llama-kv-cache.cpp` of ggml-org/llama.cpp 0c1e57098bba, the same matrix; since
pull request 21038 it rotates quantized key/value caches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from quant_core.arrays import F32, FloatArray, as_floats, as_matrix


@dataclass(frozen=True, eq=False)
class Rotation:
    """The orthonormal matrix R = D H: signs, then a Walsh-Hadamard transform of each block.

    Attributes
    ----------
    signs : ndarray of float32, shape (columns,)
        −1 and 1, the diagonal of D.
    block_size : int
        A power of two that divides the columns.
    """

    signs: F32
    block_size: int

    def apply(self, values: ArrayLike) -> FloatArray:
        """Return values · R, shape (…, columns); float64 stays float64.

        Raises
        ------
        ValueError
            If a value is not finite, or the last size is not that of the signs.
        """
        return transform(self._checked(values) * self.signs, self.block_size)

    def undo(self, values: ArrayLike) -> FloatArray:
        """Return values · Rᵀ, shape (…, columns): `apply` undone.

        Raises
        ------
        ValueError
            As `apply`.
        """
        back: FloatArray = transform(self._checked(values), self.block_size) * self.signs
        return back

    def _checked(self, values: ArrayLike) -> FloatArray:
        floats = as_floats(values, "values")
        if floats.ndim == 0 or floats.shape[-1] != len(self.signs):
            raise ValueError(
                f"values have shape {floats.shape}; the rotation is for {len(self.signs)} columns"
            )
        return floats


@dataclass(frozen=True, eq=False)
class Rotated:
    """A layer whose inputs and weights are rotated: activations · weightsᵀ is what it was.

    Attributes
    ----------
    weights : ndarray of float32 or float64, shape (rows, columns)
        W R. It is stored in place of W.
    activations : ndarray of float32 or float64, shape (tokens, columns)
        X R. A model folds R into the weights that make X, or transforms X as it runs.
    rotation : Rotation
    """

    weights: FloatArray
    activations: FloatArray
    rotation: Rotation


def transform(values: ArrayLike, block_size: int | None = None) -> FloatArray:
    """Return the orthonormal Walsh-Hadamard transform of each block of the last axis, in O(n log n).

    The rows of the matrix are in natural (Sylvester's) order: H[i, j] = (−1)^popcount(i & j) / √n. It is
    symmetric and its own inverse.

    Parameters
    ----------
    values : array_like of float, shape (…, columns)
        Not changed.
    block_size : int, optional
        A power of two that divides the columns; by default the largest.

    Returns
    -------
    ndarray of float32 or float64, shape (…, columns)
        float64 for float64 values.

    Raises
    ------
    ValueError
        If a value is not finite, there are no columns, or the block size does not fit.

    Examples
    --------
    >>> transform([4.0, 0.0, 0.0, 0.0]).tolist(), transform([1.0, 1.0, 1.0, -1.0]).tolist()
    ([2.0, 2.0, 2.0, 2.0], [1.0, 1.0, 1.0, -1.0])
    >>> transform([1.0, 0.0, 0.0, 2.0], block_size=1).tolist()
    [1.0, 0.0, 0.0, 2.0]
    """
    floats = as_floats(values, "values")
    if floats.ndim == 0 or not floats.size:
        raise ValueError(f"values have shape {floats.shape}; give at least one row of numbers")
    size = _check_block_size(block_size, floats.shape[-1])
    sums = floats.reshape(-1, size)
    half = 1
    while half < size:
        pairs = sums.reshape(-1, 2, half)
        sums = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1)
        half *= 2
    transformed: FloatArray = (sums / np.sqrt(floats.dtype.type(size))).reshape(floats.shape)
    return transformed


def random_rotation(columns: int, seed: int = 0, block_size: int | None = None) -> Rotation:
    """Return a Walsh-Hadamard transform with random signs.

    Parameters
    ----------
    columns : int
        Width of what is rotated.
    seed : int
        Of the signs; the same seed gives the same signs.
    block_size : int, optional
        A power of two that divides the columns; by default the largest.

    Raises
    ------
    ValueError
        If there are no columns, the block size does not fit, or the seed is negative.

    References
    ----------
    `random_hadamard_matrix` of spcl/QuaRot, which draws its own signs.

    Examples
    --------
    >>> random_rotation(384).block_size, sorted(set(random_rotation(384).signs.tolist()))
    (128, [-1.0, 1.0])
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}; give an integer from 0")
    size = _check_block_size(block_size, columns)
    signs = np.random.default_rng(seed).choice(np.array([-1, 1], np.float32), columns)
    return Rotation(signs, size)


def rotate(
    weights: ArrayLike, activations: ArrayLike, seed: int = 0, block_size: int | None = None
) -> Rotated:
    """Rotate a layer's weights and inputs by the same random matrix; its output does not change.

    Parameters
    ----------
    weights : array_like of float, shape (rows, columns)
    activations : array_like of float, shape (tokens, columns)
    seed : int
        Of the signs.
    block_size : int, optional
        A power of two that divides the columns; by default the largest.

    Returns
    -------
    Rotated

    Raises
    ------
    ValueError
        If the shapes do not fit, a number is not finite, or the block size does not fit.

    References
    ----------
    QuaRot, section 3 ("computational invariance").

    Examples
    --------
    >>> w, x = np.eye(4, dtype=np.float32)[:2], np.array([[8.0, 0.0, 0.0, 0.0]], np.float32)
    >>> layer = rotate(w, x)
    >>> np.abs(layer.activations).tolist(), (layer.activations @ layer.weights.T).tolist()
    ([[4.0, 4.0, 4.0, 4.0]], [[8.0, 0.0]])
    """
    w, x = as_matrix(weights, "weights"), as_matrix(activations, "activations")
    if w.shape[1] != x.shape[1]:
        raise ValueError(
            f"weights have {w.shape[1]} columns and activations {x.shape[1]}; they must have the same number"
        )
    rotation = random_rotation(w.shape[1], seed, block_size)
    return Rotated(rotation.apply(w), rotation.apply(x), rotation)


def _check_block_size(block_size: int | None, columns: int) -> int:
    if columns < 1:
        raise ValueError(f"columns is {columns}; give at least 1")
    largest = columns & -columns
    if block_size is None:
        return largest
    if block_size < 1 or block_size & (block_size - 1) or largest % block_size:
        raise ValueError(
            f"block_size {block_size} does not fit {columns} columns; give a power of two from 1 to {largest}"
        )
    return block_size
