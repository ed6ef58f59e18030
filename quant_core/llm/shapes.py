"""The shape of a language model: its tensors, their sizes, and what it caches per token.

A `ModelShape` holds the fields of a Hugging Face `config.json` that decide memory. From it follow the list of
weight tensors, under the names of GGUF files (`ModelShape.tensors`), and the width of the key/value cache
(`quant_core.memory`). `quant_core.ggml.mixes` chooses the type of each tensor. No weights are read here, and
vision towers and multi-token-prediction heads are not counted.

`quant_core.llm.architectures.building` builds the layers, by `quant_core.llm.architectures.table`. A
configuration is counted only if every field that decides a size was understood: a wrong number is worse than
none.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, TypeVar

from quant_core.llm.architectures.building import Architecture, Block, Extras, decoder
from quant_core.llm.architectures.defaults import class_defaults
from quant_core.llm.architectures.fields import Fields, brief
from quant_core.llm.architectures.layers import (
    CROSS,
    FULL,
    LINEAR,
    NONE,
    SLIDING,
    Attention,
    Dense,
    Experts,
    LatentAttention,
    Layer,
    LayerTensor,
    LinearAttention,
    UnknownLinear,
    vector,
)
from quant_core.llm.architectures.table import (
    ARCHITECTURES,
    NOT_MODELLED,
    TEXT_PARTS,
    architecture_of,
)

__all__ = [
    "ARCHITECTURES",
    "CROSS",
    "FULL",
    "LINEAR",
    "NONE",
    "NOT_MODELLED",
    "SLIDING",
    "Attention",
    "Dense",
    "Experts",
    "LatentAttention",
    "Layer",
    "LinearAttention",
    "ModelShape",
    "Tensor",
    "generic_shape",
    "model_shape",
    "read_shape",
]

_MOST_TENSORS = 8192
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Tensor:
    """One weight tensor as a GGUF file stores it.

    Attributes
    ----------
    name : str
        GGUF name, for example `blk.3.attn_v.weight`.
    layer : int or None
        Index of the transformer layer; None for the embedding, the output and the last norm.
    kind : str
        The name without `blk.3.` and `.weight`: `attn_v`, `ffn_down`, `attn_v.bias`, `output` …
    rows, columns : int
        `columns` is the contiguous dimension that blocks run along. The experts of a layer count as rows.
    fixed_type : str
        The type that quantization does not change (`"F32"` for norms, biases and routers), or "".
    """

    name: str
    layer: int | None
    kind: str
    rows: int
    columns: int
    fixed_type: str = ""

    @property
    def elements(self) -> int:
        """Number of weights."""
        return self.rows * self.columns


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The properties of a model that decide how much memory it takes.

    Attributes
    ----------
    hidden_size, vocab_size : int
    blocks : tuple of Layer
        The layers that differ from one another.
    order : tuple of int
        For each layer of the model, which of `blocks` it is.
    before, after : tuple of LayerTensor
        Other tensors outside the layers: positions, norms, biases.
    tied_embeddings : bool
        The output is the embedding, or there is no output.
    max_context : int or None
        The context length that the model was trained for.
    model_type : str
    rope_table : int
        Entries of the frequency table that the file carries.
    embedding_rows : int
        Rows of the embedding where they are not `vocab_size`; 0 for that.
    beside_file : int
        Parameters that the GGUF file lacks (an encoder's head); negative for parameters that only the file
        has.
    assumed : tuple of str
        Sizes taken from the defaults of the class.

    Examples
    --------
    >>> shape = model_shape({"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    ...                      "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256})
    >>> shape.parameters
    8030261248
    """

    hidden_size: int
    vocab_size: int
    blocks: tuple[Layer, ...]
    order: tuple[int, ...]
    before: tuple[LayerTensor, ...] = ()
    after: tuple[LayerTensor, ...] = ()
    tied_embeddings: bool = False
    max_context: int | None = None
    model_type: str = "llama"
    rope_table: int = 0
    embedding_rows: int = 0
    beside_file: int = 0
    assumed: tuple[str, ...] = field(default=(), compare=False)

    @cached_property
    def n_layers(self) -> int:
        """Number of layers."""
        return len(self.order)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer, in order."""
        return tuple(self.blocks[index] for index in self.order)

    @cached_property
    def layer_kinds(self) -> tuple[str, ...]:
        """Kind of attention of every layer: full, sliding, linear, cross, or none."""
        kinds = [block.kind for block in self.blocks]
        return tuple(kinds[index] for index in self.order)

    @cached_property
    def _attention(self) -> Attention | None:
        """The standard attention: that of full layers if there are any."""
        found = [m for block in self.blocks for m in block.mixers if isinstance(m, Attention) and not m.cross]
        return min(found, key=lambda mixer: mixer.window > 0, default=None)

    @cached_property
    def latent(self) -> LatentAttention | None:
        """Its latent attention, if it has it."""
        return self._first(LatentAttention)

    @cached_property
    def linear(self) -> LinearAttention | None:
        """Its Gated DeltaNet layers, if it has them."""
        return self._first(LinearAttention)

    @cached_property
    def experts(self) -> Experts | None:
        """Its experts, if it has them."""
        return self._first(Experts)

    def _first(self, kind: type[_T]) -> _T | None:
        parts = (part for block in self.blocks for part in (*block.mixers, *block.feed_forwards))
        return next((part for part in parts if isinstance(part, kind)), None)

    @cached_property
    def n_heads(self) -> int:
        """Query heads of the attention; 0 where there is none."""
        mixer = self.latent or self._attention
        return mixer.heads if mixer else 0

    @cached_property
    def n_kv_heads(self) -> int:
        """Key/value heads of the attention; 0 where there is none."""
        return self.n_heads if self.latent else self._attention.kv_heads if self._attention else 0

    @cached_property
    def head_dim(self) -> int:
        """Width of one key head; 0 where there is none."""
        if self.latent:
            return self.latent.nope_dim + self.latent.rope_dim
        return self._attention.head_dim if self._attention else 0

    @cached_property
    def ffn_size(self) -> int:
        """Width of the dense feed-forward block, or of one expert where there is no dense one."""
        dense, experts = self._first(Dense), self.experts
        return dense.width if dense else experts.ffn_size if experts else 0

    @cached_property
    def window(self) -> int:
        """Tokens that sliding layers keep; 0 where there are none."""
        mixers = (mixer for block in self.blocks for mixer in block.mixers)
        return max((mixer.window for mixer in mixers if isinstance(mixer, Attention)), default=0)

    @property
    def fused_qkv(self) -> bool:
        """Whether Q, K and V are one tensor."""
        return bool(self._attention and self._attention.fused)

    @property
    def has_cache(self) -> bool:
        """Whether any layer keeps keys and values: encoders and recurrent models do not."""
        return any(mixer.cache_widths() for block in self.blocks for mixer in block.mixers)

    @property
    def is_encoder(self) -> bool:
        """Whether it is an encoder: attention without a cache."""
        recurrent = any(block.state_elements for block in self.blocks)
        return self._attention is not None and not self.has_cache and not recurrent

    @cached_property
    def queries_per_kv_head(self) -> int:
        """Query heads that share one key/value head (grouped-query attention); 0 without attention.

        A latent cache is shared by all heads; llama.cpp stores such a model with one key/value head. It reads
        the first layer only, so a model that begins with a state space has none (`llama_hparams::n_gqa`).
        """
        if self.latent:
            return self.n_heads
        first = self.blocks[self.order[0]]
        if not any(isinstance(mixer, Attention | LinearAttention | UnknownLinear) for mixer in first.mixers):
            return 0
        return self.n_heads // max(1, self.n_kv_heads)

    @property
    def is_llama_70b(self) -> bool:
        """Whether llama.cpp's extra rule for its 70B class applies: 80 layers and grouped queries."""
        return self.model_type in _LLAMA_70B_CLASS and self.n_layers == 80 and self.n_heads != self.n_kv_heads

    @cached_property
    def parameters(self) -> int:
        """Number of weights, all experts included; the rope table and a tied output are not counted."""
        of_layers = sum(
            count * sum(part.rows * part.columns for part in layer.parts(self.hidden_size))
            for layer, count in self.counted_layers
        )
        outside = sum(part.rows * part.columns for part in (*self._start(), *self._end()))
        return of_layers + outside + self.beside_file - self.rope_table

    @cached_property
    def active_parameters(self) -> int:
        """Weights used for one token: all except the experts that are not chosen."""
        if self.experts is None:
            return self.parameters
        idle = 0
        for layer, count in self.counted_layers:
            parts = layer.parts(self.hidden_size)
            idle += count * sum(part.rows * part.columns for part in parts if "_exps" in part.name)
        return self.parameters - idle + idle * self.experts.per_token // self.experts.count

    @cached_property
    def counted_layers(self) -> tuple[tuple[Layer, int], ...]:
        """The layers that differ from one another, and how many the model has of each."""
        counts = Counter(self.order)
        return tuple((block, counts[index]) for index, block in enumerate(self.blocks))

    def kv_geometry(self, layer: int) -> tuple[int, int]:
        """Key/value heads and head width of one attention layer; zeros for a layer without."""
        for mixer in self.blocks[self.order[layer]].mixers:
            if isinstance(mixer, Attention):
                return mixer.kv_heads, mixer.head_dim
        return 0, 0

    def tensors(self) -> tuple[Tensor, ...]:
        """Every tensor of the model's GGUF file, in layer order."""
        return _tensors(self)

    def _start(self) -> Iterator[LayerTensor]:
        yield LayerTensor("token_embd.weight", self.embedding_rows or self.vocab_size, self.hidden_size)
        yield from self.before

    def _end(self) -> Iterator[LayerTensor]:
        yield from self.after
        if self.rope_table:
            yield vector("rope_freqs.weight", self.rope_table)
        if not self.tied_embeddings:
            yield LayerTensor("output.weight", self.vocab_size, self.hidden_size)


