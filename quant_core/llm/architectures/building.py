"""Build the layers of a model from the fields of its configuration.

An `Architecture` says what the class of a model fixes and which fields it leaves to the configuration.
Its `plan` reads those fields into the mixers and the feed-forward blocks of every layer; the one for the
usual decoder is here, the others are in `quant_core.llm.architectures.plans`. The architectures themselves
are a table in `quant_core.llm.architectures.table`.

References
----------
transformers 5.18, `src/transformers/models/*/modeling_*.py` of the architecture that a function names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from quant_core.llm.architectures.fields import Fields, Flag, brief
from quant_core.llm.architectures.layers import (
    FULL,
    LINEAR,
    SLIDING,
    Attention,
    Dense,
    Experts,
    LatentAttention,
    LayerTensor,
    LinearAttention,
    Mixer,
    UnknownLinear,
)

MOST_LAYERS = 512
"""As llama.cpp's LLAMA_MAX_LAYERS."""

MOST_HEADS, MOST_WIDTH, MOST_FFN = 4096, 65_536, 1 << 24

FeedForward = Dense | Experts
Block = tuple[tuple[Mixer, ...], tuple[FeedForward, ...]]
"""What one layer mixes with, and what it feeds forward through."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The properties that a model's class fixes, and the fields that it reads from the configuration.

    A `quant_core.llm.architectures.fields.Flag` is a constant, or the name of a field and what the class
    assumes without it.

    Attributes
    ----------
    classes : tuple of str
        Names of its classes without `ForCausalLM` and the like.
    plan : function or None
        From the fields to the blocks of every layer; None for `decoder`.
    defaults : mapping
        Defaults of the class for fields that published configurations omit.
    ignored : tuple of str
        Fields that published configurations have and the class does not read.
    required : tuple of str
        Fields that decide a size and have no default.
    qkv_bias, output_bias, ffn_bias, head_bias, norm_bias : Flag
    gated_attention, attention_gate : bool
        Whether attention is gated: by a part of the query matrix, or by a matrix of its own.
    gated_ffn, joined_ffn : bool
        Whether the feed-forward block has a gate, and whether gate and up are one tensor.
    ffn_ratio : int
        Width of the feed-forward block over the model's, where the configuration does not give it.
    value_dim : bool
        Whether `v_head_dim` gives value heads a width of their own.
    heads_of : mapping
        For `"full"` or `"sliding"` layers, fields that stand for the usual ones.
    sliding_every, linear_every : int
        Period of the layers of which the last has full attention.
    norms : tuple of str
        Norms of a layer; `norm_weight` is False where they have no weights.
    positions : int or None
        Learned positions: rows beside `max_position_embeddings`; None where there are none.
    encoder, pooler : bool
        An encoder keeps no cache; some have a pooler, which no GGUF file holds.
    rows_beside : int
        Rows of the embedding beside `vocab_size`.
    extras : function
        Tensors of its own.
    """

    classes: tuple[str, ...]
    plan: Callable[[Fields, Architecture], list[Block]] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    strict: bool = False  # only fields that are known not to decide a size may be left unread
    tied: bool = False
    qkv_bias: Flag = ("attention_bias", False)
    output_bias: Flag = False
    ffn_bias: Flag = False
    head_bias: Flag = False
    fused_qkv: bool = False
    gated_attention: bool = False
    attention_gate: bool = False
    query_key_norm: str = ""
    query_key_norm_if: Flag = True
    attention_sinks: bool = False
    value_dim: bool = False
    heads_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    sliding_every: int = 0
    linear_every: int = 0
    gated_ffn: bool = True
    joined_ffn: bool = False
    ffn_ratio: int = 0
    has_experts: bool = True
    shared_gate: bool = False
    shared_is_expert: bool = False
    router_bias: bool = False
    expert_bias: bool = False
    norms: tuple[str, ...] = ("attn_norm", "ffn_norm")
    norm_bias: Flag = False
    norm_weight: bool = True
    final_norm: bool = True
    positions: int | None = None
    encoder: bool = False
    pooler: bool = False
    rows_beside: int = 0
    extras: Callable[[Fields, Architecture], Extras] | None = None


