"""The forward pass of Llama, Qwen2 and Qwen3 in numpy, to see the effect of quantization.

The weights are a dictionary of float32 matrices under their names in a GGUF file. To measure a method,
replace weights by dequantized ones (`Transformer.replaced`) and evaluate again (`quant_core.llm.evaluate`).

One layer of the model, for each token x::

    x += W_o · attention(W_q · norm(x), W_k · norm(x), W_v · norm(x))
    x += W_down · (silu(W_gate · norm(x)) ⊙ W_up · norm(x))

Queries and keys are rotated by an angle that grows with the position (RoPE), so that their product depends on
the distance. Groups of query heads share one key and value head (GQA). At the end the embedding, or a
separate matrix, turns x into the logits, a score for each entry of the vocabulary.

Arithmetic is float32. Quantized weights are decoded first and activations are not rounded, as in a GPU's
kernels; `quant_core.llm.activations` adds the rounding of llama.cpp's CPU kernels, and
`quant_core.llm.kv_cache` that of a key/value cache of fewer bits.

References
----------
Touvron et al. 2023, "LLaMA"; Su et al. 2021, "RoFormer" (RoPE), section 3.2.2; Zhang and Sennrich 2019, "Root
Mean Square Layer Normalization"; Shazeer 2020, "GLU Variants"; Ainslie et al. 2023, "GQA".
ggml-org/llama.cpp 0c1e57098bba, `src/models/llama.cpp` (`build_arch_graph`) and `ggml_rope_ext`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant_core.arrays import F32, as_floats
from quant_core.files.errors import FormatError, printable, short_path
from quant_core.files.model import Model
from quant_core.files.opening import open_model
from quant_core.llm.shapes import FULL, ModelShape

Tokens = NDArray[np.int64]
#: Called with a matrix's name and its inputs, shape (tokens, columns), before the product.
Listener = Callable[[str, F32], None]

#: Architectures that rotate neighbouring pairs of queries and keys; the others pair the two halves of a head.
_PAIRED_NEIGHBOURS = frozenset({"llama"})
_PARTS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
_EMBEDDING = "token_embd.weight"


class Cache:
    """Keys and values of the tokens that a model has read.

    Parameters
    ----------
    shape : ModelShape
    batch : int
        Number of sequences.
    capacity : int
        Most tokens of each sequence.
    """

    def __init__(self, shape: ModelShape, batch: int, capacity: int) -> None:
        size = (shape.n_layers, batch, shape.n_kv_heads, capacity, shape.head_dim)
        self.keys: F32 = np.zeros(size, np.float32)
        self.values: F32 = np.zeros(size, np.float32)
        self.length = 0


@dataclass(frozen=True, eq=False)
class Transformer:
    """A model and its weights; immutable.

    Attributes
    ----------
    shape : ModelShape
    weights : mapping of str to ndarray of float32
        By GGUF name; matrices have shape (rows, columns).
    norm_epsilon : float
        Added to the mean square of RMSNorm.
    frequencies : ndarray of float64, shape (head_dim / 2,)
        Angle, in radians for each position, of each pair of a head.
    neighbours : bool
        Whether a pair is two neighbouring rows, as in llama.cpp's files of Llama, or one of each half.
    inputs : callable, optional
        From the name of a matrix and its inputs (tokens, columns) to what it is multiplied with instead: for
        methods that round activations too, such as `quant_core.llm.activations.rounding_of`.
    cached : callable, optional
        From queries, keys and values (batch, tokens, heads, head_dim) of a layer to those that attention
        computes with: for a cache of fewer bits, `quant_core.llm.kv_cache.CacheRounding`.
    """

    shape: ModelShape
    weights: Mapping[str, F32]
    norm_epsilon: float
    frequencies: NDArray[np.float64]
    neighbours: bool
    inputs: Callable[[str, F32], F32] | None = None
    cached: Callable[[F32, F32, F32], tuple[F32, F32, F32]] | None = None

    @property
    def head(self) -> str:
        """Name of the matrix that computes the logits: the embedding where they are tied."""
        return _EMBEDDING if self.shape.tied_embeddings else "output.weight"

    @property
    def linears(self) -> tuple[str, ...]:
        """Names of the matrices of the layers, in the order in which they are used."""
        return tuple(f"blk.{layer}.{part}.weight" for layer in range(self.shape.n_layers) for part in _PARTS)

    @property
    def matrices(self) -> tuple[str, ...]:
        """Names of all matrices: the embedding, those of the layers, and the head unless tied."""
        return tuple(dict.fromkeys((_EMBEDDING, *self.linears, self.head)))

    def replaced(self, weights: Mapping[str, ArrayLike]) -> Transformer:
        """Return the model with some weights replaced.

        Parameters
        ----------
        weights : mapping of str to array_like
            By GGUF name, of the shape of the weights they replace.

        Raises
        ------
        ValueError
            If a name is unknown, a shape differs or a number is not finite.
        """
        changed = {}
        for name, values in weights.items():
            if name not in self.weights:
                raise ValueError(f"no weights {printable(name)}; known are {', '.join(self.matrices)}")
            array = as_floats(values, printable(name)).astype(np.float32, copy=False)
            if array.shape != self.weights[name].shape:
                raise ValueError(f"{name} has shape {array.shape}; give {self.weights[name].shape}")
            changed[name] = np.ascontiguousarray(array)
        return replace(self, weights={**self.weights, **changed})

    def cache(self, batch: int = 1, capacity: int | None = None) -> Cache:
        """Return an empty cache.

        Parameters
        ----------
        batch, capacity : int
            As in `Cache`; the default capacity is the context that the model was trained with.

        Raises
        ------
        ValueError
            If no capacity is given and the model does not name its context.
        """
        capacity = capacity or self.shape.max_context
        if not capacity:
            raise ValueError("capacity is missing, and the model does not say how long its context is")
        return Cache(self.shape, batch, capacity)

    def logits(
        self,
        tokens: ArrayLike,
        cache: Cache | None = None,
        listen: Listener | None = None,
        last_only: bool = False,
    ) -> F32:
        """Return the score of each entry of the vocabulary as the next token, after each token.

        Parameters
        ----------
        tokens : array_like of int, shape (tokens,) or (batch, tokens)
            Ids from 0 to the size of the vocabulary − 1.
        cache : Cache, optional
            Cache of the tokens before; these are added to it.
        listen : callable, optional
            Gets the inputs of every matrix of the layers and of the head, for calibration.
        last_only : bool
            Return the scores after the last token only.

        Returns
        -------
        ndarray of float32, shape (tokens, vocabulary) or (batch, tokens, vocabulary)
            One token with `last_only`.

        Raises
        ------
        ValueError
            If there is no token, an id is out of range, or the cache is full or of another batch.
        """
        ids = self._checked(tokens, cache)
        batch, count = ids.shape
        start = cache.length if cache else 0
        turn = _Rotation(self, start, count)
        x = self.weights[_EMBEDDING][ids.ravel()]
        for layer in range(self.shape.n_layers):
            x = self._layer(x, layer, batch, turn, cache, listen)
        if cache:
            cache.length += count
        if last_only:
            x, count = x.reshape(batch, count, -1)[:, -1], 1
        scores = self._multiply(self._norm(x, "output_norm.weight"), self.head, listen)
        scores = scores.reshape(batch, count, -1)
        return scores if np.ndim(tokens) == 2 else scores[0]

    def embed(self, tokens: ArrayLike) -> F32:
        """Return the inputs of the first layer.

        Parameters
        ----------
        tokens : array_like of int, shape (batch, tokens)

        Returns
        -------
        ndarray of float32, shape (batch, tokens, hidden size)

        Raises
        ------
        ValueError
            As `logits`.
        """
        embedded: F32 = self.weights[_EMBEDDING][self._checked(tokens, None)]
        return embedded

    def layer(self, x: ArrayLike, index: int, listen: Listener | None = None) -> F32:
        """Run one layer on sequences from an empty cache, for calibration layer by layer.

        Parameters
        ----------
        x : array_like of float, shape (batch, tokens, hidden size)
            From `embed`, or the layer before.
        index : int
            From 0.
        listen : callable, optional
            Gets the inputs of the layer's matrices.

        Returns
        -------
        ndarray of float32, shape (batch, tokens, hidden size)

        Raises
        ------
        ValueError
            If there is no such layer, or x is no three-dimensional array of finite numbers of that size.
        """
        hidden = as_floats(x, "x").astype(np.float32, copy=False)
        if hidden.ndim != 3 or hidden.shape[2] != self.shape.hidden_size:
            raise ValueError(f"x has shape {hidden.shape}; give (batch, tokens, {self.shape.hidden_size})")
        if not 0 <= index < self.shape.n_layers:
            raise ValueError(f"index is {index}; give a layer from 0 to {self.shape.n_layers - 1}")
        batch, count, size = hidden.shape
        turn = _Rotation(self, 0, count)
        return self._layer(hidden.reshape(-1, size), index, batch, turn, None, listen).reshape(hidden.shape)

    def _checked(self, tokens: ArrayLike, cache: Cache | None) -> Tokens:
        ids: NDArray[Any] = np.atleast_2d(np.asarray(tokens))
        if ids.ndim != 2 or not ids.size or ids.dtype.kind not in "iu":
            raise ValueError(
                f"tokens are {ids.dtype} of shape {ids.shape}; give ids, (tokens,) or (batch, tokens)"
            )
        if ids.min() < 0 or ids.max() >= self.shape.vocab_size:
            raise ValueError(
                f"tokens reach from {ids.min()} to {ids.max()}; ids are 0 to {self.shape.vocab_size - 1}"
            )
        if cache:
            _, batch, _, capacity, _ = cache.keys.shape
            if batch != len(ids) or cache.length + ids.shape[1] > capacity:
                raise ValueError(
                    f"the cache holds {cache.length} of {capacity} tokens for {batch} sequences; "
                    f"{ids.shape[1]} for {len(ids)} do not fit"
                )
        return ids.astype(np.int64)

    def _norm(self, x: F32, name: str) -> F32:
        """RMSNorm along the last dimension."""
        power = np.vecdot(x, x)[..., None] / np.float32(x.shape[-1])
        scaled: F32 = x / np.sqrt(power + np.float32(self.norm_epsilon))
        scaled *= self.weights[name]
        return scaled

    def _multiply(self, x: F32, name: str, listen: Listener | None) -> F32:
        if listen:
            listen(name, x)
        if self.inputs:
            x = self.inputs(name, x)
        y: F32 = x @ self.weights[name].T
        bias = self.weights.get(name.removesuffix("weight") + "bias")
        if bias is not None:
            y += bias
        return y

    def _layer(
        self, x: F32, layer: int, batch: int, turn: _Rotation, cache: Cache | None, listen: Listener | None
    ) -> F32:
        x = x + self._attention(x, layer, batch, turn, cache, listen)
        x += self._feed_forward(x, layer, listen)
        return x

    def _attention(
        self, x: F32, layer: int, batch: int, turn: _Rotation, cache: Cache | None, listen: Listener | None
    ) -> F32:
        shape, at = self.shape, f"blk.{layer}.attn_"
        y = self._norm(x, f"blk.{layer}.attn_norm.weight")

        def heads(part: str, count: int) -> F32:
            z = self._multiply(y, f"{at}{part}.weight", listen).reshape(batch, -1, count, shape.head_dim)
            name = f"{at}{part}_norm.weight"
            return self._norm(z, name) if name in self.weights else z

        query = turn.apply(heads("q", shape.n_heads))
        key, value = turn.apply(heads("k", shape.n_kv_heads)), heads("v", shape.n_kv_heads)
        if self.cached:
            query, key, value = self.cached(query, key, value)
        key, value = key.swapaxes(1, 2), value.swapaxes(1, 2)
        if cache:
            end = cache.length + key.shape[2]
            cache.keys[layer, :, :, cache.length : end] = key
            cache.values[layer, :, :, cache.length : end] = value
            key, value = cache.keys[layer, :, :, :end], cache.values[layer, :, :, :end]
        # The query heads of a key head are stacked: one product for the whole group.
        group = shape.n_heads // shape.n_kv_heads
        count = query.shape[1]
        query = query.reshape(batch, count, shape.n_kv_heads, group, -1).transpose(0, 2, 3, 1, 4)
        query = query.reshape(batch, shape.n_kv_heads, group * count, -1) * np.float32(shape.head_dim**-0.5)
        scores: F32 = (query @ key.swapaxes(2, 3)).reshape(batch, shape.n_kv_heads, group, count, -1)
        scores += turn.mask
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores = scores.reshape(batch, shape.n_kv_heads, group * count, -1)
        mixed: F32 = scores @ value
        mixed /= scores.sum(axis=-1, keepdims=True)  # the same as dividing the scores, on fewer numbers
        mixed = mixed.reshape(batch, shape.n_heads, count, -1).swapaxes(1, 2).reshape(batch * count, -1)
        return self._multiply(mixed, f"{at}output.weight", listen)

    def _feed_forward(self, x: F32, layer: int, listen: Listener | None) -> F32:
        at = f"blk.{layer}.ffn_"
        y = self._norm(x, f"{at}norm.weight")
        gate = self._multiply(y, f"{at}gate.weight", listen)
        with np.errstate(over="ignore"):  # e⁻ˣ may be infinite: x / ∞ is the right 0
            silu = np.exp(-gate)
            silu += 1
            gate /= silu
        gate *= self._multiply(y, f"{at}up.weight", listen)
        return self._multiply(gate, f"{at}down.weight", listen)

    def generate(
        self,
        tokens: ArrayLike,
        count: int,
        temperature: float = 0.0,
        seed: int = 0,
        cache: Cache | None = None,
    ) -> Tokens:
        """Return the next tokens, one after the other.

        The same seed draws the same random number for the same step, whatever the weights: the texts of two
        models differ only where their predictions do.

        Parameters
        ----------
        tokens : array_like of int, shape (tokens,) or (batch, tokens)
            What to continue.
        count : int
            Tokens to add to each sequence.
        temperature : float
            0 takes the most likely token; 1 samples the predicted distribution.
        seed : int
        cache : Cache, optional
            What came before `tokens`.

        Returns
        -------
        ndarray of int64, shape (count,) or (batch, count)

        Raises
        ------
        ValueError
            If an argument is out of range, or as `logits`.
        """
        if count < 0 or temperature < 0:
            raise ValueError(f"count is {count} and temperature {temperature}; give 0 or more")
        random = np.random.default_rng(seed)
        read = np.atleast_2d(np.asarray(tokens))
        cache = cache or self.cache(len(read), read.shape[-1] + count)
        made = np.empty((len(read), count), np.int64)
        for step in range(count):
            scores = self.logits(read, cache, last_only=True)[:, 0].astype(np.float64)
            numbers = random.random(len(read))
            made[:, step] = _sampled(scores, temperature, numbers)
            read = made[:, step : step + 1]
        return made if np.ndim(tokens) == 2 else made[0]


def load(path: str | Path) -> Transformer:
    """Load a model from a GGUF file, or a safetensors file beside its `config.json`.

    Parameters
    ----------
    path : path

    Returns
    -------
    Transformer

    Raises
    ------
    FormatError
        If a file is damaged, a tensor is missing, or the architecture is another.
    OSError
        If a file cannot be opened.
    """
    return from_file(open_model(path))


def from_file(model: Model) -> Transformer:
    """Decode the weights of a model whose header has been read; see `load`.

    Raises
    ------
    FormatError
        If a tensor is missing or has no decoder, or a feature of the architecture is not computed here.
    """
    where = short_path(model.path)
    architecture, shape = str(model.metadata["general.architecture"].value), model.shape
    if shape.experts or set(shape.layer_kinds) != {FULL}:
        raise FormatError(f"{where}: mixtures of experts and sliding windows are not computed")
    types = {tensor.name: tensor for tensor in shape.tensors()}
    weights: dict[str, F32] = {}
    for tensor in model.tensors:
        wanted = types.pop(tensor.name, None)
        if wanted is not None and (wanted.rows, wanted.columns) != (tensor.rows, tensor.columns):
            raise FormatError(f"{where}: tensor {printable(tensor.name)} has shape {tensor.shape}")
        values = tensor.floats()
        weights[tensor.name] = values if len(tensor.shape) == 2 else values.ravel()
    if types:
        raise FormatError(f"{where}: tensor {printable(next(iter(types)))} is missing")
    frequencies = _frequencies(model, architecture, weights.pop("rope_freqs.weight", None))
    epsilon = _number(model, f"{architecture}.attention.layer_norm_rms_epsilon", 1e-6)
    if not shape.max_context and f"{architecture}.context_length" in model.metadata:
        shape = replace(shape, max_context=int(_number(model, f"{architecture}.context_length", 1.0)))
    return Transformer(shape, weights, epsilon, frequencies, architecture in _PAIRED_NEIGHBOURS)


def _frequencies(model: Model, architecture: str, factors: F32 | None) -> NDArray[np.float64]:
    """Return the angle per position of each pair, base^(−2i / head_dim), scaled by the model's factors."""
    pairs = np.arange(0, model.shape.head_dim, 2)
    base = _number(model, f"{architecture}.rope.freq_base", 10000.0)
    frequencies: NDArray[np.float64] = base ** (-pairs / model.shape.head_dim)
    kind = model.metadata.get(f"{architecture}.rope.scaling.type")
    if kind is not None and kind.value == "linear":
        frequencies = frequencies / _number(model, f"{architecture}.rope.scaling.factor", 1.0)
    elif kind is not None and kind.value != "none":
        raise FormatError(f"{short_path(model.path)}: rope scaling {printable(kind.value)} is not computed")
    if factors is not None:
        if factors.shape != frequencies.shape or not (factors > 0).all():
            raise FormatError(
                f"{short_path(model.path)}: rope_freqs.weight does not fit heads of {2 * len(pairs)}"
            )
        frequencies = frequencies / factors
    return frequencies


