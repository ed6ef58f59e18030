"""Memory: published and logged sizes, short sums by hand, and invariants."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_core.ggml.formats import FORMATS
from quant_core.ggml.mixes import MIXES
from quant_core.memory import (
    CACHE_TYPES,
    CUDA_CONTEXT_BYTES,
    MIB,
    SPEED_SHARE,
    bits_per_weight,
    checkpoint_bytes,
    compute_buffer_bytes,
    host_buffer_bytes,
    kv_bytes_per_token,
    kv_cache,
    kv_cache_bytes,
    kv_pool_tokens,
    layers_that_fit,
    model_shape,
    native_shape,
    offload,
    recurrent_state_bytes,
    speed_band,
    weight_buffers,
    weight_bytes,
)
from tests.quant_core.configurations import LLAMA_8B

GEMMA_270M: dict[str, Any] = {
    "model_type": "gemma3_text", "hidden_size": 640, "num_hidden_layers": 18, "num_attention_heads": 4,
    "num_key_value_heads": 1, "head_dim": 256, "intermediate_size": 2048, "vocab_size": 262144,
    "sliding_window": 512, "_sliding_window_pattern": 6,
}  # fmt: skip
KIMI_K2: dict[str, Any] = {
    "model_type": "kimi_k2", "hidden_size": 7168, "num_hidden_layers": 61, "num_attention_heads": 64,
    "num_key_value_heads": 64, "intermediate_size": 18432, "vocab_size": 163840, "kv_lora_rank": 512,
    "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "n_routed_experts": 384, "n_shared_experts": 1, "num_experts_per_tok": 8, "moe_intermediate_size": 2048,
    "first_k_dense_replace": 1,
}  # fmt: skip
QWEN3_NEXT: dict[str, Any] = {  # 80B-A3B: three of four layers are Gated DeltaNet
    "model_type": "qwen3_next", "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 16,
    "num_key_value_heads": 2, "head_dim": 256, "intermediate_size": 5120, "vocab_size": 151936,
    "num_experts": 512, "num_experts_per_tok": 10, "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
    "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4,
}  # fmt: skip
LLAMA = model_shape(LLAMA_8B)
GEMMA = model_shape(GEMMA_270M)
KIMI = model_shape(KIMI_K2)
NEXT = model_shape(QWEN3_NEXT)
PHI = model_shape({**LLAMA_8B, "model_type": "phi3"})
CONTEXTS = st.integers(1, 1 << 20)
SHAPES = st.sampled_from([LLAMA, GEMMA, KIMI, NEXT, PHI])


# --- weights ----------------------------------------------------------------------------------------------


def test_llama_8b_q4_k_m_is_the_published_file() -> None:
    """arXiv:2601.14277, table 5: 4685.30 MiB."""
    assert round(weight_bytes(LLAMA, "Q4_K_M") / MIB, 2) == 4685.30


def test_an_importance_matrix_changes_the_size_of_a_70b_q4_0() -> None:
    """37.22 GiB without (ollama pull request 6279); files made with one are 37.35 GiB."""
    large = model_shape(
        {**LLAMA_8B, "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64,
         "intermediate_size": 28672}
    )  # fmt: skip
    assert round(weight_bytes(large, "Q4_0") / 2**30, 2) == 37.22
    assert round(weight_bytes(large, "Q4_0", importance=True) / 2**30, 2) == 37.35


def test_the_embedding_stays_in_ram() -> None:
    """Logged by an Ollama runner: 4403.49 MiB on CUDA0, 281.81 MiB on the CPU."""
    buffers = weight_buffers(LLAMA, "Q4_K_M")
    assert round(buffers.gpu / MIB, 2) == 4403.49
    assert round(buffers.cpu / MIB, 2) == 281.81
    assert buffers.gpu + buffers.cpu == weight_bytes(LLAMA, "Q4_K_M")


def test_embeddings_for_each_layer_stay_in_ram_and_are_not_read_whole() -> None:
    """Gemma 4's E models: one more vector for each token and layer, looked up and never multiplied."""
    config = {**GEMMA_270M, "model_type": "gemma4", "hidden_size_per_layer_input": 0}
    plain, extra = model_shape(config), model_shape({**config, "hidden_size_per_layer_input": 256})
    table = 262144 * 18 * 256 * 2
    assert weight_buffers(extra, "F16").cpu - weight_buffers(plain, "F16").cpu == table
    assert weight_buffers(extra, "F16").gpu - weight_buffers(plain, "F16").gpu < 0.02 * table
    assert speed_band(extra, "F16", 1e12).bound > 0.9 * speed_band(plain, "F16", 1e12).bound
    table_of_q4 = weight_buffers(extra, "Q4_0").cpu - weight_buffers(plain, "Q4_0").cpu
    assert table_of_q4 == 262144 * 18 * 256 * 210 // 256  # tied: as the output, Q6_K