@dataclass(frozen=True)
class Extras:
    """Tensors that only one architecture has: of every layer, and of the model before its layers.

    `beside_file` counts parameters that the GGUF file lacks.
    """

    of_layer: tuple[LayerTensor, ...] = ()
    of_model: tuple[LayerTensor, ...] = ()
    beside_file: int = 0


# --- the usual decoder ------------------------------------------------------------------------------------


def decoder(fields: Fields, arch: Architecture) -> list[Block]:
    """Plan of the usual decoder: attention, and a feed-forward block or experts, in every layer."""
    n_layers = count_of_layers(fields)
    kinds = (FULL,) * n_layers if arch.encoder else layer_kinds(fields, arch, n_layers)
    mixers = attention_layers(fields, arch, kinds)
    blocks = list(zip(mixers, feed_forwards(fields, arch, n_layers), strict=True))
    if arch.strict:
        return blocks
    shared = fields.integer("num_kv_shared_layers", n_layers - 1, low=0, default=0)
    return with_shared_caches(fields, blocks, shared) if shared else blocks


def read_unused(fields: Fields, *names: str) -> None:
    """Mark fields as read that do not matter because no layer is of their kind."""
    for name in names:
        fields.raw(name)


def count_of_layers(fields: Fields) -> int:
    """`num_hidden_layers`."""
    return fields.integer("num_hidden_layers", MOST_LAYERS)


def hidden_size(fields: Fields) -> int:
    """`hidden_size`."""
    return fields.integer("hidden_size", 1 << 20)


def attention_layers(fields: Fields, arch: Architecture, kinds: Sequence[str]) -> list[tuple[Mixer, ...]]:
    """One mixer for each kind, in the order of the layers."""
    window = fields.integer("sliding_window", 1 << 32, low=0, default=0)
    if SLIDING in kinds and not window:
        raise ValueError(f"sliding_window is missing; it must be an integer from 1 to {1 << 32}")
    latent = None if arch.strict else latent_attention(fields, arch)
    if latent is not None and fields.has("indexer_types"):
        return _indexed_layers(fields, latent, len(kinds))
    made: dict[str, tuple[Mixer, ...]] = {}
    if FULL not in kinds and SLIDING not in kinds:
        read_unused(fields, "num_attention_heads", "num_key_value_heads", "head_dim")
    for kind in dict.fromkeys(kinds):
        if kind == LINEAR:
            made[kind] = (delta_net(fields),)
        elif latent is not None:
            made[kind] = (latent,)
        else:
            made[kind] = (attention(fields, arch, window if kind == SLIDING else 0),)
    return [made[kind] for kind in kinds]


def _indexed_layers(fields: Fields, latent: LatentAttention, n_layers: int) -> list[tuple[Mixer, ...]]:
    """GLM-5.2: a layer that reuses an earlier layer's selection has no indexer and caches no keys for it."""
    named = fields.names("indexer_types", n_layers, ("full", "shared")) or ()
    sharing = replace(latent, index_heads=0, index_dim=0)
    mixers: dict[str, tuple[Mixer, ...]] = {"full": (latent,), "shared": (sharing,)}
    return [mixers[name] for name in named]


