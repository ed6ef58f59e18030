"""Every architecture of the table: its parameters, its cache and state, and what is refused."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_core.llm.architectures import building, extras, plans
from quant_core.llm.architectures.fields import never_decides_a_size
from quant_core.llm.architectures.table import ARCHITECTURES
from quant_core.llm.shapes import model_shape, read_shape
from quant_core.memory import kv_bytes_per_token, kv_cache_bytes, recurrent_state_bytes, weight_bytes
from tests.each import each

DATA = Path(__file__).parents[1] / "data"
CASES = json.loads((DATA / "shape_cases.json").read_text("utf-8"))["cases"]
PUBLISHED = json.loads((DATA / "architectures.json").read_text("utf-8"))["models"]
NAMED: dict[str, dict[str, Any]] = {case["name"]: case["config"] for case in CASES}
LLAMA: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "tie_word_embeddings": False,
}  # fmt: skip


@each("case", CASES)
def test_a_published_configuration_is_counted_or_refused(case: dict[str, Any]) -> None:
    if words := case.get("refused"):
        with pytest.raises(ValueError, match=words):
            model_shape(case["config"])
        return
    shape = model_shape(case["config"])
    if case["parameters"]:
        assert shape.parameters == pytest.approx(case["parameters"], rel=0.001)
    if case["cache_bytes_per_token"] is not None:
        assert kv_bytes_per_token(shape) == case["cache_bytes_per_token"]
    assert sum(t.elements for t in shape.tensors()) > 0.99 * shape.parameters
    assert weight_bytes(shape, "Q4_K_M") < weight_bytes(shape, "F16")


#: Published models that are not counted: by `model_type`.
NOT_COUNTED = {
    "arctic",
    "dbrx", "deepseek_ref", "deepseek_v4", "gpt_neo", "kimi_k3", "kimi_linear", "minicpm3",
    "minimax_m3", "nemotron-nas", "persimmon", "step3p7", "t5", "zamba2",
}  # fmt: skip


@each("entry", PUBLISHED)
def test_published_models_have_the_parameters_that_transformers_counts(entry: dict[str, Any]) -> None:
    try:
        shape = model_shape(entry["config"])
    except ValueError as error:
        listed = entry["config"]["model_type"] in NOT_COUNTED or "is missing" in str(error)
        assert listed or "only hidden_size" in str(error), error
        return
    assert entry["config"]["model_type"] not in NOT_COUNTED
    if entry.get("parameters"):
        assert shape.parameters == pytest.approx(entry["parameters"], rel=0.001)


# --- what layers keep -------------------------------------------------------------------------------------


def test_few_layers_of_jamba_attend_and_the_others_keep_a_state() -> None:
    shape = model_shape(NAMED["jamba-v0.1"])
    assert Counter(shape.layer_kinds) == {"linear": 28, "full": 4}
    assert kv_cache_bytes(shape, 4096) == 4096 * 4 * 2 * 8 * 128 * 2
    assert recurrent_state_bytes(shape, 2) == 2 * 4 * 28 * 8192 * (16 + 3)


def test_falcon_h1_attends_and_keeps_a_state_in_every_layer() -> None:
    shape = model_shape(NAMED["falcon-h1-7b"])
    assert set(shape.layer_kinds) == {"full"}
    assert recurrent_state_bytes(shape) == 4 * 44 * (3072 * 256 + 3 * (3072 + 2 * 256))
    assert kv_bytes_per_token(shape) == 44 * 2 * 2 * 128 * 2


def test_lightning_attention_keeps_a_matrix_for_each_head() -> None:
    shape = model_shape(NAMED["minimax-text-01"])
    assert Counter(shape.layer_kinds) == {"linear": 70, "full": 10}
    assert recurrent_state_bytes(shape) == 4 * 70 * 64 * 128 * 128


def test_an_encoder_keeps_nothing() -> None:
    for name in ("bge-m3", "nomic-embed-text-v1.5"):
        shape = model_shape(NAMED[name])
        assert shape.is_encoder
        assert kv_cache_bytes(shape, 8192) == recurrent_state_bytes(shape) == 0
    assert not model_shape(LLAMA).is_encoder
    assert not model_shape(MAMBA).is_encoder


def test_the_head_of_an_encoder_is_counted_but_is_in_no_file() -> None:
    """Read as a masked language model, bge-m3 has the number that its class has: dense, norm and bias."""
    base = model_shape(NAMED["bge-m3"])
    masked = model_shape({**NAMED["bge-m3"], "architectures": ["XLMRobertaForMaskedLM"]})
    assert masked.parameters == 568_006_802
    assert base.parameters == 567_754_752  # with the pooler
    assert weight_bytes(masked, "F16") == weight_bytes(base, "F16")


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("zai-org/GLM-4.5-Air", "num_key_value_heads"),
        ("zai-org/GLM-4.5-Air", "moe_intermediate_size"),
        ("zai-org/GLM-4.5-Air", "first_k_dense_replace"),
        ("zai-org/GLM-4.5-Air", "n_routed_experts"),
        ("deepseek-ai/DeepSeek-V2-Lite", "n_routed_experts"),
        ("deepseek-ai/DeepSeek-V2-Lite", "moe_intermediate_size"),
        ("deepseek-ai/DeepSeek-V2-Lite", "n_shared_experts"),
        ("LiquidAI/LFM2-8B-A1B", "moe_intermediate_size"),
        ("LiquidAI/LFM2-8B-A1B", "num_key_value_heads"),
        ("Qwen/Qwen2-VL-7B-Instruct", "num_key_value_heads"),
        ("rednote-hilab/dots.llm1.inst", "moe_intermediate_size"),
        ("tencent/Hunyuan-A13B-Instruct", "intermediate_size"),
        ("XiaomiMiMo/MiMo-V2-Flash", "moe_layer_freq"),
    ],
)
def test_a_size_that_is_missing_is_not_guessed(name: str, field: str) -> None:
    config = next(entry["config"] for entry in PUBLISHED if entry["name"] == name)
    assert model_shape(config).parameters
    fewer = {key: value for key, value in config.items() if key != field}
    usual = "num_experts" if field == "n_routed_experts" else field
    with pytest.raises(ValueError, match=f"{usual} is missing"):
        model_shape(fewer)


def test_the_first_falcon_40b_has_its_key_heads_under_their_old_name() -> None:
    config = {
        "architectures": ["RWForCausalLM"], "model_type": "RefinedWeb", "hidden_size": 8192, "n_head": 128,
        "n_head_kv": 8, "n_layer": 60, "vocab_size": 65024, "bias": False, "parallel_attn": True,
    }  # fmt: skip
    shape = model_shape(config)
    assert shape.parameters == pytest.approx(41_303_293_952, rel=0.001)
    assert kv_bytes_per_token(shape) == 60 * 2 * 8 * 64 * 2


def test_a_dense_llama_4_takes_the_width_of_its_dense_layers() -> None:
    """Llama Guard 4: no experts, no layer that has any, and `intermediate_size` for nothing."""
    config = {
        **LLAMA, "model_type": "llama4_text", "num_local_experts": 0, "num_experts_per_tok": 0,
        "moe_layers": [], "intermediate_size": 512, "intermediate_size_mlp": 14336,
    }  # fmt: skip
    assert model_shape(config).parameters == model_shape(LLAMA).parameters


def test_deepseek_without_latent_attention_keeps_keys_and_values() -> None:
    """DeepSeek-OCR says so by zeros: 2.93 of its 3.34 billion parameters are the text."""
    config = {
        "model_type": "deepseek_vl_v2",
        "language_config": {
            "architectures": ["DeepseekV2ForCausalLM"], "first_k_dense_replace": 1, "hidden_size": 1280,
            "intermediate_size": 6848, "kv_lora_rank": None, "lm_head": True, "moe_intermediate_size": 896,
            "n_routed_experts": 64, "n_shared_experts": 2, "num_attention_heads": 10,
            "num_experts_per_tok": 6, "num_hidden_layers": 12, "num_key_value_heads": 10,
            "qk_nope_head_dim": 0, "qk_rope_head_dim": 0,
            "rm_head": False, "use_mla": False, "v_head_dim": 0, "vocab_size": 129280,
        },
    }  # fmt: skip
    shape = model_shape(config)
    assert shape.parameters == 2_934_734_080
    assert kv_bytes_per_token(shape) == 12 * 2 * 1280 * 2


def test_layers_that_attend_to_a_picture_keep_no_text() -> None:
    shape = model_shape(NAMED["llama-3.2-11b-vision"])
    assert [i for i, kind in enumerate(shape.layer_kinds) if kind == "cross"] == list(range(3, 40, 5))
    assert kv_bytes_per_token(shape) == 32 * 2 * 8 * 128 * 2


def test_keys_and_values_of_mimo_differ_and_its_windows_have_heads_of_their_own() -> None:
    shape = model_shape(NAMED["mimo-v2-flash"])
    assert Counter(shape.layer_kinds) == {"sliding": 39, "full": 9}
    assert kv_bytes_per_token(shape) == 9 * 4 * (192 + 128) * 2
    window = 39 * 8 * (192 + 128) * 2
    assert kv_cache_bytes(shape, 8192) == 8192 * kv_bytes_per_token(shape) + 768 * window


def test_an_indexer_keeps_keys_of_its_own() -> None:
    config = NAMED["deepseek-v3.2"]
    assert kv_bytes_per_token(model_shape(config)) == 61 * (512 + 64 + 128) * 2
    plain = {key: None if key.startswith("index_") else value for key, value in config.items()}
    assert kv_bytes_per_token(model_shape(plain)) == 61 * (512 + 64) * 2
    shared = ["full", *["shared"] * 60]
    sharing = model_shape(
        {**config, "model_type": "glm_moe_dsa", "architectures": None, "indexer_types": shared}
    )
    assert kv_bytes_per_token(sharing) == 61 * (512 + 64) * 2 + 128 * 2


GEMMA_3N_E4B: dict[str, Any] = {
    "model_type": "gemma3n_text", "hidden_size": 2048, "hidden_size_per_layer_input": 256,
    "intermediate_size": [16384] * 35, "num_hidden_layers": 35, "num_attention_heads": 8,
    "num_key_value_heads": 2, "head_dim": 256, "num_kv_shared_layers": 15, "sliding_window": 512,
    "vocab_size": 262400, "vocab_size_per_layer_input": 262144, "laurel_rank": 64, "altup_num_inputs": 4,
    "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * 7,
}  # fmt: skip
MAMBA: dict[str, Any] = {
    "model_type": "mamba", "hidden_size": 768, "num_hidden_layers": 24, "state_size": 16, "vocab_size": 50280,
    "expand": 2, "conv_kernel": 4, "use_bias": False, "use_conv_bias": True, "time_step_rank": 48,
}  # fmt: skip
NEMOTRON_3: dict[str, Any] = {
    "model_type": "nemotron_h", "hybrid_override_pattern": "MEM*EM-", "hidden_size": 2688,
    "vocab_size": 131072, "num_attention_heads": 32, "num_key_value_heads": 2, "head_dim": 128,
    "intermediate_size": 1856,
    "mamba_num_heads": 64, "mamba_head_dim": 64, "ssm_state_size": 128, "n_groups": 8, "conv_kernel": 4,
    "n_routed_experts": 128, "num_experts_per_tok": 6, "moe_intermediate_size": 1856, "n_shared_experts": 1,
    "moe_shared_expert_intermediate_size": 3712, "tie_word_embeddings": False,
}  # fmt: skip


def test_the_last_layers_of_gemma_3n_read_an_earlier_cache() -> None:
    shape = model_shape(GEMMA_3N_E4B)
    assert shape.parameters == 6_835_235_568  # transformers 5.18
    assert kv_bytes_per_token(shape) == 4 * 2 * 2 * 256 * 2  # of seven full layers, three are among the last
    assert {t.kind for t in shape.tensors() if t.layer == 34} >= {"laurel_l", "altup_router", "inp_gate"}
    unused = 15 * (2 * 2048 * 512 + 256)  # keys and values that llama.cpp's file has all the same
    assert sum(t.elements for t in shape.tensors()) == shape.parameters + unused


def test_layers_that_share_a_cache_may_be_twice_as_wide() -> None:
    config = {**LLAMA, "model_type": "gemma4", "num_kv_shared_layers": 8, "hidden_size_per_layer_input": 0}
    narrow, wide = (model_shape({**config, "use_double_wide_mlp": double}) for double in (False, True))
    assert wide.parameters - narrow.parameters == 8 * 3 * 4096 * 14336


def test_gemma_4_is_read_as_transformers_5_saves_it() -> None:
    config = {
        **LLAMA,
        "model_type": "gemma4",
        "head_dim": 128,
        "sliding_window": 512,
        "tie_word_embeddings": True,
    }
    full = {"head_dim": 256, "num_key_value_heads": 2}
    saved = {**config, "per_layer_config": {f"{layer:02}": full for layer in range(5, 32, 6)}}
    own = {**config, "global_head_dim": 256, "num_global_key_value_heads": 2}
    assert model_shape(saved) == model_shape(own)
    assert model_shape(read_shape(saved)[1]) == model_shape(own)
    for entries in ({"05": full}, {**saved["per_layer_config"], "05": {"head_dim": 64}}, {"x": 1}, [1]):
        with pytest.raises(ValueError, match="per_layer_config must give all full layers"):
            model_shape({**config, "per_layer_config": entries})


def test_mamba_is_a_state_and_nothing_else() -> None:
    shape = model_shape(MAMBA)
    assert shape.parameters == 129_135_360  # as published for mamba-130m-hf
    assert set(shape.layer_kinds) == {"linear"}
    assert kv_cache_bytes(shape, 4096) == 0
    assert recurrent_state_bytes(shape) == 4 * 24 * 1536 * (16 + 3)


def test_every_layer_of_nemotron_has_one_part() -> None:
    shape = model_shape(NEMOTRON_3)
    assert shape.layer_kinds == ("linear", "none", "linear", "full", "none", "linear", "none")
    kinds = [{t.kind for t in shape.tensors() if t.layer == layer} for layer in range(7)]
    assert {kind for kind in kinds[1] if kind.endswith("_exps")} == {"ffn_up_exps", "ffn_down_exps"}
    assert kinds[6] == {"attn_norm", "ffn_up", "ffn_down"}
    named = [{"M": "mamba", "E": "moe", "*": "attention", "-": "mlp"}[letter] for letter in "MEM*EM-"]
    listed = {k: v for k, v in NEMOTRON_3.items() if k != "hybrid_override_pattern"}
    assert model_shape({**listed, "layers_block_type": named}) == shape


# --- what is refused --------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model_type": "novel", "num_experts": 8}, "'num_experts' may decide a size and is not understood"),
    ({"model_type": "novel", "ssm_state_size": 16}, "'ssm_state_size' may decide"),
    ({"model_type": "novel", "v_head_dim": 64}, "'v_head_dim' may decide"),
    ({"model_type": "novel", "what_is_this": 3}, "'what_is_this' may decide"),
    ({"model_type": "novel", "hidden_act": "relu2"}, "hidden_act is 'relu2', which may mean two matrices"),
    ({"model_type": "novel", "hidden_act": "gelu"}, "hidden_act is 'gelu', which may mean two matrices"),
    ({"model_type": "novel", "tie_word_embeddings": None}, "tie_word_embeddings is missing; 'novel' is"),
    ({"model_type": "novel", "is_encoder_decoder": True}, "'is_encoder_decoder' may decide"),
    ({"model_type": "novel", "gated_mlp": False}, "'gated_mlp' may decide"),
    ({"model_type": "novel", "use_glu": False}, "'use_glu' may decide"),
    ({"model_type": "novel", "ffn_dim_multiplier": 1.3}, "'ffn_dim_multiplier' may decide"),
    ({"model_type": "novel", "position_embedding_type": "learned"}, "'position_embedding_type' may decide"),
    ({"model_type": "novel", "attn_type": "linear"}, "'attn_type' may decide"),
    ({"model_type": "novel", "num_kv_shared_layers": 4}, "'num_kv_shared_layers' may decide"),
    ({"model_type": "novel", "hidden_act": "silu", "activation_function": "relu2"}, "activation_function is"),
    ({"model_type": "qwen2_5_omni", "thinker_config": {"text_config": {}}}, "thinker_config holds the text"),
    ({"model_type": "rwkv7"}, "it has no attention"),
    ({"architectures": ["DbrxForCausalLM"], "model_type": "dbrx"}, "attn_config and ffn_config"),
    ({"architectures": ["Phi3SmallForCausalLM"], "model_type": "phi3small"}, "block-sparse"),
    ({"model_type": "gemma4_text", "num_experts": 8}, "enable_moe_block must be true"),
    ({"model_type": "llama", "block_configs": [{"attention": {}}]}, "'block_configs' may decide"),
    ({"model_type": "llama", "num_query_groups": 4}, "'num_query_groups' may decide"),
    ({"model_type": "bert", "architectures": ["JinaBertForMaskedLM"]}, "the class 'JinaBertForMaskedLM' in"),
    ({"hybrid_layer_pattern": [0, 1]}, "'hybrid_layer_pattern' may decide"),
    ({"multi_query": True}, "'multi_query' may decide"),
    ({"cross_attention_layers": [3]}, "'cross_attention_layers' may decide"),
    ({"moe_intermediate_size": 64}, "num_experts is missing, though 'moe_intermediate_size' is given"),
    ({"hidden_act": "xielu"}, "hidden_act is 'xielu'"),
    ({"architectures": ["Qwen2ForCausalLM"]}, "architectures says 'Qwen2ForCausalLM' and model_type 'llama'"),
    ({"architectures": ["DeepseekV4ForCausalLM"]}, "'deepseek_v4' is not modelled"),
    ({"architectures": ["T5ForConditionalGeneration"]}, "'t5' is not modelled"),
    ({"architectures": [7]}, "architectures is list of 1; it must name a class"),
    ({"model_type": "mamba"}, "'num_attention_heads' may decide|'num_key_value_heads' may decide"),
    ({"model_type": "nemotron_h", "hybrid_override_pattern": "MX"}, "it must be of the letters M"),
    ({"model_type": "lfm2"}, "layer_types is missing"),
    ({"model_type": "minimax"}, "attn_type_list is missing"),
    ({"num_hidden_layers": 512, "num_experts": 8, "num_experts_per_tok": 2, "attention_bias": True,
      "model_type": "qwen2_moe", "shared_expert_intermediate_size": 64}, "tensors; at most 8192"),
]  # fmt: skip


@each("change, words", REFUSED)
def test_unknown_fields_are_refused_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        model_shape({**LLAMA, **change})


NEUTRAL: list[dict[str, Any]] = [
    {"num_experts": 0, "use_sliding_window": False, "attention_bias": False, "is_encoder_decoder": False},
    {"ssm_cfg": {}, "attn_layer_offset": None, "layers_block_type": [], "anything": ""},
    {
        "rope_theta": 5e5,
        "rms_norm_eps": 1e-5,
        "eos_token_id": [1, 2],
        "torch_dtype": "bfloat16",
        "use_cache": True,
    },
    {"quantization_config": {"bits": 4, "ignore": ["x"] * 1000}, "auto_map": {"AutoConfig": "a.B"}},
    {
        "_name_or_path": "x",
        "transformers_version": "5.18",
        "initializer_range": 0.02,
        "attention_dropout": 0.1,
    },
]


@pytest.mark.parametrize("fields", NEUTRAL)
@pytest.mark.parametrize("model_type", ["llama", "novel"])
def test_irrelevant_fields_change_nothing(fields: dict[str, Any], model_type: str) -> None:
    plain = {**LLAMA, "model_type": model_type}
    assert model_shape({**plain, **fields}) == model_shape(plain)


def test_another_spelling_may_repeat_a_field_but_not_contradict_it() -> None:
    """As mamba-130m-hf does, which has both names of every size."""
    doubled = {**MAMBA, "d_model": 768, "n_layer": 24, "d_inner": 1536}
    assert model_shape(doubled) == model_shape(MAMBA)
    with pytest.raises(ValueError, match="'n_layer' may decide"):
        model_shape({**doubled, "n_layer": 12})


def test_a_llama_under_a_new_name_is_counted_as_one() -> None:
    new = model_shape(
        {**LLAMA, "model_type": "novel", "hidden_act": "silu", "architectures": ["NovelForCausalLM"]}
    )
    assert new.parameters == model_shape(LLAMA).parameters
    assert (
        model_shape({**LLAMA, "model_type": "mine", "architectures": ["LlamaForCausalLM"]}).model_type
        == "llama"
    )


@pytest.mark.parametrize("name", ["text_config", "llm_config", "language_config"])
def test_the_text_of_a_model_of_several_parts_is_counted(name: str) -> None:
    whole = {"model_type": "novel_vl", name: LLAMA, "vision_config": {"hidden_size": 1024}}
    assert model_shape(whole) == model_shape(LLAMA)
    with pytest.raises(ValueError, match="'vibevoice' is not modelled"):
        model_shape({**whole, "model_type": "vibevoice"})
    with pytest.raises(ValueError, match="its text part only reads"):
        model_shape({**whole, name: NAMED["bge-m3"]})


def test_a_class_without_a_head_has_no_output() -> None:
    base = model_shape({**LLAMA, "model_type": "mistral", "architectures": ["MistralModel"]})
    whole = model_shape({**LLAMA, "model_type": "mistral", "architectures": ["MistralForCausalLM"]})
    assert whole.parameters - base.parameters == 128256 * 4096


def test_read_fields_are_those_that_decide() -> None:
    shape, read = read_shape({**LLAMA, "rms_norm_eps": 1e-5, "num_experts": 0, "bos_token_id": 1})
    assert model_shape(read) == shape
    assert not {"rms_norm_eps", "bos_token_id"} & set(read)


def test_the_worst_configuration_is_cheap() -> None:
    """64 kB with 512 layers and a list that repeats one layer."""
    config = {**LLAMA, "num_hidden_layers": 512, "num_experts": 8, "num_experts_per_tok": 2}

    def seconds(count: int) -> float:
        start = time.process_time()
        model_shape({**config, "mlp_only_layers": [0] * count})
        return time.process_time() - start

    assert min(seconds(31_800) for _ in range(5)) < 0.05


@pytest.mark.parametrize(
    "name", ["rope_theta", "router_aux_loss_coef", "rms_norm_eps", "bos_token_id", "_name"]
)
def test_irrelevant_names_are_recognised(name: str) -> None:
    assert never_decides_a_size(name)


SIZES = st.none() | st.booleans() | st.integers(-2, 70) | st.integers() | st.floats() | st.text(max_size=5)
VALUES = SIZES | st.lists(st.integers(0, 1) | st.text(max_size=4), max_size=8) | st.dictionaries(
    st.text(max_size=4), SIZES, max_size=3
)  # fmt: skip
SOURCES = "".join(Path(str(module.__file__)).read_text("utf-8") for module in (building, extras, plans))
OWN_FIELDS = sorted(set(re.findall(r'"([A-Za-z_0-9]{4,})"', SOURCES)))
"""Every field that any architecture reads."""


@given(
    st.sampled_from([*NAMED.values(), GEMMA_3N_E4B, MAMBA, NEMOTRON_3]),
    st.sampled_from(sorted(ARCHITECTURES)),
    st.booleans(),
    st.dictionaries(st.sampled_from(OWN_FIELDS), VALUES, max_size=4),
)
@settings(max_examples=300)
def test_nothing_but_value_error_comes_out_of_any_architecture(
    config: dict[str, Any], model_type: str, other: bool, changes: dict[str, Any]
) -> None:
    changed = {**config, **changes, **({"model_type": model_type, "architectures": None} if other else {})}
    with contextlib.suppress(ValueError):
        shape = model_shape(changed)
        assert shape.parameters > 0
        assert len(shape.layer_kinds) == shape.n_layers
        assert kv_cache_bytes(shape, 256) >= 0
        assert recurrent_state_bytes(shape) >= 0
