"""Shapes from config.json: exact parameter counts of known models; everything else is refused."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_core.llm.shapes import NOT_MODELLED, generic_shape, model_shape
from tests.quant_core import configurations

LLAMA_8B = {name: value for name, value in configurations.LLAMA_8B.items() if name != "rope_scaling"}
GPT2: dict[str, Any] = {
    "model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_inner": 3072, "vocab_size": 50257,
}  # fmt: skip
PYTHIA_160M: dict[str, Any] = {
    "model_type": "gpt_neox", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "vocab_size": 50304, "tie_word_embeddings": False,
}  # fmt: skip
PHI_2: dict[str, Any] = {
    "model_type": "phi", "hidden_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 32,
    "intermediate_size": 10240, "vocab_size": 51200,
}  # fmt: skip
QWEN2_MOE: dict[str, Any] = {  # Qwen1.5-MoE-A2.7B
    "model_type": "qwen2_moe", "hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 16,
    "num_key_value_heads": 16, "intermediate_size": 5632, "vocab_size": 151936, "num_experts": 60,
    "num_experts_per_tok": 4, "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632,
    "use_sliding_window": False, "sliding_window": 32768,
}  # fmt: skip
DEEPSEEK_V2_LITE: dict[str, Any] = {
    "model_type": "deepseek_v2", "hidden_size": 2048, "num_hidden_layers": 27, "num_attention_heads": 16,
    "num_key_value_heads": 16, "intermediate_size": 10944, "vocab_size": 102400, "kv_lora_rank": 512,
    "q_lora_rank": None, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6, "moe_intermediate_size": 1408,
    "first_k_dense_replace": 1,
}  # fmt: skip


def test_llama_8b() -> None:
    shape = model_shape(LLAMA_8B)
    assert shape.parameters == 8_030_261_248  # as published on the model's page
    assert shape.head_dim == 128
    assert shape.queries_per_kv_head == 4
    assert shape.layer_kinds == ("full",) * 32


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        pytest.param(GPT2, 124_439_808, id="gpt2"),
        pytest.param({**GPT2, "n_inner": None}, 124_439_808, id="gpt2 as published"),
        pytest.param(PYTHIA_160M, 162_322_944, id="pythia-160m"),
        pytest.param(DEEPSEEK_V2_LITE, 15_706_484_224, id="deepseek-v2-lite"),
        pytest.param(QWEN2_MOE, 14_315_784_192, id="qwen1.5-moe-a2.7b"),
    ],
)
def test_parameter_counts_of_published_models(config: dict[str, Any], parameters: int) -> None:
    assert model_shape(config).parameters == parameters


def test_phi_2_is_the_published_2_78_billion() -> None:
    assert round(model_shape(PHI_2).parameters / 1e9, 2) == 2.78


def test_a_multimodal_configuration_is_read_through_its_text_part() -> None:
    wrapped = {
        "model_type": "gemma3",
        "vision_config": {},
        "text_config": {**LLAMA_8B, "model_type": "gemma3_text"},
    }
    assert model_shape(wrapped).model_type == "gemma3"
    assert model_shape(wrapped).tied_embeddings
    assert not model_shape({**wrapped, "tie_word_embeddings": False}).tied_embeddings


def test_gemma_alternates_windows_and_full_layers() -> None:
    shape = model_shape({**LLAMA_8B, "model_type": "gemma3", "sliding_window": 512, "num_hidden_layers": 18})
    assert shape.layer_kinds == (("sliding",) * 5 + ("full",)) * 3
    assert shape.window == 512


def test_named_layers_win_over_the_pattern() -> None:
    kinds = ["full_attention", "sliding_attention", "linear_attention", "chunked_attention"]
    shape = model_shape({**LLAMA_8B, "num_hidden_layers": 4, "layer_types": kinds, "sliding_window": 99})
    assert shape.layer_kinds == ("full", "sliding", "linear", "sliding")
    assert shape.linear is None  # nothing says how large its state is
    with pytest.raises(ValueError, match=r"linear_num_value_heads is missing; without it"):
        shape.tensors()


@pytest.mark.parametrize("model_type", ["mistral", "phi3", "qwen2"])
def test_a_window_without_alternation_is_ignored_as_in_llama_cpp(model_type: str) -> None:
    shape = model_shape({**LLAMA_8B, "model_type": model_type, "sliding_window": 4096})
    assert shape.layer_kinds == ("full",) * 32


def test_maverick_interleaves_dense_layers_and_experts() -> None:
    config = {
        **LLAMA_8B, "model_type": "llama4_text", "num_local_experts": 16, "num_experts_per_tok": 1,
        "interleave_moe_layer_step": 2, "intermediate_size_mlp": 16384,
    }  # fmt: skip
    shape = model_shape(config)
    assert shape.experts is not None
    assert shape.experts.dense_layers == tuple(range(0, 32, 2))
    assert shape.ffn_size == 16384


def test_listed_dense_layers() -> None:
    experts = {"num_experts": 8, "num_experts_per_tok": 2, "mlp_only_layers": [3], "decoder_sparse_step": 1}
    shape = model_shape({**LLAMA_8B, **experts})
    assert shape.experts is not None
    assert shape.experts.dense_layers == (3,)
    assert shape.active_parameters < shape.parameters


def test_gemma_4_e_models_have_embeddings_for_each_layer() -> None:
    plain = model_shape({**LLAMA_8B, "model_type": "gemma4", "hidden_size_per_layer_input": 0})
    extra = model_shape(
        {
            **LLAMA_8B,
            "model_type": "gemma4",
            "hidden_size_per_layer_input": 256,
            "vocab_size_per_layer_input": 128256,
        }
    )
    vocabulary, hidden, layers = 128256, 4096, 32
    matrices = layers * 256 * (vocabulary + hidden + 2 * hidden)
    assert extra.parameters - plain.parameters == matrices + layers * hidden + 256  # and norms


def test_the_rope_table_of_phi_3_is_a_pair() -> None:
    shape = model_shape({**LLAMA_8B, "model_type": "phi3", "rope_scaling": {"type": "longrope"}})
    assert shape.rope_table == 2 * 64
    assert model_shape({**LLAMA_8B, "rope_scaling": {"type": ["odd"]}}).rope_table == 0
    assert model_shape({**LLAMA_8B, "rope_parameters": {"rope_type": "llama3"}}).rope_table == 64


# --- configurations that cannot be right ------------------------------------------------------------------

BAD = [
    ({"hidden_size": None}, r"hidden_size is missing; it must be an integer from 1 to"),
    ({"hidden_size": "4096"}, r"hidden_size is '4096'; it must be an integer"),
    ({"hidden_size": 4096.0}, r"hidden_size is 4096\.0; it must be an integer"),
    ({"hidden_size": True}, r"hidden_size is True; it must be an integer"),
    ({"hidden_size": 10**9}, r"hidden_size is 1000000000; it must be an integer from 1 to 1048576"),
    ({"num_hidden_layers": -1}, r"num_hidden_layers is -1"),
    ({"num_attention_heads": [32] * 99}, r"num_attention_heads is list of 99"),
    ({"num_key_value_heads": 5}, r"num_key_value_heads is 5; it must divide num_attention_heads \(32\)"),
    ({"num_attention_heads": 24}, r"head_dim is missing and hidden_size \(4096\) is not a multiple of"),
    ({"vocab_size": 0}, r"vocab_size is 0"),
    ({"intermediate_size": None}, r"intermediate_size is missing"),
    ({"tie_word_embeddings": 1}, r"tie_word_embeddings is 1; it must be true or false"),
    ({"model_type": 7}, r"model_type is 7; it must be a text"),
    ({"model_type": "x" * 1000}, r"model_type is 'x+\.\.\.; it must be a text of at most 100 characters"),
    ({"model_type": "rwkv"}, r"model_type 'rwkv' is not modelled: it has no attention"),
    ({"layer_types": ["full_attention"]}, r"layer_types is list of 1; it must list 32 layers"),
    ({"layer_types": [{}] * 32}, r"layer_types has dict of 0; known are full_attention"),
    ({"layer_types": ["sliding_attention"] * 32}, r"sliding_window is missing"),
    ({"kv_lora_rank": 512}, r"qk_rope_head_dim is missing"),
    ({"num_experts": 8}, r"num_experts_per_tok is missing; it must be an integer from 1 to 8"),
    ({"num_experts": 8, "num_experts_per_tok": 9}, r"num_experts_per_tok is 9"),
    (
        {"num_experts": 8, "num_experts_per_tok": 2, "mlp_only_layers": [32]},
        r"mlp_only_layers has 32; it must list",
    ),
    ({"linear_num_value_heads": 32, "full_attention_interval": 4}, r"linear_num_key_heads is missing"),
    ({"num_kv_shared_layers": 32}, r"num_kv_shared_layers is 32; it must be an integer from 0 to 31"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_a_wrong_field_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model_shape({**LLAMA_8B, **change})


@pytest.mark.parametrize("config", [None, [], "{}", 7])
def test_non_objects_are_refused(config: Any) -> None:
    with pytest.raises(ValueError, match=r"give the object of a config\.json"):
        model_shape(config)


FIELDS = [
    "model_type", "text_config", "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
    "num_key_value_heads", "head_dim", "intermediate_size", "tie_word_embeddings", "layer_types",
    "sliding_window",
    "sliding_window_pattern", "full_attention_interval", "kv_lora_rank", "q_lora_rank", "qk_rope_head_dim",
    "num_experts", "num_experts_per_tok", "moe_intermediate_size", "first_k_dense_replace", "mlp_only_layers",
    "decoder_sparse_step", "rope_scaling", "linear_num_value_heads", "linear_num_key_heads", "n_embd",
    "n_layer",
    "linear_key_head_dim", "linear_value_head_dim", "linear_conv_kernel_dim", "num_kv_shared_layers",
    "max_position_embeddings", "use_qk_norm", "attention_bias", "global_head_dim", "enable_moe_block",
]  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 40)
    | st.integers()
    | st.floats(allow_nan=True)
    | st.sampled_from(["qwen2", "gemma3", "phi3", "llama4", "qwen3_5", "gpt_oss", "gemma4", "full_attention"])
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=6), JSON, max_size=30))
@settings(max_examples=100)
def test_nothing_but_value_error_comes_out_of_any_object(config: dict[str, Any]) -> None:
    with contextlib.suppress(ValueError):
        shape = model_shape(config)
        assert len(shape.layer_kinds) == shape.n_layers


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
@settings(max_examples=100)
def test_a_good_configuration_with_some_fields_replaced(changes: dict[str, Any]) -> None:
    with contextlib.suppress(ValueError):
        assert model_shape({**LLAMA_8B, "num_hidden_layers": 4, **changes}).parameters > 0


@pytest.mark.parametrize("model_type", NOT_MODELLED)
def test_unsupported_models_are_refused_with_a_reason(model_type: str) -> None:
    with pytest.raises(ValueError, match=r"is not modelled: .{20}"):
        model_shape({**LLAMA_8B, "model_type": model_type})


# --- the generic model of a slider ------------------------------------------------------------------------


@given(st.floats(8, 12))
@settings(max_examples=200)
def test_a_generic_model_has_about_the_size_that_was_asked(exponent: float) -> None:
    wanted = 10**exponent
    tolerance = 0.015 if wanted >= 1e9 else 0.06
    shape = generic_shape(wanted)
    assert shape.parameters == pytest.approx(wanted, rel=tolerance)
    assert shape.n_kv_heads == 8
    assert shape.hidden_size <= shape.ffn_size < 6 * shape.hidden_size
    assert all(tensor.columns % 256 == 0 for tensor in shape.tensors() if not tensor.fixed_type)


def test_generic_model_matches_llama_at_its_sizes() -> None:
    shape = generic_shape(8.03e9)
    assert (shape.n_layers, shape.hidden_size, shape.n_kv_heads, shape.ffn_size) == (32, 4096, 8, 14336)
    large = generic_shape(7.0554e10)
    assert (large.n_layers, large.hidden_size, large.n_kv_heads) == (80, 8192, 8)


@pytest.mark.parametrize("parameters", [0, 9e7, 2e12, float("nan"), float("inf")])
def test_a_generic_model_has_limits(parameters: float) -> None:
    with pytest.raises(ValueError, match="between 1e8 and 1e12"):
        generic_shape(parameters)
