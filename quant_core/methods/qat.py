"""Quantization-aware training (QAT) of one linear layer: learn weights that are good *after* rounding.

The layer computes Y = X Wᵀ and is trained to repeat given outputs. With `aware`, each step computes them
with the rounded weights Ŵ ("fake quantization"). Rounding is flat almost everywhere, so its true gradient is
0. The straight-through estimator replaces it with 1: the gradient with respect to Ŵ changes W::

    Ŵ = rounded(W);   W ← W − step · ∂loss/∂Ŵ

W collects small steps until a weight crosses the border between two levels. Where inputs are correlated, the
error of one weight can be made up by others; training finds such roundings, as GPTQ does without training.
Without `aware` the weights are trained in full precision, and rounded afterwards.

Two things keep it from running in circles. The grid of each group is fixed when rounding begins. And a
*damping* pulls each weight to its level more and more: otherwise weights near a border cross it back and
forth to the last step, and the result can be worse than rounding afterwards. The pull is measured in the
curvature of the loss; at damping 1 it lets a weight cross only where that alone lowers the loss.

References
----------
Bengio, Léonard and Courville 2013, "Estimating or Propagating Gradients Through Stochastic Neurons for
Conditional Computation", arXiv:1308.3432: the estimator. Jacob et al. 2018, "Quantization and Training of
Neural Networks for Efficient Integer-Arithmetic-Only Inference", arXiv:1712.05877, section 3: fake
quantization. Nagel et al. 2022, "Overcoming Oscillations in Quantization-Aware Training", arXiv:2203.11086:
dampening; its scale by the curvature is chosen here. Kingma and Ba 2015, "Adam", arXiv:1412.6980.
Learning the scale of the grid too is LSQ, Esser et al. 2020, arXiv:1902.08153, and not done here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core.arrays import as_matrix
from quant_core.methods.grid import Grid, Scheme
from quant_core.methods.rtn import Quantized, round_to_nearest

F64 = NDArray[np.float64]

#: Adam's decay rates of the mean gradient and the mean square, and the number that keeps 0 / 0 away.
_MEAN, _SQUARE, _SMALL = 0.9, 0.999, 1e-8
_MOST_STEPS = 100_000


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained layer.

    Attributes
    ----------
    weights : ndarray of float64, shape (rows, columns)
        The weights in full precision after the last step.
    quantized : Quantized
        The same on the grid of the training; without `aware` rounded to nearest on the grid of their range.
    losses : tuple of float
        The loss of the batch before each step, with the weights that the step used: Ŵ or W.
    """

    weights: F64
    quantized: Quantized
    losses: tuple[float, ...]


