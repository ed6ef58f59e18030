"""A reader's own model: its config.json becomes a line that FIG.06 counts like a listed model."""

from __future__ import annotations

import base64
import json
import random
import re
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lessons.kit.controls import ControlError
from lessons.kit.own import OwnError
from lessons.kit.view import View
from lessons.quantization import own_model, sources
from lessons.quantization.figures.fit import CHECKPOINTS, CONFIGS, FIGURE, MIXES, Controls
from quant_core.files import FormatError
from quant_core.files.model import MODEL_TYPES, config_of_header
from quant_core.files.model import NAMES_IN_FILE as NAMES
from quant_core.llm.shapes import read_shape
from quant_core.llm.towers import tower_parameters
from quant_core.memory import ModelShape, model_shape
from tests.each import each

ROOT = Path(__file__).resolve().parents[2]
DATA = json.loads((Path(sources.__file__).parent / "data" / "models.json").read_text("utf-8"))
LISTED: dict[str, dict[str, Any]] = {e["id"]: e["config"] for e in DATA["models"] if "config" in e}


def published(config: dict[str, Any]) -> str:
    """A configuration with the usual fields of a published file, also those that do not affect memory."""
    return json.dumps(
        {
            "_name_or_path": "somewhere/model",
            "architectures": ["ModelForCausalLM"],
            "bos_token_id": 1,
            "eos_token_id": [128001, 128008],
            "hidden_act": "silu",
            "rms_norm_eps": 1e-05,
            "rope_theta": 500000.0,
            "torch_dtype": "bfloat16",
            "quantization_config": None,
            **config,
        },
        indent=2,
    )


def controls(text: str, **others: Any) -> Controls:
    return Controls.model_validate({**own_model.controls_of({"own.text": text}), **others})


@each("name", LISTED)
def test_the_config_of_a_listed_model_gives_what_choosing_it_gives(name: str) -> None:
    """Read-outs, drawing, table and formulas, whatever the format and the machine."""
    chance = random.Random(name)
    for _ in range(3):
        state = {
            "mix": chance.choice((*MIXES, *CHECKPOINTS)),
            "scope": chance.choice(("weights", "everything", "everything")),
            "context": chance.choice(("2048", "32768", "131072")),
            "sequences": chance.choice(("1", "8")),
            "cache_type": chance.choice(("f16", "q4_0")),
            "flash_attention": chance.choice((True, False)),
            "device": chance.choice(("ram-62", "rtx-3090", "2x-rtx-3090", "own")),
        }
        chosen = FIGURE.view(Controls.model_validate({"model": name, **state}))
        given = FIGURE.view(controls(published(LISTED[name]), **state))
        assert given.readouts == chosen.readouts
        assert given.drawing == chosen.drawing
        assert given.table.rows == chosen.table.rows
        assert given.formulas == chosen.formulas


@each("name", LISTED)
def test_line_has_the_same_shape_in_the_fewest_fields(name: str) -> None:
    line = own_model.line_of(LISTED[name])
    config = own_model.config_of(line)
    shape = model_shape(LISTED[name])
    assert own_model.shape_of(line) == shape
    for field in set(config) - {"model_type", *own_model.Beside._fields}:
        fewer = {key: value for key, value in config.items() if key != field}
        try:
            assert read_shape(fewer, assume=False)[0] != shape, field
        except ValueError as error:
            assert "missing" in str(error) or field in str(error)
    assert len(line) < own_model.MOST_LINE / 2


def test_individually_named_layers_survive_the_line() -> None:
    kinds = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"] * 7
    config = LISTED["llama-3.1-8b"] | {
        "num_hidden_layers": 28,
        "layer_types": kinds,
        "sliding_window": 1024,
    }
    line = own_model.line_of(config)
    assert "layer_types=" + "fssf" * 7 in line
    assert own_model.shape_of(line) == model_shape(config)
    first = dict(LISTED["qwen3-30b-a3b"], mlp_only_layers=[0, 5])
    assert own_model.shape_of(own_model.line_of(first)) == model_shape(first)


def test_a_nested_configuration_is_read_through_its_text_part() -> None:
    inner = LISTED["gemma-3-4b"]
    outer = {"model_type": "gemma3", "text_config": inner, "vision_config": None}
    assert own_model.line_of(outer) == own_model.line_of(inner)


