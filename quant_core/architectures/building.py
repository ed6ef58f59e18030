"""From the fields of a configuration to the layers of a model.

An :class:`Architecture` says what the class of a model fixes and which fields it leaves to the
configuration. Its ``plan`` is a function that reads those fields and answers with the mixers and the
feed-forward blocks of every layer: there is one for the usual decoder, and a short one for each hybrid. The
architectures themselves are a table in :mod:`quant_core.architectures.table`.

References
----------
transformers 5.18, ``src/transformers/models/*/modeling_*.py`` of the architecture that a function names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from quant_core.architectures.fields import Fields, Flag, shown
from quant_core.architectures.layers import (
    FULL,
    LINEAR,
    SLIDING,
    Attention,
    Dense,
    Experts,
    LatentAttention,
    LightningAttention,
    LinearAttention,
    Mamba,
    Mamba2,
    Mixer,
    Part,
    RgLru,
    ShortConv,
    Undescribed,
    matrix,
    vector,
)

MOST_LAYERS = 512
"""As llama.cpp's LLAMA_MAX_LAYERS."""

_MOST_HEADS, _MOST_WIDTH, _MOST_FFN = 4096, 65_536, 1 << 24

FeedForward = Dense | Experts
Block = tuple[tuple[Mixer, ...], tuple[FeedForward, ...]]
"""What one layer mixes with, and what it feeds forward through."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What the class of a model fixes, and what it leaves to fields of the configuration.

    A :data:`quant_core.architectures.fields.Flag` is a constant, or the name of a field and what the class
    assumes without it.

    Attributes
    ----------
    classes : tuple of str
        Names of its classes without ``ForCausalLM`` and the like.
    plan : function or None
        From the fields to the blocks of every layer; None for :func:`decoder`.
    defaults : mapping
        What the class assumes for fields that published configurations leave out.
    ignored : tuple of str
        Fields that published configurations have and the class does not read.
    required : tuple of str
        Fields that decide a size and have no value to assume.
    qkv_bias, output_bias, ffn_bias, head_bias, norm_bias : Flag
    gated_attention, attention_gate : bool
        Whether attention is gated: by a part of the query matrix, or by a matrix of its own.
    gated_ffn, joined_ffn : bool
        Whether the feed-forward block has a gate, and whether gate and up are one tensor.
    ffn_ratio : int
        Width of the feed-forward block over the model's, where the configuration does not say it.
    value_dim : bool
        Whether ``v_head_dim`` gives value heads a width of their own.
    heads_of : mapping
        For ``"full"`` or ``"sliding"`` layers, fields that stand for the usual ones.
    sliding_every, linear_every : int
        Of so many layers the last attends to everything.
    norms : tuple of str
        Norms of a layer; ``norm_weight`` is False where they have no weights.
    positions : int or None
        Learned positions: rows beside ``max_position_embeddings``; None where there are none.
    encoder, pooler : bool
        An encoder keeps no cache; some have a pooler, which no GGUF file holds.
    rows_beside : int
        Rows of the embedding beside ``vocab_size``.
    extras : function
        Tensors of its own.
    """

    classes: tuple[str, ...]
    plan: Callable[[Fields, Architecture], list[Block]] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    strict: bool = False  # only fields that are known to decide nothing may be left unread
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

    ``beside_file`` is what the model has and its GGUF file does not: parameters, not bytes.
    """

    of_layer: tuple[Part, ...] = ()
    of_model: tuple[Part, ...] = ()
    beside_file: int = 0


# --- the usual decoder ------------------------------------------------------------------------------------


def decoder(fields: Fields, arch: Architecture) -> list[Block]:
    """Attention, of one kind or several, and a feed-forward block or experts in every layer."""
    n_layers = count_of_layers(fields)
    kinds = (FULL,) * n_layers if arch.encoder else layer_kinds(fields, arch, n_layers)
    mixers = attention_layers(fields, arch, kinds)
    blocks = list(zip(mixers, feed_forwards(fields, arch, n_layers), strict=True))
    if arch.strict:
        return blocks
    shared = fields.integer("num_kv_shared_layers", n_layers - 1, low=0, default=0)
    return with_shared_caches(fields, blocks, shared) if shared else blocks


def read_unused(fields: Fields, *names: str) -> None:
    """Note fields as read that the class has and that decide nothing where no layer is of their kind."""
    for name in names:
        fields.raw(name)


def count_of_layers(fields: Fields) -> int:
    """``num_hidden_layers``."""
    return fields.integer("num_hidden_layers", MOST_LAYERS)


def hidden_size(fields: Fields) -> int:
    """``hidden_size``."""
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
    """GLM-5.2: a layer that shares the choice of an earlier one has no indexer and keeps no keys for it."""
    named = fields.names("indexer_types", n_layers, ("full", "shared")) or ()
    sharing = replace(latent, index_heads=0, index_dim=0)
    mixers: dict[str, tuple[Mixer, ...]] = {"full": (latent,), "shared": (sharing,)}
    return [mixers[name] for name in named]


def attention(fields: Fields, arch: Architecture, window: int = 0) -> Attention:
    """The attention of full layers, or of those with a window."""
    own = arch.heads_of.get(SLIDING if window else FULL, {})
    fields.raw("sliding_window")  # llama.cpp ignores it where no layer is said to have one

    def size(name: str, high: int, default: int | None) -> int:
        usual = fields.integer(name, high, default=default)
        return fields.integer(own[name], high, default=usual) if name in own else usual

    usual_heads = fields.integer("num_attention_heads", _MOST_HEADS)
    heads = size("num_attention_heads", _MOST_HEADS, None)
    kv_heads = size("num_key_value_heads", _MOST_HEADS, usual_heads)
    if heads % kv_heads:
        raise ValueError(f"num_key_value_heads is {kv_heads}; it must divide num_attention_heads ({heads})")
    head_dim = size("head_dim", _MOST_WIDTH, 0) or _head_dim(fields, usual_heads)
    keys_are_values = bool(own) and not window and fields.flag("attention_k_eq_v", False)
    return Attention(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        value_dim=size("v_head_dim", _MOST_WIDTH, head_dim) if arch.value_dim else head_dim,
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
    """Kind of every layer: as ``layer_types`` names it, or by a period of which the last layer is full."""
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
        period = fields.integer("sliding_window_pattern", 1024, default=arch.sliding_every)
    return (period, SLIDING) if fields.has("sliding_window") else (0, FULL)


def latent_attention(fields: Fields, arch: Architecture) -> LatentAttention | None:
    """DeepSeek's attention, where ``kv_lora_rank`` is given."""
    kv_rank = fields.integer("kv_lora_rank", _MOST_WIDTH, default=0)
    if not kv_rank and (fields.has("qk_rope_head_dim") or fields.has("q_lora_rank")):
        raise ValueError("kv_lora_rank is missing, though the widths of latent attention are given")
    if not kv_rank:
        return None
    return LatentAttention(
        heads=fields.integer("num_attention_heads", _MOST_HEADS),
        kv_rank=kv_rank,
        rope_dim=fields.integer("qk_rope_head_dim", 4096),
        nope_dim=fields.integer("qk_nope_head_dim", 4096, default=128),
        value_dim=fields.integer("v_head_dim", 4096, default=128),
        query_rank=fields.integer("q_lora_rank", _MOST_WIDTH, default=0),
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
    """Geometry of Gated DeltaNet; undescribed when the configuration does not give it."""
    given = [name for name in _DELTA_FIELDS if fields.has(name)]
    if not given:
        return Undescribed()
    return LinearAttention(
        key_heads=fields.integer("linear_num_key_heads", _MOST_HEADS),
        value_heads=fields.integer("linear_num_value_heads", _MOST_HEADS),
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
    count = fields.integer("num_experts", _MOST_WIDTH, low=0, default=0) if arch.has_experts else 0
    if count < 2:
        return [(dense(fields, arch),)] * n_layers
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
    plain = (dense(fields, arch, fields.integer("intermediate_size_mlp", _MOST_FFN, default=0)),)
    of_experts = (*plain, experts) if beside else (experts,)
    only_dense = frozenset(in_dense)
    return [plain if layer in only_dense else of_experts for layer in range(n_layers)]


def dense(fields: Fields, arch: Architecture, width: int = 0) -> Dense:
    """The ordinary feed-forward block."""
    usual = arch.ffn_ratio * hidden_size(fields)
    return Dense(
        width=width or fields.integer("intermediate_size", _MOST_FFN, default=usual or None),
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
        raise ValueError(f"{name} is {shown(value)}; its layers must be alike")
    return numbers[0]


def _expert_size(fields: Fields) -> int:
    size = uniform(fields, "moe_intermediate_size", _MOST_FFN, default=0)
    return size or fields.integer("intermediate_size", _MOST_FFN)


def _shared_size(fields: Fields, arch: Architecture, size: int) -> int:
    """Width of the shared expert: told as a whole, or as so many experts."""
    whole = fields.integer("shared_expert_intermediate_size", _MOST_FFN, low=0, default=0)
    count = uniform(fields, "n_shared_experts", 1024, low=0, default=0)
    own = fields.integer("moe_shared_expert_intermediate_size", _MOST_FFN, default=size)
    return whole or own * (count or int(arch.shared_is_expert))


def dense_layers(fields: Fields, n_layers: int) -> tuple[int, ...]:
    """Layers of a mixture-of-experts model whose feed-forward block is an ordinary one.

    Every class says it in its own way; fields that are not there say nothing.
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
    """``moe_layer_freq``: a period, or a 0 or 1 for each layer."""
    value = fields.raw("moe_layer_freq")
    if isinstance(value, list | tuple):
        listed = fields.integers("moe_layer_freq", n_layers, 0, 1) or ()
        return [flag == 1 for flag in listed]
    period = fields.integer("moe_layer_freq", n_layers, default=1)
    return [layer % period == 0 for layer in range(n_layers)]


# --- hybrids, and decoders with something of their own ----------------------------------------------------


def mimo(fields: Fields, arch: Architecture) -> list[Block]:
    """MiMo-V2: windows by ``hybrid_layer_pattern``, heads of their own there, sinks where a field says so."""
    n_layers = count_of_layers(fields)
    kv_heads = fields.integer("num_key_value_heads", _MOST_HEADS)
    fields.defaults = {**fields.defaults, "swa_num_key_value_heads": 2 * kv_heads}
    pattern = fields.integers("hybrid_layer_pattern", n_layers, 0, 1)
    if pattern is None and not fields.has("layer_types"):
        raise ValueError(
            "hybrid_layer_pattern is missing; it must tell the layers with a window from the others"
        )
    if pattern is None:
        kinds = layer_kinds(fields, arch, n_layers)
    else:
        kinds = tuple(SLIDING if flag else FULL for flag in pattern)
    window = fields.integer("sliding_window", 1 << 32)
    full = replace(attention(fields, arch), sinks=fields.flag("add_full_attention_sink_bias", False))
    local = replace(attention(fields, arch, window), sinks=fields.flag("add_swa_attention_sink_bias", True))
    made: dict[str, tuple[Mixer, ...]] = {FULL: (full,), SLIDING: (local,)}
    return list(zip([made[kind] for kind in kinds], feed_forwards(fields, arch, n_layers), strict=True))


def minimax_text(fields: Fields, arch: Architecture) -> list[Block]:
    """MiniMax-Text-01: lightning attention, and full attention where ``attn_type_list`` is 1."""
    n_layers = count_of_layers(fields)
    listed = fields.integers("attn_type_list", n_layers, 0, 1)
    if listed is None:
        named = fields.names("layer_types", n_layers, ("full_attention", "linear_attention"))
        if named is None:
            raise ValueError("attn_type_list is missing; it must tell linear from full layers")
        listed = tuple(int(name == "full_attention") for name in named)
    full = attention(fields, arch)
    linear = LightningAttention(heads=full.heads, head_dim=full.head_dim)
    mixers: list[tuple[Mixer, ...]] = [(full,), (linear,)]
    chosen = [mixers[0] if flag else mixers[1] for flag in listed]
    return list(zip(chosen, feed_forwards(fields, arch, n_layers), strict=True))


def arctic(fields: Fields, arch: Architecture) -> list[Block]:
    """Snowflake Arctic: experts in every layer, and beside them a dense block as wide as the model."""
    n_layers = count_of_layers(fields)
    period = fields.integer("moe_layer_frequency", MOST_LAYERS, default=2)
    if period != 1:
        raise ValueError(
            f"moe_layer_frequency is {period}; only experts in every layer are counted, as llama.cpp has them"
        )
    residual = any([fields.flag("use_residual", False), fields.flag("parallel_attn_mlp_res", False)])
    count = fields.integer("num_experts", _MOST_WIDTH)
    experts = Experts(
        count=count,
        per_token=fields.integer("num_experts_per_tok", count),
        ffn_size=fields.integer("intermediate_size", _MOST_FFN),
        dense_beside=residual,
    )
    feeds = (Dense(width=hidden_size(fields)), experts) if residual else (experts,)
    mixers = attention_layers(fields, arch, layer_kinds(fields, arch, n_layers))
    return [(mixer, feeds) for mixer in mixers]


def one_key_head(fields: Fields, arch: Architecture) -> list[Block]:
    """GPT-BigCode: ``multi_query`` gives all query heads one key head."""
    one = fields.flag("multi_query", True)
    kv_heads = 1 if one else fields.integer("num_attention_heads", _MOST_HEADS)
    if fields.integer("num_key_value_heads", _MOST_HEADS, default=kv_heads) != kv_heads:
        raise ValueError(f"num_key_value_heads contradicts multi_query, which makes {kv_heads}")
    fields.defaults = {**fields.defaults, "num_key_value_heads": kv_heads}
    return decoder(fields, arch)


def falcon(fields: Fields, arch: Architecture) -> list[Block]:
    """Falcon: the new decoder has key heads of their own number, the old one has one or all of them."""
    heads = fields.integer("num_attention_heads", _MOST_HEADS)
    one = fields.flag("multi_query", True)
    if fields.flag("new_decoder_architecture", False):
        kv_heads = fields.integer("num_kv_heads", _MOST_HEADS, default=heads)
    else:
        fields.raw("num_kv_heads")  # not what the old decoder has
        kv_heads = 1 if one else heads
    if heads % kv_heads:
        raise ValueError(f"num_kv_heads is {kv_heads}; it must divide num_attention_heads ({heads})")
    mixer = replace(attention(_without(fields, "num_kv_heads"), arch), kv_heads=kv_heads)
    return [((mixer,), (dense(fields, arch),))] * count_of_layers(fields)


def _without(fields: Fields, name: str) -> Fields:
    """The same fields but one; what is read of them is remembered with the others."""
    fewer = Fields({key: value for key, value in fields.config.items() if key != name})
    fewer.defaults, fewer.seen = fields.defaults, fields.seen
    return fewer


def gemma4(fields: Fields, arch: Architecture) -> list[Block]:
    """Gemma 4, whose full layers have heads of their own: in two fields, or as transformers 5 saves them."""
    given = fields.raw("per_layer_config")
    if not given:
        return decoder(fields, arch)
    kinds = layer_kinds(fields, arch, count_of_layers(fields))
    full = {layer for layer, kind in enumerate(kinds) if kind == FULL}
    given = given if isinstance(given, Mapping) else {"": None}
    entries: list[Any] = list(given.values())
    layers = {int(key) if isinstance(key, str) and key.isdecimal() and len(key) < 5 else -1 for key in given}
    alike = isinstance(entries[0], Mapping) and all(entry == entries[0] for entry in entries)
    if not alike or layers != full or set(entries[0]) - {"head_dim", "num_key_value_heads"}:
        raise ValueError("per_layer_config must give all full layers, and no others, the same heads")
    del fields.seen["per_layer_config"]
    for name, value in entries[0].items():
        own = arch.heads_of[FULL][name]
        fields.seen[own] = value
        fields.defaults = {**fields.defaults, own: value}
    return decoder(fields, arch)


def helium(fields: Fields, arch: Architecture) -> list[Block]:
    """Helium, whose output matrix is square: its heads must be as wide as the model."""
    blocks = decoder(fields, arch)
    own = attention(fields, arch)
    if own.heads * own.head_dim != hidden_size(fields):
        raise ValueError(f"head_dim is {own.head_dim}; with num_attention_heads it must make hidden_size")
    return blocks


def gemma3n(fields: Fields, arch: Architecture) -> list[Block]:
    """Gemma 3n, whose feed-forward blocks may have a width each."""
    widths = fields.raw("intermediate_size")
    n_layers = count_of_layers(fields)
    if isinstance(widths, list | tuple):
        numbers = fields.integers("intermediate_size", n_layers, 1, _MOST_FFN) or ()
    else:
        numbers = (fields.integer("intermediate_size", _MOST_FFN),) * n_layers
    feeds = {width: (Dense(width=width),) for width in set(numbers)}
    mixers = attention_layers(fields, arch, layer_kinds(fields, arch, n_layers))
    shared = fields.integer("num_kv_shared_layers", n_layers - 1, low=0, default=0)
    blocks: list[Block] = [(mixer, feeds[width]) for mixer, width in zip(mixers, numbers, strict=True)]
    return with_shared_caches(fields, blocks, shared, in_file=True) if shared else blocks


def nomic_bert(fields: Fields, arch: Architecture) -> list[Block]:
    """Nomic's encoder: a gate where the activation is one of a gated unit."""
    activation = fields.text("activation_function", "swiglu")
    return decoder(fields, replace(arch, gated_ffn=activation in ("swiglu", "geglu", "glu", "silu")))


def opt(fields: Fields, arch: Architecture) -> list[Block]:
    """OPT, whose embedding must be as wide as the model (that of the 350M model is not)."""
    hidden = hidden_size(fields)
    narrow = fields.integer("word_embed_proj_dim", 1 << 20, default=hidden)
    if narrow != hidden:
        raise ValueError(f"word_embed_proj_dim is {narrow}; only hidden_size ({hidden}) is counted")
    fields.raw("do_layer_norm_before")
    return decoder(fields, arch)


def mpt(fields: Fields, arch: Architecture) -> list[Block]:
    """MPT, with as many key heads as query heads and no norm of queries and keys."""
    inner = fields.raw("attn_config")
    for name in ("kv_n_heads", "qk_ln", "qk_gn"):
        if isinstance(inner, Mapping) and inner.get(name):
            raise ValueError(
                f"attn_config.{name} is {shown(inner[name])}; only attention without it is counted"
            )
    if fields.integer("expansion_ratio", 64, default=4) != 4:
        raise ValueError("expansion_ratio must be 4, which the class takes whatever is said")
    return decoder(fields, arch)


def cross_attending(fields: Fields, arch: Architecture) -> list[Block]:
    """Llama 3.2 Vision: the layers of ``cross_attention_layers`` attend to the image and keep no text."""
    n_layers = count_of_layers(fields)
    listed = fields.integers("cross_attention_layers", None, 0, n_layers - 1)
    if listed is None:
        raise ValueError(
            "cross_attention_layers is missing; it must list the layers that attend to the image"
        )
    own = attention(fields, arch)
    crossing = replace(own, cross=True, caches=False, norm="head")
    feeds = (dense(fields, arch),)
    chosen = frozenset(listed)
    mixers: tuple[tuple[Mixer, ...], ...] = ((own,), (crossing,))
    return [(mixers[layer in chosen], feeds) for layer in range(n_layers)]


def jamba(fields: Fields, arch: Architecture) -> list[Block]:
    """Jamba: attention and experts each in one layer of a period."""
    n_layers = count_of_layers(fields)
    period, offset = _period_of(fields, "attn_layer", 8, 4)
    expert_period, expert_offset = _period_of(fields, "expert_layer", 2, 1)
    count = fields.integer("num_experts", _MOST_WIDTH, default=16)
    plain: FeedForward = dense(fields, arch)
    sparse = plain
    if count > 1:
        in_dense = tuple(i for i in range(n_layers) if i % expert_period != expert_offset)
        sparse = Experts(
            count=count,
            per_token=fields.integer("num_experts_per_tok", count, default=2),
            ffn_size=dense(fields, arch).width,
            dense_layers=in_dense,
        )
    recurrent = mamba(fields, "mamba_d_state", "mamba_d_conv", "mamba_expand", "mamba_dt_rank")
    recurrent = replace(
        recurrent,
        bias=fields.flag("mamba_proj_bias", False),
        conv_bias=fields.flag("mamba_conv_bias", True),
        norms=True,
    )
    mixers: tuple[tuple[Mixer, ...], ...] = ((recurrent,), (attention(fields, arch),))
    feeds: tuple[tuple[FeedForward, ...], ...] = ((plain,), (sparse,))
    return [
        (mixers[i % period == offset], feeds[i % expert_period == expert_offset]) for i in range(n_layers)
    ]


def _period_of(fields: Fields, name: str, period: int, offset: int) -> tuple[int, int]:
    every = fields.integer(f"{name}_period", MOST_LAYERS, default=period)
    return every, fields.integer(f"{name}_offset", MOST_LAYERS, low=0, default=offset)


def mamba(fields: Fields, state: str, kernel: str, expand: str, rank: str) -> Mamba:
    """A Mamba mixer from four fields; a rank of ``"auto"`` is a sixteenth of the width."""
    hidden = hidden_size(fields)
    automatic = -(-hidden // 16)
    given = fields.raw(rank)
    return Mamba(
        inner=fields.integer(expand, 64, default=2) * hidden,
        state=fields.integer(state, _MOST_WIDTH, default=16),
        conv_kernel=fields.integer(kernel, 64, default=4),
        dt_rank=automatic if given == "auto" else fields.integer(rank, _MOST_WIDTH, default=automatic),
    )


def mamba_model(fields: Fields, arch: Architecture) -> list[Block]:
    """Mamba and Falcon-Mamba: the same mixer in every layer and no feed-forward block."""
    mixer = mamba(fields, "state_size", "conv_kernel", "expand", "time_step_rank")
    inner = fields.integer("intermediate_size", _MOST_FFN, default=mixer.inner)
    mixer = replace(
        mixer, inner=inner, bias=fields.flag("use_bias", False), conv_bias=fields.flag("use_conv_bias", True)
    )
    return [((mixer,), ())] * count_of_layers(fields)


_MAMBA2_NAMES = {
    "state": ("state_size", "ssm_state_size", "mamba_d_state"),
    "conv_kernel": ("conv_kernel", "mamba_d_conv"),
    "groups": ("n_groups", "mamba_n_groups"),
    "heads": ("num_heads", "mamba_num_heads", "mamba_n_heads"),
    "head_dim": ("mamba_head_dim", "mamba_d_head"),
    "bias": ("use_bias", "mamba_proj_bias"),
    "conv_bias": ("use_conv_bias", "mamba_conv_bias"),
}


def mamba2(fields: Fields, inner: int | None = None) -> Mamba2:
    """A Mamba-2 mixer, under the names of any of its classes."""

    def read(part: str, high: int, default: int | None) -> int:
        names = _MAMBA2_NAMES[part]
        name = next((name for name in names if fields.raw(name) is not None), names[-1])
        return fields.integer(name, high, default=default)

    def truth(part: str, default: bool) -> bool:
        names = _MAMBA2_NAMES[part]
        given = [fields.flag(name, False) for name in names if fields.has(name)]
        return any(given) if given else default

    heads = read("heads", _MOST_WIDTH, None)
    if inner is None:
        inner = heads * read("head_dim", _MOST_WIDTH, None)
    if inner % heads:
        raise ValueError(f"the {heads} heads of the state space do not divide its width ({inner})")
    return Mamba2(
        inner=inner,
        state=read("state", _MOST_WIDTH, None),
        conv_kernel=read("conv_kernel", 64, 4),
        groups=read("groups", _MOST_HEADS, 1),
        heads=heads,
        bias=truth("bias", False),
        conv_bias=truth("conv_bias", True),
    )


def mamba2_model(fields: Fields, arch: Architecture) -> list[Block]:
    """Mamba-2: the same mixer in every layer and no feed-forward block."""
    inner = fields.integer("expand", 64, default=2) * hidden_size(fields)
    mixer = mamba2(fields, inner)
    head_dim = fields.integer("head_dim", _MOST_WIDTH, default=64)
    if head_dim * mixer.heads != inner:
        raise ValueError(f"head_dim is {head_dim}; with num_heads ({mixer.heads}) it must make {inner}")
    return [((mixer,), ())] * count_of_layers(fields)


def falcon_h1(fields: Fields, arch: Architecture) -> list[Block]:
    """Falcon-H1: attention and a state space side by side in every layer."""
    expanded = fields.integer("mamba_expand", 64, default=2) * hidden_size(fields)
    inner = fields.integer("mamba_d_ssm", _MOST_FFN, default=expanded)
    recurrent = replace(mamba2(fields, inner), norm=fields.flag("mamba_rms_norm", False))
    fields.raw("mamba_d_head")
    block: Block = (attention(fields, arch), recurrent), (dense(fields, arch),)
    return [block] * count_of_layers(fields)


_HYBRID_TYPES = {
    "mamba": LINEAR,
    "linear_attention": LINEAR,
    "conv": LINEAR,
    "attention": FULL,
    "full_attention": FULL,
}


def granite_hybrid(fields: Fields, arch: Architecture) -> list[Block]:
    """Granite 4: Mamba-2 or attention by ``layer_types``, and a shared expert in every layer."""
    n_layers = count_of_layers(fields)
    named = fields.names("layer_types", n_layers, _HYBRID_TYPES)
    if named is None:
        raise ValueError("layer_types is missing; it must name the kind of every layer")
    kinds = [_HYBRID_TYPES[name] for name in named]
    shared = fields.integer("shared_intermediate_size", _MOST_FFN, low=0, default=1024)
    count = fields.integer("num_experts", _MOST_WIDTH, low=0, default=8)
    feeds: list[FeedForward] = []
    if count:
        feeds = [
            Experts(
                count=count,
                per_token=fields.integer("num_experts_per_tok", count, default=2),
                ffn_size=fields.integer("intermediate_size", _MOST_FFN),
                shared_ffn_size=shared,
            )
        ]
    elif shared:
        read_unused(fields, "intermediate_size", "num_experts_per_tok")
        feeds = [Dense(width=shared)]
    made: dict[str, tuple[Mixer, ...]] = {}
    read_unused(fields, "num_attention_heads", "num_key_value_heads", "mamba_expand", "mamba_d_state")
    read_unused(fields, "mamba_n_heads", "mamba_n_groups", "mamba_d_conv", "mamba_conv_bias")
    if LINEAR in kinds:
        inner = fields.integer("mamba_expand", 64, default=2) * hidden_size(fields)
        made[LINEAR] = (mamba2(fields, inner),)
    if FULL in kinds:
        made[FULL] = (attention(fields, arch),)
    of_layer = tuple(feeds)
    return [(made[kind], of_layer) for kind in kinds]


def bamba(fields: Fields, arch: Architecture) -> list[Block]:
    """Bamba: Mamba-2, and attention in the layers of ``attn_layer_indices``."""
    n_layers = count_of_layers(fields)
    listed = frozenset(fields.integers("attn_layer_indices", None, 0, n_layers - 1) or ())
    inner = fields.integer("mamba_expand", 64, default=2) * hidden_size(fields)
    mixers: tuple[tuple[Mixer, ...], ...] = ((mamba2(fields, inner),), (attention(fields, arch),))
    feeds = (dense(fields, arch),)
    return [(mixers[layer in listed], feeds) for layer in range(n_layers)]


_NEMOTRON_LETTERS = {"M": "mamba", "-": "mlp", "*": "attention", "E": "moe"}
_NEMOTRON_NAMES = {"linear_attention": "mamba", "full_attention": "attention"}


def nemotron_h(fields: Fields, arch: Architecture) -> list[Block]:
    """Nemotron-H and Nemotron 3: every layer is a state space, attention, experts or a dense block."""
    kinds = _nemotron_pattern(fields)
    if fields.flag("tie_word_embeddings", False):
        raise ValueError("tie_word_embeddings is true, which the class does not do; it must be false")
    made: dict[str, Block] = {}
    for kind in dict.fromkeys(kinds):
        if kind == "mamba":
            made[kind] = (mamba2(fields),), ()
        elif kind == "attention":
            made[kind] = (attention(fields, arch),), ()
        elif kind == "moe":
            made[kind] = (), (_nemotron_experts(fields, kinds),)
        else:
            made[kind] = (), (dense(fields, arch),)
    read_unused(
        fields, "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim", "expand"
    )
    read_unused(fields, "num_experts", "num_experts_per_tok", "n_shared_experts", "moe_intermediate_size")
    read_unused(fields, "moe_shared_expert_intermediate_size")
    return [made[kind] for kind in kinds]


def _nemotron_pattern(fields: Fields) -> tuple[str, ...]:
    letters = fields.raw("hybrid_override_pattern")
    n_layers = fields.integer("num_hidden_layers", MOST_LAYERS, default=0)
    if letters is None:
        names = ("mamba", "attention", "mlp", "moe", *_NEMOTRON_NAMES)
        named = fields.names("layers_block_type", n_layers or None, names)
        if named is None or not 1 <= len(named) <= MOST_LAYERS:
            raise ValueError("hybrid_override_pattern is missing; it must have a letter for every layer")
        return tuple(_NEMOTRON_NAMES.get(name, name) for name in named)
    if not isinstance(letters, str) or not letters or set(letters) - set(_NEMOTRON_LETTERS):
        raise ValueError(
            f"hybrid_override_pattern is {shown(letters)}; it must be of the letters M, *, - and E"
        )
    if len(letters) > MOST_LAYERS or (n_layers and len(letters) != n_layers):
        raise ValueError(f"hybrid_override_pattern has {len(letters)} letters; it must have {n_layers}")
    return tuple(_NEMOTRON_LETTERS[letter] for letter in letters)


def _nemotron_experts(fields: Fields, kinds: Sequence[str]) -> Experts:
    count = fields.integer("num_experts", _MOST_WIDTH)
    size = fields.integer("moe_intermediate_size", _MOST_FFN)
    fields.raw("n_shared_experts")  # all of them are one block of the width that is given
    return Experts(
        count=count,
        per_token=fields.integer("num_experts_per_tok", count),
        ffn_size=size,
        shared_ffn_size=fields.integer("moe_shared_expert_intermediate_size", _MOST_FFN, default=size),
        gated=False,
        latent=fields.integer("moe_latent_size", _MOST_WIDTH, default=0),
        dense_layers=tuple(i for i, kind in enumerate(kinds) if kind != "moe"),
    )


def lfm2(fields: Fields, arch: Architecture) -> list[Block]:
    """LFM2: short convolutions, and attention where ``layer_types`` or ``full_attn_idxs`` has it."""
    n_layers = count_of_layers(fields)
    named = fields.names("layer_types", n_layers, _HYBRID_TYPES)
    listed = fields.integers("full_attn_idxs", None, 0, n_layers - 1)
    if named is None and listed is None:
        raise ValueError("layer_types is missing; it must name the kind of every layer")
    full = frozenset(listed or ())
    kinds = [_HYBRID_TYPES[name] == FULL for name in named] if named else [i in full for i in range(n_layers)]
    conv = ShortConv(
        width=hidden_size(fields),
        kernel=fields.integer("conv_L_cache", 64, default=3),
        bias=fields.flag("conv_bias", False),
    )
    mixers: tuple[tuple[Mixer, ...], ...] = ((conv,), (attention(fields, arch),))
    feeds = feed_forwards(fields, arch, n_layers) if arch.has_experts else [(_lfm2_dense(fields),)] * n_layers
    return [(mixers[kind], feed) for kind, feed in zip(kinds, feeds, strict=True)]


def _lfm2_dense(fields: Fields) -> Dense:
    """The width of the block is rounded, unless a field says that it is not."""
    width = fields.integer("block_ff_dim", _MOST_FFN, default=0)
    width = width or fields.integer("intermediate_size", _MOST_FFN)
    if fields.flag("block_auto_adjust_ff_dim", True):
        width = 2 * width // 3
        factor = fields.raw("block_ffn_dim_multiplier")
        if isinstance(factor, int | float) and not isinstance(factor, bool) and 0 < factor < 64:
            width = int(factor * width)
        multiple = fields.integer("block_multiple_of", _MOST_WIDTH, default=256)
        width = multiple * -(-width // multiple)
    read_unused(fields, "block_multiple_of", "block_ffn_dim_multiplier", "block_dim", "block_use_swiglu")
    return Dense(width=max(1, width))


def recurrent_gemma(fields: Fields, arch: Architecture) -> list[Block]:
    """RecurrentGemma: recurrent blocks, and attention with a window, by the period of ``block_types``."""
    n_layers = count_of_layers(fields)
    names = ("recurrent", "attention")
    period = fields.names("block_types", None, names) or ("recurrent", "recurrent", "attention")
    window = fields.integer("attention_window_size", 1 << 32, default=2048)
    full = attention(fields, arch, window)
    width = fields.integer("lru_width", _MOST_FFN, default=hidden_size(fields))
    if width % full.heads:
        raise ValueError(f"lru_width is {width}; it must be a multiple of num_attention_heads ({full.heads})")
    recurrent = RgLru(
        width=width, heads=full.heads, conv_kernel=fields.integer("conv1d_width", 64, default=4)
    )
    wide = fields.integer("intermediate_size", _MOST_FFN)
    feeds = (Dense(width=max(1, wide // 2), bias=True),)
    made: dict[str, tuple[Mixer, ...]] = {"attention": (full,), "recurrent": (recurrent,)}
    return [(made[period[layer % len(period)]], feeds) for layer in range(n_layers)]


# --- tensors of one architecture --------------------------------------------------------------------------


def layer_embeddings(fields: Fields, arch: Architecture) -> Extras:
    """Gemma 3n and Gemma 4 E models: a token's embedding of its own for each layer."""
    width = fields.integer("hidden_size_per_layer_input", _MOST_WIDTH, low=0, default=0)
    vocabulary = fields.integer("vocab_size", 1 << 24)
    rows = fields.integer("vocab_size_per_layer_input", 1 << 24, default=vocabulary)
    if not width:
        return Extras()
    hidden, n_layers = hidden_size(fields), count_of_layers(fields)
    return Extras(
        of_layer=(
            matrix("inp_gate", width, hidden),
            matrix("proj", hidden, width),
            vector("post_norm.weight", hidden),
        ),
        of_model=(
            matrix("per_layer_token_embd", rows, width * n_layers),
            matrix("per_layer_model_proj", width * n_layers, hidden, kept="F16"),
            vector("per_layer_proj_norm.weight", width),
        ),
    )


def gemma3n_extras(fields: Fields, arch: Architecture) -> Extras:
    """Gemma 3n: beside the embeddings of each layer, AltUp's predictions and LAuReL's low-rank paths."""
    embeddings = layer_embeddings(fields, arch)
    hidden = hidden_size(fields)
    inputs = fields.integer("altup_num_inputs", 64, default=4)
    rank = fields.integer("laurel_rank", _MOST_WIDTH, default=64)
    scaled = fields.flag("altup_correct_scale", True)
    of_layer = (
        *([vector("altup_correct_scale.weight", hidden)] if scaled else []),
        vector("altup_correct_coef.weight", inputs * inputs),
        vector("altup_predict_coef.weight", inputs**3),
        matrix("altup_router", inputs, hidden, kept="F16"),
        vector("altup_router_norm.weight", hidden),
        matrix("laurel_l", rank, hidden, kept="F16"),
        matrix("laurel_r", hidden, rank, kept="F16"),
        vector("laurel_post_norm.weight", hidden),
    )
    rows = (inputs - 1) * hidden
    of_model = (
        matrix("altup_proj", rows, hidden, kept="F16"),
        matrix("altup_unembd_proj", rows, hidden, kept="F16"),
    )
    return Extras(
        (*embeddings.of_layer, *of_layer),
        (*embeddings.of_model, *(of_model if rows else ())),
        beside_file=-_unused_keys(fields, arch),
    )


def _unused_keys(fields: Fields, arch: Architecture) -> int:
    """Keys and values of layers that read an earlier cache: in a file of Gemma 3n, and in no count of it."""
    shared = fields.integer("num_kv_shared_layers", MOST_LAYERS, low=0, default=0)
    own = attention(fields, arch)
    return shared * (hidden_size(fields) * own.kv_heads * (own.head_dim + own.value_dim) + own.head_dim)


def encoder_embeddings(fields: Fields, arch: Architecture) -> Extras:
    """Encoders: the kinds of tokens, a norm of the embedding; and a head or pooler that no GGUF file has."""
    hidden, vocabulary = hidden_size(fields), fields.integer("vocab_size", 1 << 24)
    kinds = fields.integer("type_vocab_size", 1024, low=0, default=0)
    biased = fields.chosen(arch.norm_bias)
    of_model = (
        *([matrix("token_types", kinds, hidden, kept="F32")] if kinds else []),
        vector("token_embd_norm.weight", hidden),
        *([vector("token_embd_norm.bias", hidden)] if biased else []),
    )
    if fields.headless:
        head = hidden * (hidden + 1) if arch.pooler else 0
    else:
        head = hidden * (hidden + (3 if biased else 1)) + vocabulary
        if not fields.flag("tie_word_embeddings", True):
            head += vocabulary * hidden
    return Extras(of_model=of_model, beside_file=head)


def embedding_norm(fields: Fields, arch: Architecture) -> Extras:
    """BLOOM: a norm of the embedding."""
    hidden = hidden_size(fields)
    return Extras(of_model=(vector("token_embd_norm.weight", hidden), vector("token_embd_norm.bias", hidden)))