def model_shape(config: Mapping[str, Any]) -> ModelShape:
    """Read the shape of a model from its Hugging Face `config.json`.

    The dictionary is treated as untrusted: every field is checked for type and range, and nothing but
    `ValueError` is raised. A multimodal configuration is read through its `text_config` (or
    `llm_config`, `language_config`).

    Parameters
    ----------
    config : mapping
        The parsed `config.json`. Needed are the sizes (`hidden_size`, `num_hidden_layers`,
        `num_attention_heads`, `intermediate_size`, `vocab_size`); `head_dim` is used when given,
        since it need not be `hidden_size / num_attention_heads`.

    Returns
    -------
    ModelShape

    Raises
    ------
    ValueError
        A field is missing, of the wrong type, out of range or contradicts another; the architecture is one
        that is not counted; or a field that may decide a size is not understood. The message names it.

    Notes
    -----
    Sliding windows count where llama.cpp implements them: where `layer_types` names the layers, or for
    architectures that alternate local and global layers. A bare `sliding_window` (Mistral 7B v0.1, Phi-3)
    is ignored by llama.cpp, which keeps the whole context there, and so it is here.

    Examples
    --------
    >>> model_shape({"hidden_size": 4096, "num_hidden_layers": 0})
    Traceback (most recent call last):
        ...
    ValueError: num_hidden_layers is 0; it must be an integer from 1 to 512
    """
    return read_shape(config)[0]


