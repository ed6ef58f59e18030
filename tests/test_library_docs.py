"""Compare docs/quant_core.md with the code: types, file types, methods, packings, commands, numbers."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quant_core import cli, ggml
from quant_core.cli import COMMANDS
from quant_core.files.checkpoint import ARCHITECTURES
from quant_core.ggml.mixes import MIXES, tensor_types
from quant_core.memory import bits_per_weight, model_shape
from quant_core.methods import clip, fp8, gptq, hqq, int8, mxfp4, nf4, nvfp4, packing, rtn, smoothquant
from quant_core.methods.awq import search as awq_search
from tests.each import each
from tests.quant_core import configurations

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "quant_core.md").read_text("utf-8")

LLAMA_8B = model_shape(configurations.LLAMA_8B)

#: Modules and packages that the overview must name, by their short names.
MODULES = {
    found.name.rpartition(".")[2]: found.name
    for folder in ("", ".methods", ".llm")
    for found in pkgutil.iter_modules(
        importlib.import_module(f"quant_core{folder}").__path__, f"quant_core{folder}."
    )
    if found.name.rpartition(".")[2] not in ("__main__", "arrays", "cli", "methods", "llm")
} | {"mixes": "quant_core.ggml.mixes"}


def rows(chapter: str) -> list[list[str]]:
    """The cells of the first table of a section, without its head."""
    text = TEXT.split(f"\n## {chapter}\n")[1].split("\n## ")[0]
    table = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def test_the_formats_are_those_of_the_code() -> None:
    use = dict.fromkeys(ggml.QUANTIZABLE, "written, read")
    expected = [
        [
            name,
            f"{one.bits_per_weight:g}",
            str(one.block_size),
            str(one.block_bytes),
            use.get(name, "read" if name in ggml.CODECS else "its size"),
            one.fallback or "–",
        ]
        for name, one in ggml.FORMATS.items()
    ]
    assert [[*row[:5], row[6]] for row in rows("Block formats")] == expected
    assert all(row[7] for row in rows("Block formats"))


@each("name, heeded", [(row[0], row[5]) for row in rows("Block formats")])
def test_types_that_use_importance_are_documented(name: str, heeded: str) -> None:
    if name not in ggml.QUANTIZABLE:
        assert heeded == "–"
        return
    random = np.random.default_rng(1)
    weights, importance = random.normal(size=(4, 512)), random.random(512)
    without = np.ones(512) if name in ("IQ2_XXS", "IQ2_XS", "IQ1_S") else None
    changed = (ggml.quantize(weights, name, importance) != ggml.quantize(weights, name, without)).any()
    assert heeded == ("yes" if changed else "no")


def test_every_file_type_is_listed() -> None:
    listed = [name.removesuffix("*") for name, _, _ in rows("File types")]
    assert sorted(listed) == sorted(MIXES)


@each("name, bits, types", rows("File types"))
def test_file_types_have_the_documented_sizes(name: str, bits: str, types: str) -> None:
    mix = name.removesuffix("*")
    assert name.endswith("*") == MIXES[mix].needs_importance
    assert bits == f"{bits_per_weight(LLAMA_8B, mix, MIXES[mix].needs_importance):.4f}"
    share: Counter[str] = Counter()
    for tensor in tensor_types(LLAMA_8B, mix, MIXES[mix].needs_importance):
        share[tensor.type] += tensor.elements if tensor.rows > 1 else 0
    total = share.total()
    assert types == ", ".join(f"{name} {n / total:.0%}" for name, n in share.most_common() if n)


RANDOM = np.random.default_rng(2)
WEIGHTS = RANDOM.normal(size=(64, 4096)).astype(np.float32)
FEW = WEIGHTS[:2, :256]
INPUTS = RANDOM.normal(size=(8, 4096)).astype(np.float32)


def int8_bits(layer: smoothquant.W8A8 | int8.MixedInt8) -> float:
    return 8 * (layer.weight_codes.nbytes + layer.weight_scale.nbytes) / layer.weight_codes.size


#: The calls of the table of methods, in its order; at 4 bits with groups of 128 by default.
METHODS: list[tuple[str, Callable[[], float]]] = [
    ("rtn.round_to_nearest", lambda: rtn.round_to_nearest(WEIGHTS, 4).bits_per_weight),
    ("rtn.round_to_nearest", lambda: rtn.round_to_nearest(WEIGHTS, 4, 128, "symmetric").bits_per_weight),
    ("rtn.round_to_nearest", lambda: rtn.round_to_nearest(WEIGHTS, 4, 128, "float_offset").bits_per_weight),
    ("hqq.hqq", lambda: hqq.hqq(FEW, 4).bits_per_weight),
    ("clip.search", lambda: clip.search(FEW, INPUTS[:, :256], 4, 128).quantized.bits_per_weight),
    ("awq.search", lambda: awq_search(FEW, INPUTS[:, :256], 4, 128).quantized.quantized.bits_per_weight),
    ("gptq.gptq", lambda: gptq.gptq(FEW, gptq.hessian(INPUTS[:, :256]), 4, 128).bits_per_weight),
    ("rounding.best_rounding", lambda: rtn.bits_per_weight(4, 128)),
    ("nf4.quantize", lambda: nf4.quantize(WEIGHTS).bits_per_weight),
    ("nf4.quantize", lambda: nf4.quantize(WEIGHTS, double_quantization=True).bits_per_weight),
    ("fp8.quantize", lambda: fp8.quantize(WEIGHTS).bits_per_weight),
    ("nvfp4.quantize", lambda: nvfp4.quantize(WEIGHTS).bits_per_weight),
    ("mxfp4.quantize", lambda: mxfp4.quantize(WEIGHTS).bits_per_weight),
    ("smoothquant.quantize_w8a8", lambda: int8_bits(smoothquant.quantize_w8a8(INPUTS, WEIGHTS))),
    ("int8.quantize_int8", lambda: int8_bits(int8.quantize_int8(INPUTS, WEIGHTS))),
]


@pytest.mark.parametrize(("row", "method"), list(zip(rows("Methods"), METHODS, strict=True)))
def test_methods_have_the_documented_bits_per_weight(
    row: list[str], method: tuple[str, Callable[[], float]]
) -> None:
    name, bits = method
    assert row[1] == f"`{name}`"
    assert float(row[2]) == bits()


def test_packings_have_the_documented_widths() -> None:
    widths = (packing.GPTQ_BITS, packing.AWQ_BITS, packing.COMPRESSED_BITS)
    assert [row[2] for row in rows("Packings")] == [", ".join(map(str, one)) for one in widths]


@pytest.mark.parametrize("row", rows("Packings"), ids=lambda row: row[0])
def test_packings_keep_act_order_as_documented(row: list[str]) -> None:
    pack, unpack = (getattr(packing, name) for name in re.findall(r"`(\w+)`", row[1]))
    codes = RANDOM.integers(0, 16, (32, 32)).astype(np.uint8)
    scale, zero = np.ones((32, 2), np.float16), np.full((32, 2), 8, np.uint8)
    shuffled = packing.IntegerWeights(codes, scale, zero, np.arange(32, dtype=np.int32) % 2, 4)
    if row[3] == "no":
        with pytest.raises(ValueError, match="act-order"):
            pack(shuffled)
    else:
        assert np.array_equal(unpack(pack(shuffled)).group_index, shuffled.group_index)


def test_commands_and_their_options_are_the_documented_ones(capsys: pytest.CaptureFixture[str]) -> None:
    documented = re.findall(r"^quant-core (\w+) (.+)$", TEXT, re.MULTILINE)
    assert [name for name, _ in documented] == [one.__name__.rpartition(".")[2] for one in COMMANDS]
    for name, usage in documented:
        with pytest.raises(SystemExit):
            cli.main([name, "--help"])
        shown = capsys.readouterr().out.partition("\n\n")[0].partition(name)[2]
        assert sorted(usage.split()) == sorted(shown.replace("[-h]", "").split())


def test_documented_architectures_are_those_that_are_converted() -> None:
    (listed,) = re.findall(r"`tokenizer.json` beside\s+it;\s+([^)]+)\)", TEXT)
    classes = {f"{name.replace(' ', '')}ForCausalLM" for name in re.split(r",\s+", listed)}
    assert classes == set(ARCHITECTURES)


def test_the_examples_run() -> None:
    failed, tried = doctest.testfile(str(ROOT / "docs" / "quant_core.md"), module_relative=False)
    assert (failed, tried > 10) == (0, True)


def test_every_module_is_in_the_overview() -> None:
    begin_with = TEXT.split("## Conventions")[0]
    assert set(MODULES) == set(re.findall(r"\[`(\w+)`\]\(\.\./quant_core", begin_with))


def test_functions_named_in_the_text_exist() -> None:
    for module, name in re.findall(r"`(\w+)\.(?!json)(\w+)[`(]", TEXT):
        assert hasattr(importlib.import_module(MODULES[module]), name), f"{module}.{name}"


def test_documented_commit_is_that_of_the_code() -> None:
    (commit,) = set(re.findall(r"\b[0-9a-f]{12}\b", TEXT))
    assert commit in (ggml.__doc__ or "")


def test_the_readme_counts_the_types() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f"writes and reads all {len(ggml.FORMATS)} weight types of llama.cpp" in readme
    assert set(ggml.QUANTIZABLE) == set(ggml.CODECS) == set(ggml.FORMATS)


def test_the_commands_of_the_readme_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    weights = ROOT / "lessons" / "quantization" / "weights" / "tinylm" / "model.safetensors"
    named = {"model.safetensors": str(weights), "model.gguf": str(tmp_path / "model.gguf")}
    commands = re.findall(r"^quant-core ([^#\n]+)", readme, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert cli.main([named.get(word, word) for word in command.split()]) == 0
    assert "Q4_K_M" in capsys.readouterr().out


def test_the_library_follows_one_commit_of_llama_cpp() -> None:
    named = [
        commit
        for path in (ROOT / "quant_core").rglob("*.py")
        for commit in re.findall(
            r"llama\.cpp`?,?(?: at commit)?\s+([0-9a-f]{7,40})\b", path.read_text("utf-8")
        )
    ]
    assert len(named) > 20
    assert {commit[:7] for commit in named} == {"0c1e570"}