def _number(model: Model, key: str, default: float) -> float:
    meta = model.metadata.get(key)
    value = default if meta is None else meta.value
    if not isinstance(value, int | float) or not 0 < value < 1e30:
        raise FormatError(f"{short_path(model.path)}: {key} is {printable(value)}; it must be above 0")
    return float(value)


class _Rotation:
    """The rotary angles of some positions, and the causal mask."""

    def __init__(self, model: Transformer, start: int, count: int) -> None:
        angles = np.arange(start, start + count)[:, None] * model.frequencies
        # (positions, 1, pairs): the same for every head.
        self._turn = np.exp(1j * angles).astype(np.complex64)[:, None]
        self._neighbours = model.neighbours
        hidden = np.arange(start + count) > np.arange(start, start + count)[:, None]
        self.mask = np.where(hidden, np.float32(-np.inf), np.float32(0))

    def apply(self, x: F32) -> F32:
        """Rotate every pair of (batch, positions, heads, head_dim), each as a complex number."""
        if self._neighbours:
            pairs = np.ascontiguousarray(x).view(np.complex64)
            turned: F32 = (pairs * self._turn).view(np.float32)
            return turned
        half = x.shape[-1] // 2
        pairs = (x[..., :half] + 1j * x[..., half:]) * self._turn
        return np.concatenate([pairs.real, pairs.imag], axis=-1)


def _sampled(scores: NDArray[np.float64], temperature: float, numbers: NDArray[np.float64]) -> Tokens:
    """Sample an entry of each row by a number from 0 to 1; the most likely one at temperature 0."""
    if temperature == 0:
        likeliest: Tokens = scores.argmax(axis=-1)
        return likeliest
    shares = np.exp((scores - scores.max(axis=-1, keepdims=True)) / temperature)
    ends = shares.cumsum(axis=-1)
    below: Tokens = (ends <= numbers[:, None] * ends[:, -1:]).sum(axis=-1)
    drawn: Tokens = np.minimum(below, scores.shape[-1] - 1)
    return drawn