def read_shape(config: Mapping[str, Any], *, assume: bool = True) -> tuple[ModelShape, dict[str, Any]]:
    """As `model_shape`; also returns the fields that were read, in order.

    Parameters
    ----------
    config : mapping
        As for `model_shape`.
    assume : bool
        Whether a missing field takes the default of its class in transformers. Such fields are among those
        that were read, and in `ModelShape.assumed`.

    Raises
    ------
    ValueError
        As `model_shape`.

    Examples
    --------
    >>> _, read = read_shape({"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    ...                       "intermediate_size": 3072, "vocab_size": 50304, "rms_norm_eps": 1e-5})
    >>> list(read)
    ['hidden_size', 'num_hidden_layers', 'num_attention_heads', 'intermediate_size', 'vocab_size']
    """
    if not isinstance(config, Mapping):
        raise ValueError(f"the configuration is a {type(config).__name__}; give the object of a config.json")
    fields = Fields(_text_part(config))
    model_type, arch = architecture_of(fields)
    fields.defaults = arch.defaults
    _refuse_whole(config, model_type, arch)
    if assume and (not arch.strict or fields.has("num_hidden_layers")):  # otherwise the outer configuration
        fields.of_class = dict(class_defaults(fields.text("model_type", "")))
        if arch.positions is None:  # otherwise the context decides a size
            fields.of_class.pop("max_position_embeddings", None)
        if _nested(config) is not None:  # the class of the whole model decides, not that of its text
            fields.of_class.pop("tie_word_embeddings", None)
    shape = _shape(fields, model_type, arch)
    _refuse_unread(fields, model_type, arch)
    sizes = [name for name, value in fields.assumed.items() if type(value) is int]
    return replace(shape, assumed=tuple(sizes)), fields.seen | fields.assumed


