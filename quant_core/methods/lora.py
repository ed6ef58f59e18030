"""Low-rank repair of a quantized layer: the best adapter that can be computed without training.

Quantization leaves an error E = W − Ŵ. Of all products B A of rank r, the one that best restores the layer's
*output* is the truncated singular value decomposition of E, each input direction weighted by how strongly the
layer's inputs use it. LoftQ starts the training of an adapter from such a repair, unweighted; LQER weights it
channel by channel, QERA by the whole second moment, as here. Training is not implemented;
the forward pass is `quant_core.methods.nf4.lora_forward`.

References
----------
Li et al. 2023, "LoftQ: LoRA-Fine-Tuning-Aware Quantization for Large Language Models", arXiv:2310.08659.
Zhang et al. 2024, "LQER: Low-Rank Quantization Error Reconstruction for LLMs", arXiv:2402.02446.
Zhang et al. 2024, "QERA: an Analytical Framework for Quantization Error Reconstruction", arXiv:2410.06040.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core.arrays import F32, as_matrix

_NOTHING = 1e-12
"""Share of the largest squared error below which an output direction counts as repaired."""

_ASYMMETRY = 1e-5
"""Allowed asymmetry or negativity of a second moment in float32, as a share of its norm."""


def low_rank_repair(
    weights: ArrayLike, approximation: ArrayLike, second_moment: ArrayLike, rank: int
) -> tuple[F32, F32]:
    """Return A and B of rank r that minimise tr((E − B A) H (E − B A)ᵀ), E = W − Ŵ.

    With H = XᵀX / n that is the mean squared error of the output X (Ŵ + B A)ᵀ. The first k rows of A and
    columns of B are the repair of rank k.

    Parameters
    ----------
    weights, approximation : array_like of float, shape (rows, columns)
        The original weights W and the quantized ones Ŵ.
    second_moment : array_like of float, shape (columns, columns)
        H = XᵀX / n of the layer's inputs, or any positive multiple of it. The identity repairs the weights
        themselves, as LoftQ does.
    rank : int
        0 to min(rows, columns).

    Returns
    -------
    a : ndarray of float32, shape (rank, columns)
    b : ndarray of float32, shape (rows, rank)
        Both carry the square roots of the singular values, so that neither is much larger than the other.

    Raises
    ------
    ValueError
        If the shapes do not fit, H is not symmetric positive semi-definite, or the rank is out of range.

    References
    ----------
    Eckart and Young 1936, "The approximation of one matrix by another of lower rank".
    QERA, arXiv:2410.06040, the exact solution: with E H^(1/2) = U S Vᵀ, B A = U_r S_r V_rᵀ H^(−1/2). That is
    U_r U_rᵀ E, and U S² Uᵀ = E H Eᵀ: the principal directions of the output error, no root of H needed.

    Examples
    --------
    The error of the first column is larger, so it is repaired first, unless the second is used more:

    >>> weights, rounded = [[3.0, 0.0], [0.0, 1.0]], np.zeros((2, 2))
    >>> a, b = low_rank_repair(weights, rounded, np.eye(2), rank=1)
    >>> (np.abs(b @ a).round(5)).tolist()
    [[3.0, 0.0], [0.0, 0.0]]
    >>> a, b = low_rank_repair(weights, rounded, np.diag([1.0, 100.0]), rank=1)
    >>> (np.abs(b @ a).round(5)).tolist()
    [[0.0, 0.0], [0.0, 1.0]]
    """
    w, w_hat = as_matrix(weights, "weights"), as_matrix(approximation, "approximation")
    if w.shape != w_hat.shape:
        raise ValueError(f"weights have shape {w.shape}, their approximation {w_hat.shape}; give one shape")
    if rank not in range(min(w.shape) + 1):
        raise ValueError(f"rank is {rank!r}; give an integer from 0 to {min(w.shape)}, the full rank")
    h = _checked_moment(second_moment, w.shape[1])
    # The column of an input that is always 0 is not repaired.
    error = np.where(np.diag(h) > 0, w.astype(np.float64) - w_hat, 0.0)
    energy, directions = np.linalg.eigh(error @ h @ error.T)
    energy, directions = energy[::-1][:rank], directions[:, ::-1][:, :rank]
    used = energy > _NOTHING * max(energy.max(initial=0.0), 0.0)
    half = np.where(used, np.maximum(energy, 0.0), 0.0) ** 0.25
    inverse = np.divide(1.0, half, out=np.zeros_like(half), where=used)
    a, b = inverse[:, None] * (directions.T @ error), directions * half
    return a.astype(np.float32), b.astype(np.float32)


def output_errors(
    activations: ArrayLike, weights: ArrayLike, approximation: ArrayLike, a: ArrayLike, b: ArrayLike
) -> NDArray[np.float64]:
    """Return ‖X (W − Ŵ − B_k A_k)ᵀ‖² / ‖X Wᵀ‖² for the first k parts of an adapter, k = 0 … r.

    Parameters
    ----------
    activations : array_like of float, shape (tokens, columns)
    weights, approximation : array_like of float, shape (rows, columns)
    a : array_like of float, shape (r, columns)
    b : array_like of float, shape (rows, r)

    Returns
    -------
    ndarray of float64, shape (r + 1,)
        The relative output error at each rank; the first is that without the adapter.

    Raises
    ------
    ValueError
        If the shapes do not fit or a number is not finite.

    Examples
    --------
    >>> output_errors(np.eye(2), 2 * np.eye(2), np.zeros((2, 2)), 2 * np.eye(2), np.eye(2)).tolist()
    [1.0, 0.5, 0.0]
    """
    x, w, w_hat, down, up = (
        as_matrix(part, name).astype(np.float64)
        for part, name in (
            (activations, "activations"),
            (weights, "weights"),
            (approximation, "approximation"),
            (a, "a"),
            (b, "b"),
        )
    )
    rows, columns = w.shape
    fitting = (len(x), columns), (rows, columns), (rows, columns), (len(down), columns), (rows, len(down))
    if (x.shape, w.shape, w_hat.shape, down.shape, up.shape) != fitting:
        raise ValueError(
            f"shapes do not fit: activations {x.shape}, weights {w.shape}, approximation {w_hat.shape}, "
            f"a {down.shape}, b {up.shape}; "
            "give (tokens, columns), (rows, columns) twice, (r, columns), (rows, r)"
        )
    # With D = X (W − Ŵ)ᵀ and Z = X Aᵀ the error is ‖D − Z_k B_kᵀ‖² = ‖D‖² − 2 Σ zᵢᵀ D bᵢ + Σ (ZᵀZ)ᵢⱼ (BᵀB)ᵢⱼ
    # over i, j ≤ k: sums that grow with k, so one product serves every rank.
    z, difference = x @ down.T, x @ (w - w_hat).T
    gained = np.sum((z.T @ difference) * up.T, axis=1)
    both = np.cumsum(np.cumsum((z.T @ z) * (up.T @ up), axis=0), axis=1)
    frozen, power = float(np.sum(difference**2)), float(np.sum((x @ w.T) ** 2))
    if not power:
        raise ValueError("the layer's output is 0 for these activations; no error is relative to that")
    left = np.concatenate([[frozen], frozen - 2 * np.cumsum(gained) + np.diag(both)])
    relative: NDArray[np.float64] = np.maximum(left, 0) / power
    return relative


def _checked_moment(second_moment: ArrayLike, columns: int) -> NDArray[np.float64]:
    h = as_matrix(second_moment, "second_moment").astype(np.float64)
    if h.shape != (columns, columns):
        raise ValueError(f"second_moment has shape {h.shape}; give XᵀX / n, shape {(columns, columns)}")
    slack = max(_ASYMMETRY * float(np.linalg.norm(h)), np.finfo(np.float64).tiny)
    try:
        np.linalg.cholesky(h + slack * np.eye(columns))
        fits = bool((np.abs(h - h.T) <= slack).all())
    except np.linalg.LinAlgError:
        fits = False
    if not fits:
        raise ValueError("second_moment is not symmetric positive semi-definite; give XᵀX / n")
    return h
