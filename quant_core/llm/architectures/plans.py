"""Plans of architectures other than the usual decoder: hybrids, state spaces, and special cases.

A plan reads the fields of a configuration and returns the mixers and the feed-forward blocks of every layer.

References
----------
transformers 5.18, `src/transformers/models/*/modeling_*.py` of the architecture that a function names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from quant_core.llm.architectures.building import (
    MOST_FFN,
    MOST_HEADS,
    MOST_LAYERS,
    MOST_WIDTH,
    Architecture,
    Block,
    FeedForward,
    attention,
    attention_layers,
    count_of_layers,
    decoder,
    dense,
    feed_forwards,
    hidden_size,
    layer_kinds,
    read_unused,
    with_shared_caches,
)
from quant_core.llm.architectures.fields import Fields, brief
from quant_core.llm.architectures.layers import (
    FULL,
    LINEAR,
    SLIDING,
    Dense,
    Experts,
    LightningAttention,
    Mamba,
    Mamba2,
    Mixer,
    RgLru,
    ShortConv,
)


def mimo(fields: Fields, arch: Architecture) -> list[Block]:
    """MiMo-V2: windows by `hybrid_layer_pattern`, with their own head counts; sinks by a field."""
    n_layers = count_of_layers(fields)
    kv_heads = fields.integer("num_key_value_heads", MOST_HEADS)
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
        read_unused(fields, "layer_types")  # redundant
    if not fields.has("moe_layer_freq") and not fields.has("mlp_layer_types"):
        raise ValueError("moe_layer_freq is missing; it must tell the layers with experts from the others")
    window = fields.integer("sliding_window", 1 << 32)
    full = replace(attention(fields, arch), sinks=fields.flag("add_full_attention_sink_bias", False))
    local = replace(attention(fields, arch, window), sinks=fields.flag("add_swa_attention_sink_bias", True))
    made: dict[str, tuple[Mixer, ...]] = {FULL: (full,), SLIDING: (local,)}
    return list(zip([made[kind] for kind in kinds], feed_forwards(fields, arch, n_layers), strict=True))


def minimax_text(fields: Fields, arch: Architecture) -> list[Block]:
    """MiniMax-Text-01: lightning attention, and full attention where `attn_type_list` is 1."""
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
    count = fields.integer("num_experts", MOST_WIDTH)
    experts = Experts(
        count=count,
        per_token=fields.integer("num_experts_per_tok", count),
        ffn_size=fields.integer("intermediate_size", MOST_FFN),
        dense_beside=residual,
    )
    feeds = (Dense(width=hidden_size(fields)), experts) if residual else (experts,)
    mixers = attention_layers(fields, arch, layer_kinds(fields, arch, n_layers))
    return [(mixer, feeds) for mixer in mixers]


def one_key_head(fields: Fields, arch: Architecture) -> list[Block]:
    """GPT-BigCode: `multi_query` gives all query heads one key head."""
    one = fields.flag("multi_query", True)
    kv_heads = 1 if one else fields.integer("num_attention_heads", MOST_HEADS)
    if fields.integer("num_key_value_heads", MOST_HEADS, default=kv_heads) != kv_heads:
        raise ValueError(f"num_key_value_heads contradicts multi_query, which makes {kv_heads}")
    fields.defaults = {**fields.defaults, "num_key_value_heads": kv_heads}
    return decoder(fields, arch)


def falcon(fields: Fields, arch: Architecture) -> list[Block]:
    """Falcon: the new decoder has key heads of their own number, the old one has one or all of them."""
    heads = fields.integer("num_attention_heads", MOST_HEADS)
    one = fields.flag("multi_query", True)
    if not fields.has("new_decoder_architecture") and fields.config.get("n_head_kv"):  # RefinedWeb's name
        fields.defaults = {**fields.defaults, "new_decoder_architecture": True}
        fields.seen["new_decoder_architecture"] = True
        fields.seen["num_kv_heads"] = fields.config["n_head_kv"]
    if fields.flag("new_decoder_architecture", False):
        old = fields.integer("n_head_kv", MOST_HEADS, default=heads)
        kv_heads = fields.integer("num_kv_heads", MOST_HEADS, default=old)
    else:
        fields.raw("num_kv_heads")  # not in the old decoder
        kv_heads = 1 if one else heads
    if heads % kv_heads:
        raise ValueError(f"num_kv_heads is {kv_heads}; it must divide num_attention_heads ({heads})")
    mixer = replace(attention(_without(fields, "num_kv_heads"), arch), kv_heads=kv_heads)
    return [((mixer,), (dense(fields, arch),))] * count_of_layers(fields)


def _without(fields: Fields, name: str) -> Fields:
    """Return the fields without one; reads are still recorded."""
    fewer = Fields({key: value for key, value in fields.config.items() if key != name})
    fewer.defaults, fewer.seen = fields.defaults, fields.seen
    return fewer


def gemma4(fields: Fields, arch: Architecture) -> list[Block]:
    """Gemma 4: full layers have their own head counts, in two fields or in transformers 5's form."""
    if fields.has("num_experts") and not fields.flag("enable_moe_block", False):
        raise ValueError("enable_moe_block must be true where num_experts is given")
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
    """Helium: the output matrix is square, so all heads together must be as wide as the model."""
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
        numbers = fields.integers("intermediate_size", n_layers, 1, MOST_FFN) or ()
    else:
        numbers = (fields.integer("intermediate_size", MOST_FFN),) * n_layers
    feeds = {width: (Dense(width=width),) for width in set(numbers)}
    mixers = attention_layers(fields, arch, layer_kinds(fields, arch, n_layers))
    shared = fields.integer("num_kv_shared_layers", n_layers - 1, low=0, default=0)
    blocks: list[Block] = [(mixer, feeds[width]) for mixer, width in zip(mixers, numbers, strict=True)]
    return with_shared_caches(fields, blocks, shared, in_file=True) if shared else blocks


