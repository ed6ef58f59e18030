"""Types of single tensors by name: the files of llama-quantize's --tensor-type, and what is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from quant_core.cli import main
from quant_core.files import Model, open_model, quantize_model, read_gguf
from quant_core.files.quantizing import plan, quantization_warnings
from quant_core.files.tensor_types import parse_tensor_type, with_tensor_types
from tests.quant_core.model_files import CONFIG, DIGESTS, WEIGHTS, importance_of, write_checkpoint


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def typed(model: Model, mix: str, *options: str) -> Model:
    return with_tensor_types(model, mix, map(parse_tensor_type, options))


def types(model: Model, mix: str) -> dict[str, str]:
    return {step.source.name: step.type_name for step in plan(model, mix)}


@pytest.mark.parametrize("case", DIGESTS["tensor_types"], ids=lambda case: str(case["type"]))
def test_the_file_is_the_one_that_llama_quantize_wrote(tmp_path: Path, case: Mapping[str, Any]) -> None:
    model = open_model(WEIGHTS)
    importance = importance_of(model.tensors) if case["importance"] else None
    model = typed(model, case["type"], *case["options"])
    quantize_model(model, tmp_path / "out.gguf", case["type"], importance)
    assert digest(tmp_path / "out.gguf") == case["sha256"]


def test_the_command_writes_that_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = DIGESTS["tensor_types"][1]
    options = [word for option in case["options"] for word in ("--tensor-type", option)]
    target = tmp_path / "out.gguf"
    arguments = ["quantize", str(WEIGHTS), str(target), "--type", case["type"], "--jobs", "1", *options]
    assert main(arguments) == 0
    assert digest(target) == case["sha256"]
    assert "note: tensor type norm=Q8_0: no tensor takes it" in capsys.readouterr().err.splitlines()
    before = target.read_bytes()
    assert main([*arguments, "--tensor-type", "attn_v=Q9"]) == 2
    error = capsys.readouterr().err
    assert "attn_v=Q9" in error
    assert "Q8_0" in error
    assert target.read_bytes() == before


def test_the_first_that_matches_counts_and_the_others_are_not_counted_by_the_rules() -> None:
    model = open_model(WEIGHTS)
    plain = types(model, "Q3_K_M")
    assert [plain[f"blk.{layer}.attn_v.weight"] for layer in range(3)] == ["Q5_K", "Q5_K", "Q4_K"]
    changed = types(typed(model, "Q3_K_M", "blk.0.attn_v=Q8_0", "blk.0=Q2_K"), "Q3_K_M")
    assert [changed[f"blk.{layer}.attn_v.weight"] for layer in range(3)] == ["Q8_0", "Q5_K", "Q5_K"]
    assert changed["blk.0.attn_q.weight"] == "Q2_K"
    assert changed["blk.0.attn_norm.weight"] == "F32"
    assert types(model, "Q3_K_M") == plain
    twice = typed(typed(model, "Q3_K_M", "blk.0.attn_v=Q8_0"), "Q3_K_M", "blk.0=Q2_K")
    assert types(twice, "Q3_K_M") == changed


def test_rows_that_do_not_divide_fall_back_and_are_named(tmp_path: Path) -> None:
    config = CONFIG | {"hidden_size": 256, "intermediate_size": 288, "head_dim": 64}
    model = open_model(write_checkpoint(tmp_path, config))
    steps = plan(typed(model, "Q8_0", "ffn_down=Q4_K"), "Q8_0")
    assert {step.type_name for step in steps if "ffn_down" in step.source.name} == {"Q5_0"}
    assert quantization_warnings(steps)[0].startswith("blk.0.ffn_down.weight: rows of 288 are not divisible")
    with pytest.raises(ValueError, match=r"blk\.0\.ffn_down\.weight has rows of 288.*NVFP4; it has no fall"):
        typed(model, "Q8_0", "ffn_down=NVFP4")


def test_options_without_effect_are_noted(tmp_path: Path) -> None:
    model = open_model(WEIGHTS)
    for mix, option in (("Q4_K_M", "blk.7=Q8_0"), ("Q6_K_L", "token_embd=Q4_0"), ("Q4_K_M", "norm=Q8_0")):
        changed = typed(model, mix, option)
        assert len(changed.notes) == len(model.notes) + 1
        assert option in changed.notes[-1]
        assert types(changed, mix) == types(model, mix)
    changed = typed(model, "BF16", "attn_v=Q8_0")
    assert "BF16 quantizes nothing" in changed.notes[-1]
    quantize_model(changed, tmp_path / "out.gguf", "BF16")
    assert read_gguf(tmp_path / "out.gguf").tensors["blk.0.attn_v.weight"].type_name == "BF16"
    assert with_tensor_types(model, "Q4_K_M", []) is model


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("attn_v", "is not NAME=TYPE"),
        ("=Q8_0", "is not NAME=TYPE"),
        ("attn_v=", "is not NAME=TYPE"),
        ("attn_v=Q4_K_M", "the type is not one of"),
        ("attn_v=TQ9", "the type is not one of"),
        ("attn_(v=Q8_0", "not a regular expression"),
        ("*=Q8_0", "not a regular expression"),
        (r"\S+=Q8_0", "does not read"),
        ("(?i)attn=Q8_0", "does not read"),
        ("(?P<a>v)=Q8_0", "does not read"),
        ("[[:digit:]]=Q8_0", "does not read"),
        ("[a[:digit:]]=Q8_0", "does not read"),
        ("a++=Q8_0", "does not read"),
        ("a\x1b[31m=Q9", "the type is not one of"),
    ],
)
def test_refused(option: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        parse_tensor_type(option)
    assert "\x1b" not in str(caught.value)


def test_an_unknown_mix_is_refused() -> None:
    with pytest.raises(ValueError, match="file type 'Q4_Z' is not known"):
        typed(open_model(WEIGHTS), "Q4_Z", "attn_v=Q8_0")
