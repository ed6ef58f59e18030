"""A Hugging Face checkpoint becomes a GGUF model: names, order of rows, metadata, tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from quant_core.files import (
    FormatError,
    open_model,
    open_tensors,
    quantize_model,
    read_gguf,
    read_safetensors,
)
from quant_core.files.checkpoint import ARCHITECTURES
from tests.quant_core.model_files import CONFIG, TINYLM, TOKENIZER, tensors_of, write_checkpoint

QWEN2 = CONFIG | {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}
QWEN3 = CONFIG | {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 32}
ARCHITECTURE = {"llama": CONFIG, "qwen2": QWEN2, "qwen3": QWEN3}


@pytest.mark.parametrize("architecture", ARCHITECTURE)
def test_names_are_those_of_the_reference_package(tmp_path: Path, architecture: str) -> None:
    config = ARCHITECTURE[architecture]
    arch = next(number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    wanted = {names.get_name(name, try_suffixes=(".weight", ".bias")) for name in tensors_of(config)}
    assert {tensor.name for tensor in open_model(write_checkpoint(tmp_path, config)).tensors} == wanted


@pytest.mark.parametrize("architecture", ARCHITECTURE)
def test_weights_have_the_row_order_of_llama_cpp(tmp_path: Path, architecture: str) -> None:
    """As `LlamaModel.permute` of convert_hf_to_gguf.py, for Llama only."""
    config = ARCHITECTURE[architecture] | {"attention_bias": True}
    tensors = {tensor.name: tensor for tensor in open_model(write_checkpoint(tmp_path, config)).tensors}
    original = tensors_of(config)
    for part, heads in (("q", 4), ("k", 2)):
        for kind in ("weight", "bias"):
            stored = original[f"model.layers.1.self_attn.{part}_proj.{kind}"].astype(np.float32)
            halves = stored.reshape(heads, 2, len(stored) // heads // 2, *stored.shape[1:])
            wanted = halves.swapaxes(1, 2).reshape(stored.shape) if architecture == "llama" else stored
            tensor = tensors[f"blk.1.attn_{part}.{kind}"]
            np.testing.assert_array_equal(tensor.floats().reshape(stored.shape), wanted)
            for start in range(0, tensor.rows, 7):  # pieces that begin and end inside a head
                rows = wanted.reshape(tensor.rows, -1)[start : start + 7]
                np.testing.assert_array_equal(tensor.floats(start, min(start + 7, tensor.rows)), rows)
    for name, other in (("attn_v", "self_attn.v_proj"), ("ffn_down", "mlp.down_proj")):
        stored = original[f"model.layers.0.{other}.weight"]
        np.testing.assert_array_equal(tensors[f"blk.0.{name}.weight"].floats(), stored)


@pytest.mark.parametrize("architecture", ARCHITECTURE)
def test_metadata_match_the_configuration(tmp_path: Path, architecture: str) -> None:
    model = open_model(write_checkpoint(tmp_path / "a name", ARCHITECTURE[architecture]))
    quantize_model(model, tmp_path / "out.gguf", "Q8_0")
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    values = {key: field.contents() for key, field in reader.fields.items()}
    head = 32 if architecture == "qwen3" else 16
    wanted = {
        "general.architecture": architecture,
        "general.type": "model",
        "general.name": "a name",
        "general.size_label": gguf.size_label(sum(t.elements for t in model.tensors), 0, 0, 0),
        "general.quantization_version": gguf.GGML_QUANT_VERSION,
        "general.file_type": gguf.LlamaFileType.MOSTLY_Q8_0,
        f"{architecture}.block_count": 2,
        f"{architecture}.context_length": 128,
        f"{architecture}.embedding_length": 64,
        f"{architecture}.feed_forward_length": 96,
        f"{architecture}.attention.head_count": 4,
        f"{architecture}.attention.head_count_kv": 2,
        f"{architecture}.attention.layer_norm_rms_epsilon": float(np.float32(1e-5)),
        f"{architecture}.attention.key_length": head,
        f"{architecture}.attention.value_length": head,
        f"{architecture}.rope.dimension_count": head,
        f"{architecture}.rope.freq_base": 10000.0,
        f"{architecture}.vocab_size": 64,
    }
    assert {key: values.get(key) for key in wanted} == wanted
    known = {
        value.replace("{arch}", architecture)
        for group in (
            gguf.Keys.General,
            gguf.Keys.LLM,
            gguf.Keys.Attention,
            gguf.Keys.Rope,
            gguf.Keys.Tokenizer,
        )
        for value in vars(group).values()
        if isinstance(value, str)
    }
    assert {key for key in values if not key.startswith("GGUF.")} <= known


def test_the_test_model_of_the_lesson_is_complete() -> None:
    model = open_model(TINYLM / "model.safetensors")
    assert "output.weight" not in {tensor.name for tensor in model.tensors}  # tied
    assert model.shape.tied_embeddings
    assert sum(tensor.elements for tensor in model.tensors) == 2_033_408
    assert model.metadata["tokenizer.ggml.tokens"].value[0] == "<|eos|>"
    assert model.metadata["tokenizer.ggml.token_type"].value[:2].tolist() == [3, 1]
    assert model.metadata["tokenizer.ggml.merges"].value[3] == "Ġt he"
    assert len(model.notes) == 1
    assert "may split differently" in model.notes[0]


def metadata_of(folder: Path, **more: Any) -> dict[str, Any]:
    model = open_model(write_checkpoint(folder, **more))
    return {key: meta.value for key, meta in model.metadata.items()}


def test_the_tokenizer_is_written_as_the_converter_writes_it(tmp_path: Path) -> None:
    settings = {"bos_token": "<s>", "eos_token": {"content": "<|end|>"}, "chat_template": "{{ messages }}"}
    values = metadata_of(tmp_path, settings=settings | {"add_bos_token": True, "pad_token": "none such"})
    tokens, types = values["tokenizer.ggml.tokens"], values["tokenizer.ggml.token_type"].tolist()
    assert tokens[:2] == ("t0", "t1")
    assert tokens[60:] == ("<s>", "<|end|>", "<own>", "[PAD63]")
    assert types[59:] == [1, 3, 3, 4, 5]  # normal, control, control by its looks, user-defined, unused
    assert values["tokenizer.ggml.merges"] == ("t 0", "t 1Ġ")
    assert values["tokenizer.ggml.model"] == "gpt2"
    assert values["tokenizer.ggml.pre"] == "gpt-2"
    assert values["tokenizer.ggml.bos_token_id"] == 60
    assert values["tokenizer.ggml.eos_token_id"] == 61
    assert "tokenizer.ggml.padding_token_id" not in values
    assert values["tokenizer.ggml.add_bos_token"] is True
    assert values["tokenizer.chat_template"] == "{{ messages }}"


def test_ids_of_the_configuration_count_where_no_token_is_named(tmp_path: Path) -> None:
    config = CONFIG | {"bos_token_id": 60, "eos_token_id": [61, 62], "pad_token_id": 999}
    values = metadata_of(tmp_path, config=config)
    assert values["tokenizer.ggml.bos_token_id"] == 60
    assert not {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.padding_token_id"} & set(values)


BOS_FIRST = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
}
BOTH = {"type": "TemplateProcessing", "single": [*BOS_FIRST["single"], {"SpecialToken": {"id": "<|end|>"}}]}
BYTES = {"type": "ByteLevel"}


@pytest.mark.parametrize(
    ("post_processor", "around"),
    [
        (None, {}),
        (BYTES, {"bos": False, "eos": False}),
        (BOS_FIRST, {"bos": True}),
        (BOTH, {"bos": True, "eos": True}),
        ({"type": "Sequence", "processors": [BYTES, BOS_FIRST]}, {"bos": True, "eos": False}),
        ({"processors": 3}, {}),
        ({"processors": [3]}, {}),
        ({"type": "TemplateProcessing", "single": [3, {"SpecialToken": 4}]}, {}),
        ({"type": "TemplateProcessing", "single": "text"}, {}),
    ],
)
def test_tokens_added_around_a_text(
    tmp_path: Path, post_processor: object, around: Mapping[str, bool]
) -> None:
    tokenizer = TOKENIZER | {"post_processor": post_processor}
    settings = {"bos_token": "<s>", "eos_token": "<|end|>"}
    values = metadata_of(tmp_path, tokenizer=tokenizer, settings=settings)
    found = {kind: values.get(f"tokenizer.ggml.add_{kind}_token") for kind in ("bos", "eos")}
    assert {kind: value for kind, value in found.items() if value is not None} == around


LAST = {
    "type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "<own>"}}],
}


@pytest.mark.parametrize(
    ("post_processor", "settings", "wanted"),
    [
        # As `SpecialVocab` of the converter's package answers, at the commit that the module names.
        (None, {"add_bos_token": True}, {"add_bos_token": True}),
        (BYTES, {"add_bos_token": True}, {"add_bos_token": False, "add_eos_token": False}),
        (None, {"cls_token": "<s>", "sep_token": "<own>"}, {"bos": 60, "eos": 62, "seperator": 62}),
        (None, {"unk_token": "<own>", "add_sep_token": False}, {"unknown": 62, "add_sep_token": False}),
        (BOS_FIRST, {}, {"add_bos_token": True}),
        (BOS_FIRST, {"eos_token": "<own>"}, {"bos": 60, "eos": 62, "add_bos_token": True}),
        (BOS_FIRST, {"bos_token": "<own>", "cls_token": "<own>"}, {"bos": 62, "add_bos_token": False}),
        (LAST, {"eos_token": "<|end|>"}, {"eos": 62, "eot": 61, "add_eos_token": True}),
        (LAST, {"eos_token": "<own>", "add_eos_token": False}, {"eos": 62, "add_eos_token": True}),
    ],
)  # fmt: skip
def test_special_tokens_of_settings_and_template(
    tmp_path: Path, post_processor: object, settings: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    values = metadata_of(
        tmp_path, tokenizer=TOKENIZER | {"post_processor": post_processor}, settings=settings
    )
    names = {f"{name}_token_id" if type(value) is int else name: value for name, value in wanted.items()}
    special = [key for key in values if key.endswith("_token_id") or key.startswith("tokenizer.ggml.add_")]
    assert {key.removeprefix("tokenizer.ggml."): values[key] for key in special} == names


def split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}


PLAIN_BYTES = {"type": "ByteLevel", "use_regex": False}
GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.mark.parametrize(
    ("steps", "name", "notes"),
    [
        ([split(GPT4 % "{1,3}"), PLAIN_BYTES], "llama-bpe", 0),
        ([split(GPT4 % ""), PLAIN_BYTES], "qwen2", 0),
        ([{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel"}], "smollm", 0),
        ([{"type": "ByteLevel", "use_regex": True}], "gpt-2", 0),
        ([{"type": "Digits"}, {"type": "ByteLevel"}], "gpt-2", 1),
        ([{"type": "Punctuation"}, {"type": "ByteLevel"}], "gpt-2", 1),
    ],
)
def test_the_pre_tokenizer_is_recognised(tmp_path: Path, steps: list[Any], name: str, notes: int) -> None:
    tokenizer = TOKENIZER | {"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}
    model = open_model(write_checkpoint(tmp_path, tokenizer=tokenizer))
    assert model.metadata["tokenizer.ggml.pre"].value == name
    assert len(model.notes) == notes


def test_llama_3_scales_its_rotations_by_a_tensor(tmp_path: Path) -> None:
    rope = {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192, "rope_theta": 500000.0,
    }  # fmt: skip
    config = {key: value for key, value in CONFIG.items() if key != "rope_theta"} | {"head_dim": 128}
    model = open_model(write_checkpoint(tmp_path, config | {"rope_parameters": rope}))
    factors = next(t for t in model.tensors if t.name == "rope_freqs.weight").floats()[0]
    # As transformers slows its frequencies down (`_compute_llama3_parameters`), in its own terms.
    frequency = 500000.0 ** (-np.arange(0, 128, 2) / 128)
    turns = 8192 * frequency / (2 * np.pi)
    blend = (turns - 1.0) / (4.0 - 1.0)
    slowed = np.where(turns < 1, frequency / 8, (1 - blend) * frequency / 8 + blend * frequency)
    slowed = np.where(turns > 4, frequency, slowed)
    np.testing.assert_allclose(factors, frequency / slowed, rtol=1e-6)
    assert sorted({1.0, 8.0} & set(factors.tolist())) == [1.0, 8.0]
    assert np.any((factors > 1) & (factors < 8))
    assert model.metadata["llama.rope.freq_base"].value == 500000.0
    quantize_model(model, tmp_path / "out.gguf", "F16")
    file = read_gguf(tmp_path / "out.gguf")
    np.testing.assert_array_equal(file.tensors["rope_freqs.weight"].floats()[0], factors)
    quantize_model(open_model(tmp_path / "out.gguf"), tmp_path / "again.gguf", "F16")
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "out.gguf").read_bytes()


def test_stretched_contexts_are_described(tmp_path: Path) -> None:
    linear = metadata_of(tmp_path, config=CONFIG | {"rope_scaling": {"type": "linear", "factor": 2.0}})
    assert linear["llama.rope.scaling.type"] == "linear"
    assert linear["llama.rope.scaling.factor"] == 2.0
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    values = metadata_of(tmp_path, config=CONFIG | {"rope_scaling": yarn})
    assert values["llama.rope.scaling.type"] == "yarn"
    assert values["llama.rope.scaling.original_context_length"] == 64


def test_a_table_that_llama_cpp_computes_is_left_out(tmp_path: Path) -> None:
    tensors = tensors_of(CONFIG) | {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(8, np.float32)}
    assert len(open_model(write_checkpoint(tmp_path, tensors=tensors)).tensors) == len(tensors) - 1


def test_tensors_without_a_configuration_keep_their_names(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path)
    assert "blk.0.attn_q.weight" in open_tensors(path)
    (tmp_path / "config.json").unlink()
    assert set(open_tensors(path)) == set(tensors_of(CONFIG))


def bad_vocabulary(**changes: Any) -> dict[str, Any]:
    return {**TOKENIZER, "model": {**TOKENIZER["model"], **changes}}


WRONG_TOKENIZERS: dict[str, tuple[dict[str, Any], str]] = {
    "no model": (TOKENIZER | {"model": None}, "tokenizer.json: model: only byte-level BPE is converted"),
    "unigram": (bad_vocabulary(type="Unigram"), "model: only byte-level BPE is converted"),
    "fallback": (bad_vocabulary(byte_fallback=True), "model: only byte-level BPE is converted"),
    "vocab": (bad_vocabulary(vocab=[]), "model.vocab: it must map tokens to ids"),
    "id": (bad_vocabulary(vocab={"t": 64}), "model.vocab: t has id 64; there are 64"),
    "id text": (bad_vocabulary(vocab={"t": "1"}), "model.vocab: t has id 1; there are 64"),
    "merges": (bad_vocabulary(merges=None), "model.merges: it must be a list"),
    "merge": (bad_vocabulary(merges=[["a"]]), "model.merges: ['a'] is not a pair of texts"),
    "added": (TOKENIZER | {"added_tokens": [{"id": 1}]}, "added_tokens: it must list objects"),
    "added list": (TOKENIZER | {"added_tokens": 3}, "added_tokens: it must list objects"),
    "no bytes": (TOKENIZER | {"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer: no ByteLevel step"),
    "none": (TOKENIZER | {"pre_tokenizer": None}, "pre_tokenizer: no ByteLevel step"),
    "steps": (TOKENIZER | {"pre_tokenizer": {"pretokenizers": 3}}, "pre_tokenizer: its steps must be a list"),
}


@pytest.mark.parametrize("case", WRONG_TOKENIZERS)
def test_unsupported_tokenizers_are_refused(tmp_path: Path, case: str) -> None:
    tokenizer, message = WRONG_TOKENIZERS[case]
    with pytest.raises(FormatError) as caught:
        open_model(write_checkpoint(tmp_path, tokenizer=tokenizer))
    assert message in str(caught.value)


WRONG_CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "class": (
        {"architectures": ["BertModel"]},
        f"BertModel is not converted; known are {', '.join(ARCHITECTURES)}",
    ),
    "no class": ({"architectures": []}, "architectures: [] is not converted"),
    "quantized": ({"quantization_config": {"bits": 4}}, "the weights are quantized; give the originals"),
    "activation": ({"hidden_act": "gelu"}, "hidden_act: gelu; llama.cpp computes silu here"),
    "activation list": ({"hidden_act": []}, "hidden_act: []; llama.cpp computes silu here"),
    "size": ({"hidden_size": -1}, "config.json: hidden_size is -1; it must be an integer from 1"),
    "epsilon": ({"rms_norm_eps": "1e-5"}, "config.json: rms_norm_eps is 1e-5; it must be a number above 0"),
    "rope": ({"rope_scaling": 3}, "rope_scaling: it must be an object"),
    "rope type": ({"rope_scaling": {"type": "longrope"}}, "rope_scaling is of type longrope; known are"),
    "yarn": ({"rope_scaling": {"type": "yarn", "factor": 2}}, "original_max_position_embeddings is 0.0"),
    "heads": ({"head_dim": 24}, "self_attn.q_proj.weight: 64 rows are not heads of 24"),
    "vocabulary": (
        {"vocab_size": (1 << 22) + 1},
        "vocab_size: 4194305 of config.json is not from 1 to 4194304",
    ),
}


@pytest.mark.parametrize("case", WRONG_CONFIGS)
def test_unsupported_models_are_refused(tmp_path: Path, case: str) -> None:
    changes, message = WRONG_CONFIGS[case]
    path = write_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    with pytest.raises(FormatError) as caught:
        open_model(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_missing_companion_is_named(tmp_path: Path, name: str) -> None:
    path = write_checkpoint(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FormatError, match=f"{name} is missing; it must lie beside the weights"):
        open_model(path)


def test_tensors_of_other_models_are_refused(tmp_path: Path) -> None:
    strange = tensors_of(CONFIG) | {"model.vision.weight": np.ones((2, 2), np.float16)}
    with pytest.raises(FormatError, match="tensor model.vision.weight: not a tensor of a llama model"):
        open_model(write_checkpoint(tmp_path, tensors=strange))
    numbers = tensors_of(CONFIG) | {"model.norm.weight": np.ones(64, np.int8)}
    with pytest.raises(FormatError, match="tensor model.norm.weight: stored as I8; weights must be F32"):
        open_model(write_checkpoint(tmp_path, tensors=numbers))


def test_other_file_kinds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    with pytest.raises(FormatError, match=r"neither a GGUF file nor a .safetensors file"):
        open_model(path)


def test_stored_tensors_describe_themselves() -> None:
    tensor = read_safetensors(TINYLM / "model.safetensors")["model.layers.0.mlp.down_proj.weight"]
    assert (tensor.rows, tensor.columns, tensor.elements) == (256, 512, 131072)
    assert (tensor.row_bytes, tensor.bytes, tensor.bits_per_weight) == (1024, 262144, 16)