def test_tied_embedding_is_stored_twice_in_memory() -> None:
    tied = model_shape({**LLAMA_8B, "tie_word_embeddings": True})
    buffers = weight_buffers(tied, "Q8_0")
    assert buffers.gpu == weight_bytes(tied, "Q8_0")
    assert buffers.cpu == 128256 * 4096 // 32 * 34


# --- layers on the card, the rest in RAM -------------------------------------------------------------------


def test_layers_go_to_the_card_from_the_back_and_the_output_first() -> None:
    """By hand, in F16: 2 bytes for each weight of the last layers and of the output with its norm."""
    layer = 2 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096) + 4 * 2 * 4096  # its norms are F32
    output = 2 * 128256 * 4096 + 4 * 4096
    cache = 2 * 8 * 128 * 8192 * 2
    for count, weights, cached in ((0, 0, 0), (1, output, 0), (2, output + layer, cache)):
        split = offload(LLAMA, "F16", count, context=8192)
        assert (split.layers, split.of) == (count, 33)
        assert split.gpu_weights == pytest.approx(weights, abs=1024)  # beside a table of frequencies
        assert split.gpu_cache == cached
        assert split.gpu_weights + split.cpu_weights == weight_bytes(LLAMA, "F16")
        assert split.gpu_cache + split.cpu_cache == kv_cache_bytes(LLAMA, 8192)


@given(SHAPES, st.sampled_from(["Q4_K_M", "Q2_K", "Q8_0"]), st.integers(1, 3))
def test_all_layers_on_the_card_are_what_the_card_holds(shape: Any, mix: str, sequences: int) -> None:
    split = offload(shape, mix, 10**6, context=4096, sequences=sequences)
    buffers = weight_buffers(shape, mix)
    assert (split.gpu_weights, split.cpu_weights) == (buffers.gpu, buffers.cpu)
    state = recurrent_state_bytes(shape, sequences)
    assert split.gpu_cache == kv_cache_bytes(shape, 4096, sequences=sequences) + state
    none = offload(shape, mix, 0, context=4096, sequences=sequences)
    assert (none.gpu, none.cpu_weights) == (0, weight_bytes(shape, mix))


@given(SHAPES, st.floats(0, 1.2))
def test_as_many_layers_fit_as_there_is_room(shape: Any, share: float) -> None:
    room = int(share * (weight_buffers(shape, "Q4_K_M").gpu + kv_cache_bytes(shape, 4096)))
    split = layers_that_fit(shape, "Q4_K_M", room, context=4096)
    assert split.gpu <= room
    if split.layers < split.of:
        assert offload(shape, "Q4_K_M", split.layers + 1, context=4096).gpu > room


def test_a_negative_number_of_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="n_gpu_layers is -1; give 0 or more"):
        offload(LLAMA, "Q4_K_M", -1, context=8192)


# --- experts that were born in few bits -------------------------------------------------------------------

GPT_OSS_20B = {
    "model_type": "gpt_oss", "hidden_size": 2880, "num_hidden_layers": 24, "num_attention_heads": 64,
    "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 2880, "num_local_experts": 32,
    "num_experts_per_tok": 4, "vocab_size": 201088, "attention_bias": True, "tie_word_embeddings": False,
    "layer_types": ["sliding_attention", "full_attention"] * 12, "sliding_window": 128,
}  # fmt: skip
# unsloth/gpt-oss-20b-GGUF lists these sizes, in GB.
GPT_OSS_FILES = {"F16": 13.8, "Q5_K_M": 11.7, "Q4_K_M": 11.6, "Q3_K_M": 11.5, "Q2_K": 11.5}


def test_files_of_gpt_oss_have_about_one_size() -> None:
    shape = native_shape(model_shape(GPT_OSS_20B))
    for mix, size in GPT_OSS_FILES.items():
        assert round(weight_bytes(shape, mix) / 1e9, 1) == size
    assert weight_bytes(shape, "MXFP4_MOE") == weight_bytes(model_shape(GPT_OSS_20B), "MXFP4_MOE")
    assert shape.parameters == model_shape(GPT_OSS_20B).parameters
    assert checkpoint_bytes(shape, 4) < 1.25 * weight_bytes(shape, "Q4_K_M")