def attention(fields: Fields, arch: Architecture, window: int = 0) -> Attention:
    """The attention of full layers, or of those with a window."""
    own = arch.heads_of.get(SLIDING if window else FULL, {})
    fields.raw("sliding_window")  # llama.cpp ignores it if no layer has a window

    def size(name: str, high: int, default: int | None) -> int:
        usual = fields.integer(name, high, default=default)
        return fields.integer(own[name], high, default=usual) if name in own else usual

    usual_heads = fields.integer("num_attention_heads", MOST_HEADS)
    heads = size("num_attention_heads", MOST_HEADS, None)
    kv_heads = size("num_key_value_heads", MOST_HEADS, usual_heads)
    if heads % kv_heads:
        raise ValueError(f"num_key_value_heads is {kv_heads}; it must divide num_attention_heads ({heads})")
    head_dim = size("head_dim", MOST_WIDTH, 0) or _head_dim(fields, usual_heads)
    keys_are_values = bool(own) and not window and fields.flag("attention_k_eq_v", False)
    return Attention(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        value_dim=size("v_head_dim", MOST_WIDTH, head_dim) if arch.value_dim else head_dim,
        window=window,
        norm=arch.query_key_norm if fields.chosen(arch.query_key_norm_if) else "",
        norm_bias=bool(arch.query_key_norm)
        and fields.chosen(arch.norm_bias)
        and arch.query_key_norm == "head",
        fused=arch.fused_qkv,
        gated=arch.gated_attention,
        gate_rows=heads * head_dim if arch.attention_gate else 0,
        qkv_bias=fields.chosen(arch.qkv_bias),
        output_bias=fields.chosen(arch.output_bias),
        sinks=arch.attention_sinks,
        caches=not arch.encoder,
        has_values=not keys_are_values,
    )


def _head_dim(fields: Fields, heads: int) -> int:
    hidden = hidden_size(fields)
    if hidden % heads:
        raise ValueError(
            f"head_dim is missing and hidden_size ({hidden}) is not a multiple of "
            f"num_attention_heads ({heads}); give head_dim"
        )
    return hidden // heads


_LAYER_TYPES = {
    "full_attention": FULL,
    "attention": FULL,
    "indexed_attention": FULL,
    "sliding_attention": SLIDING,
    "chunked_attention": SLIDING,
    "linear_attention": LINEAR,
}


def layer_kinds(fields: Fields, arch: Architecture, n_layers: int) -> tuple[str, ...]:
    """Kind of every layer: from `layer_types`, or by a period whose last layer is full."""
    period, other = _period(fields, arch)
    named = fields.names("layer_types", n_layers, _LAYER_TYPES)
    if named is not None:
        return tuple(_LAYER_TYPES[name] for name in named)
    if period < 2:
        return (FULL,) * n_layers
    return tuple(FULL if (layer + 1) % period == 0 else other for layer in range(n_layers))


def _period(fields: Fields, arch: Architecture) -> tuple[int, str]:
    period = fields.integer("full_attention_interval", 1024, default=arch.linear_every)
    if period > 1:
        return period, LINEAR
    pattern = fields.raw("sliding_window_pattern")
    if isinstance(pattern, str) and pattern and pattern == "L" * (len(pattern) - 1) + "G":  # EXAONE 4
        period = len(pattern)
    else:
        period = fields.integer("sliding_window_pattern", 1024, low=0, default=arch.sliding_every)
    return (period, SLIDING) if fields.has("sliding_window") else (0, FULL)


def latent_attention(fields: Fields, arch: Architecture) -> LatentAttention | None:
    """DeepSeek's latent attention, if `kv_lora_rank` is given."""
    kv_rank = fields.integer("kv_lora_rank", MOST_WIDTH, default=0)
    if not kv_rank and (fields.raw("qk_rope_head_dim") or fields.raw("q_lora_rank")):
        raise ValueError("kv_lora_rank is missing, though the widths of latent attention are given")
    if not kv_rank:
        return None
    return LatentAttention(
        heads=fields.integer("num_attention_heads", MOST_HEADS),
        kv_rank=kv_rank,
        rope_dim=fields.integer("qk_rope_head_dim", 4096),
        nope_dim=fields.integer("qk_nope_head_dim", 4096, default=128),
        value_dim=fields.integer("v_head_dim", 4096, default=128),
        query_rank=fields.integer("q_lora_rank", MOST_WIDTH, default=0),
        index_heads=fields.integer("index_n_heads", 1024, default=0),
        index_dim=fields.integer("index_head_dim", 4096, default=0),
        bias=fields.chosen(arch.qkv_bias),
    )


