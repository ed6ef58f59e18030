"""A GGUF header gives the shape of the configuration that it was converted from."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quant_core.files import FormatError
from quant_core.files.header import MODEL_TYPES, NAMES_IN_FILE, config_of_header
from quant_core.llm.architectures.fields import SPELLINGS
from quant_core.llm.shapes import ModelShape, model_shape, read_shape
from quant_core.memory import kv_bytes_per_token, recurrent_state_bytes
from tests.each import each

DATA = Path(__file__).parents[1] / "data"
CASES = {
    case["name"]: case["config"]
    for case in json.loads((DATA / "shape_cases.json").read_text("utf-8"))["cases"]
    if case.get("parameters") and "text_config" not in case["config"]
}
PUBLISHED = {
    entry["name"]: entry["config"]
    for entry in json.loads((DATA / "architectures.json").read_text("utf-8"))["models"]
    if entry.get("parameters") and "text_config" not in entry["config"]
}
OTHERS: dict[str, dict[str, Any]] = {
    "gemma-2b": {
        "model_type": "gemma", "hidden_size": 2048, "num_hidden_layers": 18, "num_attention_heads": 8,
        "num_key_value_heads": 1, "head_dim": 256, "intermediate_size": 16384, "vocab_size": 256000,
    },
    "gemma-2-2b": {
        "model_type": "gemma2", "hidden_size": 2304, "num_hidden_layers": 26, "num_attention_heads": 8,
        "num_key_value_heads": 4, "head_dim": 256, "intermediate_size": 9216, "vocab_size": 256000,
        "sliding_window": 4096,
    },
    "gemma-3-1b": {
        "model_type": "gemma3_text", "hidden_size": 1152, "num_hidden_layers": 26, "num_attention_heads": 4,
        "num_key_value_heads": 1, "head_dim": 256, "intermediate_size": 6912, "vocab_size": 262144,
        "sliding_window": 512,
    },
    "OLMo-2-7B": {
        "model_type": "olmo2", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
        "intermediate_size": 11008, "vocab_size": 100352,
    },
    "deepseek-moe-16b": {
        "model_type": "deepseek", "hidden_size": 2048, "num_hidden_layers": 28, "num_attention_heads": 16,
        "num_key_value_heads": 16, "intermediate_size": 10944, "moe_intermediate_size": 1408,
        "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1,
        "vocab_size": 102400,
    },
    "mamba2-2.7b": {
        "model_type": "mamba2", "hidden_size": 2560, "num_hidden_layers": 64, "num_heads": 80, "head_dim": 64,
        "state_size": 128, "n_groups": 1, "expand": 2, "vocab_size": 50288, "tie_word_embeddings": True,
    },
    "gemma-3n-E4B": {
        "model_type": "gemma3n_text", "hidden_size": 2048, "hidden_size_per_layer_input": 256,
        "intermediate_size": [16384] * 35, "num_hidden_layers": 35, "num_attention_heads": 8,
        "num_key_value_heads": 2, "head_dim": 256, "num_kv_shared_layers": 15, "sliding_window": 512,
        "vocab_size": 262144, "vocab_size_per_layer_input": 262144,
        "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * 7,
    },
}  # fmt: skip
MODELS = PUBLISHED | CASES | OTHERS
Entries = dict[str, int | list[int]]


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def entry(key: str, value: int | list[int]) -> bytes:
    """One number, or an array of them; GGUF's u32."""
    if isinstance(value, int):
        return text(key) + struct.pack("<II", 4, value)
    return text(key) + struct.pack(f"<IIQ{len(value)}I", 9, 4, len(value), *value)