_NESTED = ("text_config", "llm_config", "language_config")


def _nested(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the nested configuration of the text, if any."""
    return next((part for name in _NESTED if isinstance(part := config.get(name), Mapping)), None)


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of a multimodal configuration that describe the language model."""
    nested = _nested(config)
    if nested is None:
        return config
    outer = config.get("model_type")
    part = {**nested} if outer is None else {"model_type": outer, **nested}
    tied = config.get("tie_word_embeddings")  # the whole model's value counts
    return part if tied is None else {**part, "tie_word_embeddings": tied}


def _refuse_whole(config: Mapping[str, Any], model_type: str, arch: Architecture) -> None:
    """Refuse a model of several parts whose text part is not the main one."""
    if isinstance(config.get("thinker_config"), Mapping):  # Qwen's Omni models
        raise ValueError("thinker_config holds the text, beside parts that speak: give that object alone")
    outer = config.get("model_type")
    if not isinstance(outer, str):
        return
    nested = _nested(config)
    if nested is None:
        if outer in TEXT_PARTS and not config.get("architectures"):
            raise ValueError(f"model_type {outer!r} is a part of a model; give the whole config.json")
        return
    if outer in NOT_MODELLED:
        raise ValueError(f"model_type {outer!r} is not modelled: {NOT_MODELLED[outer]}")
    whole, part = config.get("hidden_size"), nested.get("hidden_size")
    if isinstance(whole, int) and whole != part and config.get("tie_word_embeddings") is False:
        raise ValueError(
            f"hidden_size is {brief(whole)} and {brief(part)} in text_config: the output has either"
        )
    if arch.encoder and outer.partition("_")[0] != model_type.partition("_")[0]:
        raise ValueError(
            f"model_type {brief(outer)} is not known, and its text part only reads; it is not counted"
        )


def _shape(fields: Fields, model_type: str, arch: Architecture) -> ModelShape:
    hidden = fields.integer("hidden_size", 1 << 20)
    blocks = (arch.plan or decoder)(fields, arch)
    vocabulary = fields.integer("vocab_size", 1 << 24)
    extras = arch.extras(fields, arch) if arch.extras else Extras()
    layers, order = _compressed(blocks, (*_norms(fields, arch, hidden), *extras.of_layer))
    context = fields.integer("max_position_embeddings", 1 << 32, default=0)
    tied = fields.flag("tie_word_embeddings", arch.tied)
    shape = ModelShape(
        hidden_size=hidden,
        vocab_size=vocabulary,
        blocks=layers,
        order=order,
        before=(*_positions(arch, context, hidden), *extras.of_model),
        after=_after(fields, arch, hidden, vocabulary, tied),
        tied_embeddings=tied or fields.headless or arch.encoder,
        max_context=context or None,
        model_type=model_type,
        embedding_rows=vocabulary + arch.rows_beside if arch.rows_beside else 0,
        beside_file=extras.beside_file,
        rope_table=_rope_table(fields, blocks),
    )
    _bounded(shape)
    return shape


def _bounded(shape: ModelShape) -> None:
    """Refuse a model with too many tensors to list."""
    tensors = 0
    for block, count in shape.counted_layers:
        described = not any(isinstance(mixer, UnknownLinear) for mixer in block.mixers)
        tensors += count * (sum(1 for _ in block.parts(shape.hidden_size)) if described else 1)
    if tensors > _MOST_TENSORS:
        raise ValueError(
            f"num_hidden_layers is {shape.n_layers}, which makes {tensors} tensors; "
            f"at most {_MOST_TENSORS} are counted"
        )


def _compressed(
    blocks: list[Block], others: tuple[LayerTensor, ...]
) -> tuple[tuple[Layer, ...], tuple[int, ...]]:
    """Return the distinct layers, and the index of each layer among them; equal layers are one object."""
    known: dict[tuple[int, int], int] = {}
    layers: dict[Layer, int] = {}
    order = []
    for mixers, feeds in blocks:
        key = id(mixers), id(feeds)
        if key not in known:
            known[key] = layers.setdefault(Layer(mixers, feeds, others), len(layers))
        order.append(known[key])
    return tuple(layers), tuple(order)


def _norms(fields: Fields, arch: Architecture, hidden: int) -> Iterator[LayerTensor]:
    biased = fields.chosen(arch.norm_bias)
    for name in arch.norms if arch.norm_weight else ():
        yield vector(f"{name}.weight", hidden)
        if biased:
            yield vector(f"{name}.bias", hidden)


def _positions(arch: Architecture, context: int, hidden: int) -> tuple[LayerTensor, ...]:
    if arch.positions is None:
        return ()
    rows = context + arch.positions
    return (LayerTensor("position_embd.weight", rows, hidden, "F32"),) if rows else ()


def _after(
    fields: Fields, arch: Architecture, hidden: int, vocabulary: int, tied: bool
) -> tuple[LayerTensor, ...]:
    parts = []
    if arch.final_norm and arch.norm_weight:
        parts.append(vector("output_norm.weight", hidden))
        if fields.chosen(arch.norm_bias):
            parts.append(vector("output_norm.bias", hidden))
    if fields.chosen(arch.head_bias) and not fields.headless and not tied:
        parts.append(vector("output.bias", vocabulary))
    return tuple(parts)


def _rope_table(fields: Fields, blocks: list[Block]) -> int:
    """Entries of the rope frequency factors that GGUF stores: one set for Llama 3.1, two for Phi-3."""
    scaling = fields.raw("rope_scaling")
    if not isinstance(scaling, Mapping):
        return 0
    kind = scaling.get("rope_type", scaling.get("type"))
    sets = {"llama3": 1, "longrope": 2}.get(kind, 0) if isinstance(kind, str) else 0
    heads = (m.head_dim for mixers, _ in blocks for m in mixers if isinstance(m, Attention))
    return sets * (next(heads, 0) // 2) if sets else 0


_GATED = frozenset(("silu", "swish", "swiglu"))
_NO_GATE = frozenset(("relu2", "xielu", "relu_squared"))
_OF_EXPERTS = re.compile(r"moe|expert|dense_replace|dense_layers|sparse|mlp_only")
_LLAMA_70B_CLASS = frozenset({"llama", "mistral", "qwen2"})


def _refuse_unread(fields: Fields, model_type: str, arch: Architecture) -> None:
    """Refuse a configuration with an unread field that may decide a size."""
    for name in arch.required:
        if not fields.has(name):
            why = "is not known, so nothing" if arch.strict else "has a size that it decides, and nothing"
            raise ValueError(f"{name} is missing; {brief(model_type)} {why} can be assumed for it")
    names = ("hidden_act", "hidden_activation", "activation_function") if arch.strict else ("hidden_act",)
    for name in names:
        activation = fields.config.get(name)
        if not arch.gated_ffn or name in arch.ignored or not isinstance(activation, str) or not activation:
            continue
        gated = activation in _GATED if arch.strict else activation not in _NO_GATE
        if not gated:
            raise ValueError(
                f"{name} is {brief(activation)}, which may mean two matrices instead of three in "
                f"{brief(model_type)}; it is not counted"
            )
    unread = fields.first_unread(frozenset(arch.ignored), arch.strict)
    if unread is None:
        return
    if arch.has_experts and _OF_EXPERTS.search(unread) and not fields.has("num_experts"):
        raise ValueError(f"num_experts is missing, though {brief(unread)} is given")
    raise ValueError(
        f"{brief(unread)} may decide a size and is not understood for {brief(model_type)}; it is not counted"
    )


def generic_shape(parameters: float) -> ModelShape:
    """Return a Llama-like architecture of about the given size, for a slider without a model.

    Depth and width are interpolated (logarithms over logarithm) between the published Llama 3 models of
    1.2, 3.2, 8, 70 and 405 billion parameters and SmolLM2 below; the feed-forward width takes the
    rest, in steps of 256. The result is an illustration, not a real model; its own `parameters`
    is the number to print: within 1.5 % of `parameters` from a billion up, within 6 % below.

    Parameters
    ----------
    parameters : float
        From 1e8 to 1e12.

    Raises
    ------
    ValueError
        The size is outside that range.

    References
    ----------
    Grattafiori et al., "The Llama 3 Herd of Models", 2024, arXiv:2407.21783, table 3.

    Examples
    --------
    >>> shape = generic_shape(8e9)
    >>> shape.n_layers, shape.hidden_size, round(shape.parameters / 1e9, 1)
    (32, 4096, 8.0)
    """
    if not 1e8 <= parameters <= 1e12:
        raise ValueError(f"the parameter count is {parameters:g}; it must lie between 1e8 and 1e12")
    n_layers = round(_interpolate(parameters, column=1))
    hidden_size = 256 * round(_interpolate(parameters, column=2) / 256)
    head_dim = 64 if hidden_size < 2560 else 128
    n_kv_heads = 8
    config = {
        "hidden_size": hidden_size,
        "num_hidden_layers": n_layers,
        "num_attention_heads": n_kv_heads * round(hidden_size / head_dim / n_kv_heads),
        "num_key_value_heads": n_kv_heads,
        "head_dim": head_dim,
        "intermediate_size": 256,
        "vocab_size": 128_256 if parameters > 1e9 else 49_152,
        "tie_word_embeddings": parameters < 4e9,
        "max_position_embeddings": 131_072,
    }
    spare = parameters - model_shape(config).parameters
    ffn_size = 256 * max(1, round(spare / (3 * hidden_size * n_layers) / 256) + 1)
    return model_shape({**config, "intermediate_size": ffn_size})


# Parameters, layers, hidden size: SmolLM2 135M and 360M, Llama 3.2 1B and 3B, Llama 3.1 8B, 70B and 405B;
# the last row is no published model but extrapolated from the two before it.
_LADDER = (
    (1.345e8, 30, 576),
    (3.618e8, 32, 960),
    (1.236e9, 16, 2048),
    (3.213e9, 28, 3072),
    (8.030e9, 32, 4096),
    (7.055e10, 80, 8192),
    (4.059e11, 126, 16384),
    (1.0e12, 159, 23424),
)


def _interpolate(parameters: float, column: int) -> float:
    """Log-log interpolation in the table; below the first row its value is used."""
    size = max(parameters, _LADDER[0][0])
    low, high = next((low, high) for low, high in pairwise(_LADDER) if size <= high[0])
    share = math.log(size / low[0]) / math.log(high[0] / low[0])
    return float(low[column] * (high[column] / low[column]) ** share)


# --- the list of tensors ----------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _tensors(shape: ModelShape) -> tuple[Tensor, ...]:
    return tuple(_walk(shape))


def _walk(shape: ModelShape) -> Iterator[Tensor]:
    of_block = [
        [(part, part.name.removesuffix(".weight")) for part in block.parts(shape.hidden_size)]
        for block in shape.blocks
    ]
    for part in shape._start():
        yield _outside(part)
    for layer, index in enumerate(shape.order):
        prefix = f"blk.{layer}."
        for (name, rows, columns, fixed_type), kind in of_block[index]:
            yield Tensor(prefix + name, layer, kind, rows, columns, fixed_type)
    for part in shape._end():
        yield _outside(part)


def _outside(part: LayerTensor) -> Tensor:
    kind = part.name.removesuffix(".weight")
    return Tensor(part.name, None, kind, part.rows, part.columns, part.fixed_type)