_DELTA_FIELDS = (
    "linear_num_value_heads",
    "linear_num_key_heads",
    "linear_key_head_dim",
    "linear_value_head_dim",
    "linear_conv_kernel_dim",
)


def delta_net(fields: Fields) -> Mixer:
    """Gated DeltaNet; `UnknownLinear` if the configuration does not give its sizes."""
    given = [name for name in _DELTA_FIELDS if fields.has(name)]
    if not given:
        return UnknownLinear()
    return LinearAttention(
        key_heads=fields.integer("linear_num_key_heads", MOST_HEADS),
        value_heads=fields.integer("linear_num_value_heads", MOST_HEADS),
        key_dim=fields.integer("linear_key_head_dim", 4096),
        value_dim=fields.integer("linear_value_head_dim", 4096),
        conv_kernel=fields.integer("linear_conv_kernel_dim", 64),
    )


def with_shared_caches(
    fields: Fields, blocks: list[Block], shared: int, *, in_file: bool = False
) -> list[Block]:
    """The last layers read an earlier layer's cache (Gemma 3n, 4); some have twice the feed-forward width."""
    double = fields.flag("use_double_wide_mlp", False)
    made: dict[int, Block] = {}
    for block in blocks[-shared:]:
        if id(block[0]) not in made:
            mixers = tuple(
                replace(mixer, caches=False, has_keys=in_file, has_values=in_file)
                if isinstance(mixer, Attention)
                else mixer
                for mixer in block[0]
            )
            made[id(block[0])] = mixers, block[1]
    tail = []
    wide: dict[int, tuple[FeedForward, ...]] = {}
    for mixers, feeds in blocks[-shared:]:
        if double and id(feeds) not in wide:
            wide[id(feeds)] = tuple(
                replace(feed, width=2 * feed.width) if isinstance(feed, Dense) else feed for feed in feeds
            )
        tail.append((made[id(mixers)][0], wide[id(feeds)] if double else feeds))
    return [*blocks[:-shared], *tail]


def feed_forwards(fields: Fields, arch: Architecture, n_layers: int) -> list[tuple[FeedForward, ...]]:
    """A dense block in every layer, or experts in some of them."""
    count = fields.integer("num_experts", MOST_WIDTH, low=0, default=0) if arch.has_experts else 0
    if count < 2:
        read_unused(fields, "num_experts_per_tok", "moe_layers")
        alone = fields.integer("intermediate_size_mlp", MOST_FFN, default=0)  # Llama Guard 4
        read_unused(fields, "intermediate_size")
        return [(dense(fields, arch, alone),)] * n_layers
    size = _expert_size(fields)
    shared = _shared_size(fields, arch, size)
    in_dense = dense_layers(fields, n_layers)
    beside = fields.flag("enable_moe_block", False)
    experts = Experts(
        count=count,
        per_token=uniform(fields, "num_experts_per_tok", count),
        ffn_size=size,
        shared_ffn_size=shared,
        shared_gate=arch.shared_gate,
        router_bias=arch.router_bias,
        expert_bias=arch.expert_bias,
        gated=arch.gated_ffn,
        dense_layers=in_dense,
        dense_beside=beside,
    )
    read_unused(fields, "intermediate_size", "intermediate_size_mlp")
    if not in_dense and not beside:
        return [(experts,)] * n_layers
    dense_alone = (dense(fields, arch, fields.integer("intermediate_size_mlp", MOST_FFN, default=0)),)
    of_experts = (*dense_alone, experts) if beside else (experts,)
    only_dense = frozenset(in_dense)
    return [dense_alone if layer in only_dense else of_experts for layer in range(n_layers)]