def train(
    inputs: ArrayLike,
    targets: ArrayLike,
    start: ArrayLike,
    *,
    aware: bool,
    bits: int = 4,
    group_size: int | None = 32,
    scheme: Scheme = "symmetric",
    steps: int = 500,
    delay: int = 0,
    learning_rate: float = 0.02,
    damping: float = 2.0,
    batch: int | None = None,
    seed: int = 0,
) -> Trained:
    """Train a linear layer to repeat the targets, with or without rounding in the loop.

    Adam, with a learning rate that falls linearly to 0. The same arguments give the same result, up to the
    rounding of the machine's matrix product.

    Parameters
    ----------
    inputs : array_like of float, shape (tokens, columns)
    targets : array_like of float, shape (tokens, rows)
        The outputs to repeat, for example those of the layer before rounding.
    start : array_like of float, shape (rows, columns)
        The weights to begin with: trained ones, or random ones with a `delay`.
    aware : bool
        Whether outputs are computed with rounded weights.
    bits, group_size, scheme
        The grid, as in `quant_core.methods.rtn.round_to_nearest`.
    steps : int
        0 to 100000.
    delay : int
        Steps in full precision before rounding begins and the grid is fixed, 0 to `steps`.
    learning_rate : float
        Of the first step, as a share of the root mean square of `start`: about how far Adam moves a weight.
    damping : float
        Pull to the levels at the last step; it grows linearly from 0. With 0, the plain estimator.
    batch : int, optional
        Tokens of a step, drawn anew without replacement; without it all.
    seed : int
        Of the batches.

    Returns
    -------
    Trained

    Raises
    ------
    ValueError
        If a number is not finite, shapes do not fit, `start` is all 0, or an argument is out of range.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(128, 32)) @ rng.normal(size=(32, 32))
    >>> w = rng.normal(size=(4, 32))
    >>> after, during = (train(x, x @ w.T, w, aware=aware, bits=3).quantized for aware in (False, True))
    >>> error = [float(np.mean((x @ (one.dequantize() - w).T) ** 2)) for one in (after, during)]
    >>> error[1] < error[0] / 2
    True
    """
    x = as_matrix(inputs, "inputs").astype(np.float64)
    y = as_matrix(targets, "targets").astype(np.float64)
    weights: F64 = as_matrix(start, "start").astype(np.float64)
    _check_shapes(x, y, weights)
    _check_training(steps, delay, learning_rate, damping)
    if batch is not None and not 1 <= batch <= len(x):
        raise ValueError(f"batch is {batch}; give 1 to {len(x)}, the number of tokens")
    random = np.random.default_rng(seed)
    nearest = round_to_nearest(weights, bits, group_size, scheme)
    unit = learning_rate * np.sqrt(np.mean(weights**2))
    curvature = 2 * np.mean(x**2, axis=0) / len(weights)
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    losses = []
    for step in range(steps):
        chosen = slice(None) if batch is None else random.choice(len(x), batch, replace=False)
        used, pull = weights, 0.0
        if aware and step >= delay:
            if step == delay:
                nearest = round_to_nearest(weights, bits, group_size, scheme)
            used = _on_grid(weights, nearest.grid, nearest.group_size).dequantize().astype(np.float64)
            pull = damping * (step + 1 - delay) / (steps - delay)
        loss, gradient = loss_and_gradient(x[chosen], y[chosen], used)
        losses.append(loss)
        gradient = gradient + pull * curvature * (weights - used)
        mean = _MEAN * mean + (1 - _MEAN) * gradient
        square = _SQUARE * square + (1 - _SQUARE) * gradient**2
        direction = mean / (1 - _MEAN ** (step + 1))
        width = np.sqrt(square / (1 - _SQUARE ** (step + 1)))
        weights = weights - unit * (1 - step / steps) * direction / (width + _SMALL)
    if aware and delay < steps:
        return Trained(weights, _on_grid(weights, nearest.grid, nearest.group_size), tuple(losses))
    return Trained(weights, round_to_nearest(weights, bits, group_size, scheme), tuple(losses))


def _on_grid(weights: F64, grid: Grid, group_size: int) -> Quantized:
    groups = weights.reshape(len(weights), -1, group_size)
    return Quantized(grid.quantize(groups).reshape(weights.shape), grid, group_size)


def loss_and_gradient(inputs: F64, targets: F64, weights: F64) -> tuple[float, F64]:
    """Return the mean squared error of X Wᵀ and its gradient with respect to W.

    Parameters
    ----------
    inputs : ndarray of float64, shape (tokens, columns)
    targets : ndarray of float64, shape (tokens, rows)
    weights : ndarray of float64, shape (rows, columns)

    Returns
    -------
    loss : float
        Mean over tokens and rows of (x · w − y)².
    gradient : ndarray of float64, shape (rows, columns)

    Examples
    --------
    >>> loss, gradient = loss_and_gradient(np.array([[1.0, 2.0]]), np.array([[1.0]]), np.array([[2.0, 0.0]]))
    >>> loss, gradient.tolist()
    (1.0, [[2.0, 4.0]])
    """
    difference = inputs @ weights.T - targets
    gradient: F64 = difference.T @ inputs * (2 / difference.size)
    return float(np.mean(difference**2)), gradient


def _check_shapes(inputs: F64, targets: F64, start: F64) -> None:
    if len(inputs) != len(targets):
        raise ValueError(f"inputs have {len(inputs)} tokens and targets {len(targets)}; give as many of both")
    if start.shape != (targets.shape[1], inputs.shape[1]):
        raise ValueError(
            f"start has shape {start.shape}; inputs and targets demand {(targets.shape[1], inputs.shape[1])}"
        )
    if not start.any():
        raise ValueError("start is all 0; give trained weights, or random ones")


def _check_training(steps: int, delay: int, learning_rate: float, damping: float) -> None:
    if not 0 <= steps <= _MOST_STEPS:
        raise ValueError(f"steps is {steps}; give 0 to {_MOST_STEPS}")
    if not 0 <= delay <= steps:
        raise ValueError(f"delay is {delay}; give 0 to {steps}, the number of steps")
    if not 0 < learning_rate < np.inf:
        raise ValueError(f"learning_rate is {learning_rate}; give a number above 0")
    if not 0 <= damping < np.inf:
        raise ValueError(f"damping is {damping}; give 0 or more")
