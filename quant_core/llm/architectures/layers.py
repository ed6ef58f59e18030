"""The parts of a language model's layers: mixers, feed-forward blocks, and their tensors.

A *mixer* is the part of a layer that reads other tokens: attention, or a recurrent kind with a state of fixed
size instead of a cache. A mixer knows its tensors under the names that GGUF files
use, the width of its row in the key/value cache, and the size of its state. A feed-forward block knows its
tensors. A `Layer` combines both; `quant_core.llm.architectures.table` says which model has which.

References
----------
Names of tensors: llama.cpp, `gguf-py/gguf/constants.py` (`TENSOR_NAMES`). RG-LRU and lightning
attention are not run by llama.cpp; their tensors have names in the same style.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

FULL, SLIDING, LINEAR, CROSS, NONE = "full", "sliding", "linear", "cross", "none"


class LayerTensor(NamedTuple):
    """One tensor of a layer: its name after `blk.3.`, its size, its fixed type ("": chosen by the mix)."""

    name: str
    rows: int
    columns: int
    fixed_type: str = ""


def matrix(kind: str, rows: int, columns: int, fixed_type: str = "") -> LayerTensor:
    """A weight matrix; `columns` is the contiguous dimension."""
    return LayerTensor(f"{kind}.weight", rows, columns, fixed_type)


def vector(name: str, elements: int) -> LayerTensor:
    """A vector (or a small table) that stays in F32."""
    return LayerTensor(name, 1, elements, "F32")


@dataclass(frozen=True, kw_only=True)
class Mixer:
    """The part of a layer that reads other tokens; by default without a cache or a state."""

    kind: ClassVar[str] = LINEAR

    @property
    def kind_of_layer(self) -> str:
        """`"full"`, `"sliding"`, `"linear"`, `"cross"` or `"none"`."""
        return self.kind

    def parts(self, hidden: int) -> Iterator[LayerTensor]:
        """The tensors, in a model that is `hidden` wide."""
        raise NotImplementedError

    def cache_widths(self, split: int = 1) -> tuple[int, ...]:
        """Elements cached per token: keys, values, and keys of an indexer.

        `split` is the number of GPUs that share the key/value heads; each has at least one.
        """
        return ()

    @property
    def state_elements(self) -> int:
        """Elements that are kept for each sequence, however long it is."""
        return 0


@dataclass(frozen=True, kw_only=True)
class Attention(Mixer):
    """Attention with query, key and value heads.

    Attributes
    ----------
    heads, kv_heads, head_dim, value_dim : int
        Number of query heads and of key/value heads, width of a key and of a value head.
    window : int
        Tokens that are kept; 0 for all.
    norm : str
        Norm of queries and keys: "", "head" (one vector of a head's width) or "full" (one over all heads).
    fused : bool
        Q, K and V are one tensor.
    gated : bool
        The query matrix holds a gate as well.
    gate_rows : int
        Rows of a gate of its own; 0 for none.
    caches : bool
        False in an encoder, and where a layer reads another layer's cache.
    has_keys, has_values : bool
        False where the layer has no such matrix of its own.
    cross : bool
        Attends to an image; tokens of text are not cached.
    """

    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    window: int = 0
    norm: str = ""
    norm_bias: bool = False
    fused: bool = False
    gated: bool = False
    gate_rows: int = 0
    qkv_bias: bool = False
    output_bias: bool = False
    sinks: bool = False
    caches: bool = True
    has_keys: bool = True
    has_values: bool = True
    cross: bool = False

    @property
    def kind_of_layer(self) -> str:
        """`"cross"`, or by the window."""
        return CROSS if self.cross else SLIDING if self.window else FULL

    def cache_widths(self, split: int = 1) -> tuple[int, ...]:
        """Keys and values of all key/value heads."""
        if not self.caches:
            return ()
        heads = max(1, self.kv_heads // split)
        return heads * self.head_dim, heads * self.value_dim

    def parts(self, hidden: int) -> Iterator[LayerTensor]:
        """attn_q, attn_k, attn_v, attn_output, and what goes with them."""
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        value = self.kv_heads * self.value_dim
        prefix = "cross_attn" if self.cross else "attn"
        if self.fused:
            yield matrix(f"{prefix}_qkv", query + key + value, hidden)
        else:
            yield matrix(f"{prefix}_q", query * (2 if self.gated else 1), hidden)
            if self.has_keys:
                yield matrix(f"{prefix}_k", key, hidden)
            if self.has_values:
                yield matrix(f"{prefix}_v", value, hidden)
        yield matrix(f"{prefix}_{'o' if self.cross else 'output'}", hidden, self.heads * self.value_dim)
        if self.gate_rows:
            yield matrix(f"{prefix}_gate", self.gate_rows, hidden)
        yield from self._biases(prefix, hidden, query, key, value)
        if self.norm:
            query_norm, key_norm = (self.head_dim,) * 2 if self.norm == "head" else (query, key)
            for name, size in (("q_norm", query_norm), ("k_norm", key_norm if self.has_keys else 0)):
                if size:
                    yield vector(f"{prefix}_{name}.weight", size)
                    if self.norm_bias:
                        yield vector(f"{prefix}_{name}.bias", size)
        if self.sinks:
            yield vector("attn_sinks.weight", self.heads)

    def _biases(self, prefix: str, hidden: int, query: int, key: int, value: int) -> Iterator[LayerTensor]:
        if self.qkv_bias and self.fused:
            yield vector(f"{prefix}_qkv.bias", query + key + value)
        elif self.qkv_bias:
            yield vector(f"{prefix}_q.bias", query)
            if self.has_keys:
                yield vector(f"{prefix}_k.bias", key)
            if self.has_values:
                yield vector(f"{prefix}_v.bias", value)
        if self.output_bias:
            yield vector(f"{prefix}_output.bias", hidden)


@dataclass(frozen=True, kw_only=True)
class LatentAttention(Mixer):
    """Multi-head latent attention (DeepSeek-V2): keys and values are rebuilt from one small latent vector.

    With `index_heads` it is DeepSeek-V3.2's: an indexer with keys of its own, one of `index_dim` for
    each token, chooses what is attended to.

    References
    ----------
    DeepSeek-AI, "DeepSeek-V2", 2024, arXiv:2405.04434, section 2.1. The cache of the indexer's keys:
    llama.cpp, `llama_kv_cache_dsa` (035aa95b0016), which gives it the type of K.
    """

    kind: ClassVar[str] = FULL

    kv_rank: int
    rope_dim: int
    nope_dim: int
    value_dim: int
    query_rank: int = 0  # 0: queries are not compressed
    index_heads: int = 0  # 0: no indexer
    index_dim: int = 0
    heads: int = 1
    bias: bool = False  # of the two compressing matrices and the output (attention_bias)

    def cache_widths(self, split: int = 1) -> tuple[int, ...]:
        """The latent vector with its rotary part, no values, and the indexer's key; none can be divided."""
        indexer = (self.index_dim,) if self.index_heads else ()
        return self.kv_rank + self.rope_dim, 0, *indexer

    def parts(self, hidden: int) -> Iterator[LayerTensor]:
        """The matrices as llama.cpp stores them: `attn_kv_b` in two, of three dimensions each."""
        heads = self.heads
        query = heads * (self.nope_dim + self.rope_dim)
        if self.query_rank:
            yield matrix("attn_q_a", self.query_rank, hidden)
            yield matrix("attn_q_b", query, self.query_rank)
        else:
            yield matrix("attn_q", query, hidden)
        yield matrix("attn_kv_a_mqa", self.kv_rank + self.rope_dim, hidden)
        yield matrix("attn_k_b", heads * self.kv_rank, self.nope_dim)
        yield matrix("attn_v_b", heads * self.value_dim, self.kv_rank)
        yield matrix("attn_output", hidden, heads * self.value_dim)
        if self.index_heads:
            yield matrix("indexer.attn_q_b", self.index_heads * self.index_dim, self.query_rank)
            yield matrix("indexer.attn_k", self.index_dim, hidden)
            yield matrix("indexer.proj", self.index_heads, hidden)
            yield vector("indexer.k_norm.weight", self.index_dim)
            yield vector("indexer.k_norm.bias", self.index_dim)
        if self.query_rank:
            yield vector("attn_q_a_norm.weight", self.query_rank)
        yield vector("attn_kv_a_norm.weight", self.kv_rank)
        if self.bias:
            if self.query_rank:
                yield vector("attn_q_a.bias", self.query_rank)
            yield vector("attn_kv_a_mqa.bias", self.kv_rank + self.rope_dim)
            yield vector("attn_output.bias", hidden)


@dataclass(frozen=True, kw_only=True)
class UnknownLinear(Mixer):
    """A linear layer whose sizes the configuration does not give: no cache, unknown weights."""

    def parts(self, hidden: int) -> Iterator[LayerTensor]:
        """Refuse: the sizes are not known.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError("linear_num_value_heads is missing; without it linear layers cannot be weighed")


@dataclass(frozen=True, kw_only=True)
class LinearAttention(Mixer):
    """Gated DeltaNet layers (Qwen3-Next, Qwen3.5): a state of fixed size instead of a growing cache.

    References
    ----------
    llama.cpp, `llama_hparams::n_embd_r` and `n_embd_s` (01b77b579398); both states are F32
    (`llama_memory_recurrent`).
    """

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    conv_kernel: int

    @property
    def conv_channels(self) -> int:
        """Channels of the short convolution: queries, keys and values together."""
        return 2 * self.key_heads * self.key_dim + self.value_heads * self.value_dim

    @property
    def state_elements(self) -> int:
        """The recurrent matrix and the convolution's tail."""
        return self.value_heads * self.key_dim * self.value_dim + (self.conv_kernel - 1) * self.conv_channels

    def parts(self, hidden: int) -> Iterator[LayerTensor]:
        """attn_qkv, attn_gate and the ssm_* tensors."""
        values = self.value_heads * self.value_dim
        yield matrix("attn_qkv", self.conv_channels, hidden)
        yield matrix("attn_gate", values, hidden)
        yield matrix("ssm_beta", self.value_heads, hidden)
        yield matrix("ssm_alpha", self.value_heads, hidden)
        yield matrix("ssm_out", hidden, values)
        yield vector("ssm_conv1d.weight", self.conv_kernel * self.conv_channels)
        yield vector("ssm_dt.bias", self.value_heads)
        yield vector("ssm_a", self.value_heads)
        yield vector("ssm_norm.weight", self.value_dim)


@dataclass(frozen=True, kw_only=True)
class Mamba(Mixer):
    """A selective state space (Mamba): a state of `inner * state` and the tail of a short convolution.

    References
    ----------
    Gu and Dao, "Mamba", 2023, arXiv:2312.00752, section 3. llama.cpp as `LinearAttention`.
    """

    inner: int
    state: int
    conv_kernel: int
    dt_rank: int
    bias: bool = False
    conv_bias: bool = True
    norms: bool = False  # Jamba: of dt, B and C

    @property
    def state_elements(self) -> int:
        """The state and the convolution's tail."""
        return self.inner * (self.state + self.conv_kernel - 1)

    def parts(self, hidden: int) -> Iterator[LayerTensor]:
        """The ssm_* tensors."""
        yield matrix("ssm_in", 2 * self.inner, hidden)
        yield matrix("ssm_x", self.dt_rank + 2 * self.state, self.inner)
        yield matrix("ssm_dt", self.inner, self.dt_rank)
        yield matrix("ssm_out", hidden, self.inner)
        yield vector("ssm_conv1d.weight", self.conv_kernel * self.inner)
        if self.conv_bias:
            yield vector("ssm_conv1d.bias", self.inner)
        yield vector("ssm_dt.bias", self.inner)
        yield vector("ssm_a", self.state * self.inner)
        yield vector("ssm_d", self.inner)
        if self.norms:
            yield vector("ssm_dt_norm.weight", self.dt_rank)
            yield vector("ssm_b_norm.weight", self.state)
            yield vector("ssm_c_norm.weight", self.state)
        if self.bias:
            yield vector("ssm_in.bias", 2 * self.inner)
            yield vector("ssm_out.bias", hidden)


@dataclass(frozen=True, kw_only=True)
class Mamba2(Mixer):
    """Mamba-2 (state space duality): heads that share the state's keys and queries in groups.

    References
    ----------
    Dao and Gu, "Transformers are SSMs", 2024, arXiv:2405.21060, section 7. llama.cpp as
    `LinearAttention`.
    """

    inner: int
    state: int
    conv_kernel: int
    groups: int
    heads: int
    norm: bool = True
    bias: bool = False
    conv_bias: bool = True

    @property
    def conv_channels(self) -> int:
        """Channels of the short convolution."""
        return self.inner + 2 * self.groups * self.state

    @property
    def state_elements(self) -> int:
        """The state and the convolution's tail."""
        return self.inner * self.state + (self.conv_kernel - 1) * self.conv_channels

    def parts(self, hidden: int) -> Iterator[LayerTensor]:
        """The ssm_* tensors."""
        rows = self.inner + self.conv_channels + self.heads
        yield matrix("ssm_in", rows, hidden)
        yield matrix("ssm_out", hidden, self.inner)
        yield vector("ssm_conv1d.weight", self.conv_kernel * self.conv_channels)
        if self.conv_bias:
            yield vector("ssm_conv1d.bias", self.conv_channels)
        yield vector("ssm_dt.bias", self.heads)
        yield vector("ssm_a", self.heads)
        yield vector("ssm_d", self.heads)
        if self.norm:
            yield vector("ssm_norm.weight", self.inner)
        if self.bias:
            yield vector("ssm_in.bias", rows)
            yield vector("ssm_out.bias", hidden)


@dataclass(frozen=True, kw_only=True)
class ShortConv(Mixer):
    """LFM2's gated short convolution: the last `kernel - 1` tokens are kept, each `width` wide.

    References
    ----------
    llama.cpp, `llama_hparams::n_embd_r` with `n_shortconv_l_cache` (01b77b579398).
    """

    width: int
    kernel: int
    bias: bool = False

    @property
    def state_elements(self) -> int:
        """The convolution's tail."""
        return self.width * (self.kernel - 1)

    def parts(self, hidden: int) -> Iterator[LayerTensor]:
        """The shortconv.* tensors."""
        yield matrix("shortconv.in_proj", 3 * hidden, hidden)
        yield matrix("shortconv.out_proj", hidden, hidden)
        yield vector("shortconv.conv.weight", self.kernel * hidden)
        if self.bias:
            yield vector("shortconv.in_proj.bias", 3 * hidden)
            yield vector("shortconv.out_proj.bias", hidden)
            yield vector("shortconv.conv.bias", hidden)


@dataclass(frozen=True, kw_only=True)
class RgLru(Mixer):
    """The recurrent block of RecurrentGemma: a real-gated linear unit behind a short convolution.

    References
    ----------
    De et al., "Griffin", 2024, arXiv:2402.19427, section 2.4.
    """

    width: int
    heads: int
    conv_kernel: int

    @property
    def state_elements(self) -> int:
        """One number for each channel and the convolution's tail."""
        return self.width * self.conv_kernel

    def parts(self, hidden: int) -> Iterator[LayerTensor]:
        """Two inputs, an output, a convolution, and two block-diagonal gates."""
        width, block = self.width, self.width // self.heads
        yield matrix("rglru_y", width, hidden)
        yield matrix("rglru_x", width, hidden)
        yield matrix("rglru_out", hidden, width)
        yield matrix("rglru_gate_in", width, block)
        yield matrix("rglru_gate_a", width, block)
        yield vector("rglru_conv1d.weight", self.conv_kernel * width)
        for name in ("rglru_conv1d", "rglru_y", "rglru_x", "rglru_gate_in", "rglru_gate_a"):
            yield vector(f"{name}.bias", width)
        yield vector("rglru_out.bias", hidden)
        yield vector("rglru_a", width)


@dataclass(frozen=True, kw_only=True)
class LightningAttention(Mixer):
    """Lightning attention (MiniMax-Text-01): one matrix of `head_dim * head_dim` is kept for each head.

    References
    ----------
    MiniMax, "MiniMax-01", 2025, arXiv:2501.08313, section 2.2.
    """

    heads: int
    head_dim: int

    @property
    def state_elements(self) -> int:
        """The matrices of all heads."""
        return self.heads * self.head_dim**2

    def parts(self, hidden: int) -> Iterator[LayerTensor]:
        """Q, K and V in one, the output, its gate and its norm."""
        width = self.heads * self.head_dim
        yield matrix("attn_qkv", 3 * width, hidden)
        yield matrix("attn_output", hidden, width)
        yield matrix("attn_gate", width, hidden)
        yield vector("attn_sub_norm.weight", width)


@dataclass(frozen=True, kw_only=True)
class Dense:
    """A dense feed-forward block: two matrices, or three with a gate.

    `joined`: gate and up are one tensor (Phi-3, GLM-4). `suffix`: "_shexp" for the shared expert.
    """

    width: int
    gated: bool = True
    joined: bool = False
    bias: bool = False
    suffix: str = ""

    def parts(self, hidden: int) -> Iterator[LayerTensor]:
        """ffn_gate, ffn_up, ffn_down."""
        up = f"ffn_up{self.suffix}"
        doubled = 2 if self.gated and self.joined else 1
        if self.gated and not self.joined:
            yield matrix(f"ffn_gate{self.suffix}", self.width, hidden)
        yield matrix(up, doubled * self.width, hidden)
        yield matrix(f"ffn_down{self.suffix}", hidden, self.width)
        if self.bias:
            if self.gated and not self.joined:
                yield vector(f"ffn_gate{self.suffix}.bias", self.width)
            yield vector(f"{up}.bias", doubled * self.width)
            yield vector(f"ffn_down{self.suffix}.bias", hidden)


@dataclass(frozen=True, kw_only=True)
class Experts:
    """A mixture of experts: all are in memory, a few run for each token.

    `latent`: inner width of the experts, if not the model's (Nemotron 3).
    `shared_ffn_size` is the width of the expert that always runs.
    """

    count: int
    per_token: int
    ffn_size: int
    shared_ffn_size: int = 0
    shared_gate: bool = False
    router_bias: bool = False
    expert_bias: bool = False
    gated: bool = True
    latent: int = 0
    dense_layers: tuple[int, ...] = ()  # layers with a dense feed-forward block instead
    dense_beside: bool = False  # Gemma 4, Arctic: a dense block and the experts in the same layer

    def parts(self, hidden: int) -> Iterator[LayerTensor]:
        """ffn_*_exps, ffn_*_shexp and the router."""
        width, inner = self.ffn_size, self.latent or hidden
        if self.latent:
            yield matrix("ffn_latent_down", self.latent, hidden)
            yield matrix("ffn_latent_up", hidden, self.latent)
        if self.gated:
            yield matrix("ffn_gate_exps", self.count * width, inner)
        yield matrix("ffn_up_exps", self.count * width, inner)
        yield matrix("ffn_down_exps", self.count * inner, width)
        if self.shared_ffn_size:
            yield from Dense(width=self.shared_ffn_size, gated=self.gated, suffix="_shexp").parts(hidden)
        yield vector("ffn_gate_inp.weight", self.count * hidden)
        if self.router_bias:
            yield vector("exp_probs_b.bias", self.count)
        if self.shared_gate:
            yield vector("ffn_gate_inp_shexp.weight", hidden)
        if self.expert_bias:
            yield vector("ffn_gate_exps.bias", self.count * width)
            yield vector("ffn_up_exps.bias", self.count * width)
            yield vector("ffn_down_exps.bias", self.count * hidden)


@dataclass(frozen=True)
class Layer:
    """One layer: its mixers (none, one, or two side by side), its feed-forward blocks, and other tensors."""

    mixers: tuple[Mixer, ...] = ()
    feed_forwards: tuple[Dense | Experts, ...] = ()
    others: tuple[LayerTensor, ...] = ()  # norms, and tensors of one architecture

    @property
    def kind(self) -> str:
        """Kind of its attention if it has any; `"none"` for a feed-forward block alone."""
        kinds = [mixer.kind_of_layer for mixer in self.mixers]
        return next((kind for kind in kinds if kind != LINEAR), kinds[0] if kinds else NONE)

    @property
    def window(self) -> int:
        """Tokens that its attention keeps; 0 for all, or without attention."""
        return max((mixer.window for mixer in self.mixers if isinstance(mixer, Attention)), default=0)

    @property
    def state_elements(self) -> int:
        """Elements that are kept for each sequence, however long it is."""
        return sum(mixer.state_elements for mixer in self.mixers)

    def cache_widths(self, split: int = 1) -> tuple[int, ...]:
        """Elements cached per token: keys, values, and keys of an indexer; () for none."""
        return next((widths for mixer in self.mixers if (widths := mixer.cache_widths(split))), ())

    def parts(self, hidden: int) -> Iterator[LayerTensor]:
        """All tensors of the layer."""
        for block in (*self.mixers, *self.feed_forwards):
            yield from block.parts(hidden)
        yield from self.others