def test_unknown_architecture_is_reported() -> None:
    shown = FIGURE.view(controls(json.dumps(LISTED["llama-3.1-8b"] | {"model_type": "novel"})))
    assert "own_config_plain" in [note.key for note in shown.notes]
    known = FIGURE.view(controls(json.dumps(LISTED["llama-3.1-8b"])))
    assert "own_config" in [note.key for note in known.notes]


def test_without_a_line_the_chosen_model_is_used() -> None:
    empty = FIGURE.view(Controls(source="config", model="qwen3-8b"))
    assert empty.readouts == FIGURE.view(Controls(model="qwen3-8b")).readouts
    assert "no_config" in [note.key for note in empty.notes]


def test_line_is_used_only_if_selected() -> None:
    assert FIGURE.view(Controls(config=CONFIGS[1])).readouts == FIGURE.view(Controls()).readouts


LLAMA = LISTED["llama-3.1-8b"]


def changed(**fields: Any) -> str:
    return json.dumps(LLAMA | fields)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nothing to read"),
        ("hello", "not valid JSON"),
        ("[1, 2]", "where an object is expected"),
        ("{}", "hidden_size is missing; it must be an integer from 1 to 1048576"),
        ('{"hidden_size": 1, "hidden_size": 2}', "occurs twice"),
        (changed(num_hidden_layers=None), "num_hidden_layers is missing"),
        (changed(num_hidden_layers=513), "num_hidden_layers is 513; it must be an integer from 1 to 512"),
        (changed(vocab_size=10**12), "vocab_size is 1000000000000"),
        (changed(hidden_size=True), "hidden_size is True"),
        (changed(hidden_size=2**20, intermediate_size=2**24), "it must have from 1e6 to 1e13"),
        (changed(num_hidden_layers=1, hidden_size=32, intermediate_size=9, vocab_size=9), "parameters;"),
        (changed(num_key_value_heads=5), "must divide num_attention_heads"),
        (json.dumps({"model_type": "rwkv"}), "'rwkv' is not modelled"),
        (changed(model_type="a b=c"), "model_type is 'a b=c'"),
        (json.dumps({"x": "y" * 140_000}), "larger than 131072"),
        ("[" * 40_000, "not valid JSON"),
        ('{"a":' * 9_000, "not valid JSON"),
    ],
)  # fmt: skip
def test_refusals_name_the_reason(text: str, words: str) -> None:
    with pytest.raises(OwnError, match=re.escape(words)):
        own_model.controls_of({"own.text": text})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("llama", "name=value"),
        ("hidden_size=4096 hidden_size=4096", "given twice"),
        (f"{CONFIGS[1]} kv_lora=1", "kv_lora decides nothing"),
        (CONFIGS[1].replace("2560", "many"), "hidden_size is 'many'; it must be an integer from 1"),
        (CONFIGS[1].replace("2560", "9" * 30), "hidden_size is '999"),
        (CONFIGS[1] + " layer_types=fx", "layer_types"),
        (CONFIGS[1] + " mlp_only_layers=a", "mlp_only_layers"),
        ("x" * 1001, "at most 1000 characters"),
        ("model_type=é", "at most 1000 characters"),
    ],
)
def test_line_in_an_address_is_validated(line: str, words: str) -> None:
    with pytest.raises(ControlError) as caught:
        Controls.parse([("source", "config"), ("config", line)])
    assert words in caught.value.problems[0].allowed
    assert caught.value.nearest == Controls(source="config")