def test_other_models_are_born_in_sixteen_bits() -> None:
    assert native_shape(LLAMA) is LLAMA
    shape = native_shape(model_shape(GPT_OSS_20B))
    assert native_shape(shape) is shape


@given(st.sampled_from([LLAMA, KIMI, NEXT, PHI]))  # rows of Gemma fall back: its Q2_K is larger than Q3_K_S
def test_more_bits_take_more_bytes(shape: Any) -> None:
    ladder = (
        "Q2_K",
        "Q3_K_S",
        "Q3_K_M",
        "Q3_K_L",
        "Q4_K_S",
        "Q4_K_M",
        "Q5_K_S",
        "Q5_K_M",
        "Q6_K",
        "Q8_0",
        "F16",
    )
    sizes = [weight_bytes(shape, mix) for mix in ladder]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("mix", [mix for mix in MIXES if mix != "F32"])
@given(shape=SHAPES)
def test_no_mix_is_larger_than_f16_or_smaller_than_its_smallest_block(mix: str, shape: Any) -> None:
    assert (
        FORMATS["Q1_0"].bits_per_weight < bits_per_weight(shape, mix) <= bits_per_weight(shape, "F16") < 16.1
    )


# --- GPTQ and AWQ -----------------------------------------------------------------------------------------


def test_a_four_bit_checkpoint_by_hand() -> None:
    tiny = model_shape(
        {"hidden_size": 256, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 512,
         "vocab_size": 1000}
    )  # fmt: skip
    linear = 4 * 256 * 256 + 3 * 256 * 512
    rest = 2 * 1000 * 256 + 3 * 256  # embedding and head, three norms: 16 bits each
    awq = linear * (4 + 20 / 128) / 8 + 2 * rest
    assert checkpoint_bytes(tiny, 4, 128, "awq") == awq
    group_indices = 4 * (6 * 256 + 512)
    assert checkpoint_bytes(tiny, 4, 128, "gptq") == awq + group_indices


@given(st.integers(2, 7), st.sampled_from([None, 32, 64, 128]))
def test_wider_codes_and_smaller_groups_take_more(bits: int, group_size: int | None) -> None:
    assert checkpoint_bytes(LLAMA, bits, group_size) < checkpoint_bytes(LLAMA, bits + 1, group_size)
    assert checkpoint_bytes(LLAMA, bits, group_size) < checkpoint_bytes(LLAMA, bits, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 128), "bits is 1; it must lie between 2 and 8"),
        ((9, 128), "bits is 9"),
        ((4, 0), "group_size is 0; it must be positive, or None"),
        ((4, 128, "hqq"), "method is 'hqq'; it must be gptq or awq"),
    ],
)
def test_unsupported_checkpoints_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checkpoint_bytes(LLAMA, *arguments)


# --- the key/value cache ----------------------------------------------------------------------------------


def test_llama_8b_keeps_128_kib_a_token() -> None:
    assert kv_bytes_per_token(LLAMA) == 2 * 32 * 8 * 128 * 2 == 128 * 1024
    assert kv_cache_bytes(LLAMA, 8192) == 8192 * 128 * 1024


@pytest.mark.parametrize(
    ("cache_type", "bytes_of_32"),
    [("f32", 128), ("f16", 64), ("bf16", 64), ("q8_0", 34), ("q5_1", 24), ("q5_0", 22), ("q4_1", 20),
     ("q4_0", 18), ("iq4_nl", 18)],
)  # fmt: skip
def test_cache_types(cache_type: str, bytes_of_32: int) -> None:
    assert cache_type in CACHE_TYPES
    assert kv_cache_bytes(LLAMA, 256, cache_type, cache_type) == 256 * 32 * 2 * 1024 // 32 * bytes_of_32


def test_keys_and_values_may_differ() -> None:
    mixed = kv_cache_bytes(LLAMA, 4096, "q8_0", "q4_0")
    assert (
        mixed
        == (kv_cache_bytes(LLAMA, 4096, "q8_0", "q8_0") + kv_cache_bytes(LLAMA, 4096, "q4_0", "q4_0")) / 2
    )


