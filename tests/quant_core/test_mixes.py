"""The mixes equal llama-quantize: its golden files, published bits per weight and options."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quant_core.ggml.mixes import BLOCK_SIZES, FALLBACK, MIXES, tensor_types, uses_more_bits
from quant_core.llm.shapes import model_shape
from quant_core.memory import bits_per_weight
from tests.each import each
from tests.quant_core.configurations import LLAMA_8B

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "tensor_types.json").read_text("utf-8"))


# llama.cpp, tools/quantize/README.md, the table of meta-llama/Llama-3.1-8B (bits per weight).
PUBLISHED_BITS = {
    "F16": 16.0005,
    "Q8_0": 8.5008,
    "Q6_K": 6.5633,
    "Q5_K_M": 5.7036,
    "Q5_K_S": 5.5704,
    "Q4_K_M": 4.8944,
    "IQ4_NL": 4.6818,
    "Q4_K_S": 4.6672,
    "IQ4_XS": 4.4597,
    "Q3_K_L": 4.2979,
    "Q3_K_M": 3.9960,
    "IQ3_M": 3.7628,
    "IQ3_S": 3.6606,
    "Q3_K_S": 3.6429,
    "IQ3_XS": 3.4977,
    "IQ3_XXS": 3.2548,
    "Q2_K": 3.1593,
    "Q2_K_S": 2.9697,
    "IQ2_M": 2.9294,
    "IQ2_S": 2.7403,
    "IQ2_XS": 2.5882,
    "IQ2_XXS": 2.3824,
    "IQ1_M": 2.1460,
    "IQ1_S": 2.0042,
}

# ggml, src/ggml-common.h: the bits per weight in the comments of the structs.
BITS_OF_TYPES = {
    "Q8_0": 8.5, "Q6_K": 6.5625, "Q5_K": 5.5, "Q4_K": 4.5, "Q3_K": 3.4375, "Q2_K": 2.625, "IQ4_XS": 4.25,
    "IQ4_NL": 4.5, "IQ3_S": 3.4375, "IQ3_XXS": 3.0625, "IQ2_S": 2.5625, "IQ2_XS": 2.3125, "IQ2_XXS": 2.0625,
    "IQ1_M": 1.75, "IQ1_S": 1.5625, "TQ1_0": 1.6875, "TQ2_0": 2.0625, "MXFP4": 4.25, "NVFP4": 4.5,
}  # fmt: skip


def layers_of(ranges: str) -> Iterator[int | None]:
    """Yield the layers of "0-3,6"; "*" is a tensor that belongs to none."""
    if ranges == "*":
        yield None
        return
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


@pytest.mark.parametrize("name", GOLDEN["models"])
def test_every_type_is_that_of_llama_quantize(name: str) -> None:
    entry = GOLDEN["models"][name]
    shape = model_shape(entry["config"])
    kept = {tensor.name for tensor in shape.tensors() if tensor.fixed_type}
    decisions = 0
    for mix, golden in entry["mixes"].items():
        expected = {
            (kind, layer): type_name
            for kind, by_type in golden.items()
            if kind != "default"
            for type_name, ranges in by_type.items()
            for layer in layers_of(ranges)
        }
        for tensor in tensor_types(shape, mix):
            if tensor.name in kept:
                assert tensor.type == "F32"
                continue
            decisions += 1
            wanted = expected.pop((tensor.kind, tensor.layer), golden["default"])
            assert tensor.type == wanted, (mix, tensor.name)
        assert not expected, f"{mix} names tensors that the shape does not have"
    assert (
        decisions
        == {
            "meta-llama-3.1-70b-instruct": 16860,
            "qwen3-0.6b": 5940,
            "qwen3-14b": 8460,
            "gemma-3-4b-it": 7170,
            "deepseek-v3.1": 21750,
            "glm-4.6v": 13770,
            "gpt-oss-120b": 7620,
            "qwen3.5-397b-a17b": 19410,
            "qwen3.6-27b": 14940,
        }[name]
    )


@pytest.mark.parametrize(("mix", "published"), PUBLISHED_BITS.items())
def test_bits_per_weight_of_llama_8b_are_the_published_ones(mix: str, published: float) -> None:
    assert round(bits_per_weight(model_shape(LLAMA_8B), mix, MIXES[mix].needs_importance), 4) == published


@pytest.mark.parametrize(("type_name", "bits"), BITS_OF_TYPES.items())
def test_block_sizes(type_name: str, bits: float) -> None:
    block, size = BLOCK_SIZES[type_name]
    assert 8 * size / block == bits


def test_fallbacks_have_smaller_blocks() -> None:
    assert all(BLOCK_SIZES[kept][0] < BLOCK_SIZES[wanted][0] for wanted, kept in FALLBACK.items())
    assert all(FALLBACK.get(name) for name, (block, _) in BLOCK_SIZES.items() if block == 256)


def test_the_m_mixes_favour_half_of_32_layers() -> None:
    assert sum(uses_more_bits(i, 32) for i in range(32)) == 16
    tensors = tensor_types(model_shape(LLAMA_8B), "Q4_K_M")
    favoured = {t.layer for t in tensors if t.kind == "attn_v" and t.type == "Q6_K"}
    assert favoured == {i for i in range(32) if uses_more_bits(i, 32)}


def types_by_kind(config: dict[str, Any], mix: str, importance: bool = False) -> dict[str, list[str]]:
    """Types by kind, in layer order."""
    types: dict[str, list[str]] = {}
    for tensor in tensor_types(model_shape(config), mix, importance):
        types.setdefault(tensor.kind, []).append(tensor.type)
    return types


@pytest.mark.parametrize(("mix", "richer"), [("Q4_0", "Q4_1"), ("Q5_0", "Q5_1")])
def test_importance_matrix_changes_the_first_ffn_down(mix: str, richer: str) -> None:
    """Ollama and others publish Q4_0 files of both kinds: 37.22 and 37.35 GiB for the 70B model."""
    assert set(types_by_kind(LLAMA_8B, mix)["ffn_down"]) == {mix}
    assert types_by_kind(LLAMA_8B, mix, importance=True)["ffn_down"] == [richer] * 4 + [mix] * 28


def test_an_importance_matrix_makes_iq4_smaller() -> None:
    assert types_by_kind(LLAMA_8B, "IQ4_XS")["ffn_down"][:5] == ["Q5_K"] * 4 + ["IQ4_XS"]
    assert set(types_by_kind(LLAMA_8B, "IQ4_XS", importance=True)["ffn_down"]) == {"IQ4_XS"}


def test_iq3_xxs_falls_back_on_k_quants_without_importance() -> None:
    assert types_by_kind(LLAMA_8B, "IQ3_XXS")["ffn_down"] == ["Q4_K"] * 4 + ["Q3_K"] * 28
    assert set(types_by_kind(LLAMA_8B, "IQ3_XXS", importance=True)["ffn_down"]) == {"IQ3_XXS"}


def test_without_grouped_queries_attn_v_gets_less() -> None:
    everyone_its_own = {**LLAMA_8B, "num_key_value_heads": 32}
    assert set(types_by_kind(everyone_its_own, "Q2_K")["attn_v"]) == {"Q3_K"}
    assert set(types_by_kind(everyone_its_own, "IQ2_XS")["attn_v"]) == {"Q2_K"}
    assert set(types_by_kind(everyone_its_own, "IQ2_S")["attn_v"]) == {"IQ3_S"}
    assert set(types_by_kind(everyone_its_own, "IQ3_XXS")["attn_v"]) == {"IQ3_S"}
    assert set(types_by_kind(everyone_its_own, "IQ3_XXS", importance=True)["attn_v"]) == {"IQ3_XXS"}
    assert set(types_by_kind(everyone_its_own, "IQ4_XS")["attn_v"]) == {"IQ4_XS"}


def test_attention_of_eight_experts_gets_more_bits() -> None:
    """Mixtral: llama.cpp spends 8 bits on attn_k and attn_v, 5 on attn_output."""
    mixtral = {**LLAMA_8B, "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}
    types = types_by_kind(mixtral, "Q4_K_M")
    assert set(types["attn_k"]) == set(types["attn_v"]) == {"Q8_0"}
    assert set(types["attn_output"]) == {"Q5_K"}
    assert set(types["ffn_gate_inp"]) == {"F32"}
    assert set(types_by_kind(mixtral, "Q3_K_L")["attn_output"]) == {"Q3_K"}
    low = types_by_kind(mixtral, "IQ2_XXS")
    assert set(low["attn_k"]) == {"Q4_K"}
    assert set(low["attn_output"]) == {"Q5_K"}


@pytest.mark.parametrize(
    ("hidden_size", "attn_q", "output"),
    [(4096, "Q4_K", "Q6_K"), (4096 + 32, "Q5_0", "Q8_0"), (4096 + 16, "F16", "F16")],
)
def test_rows_that_do_not_divide_take_the_fallback_type(hidden_size: int, attn_q: str, output: str) -> None:
    types = types_by_kind({**LLAMA_8B, "hidden_size": hidden_size, "head_dim": 128}, "Q4_K_M")
    assert types["attn_q"][0] == attn_q
    assert types["output"] == [output]


def test_a_tied_embedding_is_the_output() -> None:
    types = types_by_kind({**LLAMA_8B, "tie_word_embeddings": True}, "Q4_K_M")
    assert types["token_embd"] == ["Q6_K"]
    assert "output" not in types


def test_the_publishers_large_variant_keeps_embedding_and_output_in_eight_bits() -> None:
    types = types_by_kind(LLAMA_8B, "Q6_K_L")
    assert types["token_embd"] == types["output"] == ["Q8_0"]
    assert set(types["ffn_down"]) == {"Q6_K"}


@each("mix", MIXES)
def test_blocks_fill_every_row_and_vectors_stay_exact(mix: str) -> None:
    for tensor in tensor_types(model_shape(LLAMA_8B), mix):
        assert tensor.columns % BLOCK_SIZES[tensor.type][0] == 0
        assert tensor.type == "F32" or tensor.rows > 1
        assert tensor.bytes * BLOCK_SIZES[tensor.type][0] == tensor.elements * BLOCK_SIZES[tensor.type][1]


def test_an_unknown_mix_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"mix 'Q4_K_XL' is not known; choose one of F32, F16.*Q4_K_M"):
        tensor_types(model_shape(LLAMA_8B), "Q4_K_XL")


# llama.cpp, src/llama-quant.cpp, tensor_requires_imatrix: types that are refused without one, but for the
# embedding and the output; and Q2_K in a Q2_K_S file.
REFUSED = {"IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_M", "IQ1_S"}


@each("mix", MIXES)
def test_a_mix_needs_an_importance_matrix_where_one_of_its_types_does(mix: str) -> None:
    tensors = tensor_types(model_shape(LLAMA_8B), mix)
    types = {tensor.type for tensor in tensors if tensor.kind not in ("token_embd", "output")}
    assert MIXES[mix].needs_importance == (bool(types & REFUSED) or mix == "Q2_K_S")
