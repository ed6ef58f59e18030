"""How much memory a language model takes: weights, key/value cache, compute buffer, runtime.

Every formula was compared with logs of real runs of llama.cpp, Ollama and vLLM. Sizes are bytes; print GB
(10^9) or GiB (2^30). `quant_core.ggml.mixes` chooses the type of each tensor, `quant_core.llm.shapes` lists
the tensors of a model. Nothing here measures a machine.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache

from quant_core.ggml.mixes import BLOCK_SIZES, tensor_types
from quant_core.llm.shapes import (
    SLIDING,
    Attention,
    Dense,
    Layer,
    ModelShape,
    Tensor,
    generic_shape,
    model_shape,
)

__all__ = [
    "CACHE_TYPES",
    "CUDA_CONTEXT_BYTES",
    "GIB",
    "KIB",
    "MIB",
    "NATIVE_TYPES",
    "SPEED_SHARE",
    "KVCache",
    "ModelShape",
    "Offload",
    "SpeedBand",
    "WeightBuffers",
    "bits_per_weight",
    "checkpoint_bytes",
    "compute_buffer_bytes",
    "generic_shape",
    "host_buffer_bytes",
    "kv_bytes_per_token",
    "kv_cache",
    "kv_cache_bytes",
    "kv_pool_tokens",
    "layers_that_fit",
    "model_shape",
    "native_shape",
    "offload",
    "recurrent_state_bytes",
    "speed_band",
    "weight_buffers",
    "weight_bytes",
]

KIB, MIB, GIB = 2**10, 2**20, 2**30

# Memory of a CUDA process before it holds a tensor: 309 MiB is the difference between nvidia-smi and
# llama.cpp's own buffers in ollama#6160; 300 is the round number used for prediction.
CUDA_CONTEXT_BYTES = 300 * MIB

# Measured decode speed over the bound of `speed_band`: the least and the most that single devices reach with
# Llama 3 8B and 70B, 0.30 (A100 SXM, 8B in Q4_K_M) and 0.87 (RTX 4000 Ada, 8B in F16), rounded outwards to a
# tenth. XiongjieDai/GPU-Benchmarks-on-LLM-Inference @ aa72e0ec, README.md, generation of 1024 tokens,
# and the makers' bandwidths; tests/quant_core/test_speed_share.py computes it again.
SPEED_SHARE = (0.3, 0.9)

# Models whose experts are published in few bits, by `model_type`, and the type: no file has them in another
# (openai/gpt-oss-20b, model card; llama.cpp conversion/gpt_oss.py writes these tensors as they are).
NATIVE_TYPES = {"gpt_oss": "MXFP4"}

# Types that llama.cpp accepts for the cache (--cache-type-k, --cache-type-v).
CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
_UNQUANTIZED_CACHE_TYPES = ("f32", "f16", "bf16")

# Tensors of which a token reads one row; llama.cpp keeps them in RAM.
_LOOKED_UP = ("token_embd", "position_embd", "token_types")

# llama.cpp allocates cache cells in multiples of this.
_CELL_PADDING = 256


def weight_bytes(shape: ModelShape, mix: str, importance: bool = False) -> int:
    """Bytes of all weights under a mix: the sum of n / block * block_bytes over the tensors.

    Parameters
    ----------
    shape : ModelShape
        The model.
    mix : str
        A name of `quant_core.ggml.mixes.MIXES`, for example `"Q4_K_M"`.
    importance : bool
        Whether an importance matrix is used (it changes a few tensors of IQ4, Q4_0 and Q5_0).

    Raises
    ------
    ValueError
        The mix is unknown.

    Examples
    --------
    >>> llama = model_shape({"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    ...                      "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256})
    >>> round(weight_bytes(llama, "Q4_K_M") / 2**20, 1)
    4685.3
    """
    return _totals(shape, mix, importance).bytes


def bits_per_weight(shape: ModelShape, mix: str, importance: bool = False) -> float:
    """Bits per weight over the whole file, with every scale, minimum, norm and table counted.

    Examples
    --------
    >>> llama = model_shape({"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    ...                      "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256})
    >>> round(bits_per_weight(llama, "Q4_K_M"), 4)
    4.8944
    """
    totals = _totals(shape, mix, importance)
    return 8 * totals.bytes / totals.elements


@dataclass(frozen=True)
class WeightBuffers:
    """Bytes of the weights in each memory when all layers are offloaded."""

    gpu: int
    cpu: int


def weight_buffers(shape: ModelShape, mix: str, importance: bool = False) -> WeightBuffers:
    """Split the weights as llama.cpp does: the token embedding stays in RAM, the rest goes to the GPU.

    A tied embedding is needed in both and is stored twice.
    """
    return _totals(shape, mix, importance).buffers


def checkpoint_bytes(shape: ModelShape, bits: int, group_size: int | None = 128, method: str = "gptq") -> int:
    """Bytes of a GPTQ or AWQ checkpoint: packed linear layers, everything else in 16 bits.

    A group of `group_size` weights carries one 16-bit scale and one zero-point of `bits` bits, so
    a linear layer costs `bits + (16 + bits) / group_size` bits per weight. The embeddings and the output
    head stay in 16 bits, which is why a "4-bit" Llama-2-7B has 4.62 bits per weight. GPTQ files also hold
    the group of each input column (`g_idx`, 32 bits).

    Parameters
    ----------
    shape : ModelShape
        The model.
    bits : int
        Width of a code, 2 to 8.
    group_size : int or None
        Weights that share a scale; None for one scale per row.
    method : str
        `"gptq"` or `"awq"`.

    Raises
    ------
    ValueError
        An argument is out of range.

    Examples
    --------
    >>> llama = model_shape({"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    ...                      "intermediate_size": 11008, "vocab_size": 32000})
    >>> round(8 * checkpoint_bytes(llama, bits=4) / llama.parameters, 2)
    4.62
    """
    if not 2 <= bits <= 8:
        raise ValueError(f"bits is {bits}; it must lie between 2 and 8")
    if group_size is not None and group_size < 1:
        raise ValueError(f"group_size is {group_size}; it must be positive, or None for one scale per row")
    if method not in ("gptq", "awq"):
        raise ValueError(f"method is {method!r}; it must be gptq or awq")
    total_bits = 0.0
    for tensor in shape.tensors():
        if tensor.fixed_type in NATIVE_TYPES.values():
            weights, size = BLOCK_SIZES[tensor.fixed_type]
            total_bits += 8 * size * tensor.elements / weights
        elif tensor.fixed_type or tensor.layer is None:
            total_bits += 16 * tensor.elements
        else:
            total_bits += tensor.elements * (bits + (16 + bits) / (group_size or tensor.columns))
            total_bits += 32 * tensor.columns if method == "gptq" else 0
    return round(total_bits / 8)


@dataclass(frozen=True, kw_only=True)
class _NativeShape(ModelShape):
    """A shape whose experts keep the type that they were published in."""

    expert_type: str

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(
            replace(tensor, fixed_type=self.expert_type)
            if "_exps" in tensor.kind and not tensor.fixed_type
            else tensor
            for tensor in super().tensors()
        )


def native_shape(shape: ModelShape) -> ModelShape:
    """Return the shape as files have it whose experts were born in few bits; others as they are.

    `llama-quantize` does not requantize such tensors unless it is told to, so under every mix only the
    attention and the embeddings change.

    References
    ----------
    llama.cpp, `llama_model_quantize_impl` in src/llama-quant.cpp, 0c1e57098bba ("requantizing from type %s is
    disabled").
    """
    native = NATIVE_TYPES.get(shape.model_type)
    if native is None or isinstance(shape, _NativeShape):
        return shape
    values = {one.name: getattr(shape, one.name) for one in fields(ModelShape)}
    return _NativeShape(**values, expert_type=native)


@dataclass(frozen=True)
class Offload:
    """Where a model lies when only some of its layers are on the card, in bytes.

    Attributes
    ----------
    layers, of : int
        Layers on the card, and all that there are: the output counts as one, the last.
    gpu_weights, cpu_weights : int
        A tied embedding is in both once the output is on the card.
    gpu_cache, cpu_cache : int
        Cache and recurrent states lie where their layers do.
    """

    layers: int
    of: int
    gpu_weights: int
    cpu_weights: int
    gpu_cache: int
    cpu_cache: int

    @property
    def gpu(self) -> int:
        """Bytes of weights and cache on the card."""
        return self.gpu_weights + self.gpu_cache


def offload(
    shape: ModelShape,
    mix: str,
    n_gpu_layers: int,
    context: int,
    cache_type_k: str = "f16",
    cache_type_v: str = "f16",
    sequences: int = 1,
    flash_attention: bool = True,
) -> Offload:
    """Split weights and cache between card and RAM as `--n-gpu-layers` does.

    The output is the last layer and the first to go to the card, then the layers from the back; the embedding
    stays in RAM.

    Parameters
    ----------
    n_gpu_layers : int
        0 or more; beyond all layers and the output it means all.
    shape, mix, context, cache_type_k, cache_type_v, sequences, flash_attention
        As for `weight_bytes` and `kv_cache_bytes`.

    Raises
    ------
    ValueError
        As `kv_cache_bytes`; or if `n_gpu_layers` is negative.

    References
    ----------
    llama.cpp, `llama_model_base::load_tensors` in src/llama-model.cpp (`i_gpu_start`), and
    `llama_kv_cache` in src/llama-kv-cache.cpp, which asks `dev_layer` for each layer.

    Examples
    --------
    >>> llama = model_shape({"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    ...                      "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256})
    >>> half = offload(llama, "Q4_K_M", 17, context=8192)
    >>> half.layers, half.of, half.gpu_cache // 2**20
    (17, 33, 512)
    """
    if n_gpu_layers < 0:
        raise ValueError(f"n_gpu_layers is {n_gpu_layers}; give 0 or more")
    layers = _layer_sizes(shape, mix)
    caches = _layer_caches(shape, context, cache_type_k, cache_type_v, sequences, flash_attention)
    count = len(layers)
    on_card = min(n_gpu_layers, count + 1)
    first = count + 1 - on_card  # the first layer on the card; `count` is the output
    totals = _totals(shape, mix, False)
    output = totals.buffers.gpu - sum(layers)
    gpu = sum(layers[first:]) + (output if on_card else 0)
    both = totals.buffers.gpu + totals.buffers.cpu - totals.bytes  # a tied embedding, when it is stored twice
    cpu = totals.bytes + (both if on_card else 0) - gpu
    cache = sum(caches[first:])
    return Offload(on_card, count + 1, gpu, cpu, cache, sum(caches) - cache)


def layers_that_fit(
    shape: ModelShape,
    mix: str,
    room: int,
    context: int,
    cache_type_k: str = "f16",
    cache_type_v: str = "f16",
    sequences: int = 1,
    flash_attention: bool = True,
) -> Offload:
    """Put as many layers on the card as weights and cache leave within `room` bytes.

    The compute buffer and the runtime have to be taken off before. `llama-fit-params` does the same for dense
    models, with a margin of 1 GiB; of models with experts it first moves the experts to RAM.

    Raises
    ------
    ValueError
        As `offload`.

    References
    ----------
    llama.cpp, `common_params_fit_impl` in common/fit.cpp, step 3: whole layers from the back, as many as fit.

    Examples
    --------
    >>> llama = model_shape({"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    ...                      "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256})
    >>> layers_that_fit(llama, "Q4_K_M", 3 * 2**30, context=8192).layers
    17
    """
    rest = (context, cache_type_k, cache_type_v, sequences, flash_attention)
    low, high = 0, len(_layer_sizes(shape, mix)) + 1
    while low < high:
        middle = (low + high + 1) // 2
        if offload(shape, mix, middle, *rest).gpu <= room:
            low = middle
        else:
            high = middle - 1
    return offload(shape, mix, low, *rest)


@lru_cache(maxsize=256)
def _layer_sizes(shape: ModelShape, mix: str) -> tuple[int, ...]:
    """Bytes of the weights of each layer."""
    sizes = [0] * len(shape.order)
    for tensor in tensor_types(shape, mix):
        if tensor.layer is not None:
            sizes[tensor.layer] += tensor.bytes
    return tuple(sizes)


def _layer_caches(
    shape: ModelShape, context: int, type_k: str, type_v: str, sequences: int, flash_attention: bool
) -> list[int]:
    """Bytes of cache and state of each layer; together those of `kv_cache` and `recurrent_state_bytes`."""
    kv_cache(shape, context, type_k, type_v, sequences, flash_attention=flash_attention)  # checks them
    cells, ubatch = _padded(max(1, context // sequences)), 512
    sizes = []
    for index in shape.order:
        layer = shape.blocks[index]
        size = 4 * sequences * layer.state_elements
        if layer.cache_widths():
            kept = min(cells, _padded(layer.window + ubatch)) if layer.kind == SLIDING else cells
            size += kept * sequences * _cell_bytes(layer, type_k, type_v)
        sizes.append(size)
    return sizes


@dataclass(frozen=True)
class KVCache:
    """The key/value cache in bytes: of layers with full and with sliding attention."""

    full: int
    sliding: int

    @property
    def total(self) -> int:
        """Bytes of both."""
        return self.full + self.sliding


def kv_cache_bytes(
    shape: ModelShape,
    context: int,
    cache_type_k: str = "f16",
    cache_type_v: str = "f16",
    sequences: int = 1,
    ubatch: int = 512,
    flash_attention: bool = True,
) -> int:
    """Bytes of the key/value cache: layers * cells * (key width * B_k + value width * B_v).

    Parameters
    ----------
    shape : ModelShape
        The model.
    context : int
        Tokens of context over all sequences, as `llama-server --ctx-size`.
    cache_type_k, cache_type_v : str
        A name of `CACHE_TYPES`.
    sequences : int
        Parallel sequences; each has `context / sequences` tokens.
    ubatch : int
        Tokens processed at once; a sliding layer keeps its window and one such batch.
    flash_attention : bool
        A quantized V needs it.

    Returns
    -------
    int
        A model with latent attention keeps one latent vector and no V, and the keys of an indexer if it has
        one. Encoders keep nothing, nor do layers that attend to an image or read another layer's cache.
        Recurrent layers keep nothing here: their state of fixed size is `recurrent_state_bytes`.

    Raises
    ------
    ValueError
        A type is unknown or does not divide the row, V is quantized without flash attention, or a number is
        not positive.

    Examples
    --------
    >>> llama = model_shape({"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    ...                      "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256})
    >>> kv_cache_bytes(llama, 8192) / 2**20
    1024.0
    >>> kv_cache_bytes(llama, 8192, cache_type_v="q8_0", flash_attention=False)
    Traceback (most recent call last):
        ...
    ValueError: cache_type_v 'q8_0' needs flash attention; turn it on, or take one of f32, f16, bf16
    """
    return kv_cache(shape, context, cache_type_k, cache_type_v, sequences, ubatch, flash_attention).total


def kv_cache(
    shape: ModelShape,
    context: int,
    cache_type_k: str = "f16",
    cache_type_v: str = "f16",
    sequences: int = 1,
    ubatch: int = 512,
    flash_attention: bool = True,
) -> KVCache:
    """As `kv_cache_bytes`, for full and sliding layers separately.

    References
    ----------
    llama.cpp, `src/llama-kv-cache-iswa.cpp` and `llama-context.cpp` (padding of cells to 256), commit
    0c1e57098bba.
    """
    if not flash_attention and cache_type_v not in _UNQUANTIZED_CACHE_TYPES and shape.latent is None:
        raise ValueError(
            f"cache_type_v {cache_type_v!r} needs flash attention; turn it on, or take one of "
            f"{', '.join(_UNQUANTIZED_CACHE_TYPES)}"
        )
    _positive(context=context, sequences=sequences, ubatch=ubatch)
    cells = _padded(max(1, context // sequences))  # per sequence
    full = sliding = 0
    for layer, count in _caching_layers(shape):
        per_cell = count * sequences * _cell_bytes(layer, cache_type_k, cache_type_v)
        if layer.kind == SLIDING:
            sliding += min(cells, _padded(layer.window + ubatch)) * per_cell
        else:
            full += cells * per_cell
    return KVCache(full, sliding)


def kv_bytes_per_token(shape: ModelShape, cache_type_k: str = "f16", cache_type_v: str = "f16") -> int:
    """Bytes by which the cache grows with each token of context, once the sliding windows are full."""
    return sum(
        count * _cell_bytes(layer, cache_type_k, cache_type_v)
        for layer, count in _caching_layers(shape)
        if layer.kind != SLIDING
    )


def kv_pool_tokens(
    shape: ModelShape,
    pool_bytes: int,
    block_tokens: int = 16,
    tensor_parallel: int = 1,
    cache_type: str = "bf16",
) -> int:
    """Tokens that vLLM's cache pool holds on each GPU, in whole blocks.

    Tensor parallelism divides the key/value heads (at least one stays on each GPU); a latent cache is
    replicated instead.

    Raises
    ------
    ValueError
        A number is not positive, or the type is unknown.
    """
    _positive(block_tokens=block_tokens, tensor_parallel=tensor_parallel)
    per_token = sum(
        count * _cell_bytes(layer, cache_type, cache_type, tensor_parallel)
        for layer, count in _caching_layers(shape)
    )
    return max(0, pool_bytes) // (per_token * block_tokens) * block_tokens if per_token else 0


def recurrent_state_bytes(shape: ModelShape, sequences: int = 1) -> int:
    """Bytes of the fixed state of recurrent layers, in F32, however long the context is.

    Gated DeltaNet, state spaces, short convolutions: every layer keeps its state and the tail of its
    convolution for each sequence. 0 where the configuration does not describe those layers.

    Raises
    ------
    ValueError
        The number of sequences is not positive.

    References
    ----------
    llama.cpp, `llama_hparams::n_embd_r` and `n_embd_s` (01b77b579398), and
    `llama_model::create_memory`, which gives both states GGML_TYPE_F32.
    """
    _positive(sequences=sequences)
    elements = sum(count * layer.state_elements for layer, count in shape.counted_layers)
    return 4 * sequences * elements


def compute_buffer_bytes(
    shape: ModelShape,
    context: int,
    flash_attention: bool = True,
    ubatch: int = 512,
    logits_rows: int = 1,
) -> int:
    """Bytes of llama.cpp's compute buffer on the GPU: the largest of what one layer holds and the logits.

    A layer holds its input, the residual and a norm of them (`n_embd` each), its queries, and gate, up and
    their product: `4 * ubatch * (3 * n_embd + n_q + 3 * n_ff)`, of experts the chosen ones. With flash
    attention comes the mask in F16, `2 * ubatch * n_ctx`, once more for the window of sliding layers.
    Without it the scores of every head are held instead:
    `4 * ubatch * (n_ctx * (n_head + 1) + c * n_embd)`, with c = 4, or 6 where Q, K and V are one matrix.
    The logits take `4 * (rows * n_vocab + ubatch * n_embd)`, with flash attention one `n_embd` more.

    Parameters
    ----------
    shape : ModelShape
        The model.
    context : int
        Tokens of context; padded to 256 as the cache is.
    flash_attention : bool
        Whether scores are computed tile by tile.
    ubatch : int
        Tokens processed at once.
    logits_rows : int
        Rows of logits that are reserved. Since pull request 23861 (June 2026) llama-server reserves one for
        each sequence; versions before, and programs that read the logits of every token, reserve `ubatch`.

    Raises
    ------
    ValueError
        A number is not positive.

    Notes
    -----
    With flash attention: what `llama_context::sched_reserve` of llama.cpp 0c1e57098bba reserves for dense
    models (exactly, on its RPC backend), and one `n_embd` more, which logs of CUDA have, old ones and that
    of Gemma 3 270M. For experts it is an estimate. Without flash attention: coefficients that
    were fitted on logs (within 0.1 % there).

    Examples
    --------
    >>> mistral = model_shape({"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    ...                        "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 32000})
    >>> compute_buffer_bytes(mistral, 32768, flash_attention=False) / 2**20
    2144.0
    >>> compute_buffer_bytes(mistral, 32768) / 2**20
    148.0
    """
    _positive(context=context, ubatch=ubatch, logits_rows=logits_rows)
    cells, hidden = _padded(context), shape.hidden_size
    layer = 4 * ubatch * max(_layer_width(block, hidden) for block in shape.blocks)
    rows = min(logits_rows, ubatch)
    if flash_attention:
        window = min(cells, _padded(shape.window + ubatch)) if shape.window else 0
        logits = 4 * (rows * shape.vocab_size + 2 * ubatch * hidden)
        return max(layer + 2 * ubatch * (cells + window), logits)
    copies = 6 if shape.fused_qkv else 4
    attention = 4 * ubatch * (cells * (shape.n_heads + 1) + copies * hidden)
    logits = 4 * (rows * shape.vocab_size + ubatch * hidden)
    return max(layer, attention, logits)


def _layer_width(layer: Layer, hidden: int) -> int:
    """Numbers that a layer holds at once for each token."""
    queries = max((m.heads * m.head_dim for m in layer.mixers if isinstance(m, Attention)), default=hidden)
    width = 0
    for feed in layer.feed_forwards:
        if isinstance(feed, Dense):
            width = max(width, (3 if feed.gated else 2) * feed.width)
        else:
            chosen = (3 if feed.gated else 2) * feed.per_token * feed.ffn_size
            width = max(width, chosen, 2 * (feed.per_token + 1) * hidden - queries)
    return width + queries + 3 * hidden


def host_buffer_bytes(shape: ModelShape, context: int, ubatch: int = 512) -> int:
    """Bytes of the compute buffer in RAM beside a GPU: `4 * ubatch * (n_ctx + n_embd)`, mask and inputs.

    Raises
    ------
    ValueError
        A number is not positive.
    """
    _positive(context=context, ubatch=ubatch)
    return 4 * ubatch * (_padded(context) + shape.hidden_size)


@dataclass(frozen=True)
class SpeedBand:
    """Tokens per second of a single stream: an expected range, and an upper bound.

    Nothing that computes one token per pass exceeds the bound; speculative decoding and multi-token
    prediction may.
    """

    low: float
    high: float
    bound: float


def speed_band(
    shape: ModelShape, mix: str, bandwidth: float, kv_bytes: int = 0, importance: bool = False
) -> SpeedBand:
    """Tokens per second that memory bandwidth allows: every active weight is read once for each token.

    `bound = bandwidth / (active weight bytes - embedding + cache read)`. Measured speeds are
    `SPEED_SHARE` of it: show the band, never a single number. Prompt processing is limited by arithmetic and
    is not covered.

    Parameters
    ----------
    shape : ModelShape
        The model.
    mix : str
        A name of `quant_core.ggml.mixes.MIXES`.
    bandwidth : float
        Bytes per second (data sheets give 10^9 bytes per second).
    kv_bytes : int
        Bytes of the cache in use, read once for each token.
    importance : bool
        As for `weight_bytes`.

    Raises
    ------
    ValueError
        The bandwidth is not positive.
    """
    if not bandwidth > 0:
        raise ValueError(f"bandwidth is {bandwidth}; it must be positive, in bytes per second")
    bound = bandwidth / (_totals(shape, mix, importance).bytes_per_token + kv_bytes)
    return SpeedBand(bound * SPEED_SHARE[0], bound * SPEED_SHARE[1], bound)


@dataclass(frozen=True)
class _Totals:
    """Sums over the tensors of a model."""

    bytes: int
    elements: int
    buffers: WeightBuffers
    bytes_per_token: int


@lru_cache(maxsize=4096)
def _totals(shape: ModelShape, mix: str, importance: bool) -> _Totals:
    """Sums over the tensors, cached: every slider position needs them.

    A token reads one row of an untied embedding, which is not counted, and the chosen experts.
    """
    total = elements = gpu = cpu = per_token = 0
    for tensor in tensor_types(shape, mix, importance):
        size = tensor.bytes
        total += size
        elements += tensor.elements
        looked_up = tensor.kind.endswith(_LOOKED_UP)
        multiplied = not looked_up or (tensor.kind == "token_embd" and shape.tied_embeddings)
        cpu += size if looked_up else 0
        gpu += size if multiplied else 0
        if shape.experts is not None and "_exps" in tensor.kind:
            size = size * shape.experts.per_token // shape.experts.count
        per_token += size if multiplied else 0
    return _Totals(total, elements, WeightBuffers(gpu, cpu), per_token)


def _caching_layers(shape: ModelShape) -> list[tuple[Layer, int]]:
    """Return the kinds of layers that have a key/value cache, and the number of each."""
    return [(layer, count) for layer, count in shape.counted_layers if layer.cache_widths()]


def _cell_bytes(layer: Layer, type_k: str, type_v: str, tensor_parallel: int = 1) -> int:
    """Bytes of one token in one layer. The keys of an indexer have the type of K."""
    keys, values, *indexer = layer.cache_widths(tensor_parallel)
    size = sum(_row_bytes("cache_type_k", type_k, width) for width in (keys, *indexer))
    return size + (_row_bytes("cache_type_v", type_v, values) if values else 0)


def _row_bytes(argument: str, cache_type: str, width: int) -> int:
    if cache_type not in CACHE_TYPES:
        raise ValueError(f"{argument} is {cache_type!r}; choose one of {', '.join(CACHE_TYPES)}")
    block, size = BLOCK_SIZES[cache_type.upper()]
    if width % block:
        raise ValueError(
            f"{argument} {cache_type!r} has blocks of {block}, which do not divide a row of {width}; take f16"
        )
    return width // block * size


def _padded(cells: int) -> int:
    return -(-cells // _CELL_PADDING) * _CELL_PADDING


def _positive(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