def header(architecture: str, entries: Entries, config: dict[str, Any]) -> bytes:
    """A header as llama.cpp's converter writes it, as far as the shape depends on it."""
    hidden, vocabulary = (canonical(config)[name] for name in ("hidden_size", "vocab_size"))
    tensors = [("token_embd.weight", (hidden, vocabulary))]
    if not model_shape(config).tied_embeddings:
        tensors.append(("output.weight", (hidden, vocabulary)))
    if any(t.name == "blk.0.attn_q.bias" for t in model_shape(config).tensors()):
        tensors.append(("blk.0.attn_q.bias", (hidden, 1)))
    pairs = [text("general.architecture") + struct.pack("<I", 8) + text(architecture)]
    pairs += [entry(f"{architecture}.{key}", value) for key, value in entries.items()]
    listed, place = [], 0
    for name, shape in tensors:
        listed.append(text(name) + struct.pack("<IQQIQ", 2, *shape, 1, place))
        place += -(-2 * shape[0] * shape[1] // 32) * 32
    return b"GGUF" + struct.pack("<IQQ", 3, len(listed), len(pairs)) + b"".join([*pairs, *listed])


def canonical(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration with one spelling of every field."""
    usual = {spelling: name for name, spellings in SPELLINGS.items() for spelling in spellings}
    return {usual.get(name, name): value for name, value in config.items()}


def plain(config: dict[str, Any]) -> Entries:
    """The entries that have a field of their own."""
    fields, shape = canonical(config), model_shape(config)
    told = {key: fields.get(name) for name, key in NAMES_IN_FILE.items() if not name.startswith("linear_")}
    entries: Entries = {key: value for key, value in told.items() if isinstance(value, int) and value}
    entries["block_count"] = shape.n_layers
    if shape.head_dim:
        entries["attention.key_length"] = shape.head_dim
    if fields.get("moe_num_shared_experts") or fields.get("n_shared_experts"):
        experts = shape.experts
        entries["expert_shared_feed_forward_length"] = experts.shared_ffn_size if experts else 0
    for name, key in (
        ("num_dense_layers", "leading_dense_block_count"),
        ("moe_layer_start_index", "leading_dense_block_count"),
        ("moe_layer_interval", "interleave_moe_layer_step"),
    ):
        if fields.get(name):
            entries[key] = fields[name]
    return entries


def key_heads(config: dict[str, Any]) -> list[int]:
    """Key heads of every layer, 0 where it does not attend."""
    shape = model_shape(config)
    return [shape.kv_geometry(layer)[0] for layer in range(shape.n_layers)]


def of_latent(config: dict[str, Any]) -> Entries:
    rope = config["qk_rope_head_dim"]
    return {
        "attention.key_length_mla": config["qk_nope_head_dim"] + rope,
        "attention.value_length_mla": config["v_head_dim"],
        "rope.dimension_count": rope,
        "expert_gating_func": 1 if config["model_type"] == "deepseek_v2" else 2,
        "attention.indexer.head_count": config.get("index_n_heads", 0),
        "attention.indexer.key_length": config.get("index_head_dim", 0),
    }


def of_state(inner: int, state: int, kernel: int, heads: int, groups: int) -> Entries:
    return {
        "ssm.inner_size": inner, "ssm.state_size": state, "ssm.conv_kernel": kernel,
        "ssm.time_step_rank": heads, "ssm.group_count": groups,
    }  # fmt: skip


def of_mamba(config: dict[str, Any]) -> Entries:
    inner = config.get("intermediate_size") or config["hidden_size"] * config.get("expand", 2)
    rank = config.get("time_step_rank", "auto")
    rank = -(-config["hidden_size"] // 16) if rank == "auto" else rank
    return of_state(inner, config.get("state_size", 16), config.get("conv_kernel", 4), rank, 0)


def of_mamba2(config: dict[str, Any]) -> Entries:
    inner = config["hidden_size"] * config.get("expand", 2)
    return of_state(
        inner, config["state_size"], config.get("conv_kernel", 4), config["num_heads"], config["n_groups"]
    )


def of_falcon_h1(config: dict[str, Any]) -> Entries:
    inner = config.get("mamba_d_ssm") or config["hidden_size"] * config["mamba_expand"]
    return of_state(
        inner,
        config["mamba_d_state"],
        config["mamba_d_conv"],
        config["mamba_n_heads"],
        config["mamba_n_groups"],
    )


def of_granite(config: dict[str, Any]) -> Entries:
    inner = config["hidden_size"] * config.get("mamba_expand", 2)
    entries = of_state(inner, config.get("mamba_d_state", 1), config.get("mamba_d_conv", 4),
                       config.get("mamba_n_heads", 1), config.get("mamba_n_groups", 1))  # fmt: skip
    return {
        **entries,
        "attention.head_count_kv": key_heads(config),
        "expert_shared_feed_forward_length": config["shared_intermediate_size"],
    }


def of_jamba(config: dict[str, Any]) -> Entries:
    entries = of_state(2 * config["hidden_size"], config["mamba_d_state"], config["mamba_d_conv"],
                       config["mamba_dt_rank"], 0)  # fmt: skip
    return {**entries, "attention.head_count_kv": key_heads(config)}


def of_nemotron_h(config: dict[str, Any]) -> Entries:
    shape, heads = model_shape(config), config["mamba_num_heads"]
    wide = config.get("intermediate_size") or config["moe_intermediate_size"]
    return {
        **of_state(heads * config["mamba_head_dim"], config["ssm_state_size"], config["conv_kernel"], heads,
                   config["n_groups"]),
        "attention.head_count_kv": key_heads(config),
        "feed_forward_length": [wide if kind == "none" else 0 for kind in shape.layer_kinds],
        "expert_shared_feed_forward_length": config.get("moe_shared_expert_intermediate_size", 0),
    }  # fmt: skip


def of_lfm2(config: dict[str, Any]) -> Entries:
    return {
        "attention.head_count_kv": key_heads(config),
        "shortconv.l_cache": config["conv_L_cache"],
        "feed_forward_length": model_shape(config).ffn_size,
    }


def of_gemma3n(config: dict[str, Any]) -> Entries:
    shape = model_shape(config)
    return {
        "attention.sliding_window_pattern": [int(kind == "sliding") for kind in shape.layer_kinds],
        "attention.shared_kv_layers": config["num_kv_shared_layers"],
        "embedding_length_per_layer_input": config["hidden_size_per_layer_input"],
        "altup.num_inputs": 4,
        "feed_forward_length": config["intermediate_size"],
    }


OWN: dict[str, Callable[[dict[str, Any]], Entries]] = {
    "deepseek2": of_latent, "deepseek32": of_latent, "mamba": of_mamba, "mamba2": of_mamba2,
    "falcon-h1": of_falcon_h1, "granitehybrid": of_granite, "jamba": of_jamba, "nemotron_h": of_nemotron_h,
    "nemotron_h_moe": of_nemotron_h, "lfm2": of_lfm2, "lfm2moe": of_lfm2, "gemma3n": of_gemma3n,
}  # fmt: skip
#: Compared with the models of FIG.06, in tests/lessons/test_own_model.py.
ELSEWHERE = {"llama4", "qwen2", "qwen2moe", "qwen3next", "qwen35", "qwen35moe", "phi3"}
PAIRS = [
    (architecture, name)
    for architecture, model_type in MODEL_TYPES.items()
    if architecture not in ELSEWHERE
    for name, config in MODELS.items()
    if config["model_type"] in (model_type, f"{model_type}_text")
    and (architecture != "nemotron_h" or "E" not in config.get("hybrid_override_pattern", "E"))
    and (architecture != "nemotron_h_moe" or "-" not in config.get("hybrid_override_pattern", "-"))
]


def of_header(data: bytes) -> ModelShape:
    """A header leaves nothing to the defaults of a class."""
    return read_shape(config_of_header(data), assume=False)[0]


@each("architecture, name", PAIRS)
def test_a_header_gives_what_its_configuration_gives(architecture: str, name: str) -> None:
    config = MODELS[name]
    entries = plain(config) | (OWN[architecture](config) if architecture in OWN else {})
    found = of_header(header(architecture, entries, config))
    wanted = model_shape(config)
    assert found.parameters == pytest.approx(wanted.parameters, rel=0.0002)
    assert kv_bytes_per_token(found) == kv_bytes_per_token(wanted)
    assert recurrent_state_bytes(found) == recurrent_state_bytes(wanted)
    assert found.layer_kinds == wanted.layer_kinds


def test_an_entry_that_must_have_a_number_for_each_layer() -> None:
    config = next(config for config in MODELS.values() if config["model_type"] == "lfm2")
    entries = plain(config) | of_lfm2(config) | {"attention.head_count_kv": 8}
    with pytest.raises(FormatError, match=r"lfm2\.attention\.head_count_kv must have a number for each"):
        config_of_header(header("lfm2", entries, config))


def test_an_array_where_a_number_is_expected_is_refused() -> None:
    config = {**next(c for c in MODELS.values() if c["model_type"] == "olmo2")}
    entries = plain(config) | {"attention.head_count": [8] * model_shape(config).n_layers}
    with pytest.raises(ValueError, match="num_attention_heads is list of"):
        of_header(header("olmo2", entries, config))


def test_every_architecture_that_is_read_is_compared() -> None:
    assert set(MODEL_TYPES) - {architecture for architecture, _ in PAIRS} <= ELSEWHERE