@pytest.mark.parametrize(
    ("context", "sequences", "mebibytes"), [(8192, 1, 39), (4096, 2, 42), (4096, 4, 72), (4096, 8, 72)]
)
def test_sliding_layers_keep_a_window_for_each_sequence(context: int, sequences: int, mebibytes: int) -> None:
    """Measured with llama-server on Gemma-3-270m: unsloth pull request 5225."""
    assert kv_cache_bytes(GEMMA, context, sequences=sequences) == mebibytes * MIB


def test_full_and_sliding_layers_apart() -> None:
    cache = kv_cache(GEMMA, 8192)
    assert (cache.full / MIB, cache.sliding / MIB) == (24, 15)
    assert cache.total == kv_cache_bytes(GEMMA, 8192)
    assert kv_bytes_per_token(GEMMA) * 8192 == cache.full


def test_latent_attention_keeps_one_vector_and_no_values() -> None:
    """Logged for Kimi-K2 by ik_llama.cpp pull request 616: 72.91 MiB, q8_0, 2048 tokens."""
    assert round(kv_cache_bytes(KIMI, 2048, "q8_0", "q8_0") / MIB, 2) == 72.91
    assert kv_bytes_per_token(KIMI) == 61 * 576 * 2
    assert kv_cache_bytes(KIMI, 2048, "q8_0", "q4_0", flash_attention=False) == kv_cache_bytes(
        KIMI, 2048, "q8_0"
    )


def test_linear_layers_keep_a_fixed_state() -> None:
    assert kv_bytes_per_token(NEXT) == 12 * 2 * 2 * 256 * 2
    state, tail = 32 * 128 * 128, 3 * (2 * 16 * 128 + 32 * 128)
    assert recurrent_state_bytes(NEXT) == 36 * 4 * (state + tail)
    assert recurrent_state_bytes(NEXT, sequences=3) == 3 * recurrent_state_bytes(NEXT)
    assert recurrent_state_bytes(LLAMA) == 0
    undescribed = model_shape({**LLAMA_8B, "full_attention_interval": 4})
    assert kv_bytes_per_token(undescribed) == 8 * 4096
    assert recurrent_state_bytes(undescribed) == 0


def test_layers_that_share_a_cache_keep_none() -> None:
    shared = model_shape({**LLAMA_8B, "num_kv_shared_layers": 24})
    assert kv_cache_bytes(shared, 4096) == kv_cache_bytes(LLAMA, 4096) // 4


@given(SHAPES, CONTEXTS, st.integers(1, 8))
def test_a_longer_context_never_takes_less(shape: Any, context: int, sequences: int) -> None:
    here = kv_cache_bytes(shape, context, sequences=sequences)
    assert here <= kv_cache_bytes(shape, context + 1, sequences=sequences)
    assert compute_buffer_bytes(shape, context) <= compute_buffer_bytes(shape, context + 1)
    assert compute_buffer_bytes(shape, context, False) <= compute_buffer_bytes(shape, context + 1, False)


@given(SHAPES, CONTEXTS)
def test_a_narrower_cache_never_takes_more(shape: Any, context: int) -> None:
    sizes = [kv_cache_bytes(shape, context, kind, kind) for kind in ("q4_0", "q5_1", "q8_0", "f16", "f32")]
    assert sizes == sorted(sizes)


@given(CONTEXTS)
def test_cells_come_in_256(context: int) -> None:
    assert kv_cache_bytes(LLAMA, context) == kv_cache_bytes(LLAMA, -(-context // 256) * 256)


@given(SHAPES, CONTEXTS, st.integers(1, 4096))
def test_a_window_is_never_larger_than_the_context(shape: Any, context: int, ubatch: int) -> None:
    everything = kv_cache(model_shape({**GEMMA_270M, "layer_types": ["full_attention"] * 18}), context)
    windowed = kv_cache(GEMMA, context, ubatch=ubatch)
    assert windowed.total <= everything.total


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cache_type_k": "q3_k"}, "cache_type_k is 'q3_k'; choose one of f32, f16"),
        ({"cache_type_v": "F16"}, "cache_type_v is 'F16'"),
        ({"cache_type_v": "q8_0", "flash_attention": False}, "'q8_0' needs flash attention; turn it on"),
        ({"context": 0}, "context is 0; it must be at least 1"),
        ({"sequences": 0}, "sequences is 0"),
        ({"ubatch": -1}, "ubatch is -1"),
    ],
)
def test_invalid_caches_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kv_cache_bytes(LLAMA, **{"context": 4096, **arguments})