# --- GGUF -------------------------------------------------------------------------------------------------


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def number(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", 4, value)


Written = tuple[dict[str, Any], dict[str, int]]
"""Fields of a configuration that a header says otherwise, and entries of its own."""


def of_deepseek(config: dict[str, Any]) -> Written:
    """The attention as computed: one key for all heads, as wide as the latent and the rotated part."""
    latent, turned = config["kv_lora_rank"], config["qk_rope_head_dim"]
    return {"num_key_value_heads": 1, "head_dim": latent + turned}, {
        "attention.value_length": latent,
        "attention.key_length_mla": config["qk_nope_head_dim"] + turned,
        "attention.value_length_mla": config["v_head_dim"],
        "rope.dimension_count": turned,
        "expert_gating_func": 1 if config["model_type"] == "deepseek_v2" else 2,
        "attention.indexer.head_count": config.get("index_n_heads", 0),
        "attention.indexer.key_length": config.get("index_head_dim", 0),
    }


def of_llama_4(config: dict[str, Any]) -> Written:
    """The width of the dense layers under the usual name; the length of a chunk is not written."""
    return {"intermediate_size": config["intermediate_size_mlp"], "first_k_dense_replace": 0}, {}


def of_delta_net(config: dict[str, Any]) -> Written:
    shared = config.get("shared_expert_intermediate_size") or config.get("moe_intermediate_size")
    return {"shared_expert_intermediate_size": shared, "n_shared_experts": None}, {
        "ssm.inner_size": config["linear_num_value_heads"] * config["linear_value_head_dim"]
    }


WRITTEN: dict[str, Callable[[dict[str, Any]], Written]] = {
    "deepseek2": of_deepseek,
    "deepseek32": of_deepseek,
    "llama4": of_llama_4,
    "qwen3next": of_delta_net,
    "qwen35": of_delta_net,
    "qwen35moe": of_delta_net,
}


def header(
    config: dict[str, Any],
    architecture: str,
    *,
    more: list[bytes] | None = None,
    written: Written | None = None,
) -> bytes:
    """The header of a GGUF file as llama.cpp's converter writes it, as far as the shape depends on it."""
    if written is None:
        written = WRITTEN[architecture](config) if architecture in WRITTEN else ({}, {})
    fields, own = config | written[0], written[1]
    told = {key: fields[name] for name, key in NAMES.items() if fields.get(name) is not None}
    pairs = [text("general.architecture") + struct.pack("<I", 8) + text(architecture)]
    pairs += [number(f"{architecture}.{key}", value) for key, value in (told | own).items()]
    pairs += more or []
    tensors = [("token_embd.weight", (config["hidden_size"], config["vocab_size"]))]
    if not config.get("tie_word_embeddings"):
        tensors.append(("output.weight", (config["hidden_size"], config["vocab_size"])))
    if config.get("rope_scaling"):
        table = "rope_factors_long.weight" if architecture == "phi3" else "rope_freqs.weight"
        tensors.append((table, (config["head_dim"] // 2, 1)))
    if architecture in ("qwen2", "qwen2moe", "gpt-oss", "glm4moe"):
        tensors.append(("blk.0.attn_q.bias", (config["hidden_size"], 1)))
    listed, place = [], 0
    for name, shape in tensors:
        listed.append(text(name) + struct.pack("<IQQIQ", 2, *shape, 1, place))
        place += -(-2 * shape[0] * shape[1] // 32) * 32
    return b"GGUF" + struct.pack("<IQQ", 3, len(listed), len(pairs)) + b"".join([*pairs, *listed])


#: Published configurations of kinds that no listed model has.
OTHERS: dict[str, dict[str, Any]] = {
    "Qwen1.5-MoE-A2.7B": {
        "model_type": "qwen2_moe", "hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 16,
        "num_key_value_heads": 16, "intermediate_size": 5632, "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632, "num_experts": 60, "num_experts_per_tok": 4,
        "vocab_size": 151936, "tie_word_embeddings": False, "max_position_embeddings": 8192,
    },
    "Qwen3-Next-80B-A3B": {
        "model_type": "qwen3_next", "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 16,
        "num_key_value_heads": 2, "head_dim": 256, "intermediate_size": 5120, "moe_intermediate_size": 512,
        "shared_expert_intermediate_size": 512, "num_experts": 512, "num_experts_per_tok": 10,
        "full_attention_interval": 4, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
        "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4,
        "vocab_size": 151936, "tie_word_embeddings": False, "max_position_embeddings": 262144,
    },
    "DeepSeek-V2-Lite": {
        "model_type": "deepseek_v2", "hidden_size": 2048, "num_hidden_layers": 27, "num_attention_heads": 16,
        "num_key_value_heads": 16, "intermediate_size": 10944, "moe_intermediate_size": 1408,
        "n_shared_experts": 2, "num_experts": 64, "num_experts_per_tok": 6, "first_k_dense_replace": 1,
        "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
        "vocab_size": 102400, "tie_word_embeddings": False, "max_position_embeddings": 163840,
    },
}  # fmt: skip
BILLIONS = {"Qwen1.5-MoE-A2.7B": 14.3, "Qwen3-Next-80B-A3B": 79.7, "DeepSeek-V2-Lite": 15.7}
"""As published; of Qwen3-Next without its multi-token-prediction layer."""

#: What a file of the architecture `deepseek2` says of them is the same.
SAME_KIND = {"kimi_k2": "deepseek_v3"}


@each(
    "name, architecture",
    [
        (name, architecture)
        for architecture, model_type in MODEL_TYPES.items()
        for name, config in (LISTED | OTHERS).items()
        if config["model_type"] == model_type
    ]
    + [("deepseek-v3", "deepseek2"), ("kimi-k2", "deepseek2")],
)
def test_a_gguf_header_gives_the_shape_of_its_config(name: str, architecture: str) -> None:
    config = (LISTED | OTHERS)[name]
    found = model_shape(config_of_header(header(config, architecture)))
    wanted = model_shape(config)
    assert found == replace(wanted, model_type=SAME_KIND.get(wanted.model_type, wanted.model_type))
    if name in BILLIONS:
        assert found.parameters / 1e9 == pytest.approx(BILLIONS[name], rel=0.005)


def test_special_cases_of_gguf_headers() -> None:
    def shape(name: str, architecture: str, **entries: int) -> ModelShape:
        config = (LISTED | OTHERS)[name]
        more = [number(f"{architecture}.{key}", value) for key, value in entries.items()]
        return model_shape(config_of_header(header(config, architecture, more=more)))

    # A multi-token-prediction layer counts as a block of the file, and not here.
    listed = LISTED["qwen3.5-27b"]
    one_more = header(
        listed | {"num_hidden_layers": 65}, "qwen35", more=[number("qwen35.nextn_predict_layers", 1)]
    )
    assert model_shape(config_of_header(one_more)) == model_shape(listed)
    # Before the latent attention had names of its own, each head's widths stood under the usual ones.
    v3 = LISTED["deepseek-v3"]
    widths = {"attention.value_length": 128, "rope.dimension_count": 64, "expert_gating_func": 2}
    old = header(v3, "deepseek2", written=({"head_dim": 192}, widths))
    assert model_shape(config_of_header(old)) == model_shape(v3)
    # Llama 4 without chunks, as small models of its kind are.
    assert set(shape("llama-4-scout", "llama4", **{"attention.sliding_window": 0}).layer_kinds) == {"full"}


@pytest.mark.parametrize("number", [41, 42, 57])
def test_unknown_types_do_not_affect_the_shape(number: int) -> None:
    """A Qwen3-8B of type Q1_0, whose vocabulary is not padded."""
    header = (ROOT / "tests" / "data" / "bonsai_q1_0_header.gguf").read_bytes()
    vocabulary = struct.pack("<Q", 151_669)
    typed = header.replace(vocabulary + struct.pack("<I", 41), vocabulary + struct.pack("<I", number))
    assert (typed == header) == (number == 41)
    text = base64.b64encode(typed).decode()
    line = own_model.controls_of({"own.file": text})["config"]
    shape = own_model.shape_of(line)
    assert shape.parameters == 8_188_548_096
    assert (shape.n_layers, shape.n_kv_heads, shape.head_dim) == (36, 8, 128)


def test_gguf_part_is_read_only_if_complete() -> None:
    header = (ROOT / "tests" / "data" / "bonsai_q1_0_header.gguf").read_bytes()

    def part(number: int, *, output: bool = True) -> dict[str, str]:
        keys = [(b"split.no", number), (b"split.count", 2)]
        pairs = b"".join(
            struct.pack("<Q", len(key)) + key + struct.pack("<IH", 2, value) for key, value in keys
        )
        start = header.index(struct.pack("<Q", 17) + b"token_embd.weight")
        end = header.index(struct.pack("<Q", 13) + b"output.weight")
        counts = struct.pack("<QQ", 1 + output, 8 + len(keys))
        tensors = header[start:] if output else header[start:end]
        return {
            "own.file": base64.b64encode(header[:8] + counts + header[24:start] + pairs + tensors).decode()
        }

    assert own_model.controls_of(part(0)) == own_model.controls_of(
        {"own.file": base64.b64encode(header).decode()}
    )
    with pytest.raises(OwnError, match=r"part 1 of 2 of a model: whether it has an output.weight"):
        own_model.controls_of(part(0, output=False))
    with pytest.raises(OwnError, match="part 2 of 2 of a model; the first part says its shape"):
        own_model.controls_of(part(1))


def test_a_gguf_header_that_is_cut_off_or_of_another_architecture_is_refused() -> None:
    whole = header(LLAMA, "llama")
    for end in range(4, len(whole)):
        with pytest.raises(FormatError):
            config_of_header(whole[:end])
    with pytest.raises(FormatError, match="rwkv7 is not read from a GGUF header; known are llama"):
        config_of_header(whole.replace(b"llama", b"rwkv7"))
    with pytest.raises(FormatError, match="token_embd.weight is missing"):
        config_of_header(whole.replace(b"token_embd.weight", b"token_embd.weighs"))


def test_a_damaged_header_is_read_or_refused() -> None:
    chance = random.Random(11)
    whole = header(LLAMA, "llama")
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(4, len(data))] = chance.choice((0, 1, 127, 255, chance.randrange(256)))
        try:
            config_of_header(bytes(data))
        except FormatError:
            continue


def test_every_accepted_shape_has_a_size() -> None:
    """Fields drawn at random: refused by name, or counted in every state."""
    chance = random.Random(3)
    weighed = 0
    for _ in range(400):
        config = dict(chance.choice(list(LISTED.values())))
        for field in chance.sample(sorted(config), 3):
            if isinstance(config[field], int) and not isinstance(config[field], bool):
                config[field] = chance.choice((1, 3, 7, 64, 100, config[field] * 2, config[field] + 1))
        try:
            state = controls(json.dumps(config), mix=chance.choice((*MIXES, *CHECKPOINTS)),
                             scope=chance.choice(("weights", "everything")))  # fmt: skip
        except OwnError:
            continue
        assert FIGURE.view(state).readouts
        weighed += 1
    assert weighed > 100


# --- published configurations -----------------------------------------------------------------------------

COUNTED: dict[str, dict[str, Any]] = {
    m["name"]: m["config"]
    for m in json.loads((Path(__file__).parents[1] / "data" / "architectures.json").read_text("utf-8"))[
        "models"
    ]
}


@each("name", COUNTED)
def test_a_published_configuration_survives_the_line(name: str) -> None:
    try:
        shape = model_shape(COUNTED[name])
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error)[:40])):
            own_model.line_of(COUNTED[name])
        return
    line = own_model.line_of(COUNTED[name])
    assert len(line) <= own_model.MOST_LINE
    assert own_model.shape_of(line) == shape
    assert own_model.beside_of(line).towers == tower_parameters(COUNTED[name])
    assert [field for field, _ in own_model.beside_of(line).assumed] == [
        field for field in shape.assumed if f" {field}=" in f" {line}"
    ]


def test_the_line_holds_what_the_file_leaves_to_its_class() -> None:
    """A link must keep its meaning when the defaults of a class change."""
    line = own_model.line_of(COUNTED["google/gemma-3-4b-it"])
    assert {"num_attention_heads=8", "num_key_value_heads=4", "vocab_size=262208"} <= set(line.split())
    told = dict(own_model.beside_of(line).assumed)
    assert told["vocab_size"] == 262_208
    assert own_model.shape_of(line).parameters == 3_880_263_168
    shown = FIGURE.view(Controls(source="config", config=line))
    said = {note.key: note.values for note in shown.notes}
    assert "num_attention_heads\N{NO-BREAK SPACE}8" in said["left_to_class"]["fields"]


def test_omitted_towers_are_named() -> None:
    def notes(config: dict[str, Any]) -> dict[str, Any]:
        return {note.key: note.values for note in FIGURE.view(controls(json.dumps(config))).notes}

    known = notes(COUNTED["Qwen/Qwen3-VL-8B-Instruct"])
    assert known["towers"] == {
        "count": "576\N{NARROW NO-BREAK SPACE}M",
        "size": "1.15\N{NARROW NO-BREAK SPACE}GB",
    }
    strange = {**COUNTED["Qwen/Qwen3-VL-8B-Instruct"], "vision_config": {"depth": "deep"}}
    assert "towers_unknown" in notes(strange)
    assert not {"towers", "towers_unknown"} & set(notes(LLAMA))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"{CONFIGS[1]} towers=many", "towers is 'many'; it must be a number of parameters, or unknown"),
        (f"{CONFIGS[1]} towers=99999999999999", "towers is '99999999999999'"),
        (f"{CONFIGS[1]} assumed=1:vocab", "assumed must name fields of this line"),
        (f"{CONFIGS[1]} assumed=vocab_size", "assumed must name fields of this line"),
        (f"{CONFIGS[1]} assumed=1:model_type", "assumed must name fields of this line"),
        (f"{CONFIGS[1]} mlp_only_layers=999:1", "mlp_only_layers has 999 items; at most 512 are read"),
        (f"{CONFIGS[1]} hidden_act=999:1,999:2", "hidden_act has 1998 items"),
    ],
)
def test_fields_beside_the_shape_are_validated(line: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        own_model.shape_of(line)


def test_rows_of_equal_items_are_written_once() -> None:
    config = LISTED["qwen3-30b-a3b"] | {"mlp_only_layers": [7]}
    assert " mlp_only_layers=1:7" in own_model.line_of(config)
    assert own_model.shape_of(own_model.line_of(config)) == model_shape(config)
    flash = own_model.line_of(COUNTED["XiaomiMiMo/MiMo-V2-Flash"])
    assert "moe_layer_freq=0,47:1" in flash
    assert len(flash) < 500


# --- files as editors and programs write them -------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_is_read_in_the_encodings_of_editors(encoding: str) -> None:
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    file = base64.b64encode((mark + changed()).encode(encoding)).decode()
    assert own_model.controls_of({"own.file": file}) == own_model.controls_of({"own.text": changed()})
    assert own_model.controls_of({"own.text": "\ufeff" + changed()})["source"] == "config"


def test_numbers_that_python_writes_are_read() -> None:
    text = changed(time_step_limit=[0.0, float("inf")], theta=float("nan"), low=-float("inf"))
    assert "Infinity" in text
    assert own_model.controls_of({"own.text": text}) == own_model.controls_of({"own.text": changed()})
    with pytest.raises(OwnError, match="hidden_size is inf; it must be an integer"):
        own_model.controls_of({"own.text": changed(hidden_size=float("inf"))})


def test_quantization_config_does_not_count_against_the_limit() -> None:
    """Files in NVFP4 list every layer that is left alone: 88 kB in that of Qwen3.6-27B."""
    layers = {f"model.layers.{i}.self_attn.{part}": {"bits": 4} for i in range(500) for part in "qkvo"}
    text = changed(quantization_config={"quant_algo": "MIXED_PRECISION", "quantized_layers": layers})
    assert 85_000 < len(text) < own_model.MOST_BYTES
    assert own_model.controls_of({"own.text": text}) == own_model.controls_of({"own.text": changed()})


def test_most_expensive_configuration_is_fast() -> None:
    """As many layers of many kinds as are counted, in as long a file as is read."""
    chance = random.Random(1)
    flash = COUNTED["XiaomiMiMo/MiMo-V2-Flash"] | {
        "num_hidden_layers": 512,
        "hybrid_layer_pattern": [chance.choice((0, 1)) for _ in range(512)],
        "moe_layer_freq": [chance.choice((0, 1)) for _ in range(512)],
    }
    stuffing = {f"x{i}": 0.5 for i in range(8000)}
    text = json.dumps(flash | stuffing)
    assert len(text) < own_model.MOST_BYTES
    start = time.process_time()
    with pytest.raises(OwnError, match="tensors|characters"):
        own_model.controls_of({"own.text": text})
    assert time.process_time() - start < 0.5  # some 40 ms; a busy machine doubles it


def of_line(name: str, **others: Any) -> View:
    """FIG.06 for a published configuration, with the cache counted."""
    return FIGURE.view(controls(json.dumps(COUNTED[name]), scope="everything", device="own", **others))


def test_encoder_has_no_cache_and_no_speed() -> None:
    shown = of_line("BAAI/bge-m3", memory=16)
    keys = [sentence.key for sentence in shown.description]
    assert {"writes_nothing", "keeps_nothing"} <= set(keys)
    assert not {"speed", "no_band", "serves", "serves_one", "serves_none"} & set(keys)
    assert [readout.text for readout in shown.readouts if readout.name == "tokens_per_second"] == ["–"]


def test_the_state_of_recurrent_layers_is_in_the_cache_and_in_its_formula() -> None:
    shown = of_line("ai21labs/Jamba-v0.1", context="8192")
    assert r"+ n_\mathrm{seq} \times 16.6 \;\mathrm{MiB\ state} = 0.14" in shown.formulas[1]
    assert "recurrent_state_bytes" in [function.__name__ for function in shown.ran]
    assert "state" not in of_line("swiss-ai/Apertus-8B-2509", memory=64).formulas[1]