def nomic_bert(fields: Fields, arch: Architecture) -> list[Block]:
    """Nomic's encoder: a gate if the activation is that of a gated unit."""
    activation = fields.text("activation_function", "swiglu")
    return decoder(fields, replace(arch, gated_ffn=activation in ("swiglu", "geglu", "glu", "silu")))


def chatglm(fields: Fields, arch: Architecture) -> list[Block]:
    """ChatGLM2 to GLM-4 under their old names; `ChatGLMModel` also has an output matrix."""
    if not fields.flag("multi_query_attention", False):
        raise ValueError("multi_query_attention must be true, as it is from ChatGLM2 on")
    fields.headless = False
    fields.defaults = {**fields.defaults, "head_dim": fields.integer("kv_channels", MOST_WIDTH, default=128)}
    return decoder(fields, arch)


def qwen(fields: Fields, arch: Architecture) -> list[Block]:
    """The first Qwen, whose `intermediate_size` is the width of gate and up together."""
    fields.defaults = {**fields.defaults, "head_dim": fields.integer("kv_channels", MOST_WIDTH, default=128)}
    feeds = (dense(fields, arch, max(1, fields.integer("intermediate_size", MOST_FFN) // 2)),)
    return [((attention(fields, arch),), feeds)] * count_of_layers(fields)


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
                f"attn_config.{name} is {brief(inner[name])}; only attention without it is counted"
            )
    if fields.integer("expansion_ratio", 64, default=4) != 4:
        raise ValueError("expansion_ratio must be 4, which the class takes whatever is said")
    return decoder(fields, arch)


def cross_attending(fields: Fields, arch: Architecture) -> list[Block]:
    """Llama 3.2 Vision: the layers of `cross_attention_layers` attend to the image and keep no text."""
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
    count = fields.integer("num_experts", MOST_WIDTH, default=16)
    dense_block: FeedForward = dense(fields, arch)
    sparse = dense_block
    read_unused(fields, "num_experts_per_tok")
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
    feeds: tuple[tuple[FeedForward, ...], ...] = ((dense_block,), (sparse,))
    return [
        (mixers[i % period == offset], feeds[i % expert_period == expert_offset]) for i in range(n_layers)
    ]


def _period_of(fields: Fields, name: str, period: int, offset: int) -> tuple[int, int]:
    every = fields.integer(f"{name}_period", MOST_LAYERS, default=period)
    return every, fields.integer(f"{name}_offset", MOST_LAYERS, low=0, default=offset)


def mamba(fields: Fields, state: str, kernel: str, expand: str, rank: str) -> Mamba:
    """A Mamba mixer from four fields; a rank of `"auto"` is a sixteenth of the width."""
    hidden = hidden_size(fields)
    automatic = -(-hidden // 16)
    given = fields.raw(rank)
    return Mamba(
        inner=fields.integer(expand, 64, default=2) * hidden,
        state=fields.integer(state, MOST_WIDTH, default=16),
        conv_kernel=fields.integer(kernel, 64, default=4),
        dt_rank=automatic if given == "auto" else fields.integer(rank, MOST_WIDTH, default=automatic),
    )


def mamba_model(fields: Fields, arch: Architecture) -> list[Block]:
    """Mamba and Falcon-Mamba: the same mixer in every layer and no feed-forward block."""
    mixer = mamba(fields, "state_size", "conv_kernel", "expand", "time_step_rank")
    inner = fields.integer("intermediate_size", MOST_FFN, default=mixer.inner)
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

    heads = read("heads", MOST_WIDTH, None)
    if inner is None:
        inner = heads * read("head_dim", MOST_WIDTH, None)
    if inner % heads:
        raise ValueError(f"the {heads} heads of the state space do not divide its width ({inner})")
    return Mamba2(
        inner=inner,
        state=read("state", MOST_WIDTH, None),
        conv_kernel=read("conv_kernel", 64, 4),
        groups=read("groups", MOST_HEADS, 1),
        heads=heads,
        bias=truth("bias", False),
        conv_bias=truth("conv_bias", True),
    )


def mamba2_model(fields: Fields, arch: Architecture) -> list[Block]:
    """Mamba-2: the same mixer in every layer and no feed-forward block."""
    inner = fields.integer("expand", 64, default=2) * hidden_size(fields)
    mixer = mamba2(fields, inner)
    head_dim = fields.integer("head_dim", MOST_WIDTH, default=64)
    if head_dim * mixer.heads != inner:
        raise ValueError(f"head_dim is {head_dim}; with num_heads ({mixer.heads}) it must make {inner}")
    return [((mixer,), ())] * count_of_layers(fields)


def falcon_h1(fields: Fields, arch: Architecture) -> list[Block]:
    """Falcon-H1: attention and a state space side by side in every layer."""
    expanded = fields.integer("mamba_expand", 64, default=2) * hidden_size(fields)
    inner = fields.integer("mamba_d_ssm", MOST_FFN, default=expanded)
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
    """Granite 4: Mamba-2 or attention by `layer_types`, and a shared expert in every layer."""
    n_layers = count_of_layers(fields)
    named = fields.names("layer_types", n_layers, _HYBRID_TYPES)
    if named is None:
        raise ValueError("layer_types is missing; it must name the kind of every layer")
    kinds = [_HYBRID_TYPES[name] for name in named]
    shared = fields.integer("shared_intermediate_size", MOST_FFN, low=0, default=1024)
    count = fields.integer("num_experts", MOST_WIDTH, low=0, default=8)
    feeds: list[FeedForward] = []
    if count:
        feeds = [
            Experts(
                count=count,
                per_token=fields.integer("num_experts_per_tok", count, default=2),
                ffn_size=fields.integer("intermediate_size", MOST_FFN),
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
    """Bamba: Mamba-2, and attention in the layers of `attn_layer_indices`."""
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
            f"hybrid_override_pattern is {brief(letters)}; it must be of the letters M, *, - and E"
        )
    if len(letters) > MOST_LAYERS or (n_layers and len(letters) != n_layers):
        raise ValueError(f"hybrid_override_pattern has {len(letters)} letters; it must have {n_layers}")
    return tuple(_NEMOTRON_LETTERS[letter] for letter in letters)


def _nemotron_experts(fields: Fields, kinds: Sequence[str]) -> Experts:
    count = fields.integer("num_experts", MOST_WIDTH)
    size = fields.integer("moe_intermediate_size", MOST_FFN)
    fields.raw("n_shared_experts")  # all of them are one block of the given width
    return Experts(
        count=count,
        per_token=fields.integer("num_experts_per_tok", count),
        ffn_size=size,
        shared_ffn_size=fields.integer("moe_shared_expert_intermediate_size", MOST_FFN, default=size),
        gated=False,
        latent=fields.integer("moe_latent_size", MOST_WIDTH, default=0),
        dense_layers=tuple(i for i, kind in enumerate(kinds) if kind != "moe"),
    )


def lfm2(fields: Fields, arch: Architecture) -> list[Block]:
    """LFM2: short convolutions, and attention where `layer_types` or `full_attn_idxs` has it."""
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
    width = fields.integer("block_ff_dim", MOST_FFN, default=0)
    width = width or fields.integer("intermediate_size", MOST_FFN)
    read_unused(fields, "intermediate_size")
    if fields.flag("block_auto_adjust_ff_dim", True):
        width = 2 * width // 3
        factor = fields.raw("block_ffn_dim_multiplier")
        if isinstance(factor, int | float) and not isinstance(factor, bool) and 0 < factor < 64:
            width = int(factor * width)
        multiple = fields.integer("block_multiple_of", MOST_WIDTH, default=256)
        width = multiple * -(-width // multiple)
    read_unused(fields, "block_multiple_of", "block_ffn_dim_multiplier", "block_dim", "block_use_swiglu")
    return Dense(width=max(1, width))


def recurrent_gemma(fields: Fields, arch: Architecture) -> list[Block]:
    """RecurrentGemma: recurrent blocks, and attention with a window, by the period of `block_types`."""
    n_layers = count_of_layers(fields)
    names = ("recurrent", "attention")
    period = fields.names("block_types", None, names) or ("recurrent", "recurrent", "attention")
    window = fields.integer("attention_window_size", 1 << 32, default=2048)
    full = attention(fields, arch, window)
    width = fields.integer("lru_width", MOST_FFN, default=hidden_size(fields))
    if width % full.heads:
        raise ValueError(f"lru_width is {width}; it must be a multiple of num_attention_heads ({full.heads})")
    recurrent = RgLru(
        width=width, heads=full.heads, conv_kernel=fields.integer("conv1d_width", 64, default=4)
    )
    wide = fields.integer("intermediate_size", MOST_FFN)
    feeds = (Dense(width=max(1, wide // 2), bias=True),)
    made: dict[str, tuple[Mixer, ...]] = {"attention": (full,), "recurrent": (recurrent,)}
    return [(made[period[layer % len(period)]], feeds) for layer in range(n_layers)]