def test_a_row_that_blocks_do_not_fill_cannot_be_quantized() -> None:
    narrow = model_shape({**LLAMA_8B, "num_key_value_heads": 1, "head_dim": 80})
    with pytest.raises(ValueError, match="blocks of 32, which do not divide a row of 80; take f16"):
        kv_cache_bytes(narrow, 4096, "q8_0")


# --- vLLM's pool ------------------------------------------------------------------------------------------


def test_a_pool_holds_whole_blocks() -> None:
    assert kv_pool_tokens(LLAMA, 128 * 1024 * 16 * 7) == 16 * 7
    assert kv_pool_tokens(LLAMA, 128 * 1024 * 16 * 7 - 1) == 16 * 6
    assert kv_pool_tokens(LLAMA, -5) == 0


def test_tensor_parallelism_divides_heads_but_not_a_latent() -> None:
    pool = 2**30
    assert kv_pool_tokens(LLAMA, pool, tensor_parallel=4) == 4 * kv_pool_tokens(LLAMA, pool)
    assert kv_pool_tokens(LLAMA, pool, tensor_parallel=16) == 8 * kv_pool_tokens(LLAMA, pool)  # 8 heads
    assert kv_pool_tokens(KIMI, pool, tensor_parallel=8) == kv_pool_tokens(KIMI, pool)


def test_a_model_without_a_cache_needs_no_pool() -> None:
    only_linear = model_shape({**LLAMA_8B, "layer_types": ["linear_attention"] * 32})
    assert kv_pool_tokens(only_linear, 2**30) == 0
    assert kv_cache_bytes(only_linear, 4096) == 0


# --- buffers ----------------------------------------------------------------------------------------------


def test_scores_dominate_without_flash_attention() -> None:
    """Logged for Llama-3.1-8B at 8192 tokens: 560 MiB; 258.5 MiB of logits would be less."""
    assert compute_buffer_bytes(LLAMA, 8192, flash_attention=False) == 560 * MIB
    assert compute_buffer_bytes(LLAMA, 8192, logits_rows=512) == 4 * 512 * (128256 + 2 * 4096)


def test_gemma_3_270m_as_logged() -> None:
    """26.77 MiB by llama-server since pull request 23861; with logits of every token it was 514.5 MiB."""
    assert compute_buffer_bytes(GEMMA, 8192) / MIB == pytest.approx(26.77, rel=0.001)
    assert compute_buffer_bytes(GEMMA, 8192, logits_rows=512) / MIB == 514.5


# MiB that llama_context::sched_reserve of llama.cpp 0c1e57098bba reports for these shapes, all layers on
# a device of its RPC backend, flash attention, ubatch 512. Logs of CUDA have one n_embd more.
RESERVED = [
    pytest.param(4096, 32, 32, 8, 128, 14336, 128256, 8192, 116.01, id="Llama 3.1 8B"),
    pytest.param(4096, 32, 32, 8, 128, 14336, 128256, 65536, 172.01, id="Llama 3.1 8B, 65536"),
    pytest.param(2048, 16, 32, 8, 64, 8192, 128256, 8192, 68.01, id="Llama 3.2 1B"),
    pytest.param(1024, 28, 16, 8, 128, 3072, 151936, 8192, 34.01, id="Qwen3 0.6B"),
    pytest.param(4096, 36, 32, 8, 128, 12288, 151936, 8192, 104.01, id="Qwen3 8B"),
    pytest.param(4096, 32, 32, 32, 128, 11008, 32000, 8192, 96.51, id="Llama 2 7B"),
    pytest.param(3584, 28, 28, 4, 128, 18944, 152064, 8192, 140.01, id="Qwen2.5 7B"),
    pytest.param(2048, 24, 32, 32, 64, 8192, 49152, 8192, 68.01, id="SmolLM2 1.7B"),
]


@pytest.mark.parametrize(
    ("hidden", "layers", "heads", "kv_heads", "head_dim", "ffn", "vocabulary", "context", "reserved"),
    RESERVED,
)
def test_the_buffer_is_what_the_graph_reserves(
    hidden: int,
    layers: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    ffn: int,
    vocabulary: int,
    context: int,
    reserved: float,
) -> None:
    shape = model_shape(
        {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
         "num_key_value_heads": kv_heads, "head_dim": head_dim, "intermediate_size": ffn,
         "vocab_size": vocabulary}
    )  # fmt: skip
    one_more = 4 * 512 * hidden
    assert (compute_buffer_bytes(shape, context) - one_more) / MIB == pytest.approx(reserved, abs=0.02)