def dense(fields: Fields, arch: Architecture, width: int = 0) -> Dense:
    """The dense feed-forward block."""
    usual = arch.ffn_ratio * hidden_size(fields)
    return Dense(
        width=width or fields.integer("intermediate_size", MOST_FFN, default=usual or None),
        gated=arch.gated_ffn,
        joined=arch.joined_ffn,
        bias=fields.chosen(arch.ffn_bias),
    )


def uniform(fields: Fields, name: str, high: int, *, low: int = 1, default: int | None = None) -> int:
    """An integer, or a list that repeats it for every layer (Hunyuan)."""
    value = fields.raw(name)
    if not isinstance(value, list | tuple):
        return fields.integer(name, high, low=low, default=default)
    numbers = fields.integers(name, None, low, high)
    if not numbers or len(set(numbers)) != 1:
        raise ValueError(f"{name} is {brief(value)}; its layers must be alike")
    return numbers[0]


def _expert_size(fields: Fields) -> int:
    size = uniform(fields, "moe_intermediate_size", MOST_FFN, default=0)
    return size or fields.integer("intermediate_size", MOST_FFN)


def _shared_size(fields: Fields, arch: Architecture, size: int) -> int:
    """Width of the shared expert: given directly, or as a number of experts."""
    whole = fields.integer("shared_expert_intermediate_size", MOST_FFN, low=0, default=0)
    count = uniform(fields, "n_shared_experts", 1024, low=0, default=0)
    own = fields.integer("moe_shared_expert_intermediate_size", MOST_FFN, default=size)
    return whole or own * (count or int(arch.shared_is_expert))


def dense_layers(fields: Fields, n_layers: int) -> tuple[int, ...]:
    """Layers of a mixture-of-experts model with a dense feed-forward block.

    Each class has its own field for it; missing fields are skipped.
    """
    sparse = [True] * n_layers
    first = fields.integer("first_k_dense_replace", n_layers, low=0, default=0)
    first = fields.integer("num_dense_layers", n_layers, low=0, default=first)
    step = fields.integer("decoder_sparse_step", n_layers, low=1, default=1)
    step = fields.integer("interleave_moe_layer_step", n_layers, low=1, default=step)
    start = fields.integer("moe_layer_start_index", n_layers, low=0, default=0)
    end = fields.integer("moe_layer_end_index", MOST_LAYERS, low=-1, default=-1)
    interval = fields.integer("moe_layer_interval", n_layers, low=1, default=1)
    alone = set(fields.integers("mlp_only_layers", None, 0, n_layers - 1) or ())
    every = _expert_frequency(fields, n_layers)
    for layer in range(n_layers):
        sparse[layer] = (
            layer >= first
            and not (layer + 1) % step
            and layer not in alone
            and start <= layer <= (end if end >= 0 else n_layers)
            and not (layer + 1) % interval
            and every[layer]
        )
    listed = fields.integers("moe_layers", None, 0, n_layers - 1)  # Llama 4, as transformers saves it
    if listed is not None:
        chosen = set(listed)
        sparse = [layer in chosen for layer in range(n_layers)]
    named = fields.names("mlp_layer_types", n_layers, ("dense", "sparse"))
    if named is not None:
        sparse = [name == "sparse" for name in named]
    return tuple(layer for layer in range(n_layers) if not sparse[layer])


def _expert_frequency(fields: Fields, n_layers: int) -> list[bool]:
    """`moe_layer_freq`: a period, or a 0 or 1 for each layer."""
    value = fields.raw("moe_layer_freq")
    if isinstance(value, list | tuple):
        listed = fields.integers("moe_layer_freq", n_layers, 0, 1) or ()
        return [flag == 1 for flag in listed]
    period = fields.integer("moe_layer_freq", n_layers, default=1)
    return [layer % period == 0 for layer in range(n_layers)]