def test_conversations_add_a_row_of_logits_each() -> None:
    assert compute_buffer_bytes(LLAMA, 2048, logits_rows=4) == compute_buffer_bytes(LLAMA, 2048)
    wide = model_shape({**LLAMA_8B, "vocab_size": 1 << 24})
    rows = [compute_buffer_bytes(wide, 2048, logits_rows=rows) for rows in (4, 5)]
    assert rows[1] - rows[0] == 4 * (1 << 24)
    assert compute_buffer_bytes(LLAMA, 2048, logits_rows=9999) == compute_buffer_bytes(
        LLAMA, 2048, logits_rows=512
    )
    with pytest.raises(ValueError, match="logits_rows is 0"):
        compute_buffer_bytes(LLAMA, 2048, logits_rows=0)


def test_a_fused_qkv_matrix_needs_two_more_copies() -> None:
    difference = compute_buffer_bytes(PHI, 65536, False) - compute_buffer_bytes(LLAMA, 65536, False)
    assert difference == 4 * 512 * 2 * 4096


@pytest.mark.parametrize("flash_attention", [True, False])
def test_compute_grows_with_the_batch(flash_attention: bool) -> None:
    once = compute_buffer_bytes(LLAMA, 16384, flash_attention, 256)
    assert compute_buffer_bytes(LLAMA, 16384, flash_attention, 512) == 2 * once


def test_the_host_keeps_the_mask() -> None:
    assert host_buffer_bytes(LLAMA, 49152, 512) == 4 * 512 * (49152 + 4096)


def test_buffers_need_a_context() -> None:
    with pytest.raises(ValueError, match="context is 0"):
        compute_buffer_bytes(LLAMA, 0)
    with pytest.raises(ValueError, match="ubatch is 0"):
        host_buffer_bytes(LLAMA, 512, ubatch=0)


def test_the_cuda_context_is_near_the_one_that_was_measured() -> None:
    assert pytest.approx(309 * MIB, rel=0.05) == CUDA_CONTEXT_BYTES


# --- speed ------------------------------------------------------------------------------------------------

# Llama 3 8B, tokens per second over 1024 tokens: XiongjieDai/GPU-Benchmarks-on-LLM-Inference @ 00dd2bde.
MEASURED = [
    pytest.param(1008.0, "F16", 54.34, id="RTX 4090 F16"),
    pytest.param(1008.0, "Q4_K_M", 127.74, id="RTX 4090 Q4_K_M"),
    pytest.param(936.2, "Q4_K_M", 111.74, id="RTX 3090 Q4_K_M"),
    pytest.param(448.0, "Q4_K_M", 70.94, id="RTX 3070 Q4_K_M"),
    pytest.param(800.0, "Q4_K_M", 76.28, id="M2 Ultra Q4_K_M"),
]


@pytest.mark.parametrize(("gigabytes", "mix", "measured"), MEASURED)
def test_measured_speeds_lie_near_the_band_and_below_the_bound(
    gigabytes: float, mix: str, measured: float
) -> None:
    band = speed_band(LLAMA, mix, gigabytes * 1e9)
    assert band.low < measured < band.high < band.bound
    assert (band.low, band.high) == (band.bound * SPEED_SHARE[0], band.bound * SPEED_SHARE[1])


def test_the_bound_counts_weights_without_the_embedding_and_the_cache_once() -> None:
    read = weight_buffers(LLAMA, "Q4_K_M").gpu
    assert speed_band(LLAMA, "Q4_K_M", 1e12).bound == 1e12 / read
    assert speed_band(LLAMA, "Q4_K_M", 1e12, kv_bytes=read).bound == 1e12 / (2 * read)


def test_inactive_experts_are_not_read() -> None:
    """Kimi-K2 reads about 32 of its 1026 billion weights for each token."""
    band = speed_band(KIMI, "F16", 1e12)
    assert band.bound == pytest.approx(
        1e12 / (2 * (KIMI.active_parameters - 163840 * 7168)), rel=0.01
    )  # norms and routers are F32


@pytest.mark.parametrize("bandwidth", [0, -1, float("nan")])
def test_speed_needs_a_bandwidth(bandwidth: float) -> None:
    with pytest.raises(ValueError, match="it must be positive, in bytes per second"):
        speed_band(LLAMA, "Q4_K_M", bandwidth)
