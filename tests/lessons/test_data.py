"""The published tables are consistent in themselves, with each other and with the library."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest

from lessons.quantization import sources
from lessons.quantization.sources import DATA, base_quality_table, hardware, models, quality_table
from quant_core.ggml.mixes import BLOCK_SIZES, MIXES, tensor_types
from quant_core.memory import GIB, MIB, bits_per_weight, kv_bytes_per_token, weight_bytes
from tests.each import each

pytestmark = pytest.mark.no_cover  # half of its time: it reads data

FILES = ("hardware.json", "llama31_8b_gguf.json", "memory_cases.json", "models.json", "peaks.json")


@pytest.mark.parametrize("name", FILES)
def test_tables_contain_no_local_paths(name: str) -> None:
    text = (DATA / name).read_text("utf-8")
    assert not re.search(r"/(work|home|tmp|root)/", text)
    assert text.isprintable() or set(text) - {"\n"} == {c for c in text if c.isprintable()}


# --- models -----------------------------------------------------------------------------------------------

ENTRIES = {entry["id"]: entry for entry in json.loads((DATA / "models.json").read_text("utf-8"))["models"]}


def test_every_model_with_a_known_architecture_is_offered() -> None:
    offered = {preset.id for preset in models()}
    assert set(ENTRIES) - offered == {"deepseek-v4-flash", "deepseek-v4-pro", "kimi-k3"}
    assert len(ENTRIES) == json.loads((DATA / "models.json").read_text("utf-8"))["count"] == 61


# GLM-4.5-Air: the published total leaves the biases of Q, K and V out, 46 layers of 96 * 128 + 2 * 8 * 128.
UNCOUNTED = {"glm-4.5-air": 46 * (96 * 128 + 2 * 8 * 128)}


@each("preset", models())
def test_the_shape_has_exactly_the_published_parameters(preset: sources.ModelPreset) -> None:
    assert preset.shape.parameters == preset.total_params + UNCOUNTED.get(preset.id, 0)


@each("preset", models())
def test_the_active_parameters_are_the_published_ones(preset: sources.ModelPreset) -> None:
    """OpenAI counts gpt-oss without the input embedding."""
    shape = preset.shape
    uncounted = shape.vocab_size * shape.hidden_size if preset.family == "gpt-oss" else 0
    expected = preset.active_params + uncounted + UNCOUNTED.get(preset.id, 0)
    assert shape.active_parameters == expected


@each("preset", models())
def test_configuration_matches_the_entry(preset: sources.ModelPreset) -> None:
    entry, shape = ENTRIES[preset.id], preset.shape
    assert (shape.n_layers, shape.hidden_size, shape.n_heads) == (
        entry["n_layers"], entry["hidden_size"], entry["n_heads"],
    )  # fmt: skip
    assert shape.vocab_size == entry["vocab_size"]
    assert shape.tied_embeddings == entry["tied_embeddings"]
    assert shape.max_context == entry["max_context"] == preset.max_context
    attention = entry["attention"]
    assert shape.layer_kinds.count("full") == attention["full_layers"]
    assert shape.layer_kinds.count("sliding") == attention.get("local_layers", 0)
    assert shape.layer_kinds.count("linear") == attention.get("linear_layers", 0)
    assert shape.window == attention.get("window", 0)
    assert kv_bytes_per_token(shape) == entry["kv_bytes_per_token_fp16_growing"]
    if shape.linear:
        kept = shape.linear.value_heads * shape.linear.key_dim * shape.linear.value_dim
        assert kept == attention["linear_state_elems_per_layer"]


def test_every_model_names_a_file_at_a_commit() -> None:
    for entry in ENTRIES.values():
        assert set(entry["source"]) >= {"repo", "path", "commit"}, entry["id"]


NOT_IN_Q1_0 = {
    "gemma-4-26b-a4b": 2112, "smollm2-135m": 576, "smollm2-360m": 960, "gpt-oss-20b": 2880,
    "gpt-oss-120b": 2880, "glm-5.2": 192, "glm-4.5-air": 10944,
}  # fmt: skip
"""Models with rows that are no multiple of 128, and the length of the first of these."""


@each("preset", models())
def test_models_whose_rows_do_not_divide_into_q1_0_are_refused(preset: sources.ModelPreset) -> None:
    """llama.cpp has a type to fall back to for all other types."""
    if preset.id not in NOT_IN_Q1_0:
        assert weight_bytes(preset.shape, "Q1_0") < weight_bytes(preset.shape, "Q2_K")
        return
    says = (
        f"rows of {NOT_IN_Q1_0[preset.id]} weights are no multiple of 128, the block of Q1_0, "
        "and llama.cpp defines no type to fall back to"
    )
    with pytest.raises(ValueError, match=f"^{says}$"):
        weight_bytes(preset.shape, "Q1_0")


@each("preset", models())
def test_every_model_has_a_size_in_some_mix(preset: sources.ModelPreset) -> None:
    """In some mixes each, and in every mix some of them."""
    turn = models().index(preset)
    some = {"IQ1_S", "Q4_K_M", "F16", "F32", *list(MIXES)[turn % 8 :: 8]}
    if preset.id in NOT_IN_Q1_0:
        some.discard("Q1_0")
    sizes = {mix: weight_bytes(preset.shape, mix) for mix in some}
    assert sizes["IQ1_S"] < sizes["Q4_K_M"] < sizes["F16"] < sizes["F32"]
    assert preset.source
    for tensor in tensor_types(preset.shape, "Q4_K_M"):
        assert tensor.columns % BLOCK_SIZES[tensor.type][0] == 0


def test_effective_bits_of_the_table_are_reproduced() -> None:
    table = json.loads((DATA / "llama31_8b_gguf.json").read_text("utf-8"))["effective_bpw_by_model_derived"]
    assert len(table) == 5
    for name, rows in table.items():  # "Llama-3.2-1B (tied)" is the preset llama-3.2-1b
        shape = sources.model(name.removesuffix(" (tied)").lower()).shape
        assert rows.pop("params") == shape.parameters
        for mix, row in rows.items():
            assert bits_per_weight(shape, mix) == pytest.approx(row["bpw"], abs=0.0011), (name, mix)
            assert weight_bytes(shape, mix) / 1e9 == pytest.approx(row["gb"], abs=0.0051), (name, mix)


# --- hardware ---------------------------------------------------------------------------------------------


def test_machines_are_plausible_and_sourced() -> None:
    assert len(hardware()) == 59
    assert len({machine.id for machine in hardware()}) == 59
    for machine in hardware():
        assert 0 < machine.usable_bytes <= machine.memory_bytes
        assert 10e9 < machine.bandwidth < 10e12
        assert machine.source
        assert machine.confidence in ("high", "medium", "low")
        assert machine.read
        assert machine.weak_source or machine.confidence != "low"
        assert machine.weak_source or "none" not in machine.source.split()


# Makers' figures that were wrong or missing once: usable MiB as nvidia-smi shows them, and GB/s.
SEEN = {
    "t4": (15_360, 320), "l4": (23_034, 300), "l40s": (46_068, 864), "rtx-a6000": (49_140, 768),
    "rtx-pro-6000": (97_887, 1792), "rtx-pro-6000-server": (97_887, 1597), "h100-80": (81_559, 3350),
    "h200-141": (143_771, 4800), "b200-180": (183_359, 7700), "rtx-4090": (24_564, 1008),
    "rtx-5090": (32_607, 1792), "mac-m5-32": (21_845, 153), "mac-m6-32": (21_845, 170),
    "mac-m1-max-64": (48 * 1024, 400), "arc-a770-16": (16_384, 560), "rx-9070-xt": (16_384, 640),
    "iphone-17-pro": (7 * 1024, 76.8),
}  # fmt: skip


@pytest.mark.parametrize(("name", "usable", "bandwidth"), [(name, *seen) for name, seen in SEEN.items()])
def test_machine_has_the_published_memory_and_bandwidth(name: str, usable: int, bandwidth: float) -> None:
    machine = sources.device(name)
    assert machine.usable_bytes == usable * MIB
    assert machine.bandwidth == bandwidth * 1e9


def test_usable_memory_follows_one_rule() -> None:
    """A card lends what its driver shows, a Mac two thirds or three quarters, other RAM all but 5 GB."""
    for machine in hardware():
        share = machine.usable_bytes / machine.memory_bytes
        if machine.is_gpu:
            assert share > 0.93, machine.id
        elif "mac" in machine.id:
            assert share == pytest.approx(2 / 3 if machine.memory_gb <= 36 else 3 / 4, abs=1e-4), machine.id
            assert "recommendedMaxWorkingSetSize" in machine.usable_basis
        elif machine.kind == "cpu-ram":
            assert 4 <= machine.memory_gb - machine.usable_bytes / GIB <= 6, machine.id


def test_speed_band_is_defined_once() -> None:
    """There is one: `memory.SPEED_SHARE`."""
    table = json.loads((DATA / "hardware.json").read_text("utf-8"))
    assert "SPEED_SHARE" in table["speed_rule"]
    assert not re.search(r"\d", table["speed_rule"])


def test_a_card_holds_what_nvidia_smi_says() -> None:
    assert sources.device("rtx-3090").memory_bytes == 24_576 * MIB
    assert sources.device("rtx-3090").is_gpu
    assert not sources.device("mac-m1-8").is_gpu


def test_the_box_of_the_lesson_has_an_assumed_bandwidth() -> None:
    box = sources.device("ram-62")
    assert box.memory_bytes == 62 * GIB
    assert box.bandwidth_assumed
    assert [machine.id for machine in hardware() if machine.bandwidth_assumed] == ["ram-62"]


@pytest.mark.parametrize("find", [sources.model, sources.device])
def test_unknown_id_is_refused_with_a_list_of_known_ones(find: object) -> None:
    with pytest.raises(ValueError, match="'abacus' is not known; choose one of "):
        find("abacus")  # type: ignore[operator]


# --- quality ----------------------------------------------------------------------------------------------


def test_the_study_has_its_fourteen_rows_in_order_of_size() -> None:
    rows = quality_table()
    assert [row.scheme for row in rows] == [
        "F16", "Q8_0", "Q6_K", "Q5_1", "Q5_K_M", "Q5_K_S", "Q5_0", "Q4_1", "Q4_K_M", "Q4_K_S", "Q4_0",
        "Q3_K_L", "Q3_K_M", "Q3_K_S",
    ]  # fmt: skip
    sizes = [row.size_bytes for row in rows]
    assert sizes == sorted(sizes, reverse=True)


def test_the_studys_sizes_are_those_of_the_mix_rules() -> None:
    shape = sources.model("llama-3.1-8b").shape
    for row in quality_table():
        assert row.size_bytes == pytest.approx(weight_bytes(shape, row.scheme), abs=0.01 * MIB)
        assert row.bits_per_weight == round(bits_per_weight(shape, row.scheme), 4)


# tools/quantize/README.md of llama.cpp at 0c1e57098bba: bits per weight, GiB, and tokens a second of a prompt
# and of generation.
README = {
    "IQ1_S": (2.0042, 1.87, 858.88, 79.73), "IQ1_M": (2.1460, 2.01, 847.99, 72.92),
    "IQ2_XXS": (2.3824, 2.23, 852.39, 79.86), "IQ2_XS": (2.5882, 2.42, 826.99, 78.04),
    "IQ2_S": (2.7403, 2.56, 783.55, 77.30), "IQ2_M": (2.9294, 2.74, 787.68, 74.44),
    "IQ3_XXS": (3.2548, 3.04, 813.88, 73.95), "IQ3_XS": (3.4977, 3.27, 708.71, 71.67),
    "IQ3_S": (3.6606, 3.42, 798.78, 69.31), "IQ3_M": (3.7628, 3.52, 768.70, 70.15),
    "IQ4_XS": (4.4597, 4.17, 771.80, 77.51), "IQ4_NL": (4.6818, 4.38, 806.03, 76.63),
    "Q2_K_S": (2.9697, 2.78, 798.91, 90.01), "Q2_K": (3.1593, 2.95, 784.45, 79.85),
    "Q3_K_S": (3.6429, 3.41, 752.17, 69.84), "Q3_K_M": (3.9960, 3.74, 783.44, 71.68),
    "Q3_K_L": (4.2979, 4.02, 761.17, 69.38), "Q4_K_S": (4.6672, 4.36, 818.55, 76.71),
    "Q4_K_M": (4.8944, 4.58, 821.81, 71.93), "Q5_K_S": (5.5704, 5.21, 752.52, 69.53),
    "Q5_K_M": (5.7036, 5.33, 758.69, 67.23), "Q6_K": (6.5633, 6.14, 812.01, 58.67),
    "Q8_0": (8.5008, 7.95, 865.09, 50.93), "F16": (16.0005, 14.96, 923.49, 29.17),
}  # fmt: skip


def test_the_readme_s_columns_are_in_the_table() -> None:
    types = json.loads((DATA / "llama31_8b_gguf.json").read_text("utf-8"))["types"]
    found = {
        scheme: (row["bpw"], row["readme_size_gib"], speed["pp512_tps"], speed["tg128_tps"])
        for scheme, row in types.items()
        if (speed := row.get("readme_speed"))
    }
    assert found == README


def test_the_table_knows_which_schemes_need_an_importance_matrix() -> None:
    types = json.loads((DATA / "llama31_8b_gguf.json").read_text("utf-8"))["types"]
    for scheme, row in types.items():
        assert row["requires_imatrix_in_llama_quantize"] == MIXES[scheme].needs_importance, scheme


def test_averages_and_losses_follow_from_the_scores() -> None:
    f16 = quality_table()[0]
    for row in quality_table():
        mean = (row.gsm8k + row.hellaswag + row.ifeval + row.mmlu + row.truthfulqa) / 5
        assert row.average == pytest.approx(mean, abs=0.011)
        assert row.benchmark_loss == pytest.approx(100 * (f16.average - row.average) / f16.average, abs=0.011)
        assert row.size_change == pytest.approx(100 * (row.size_bytes / f16.size_bytes - 1), abs=0.011)


def test_the_table_of_the_figure_is_the_table_of_the_study() -> None:
    table = json.loads((DATA / "llama31_8b_gguf.json").read_text("utf-8"))["fig05_rows"]
    by_scheme = {row.scheme: row for row in quality_table()}
    for entry in table:
        row = by_scheme[entry["scheme"]]
        assert (entry["bpw"], entry["ppl_wikitext2"], entry["gsm8k"], entry["bench_avg"]) == (
            row.bits_per_weight, row.perplexity, row.gsm8k, row.average,
        )  # fmt: skip


def test_the_base_scoreboard_reaches_below_three_bits_and_an_importance_matrix_helps() -> None:
    rows = base_quality_table()
    assert len(rows) == 34
    assert min(row.bits_per_weight for row in rows) < 2.1
    pairs = {(row.scheme, row.importance): row.perplexity for row in rows}
    both = [scheme for scheme, importance in pairs if importance and (scheme, False) in pairs]
    assert len(both) == 6
    assert all(pairs[scheme, True] < pairs[scheme, False] for scheme in both)
    assert all(row.perplexity_error > 0 for row in rows)


def test_both_studies_name_their_conditions() -> None:
    study = sources.quality_sources()
    assert "Instruct" in study["kurt"]["conditions"]
    assert "base model" in study["pplreadme"]["conditions"]


@pytest.mark.parametrize(
    ("table", "change", "wrong"),
    [
        (sources.hardware, {"memory_gb": "much"}, "hardware.json: rpi5-8.memory_gb: "),
        (sources.hardware, {"class": "toaster"}, "hardware.json: rpi5-8.class: "),
        (sources.hardware, {"bandwidth_gbs": None}, "hardware.json: rpi5-8: .*assumed_bandwidth_gbs"),
        (sources.models, {"total_params": 0}, "models.json: llama-3.2-1b.total_params: "),
        (sources.quality_table, {"bpw": None}, "llama31_8b_gguf.json: F16.bpw: "),
        (sources.measured, {"rise": "x"}, r"measured.json: [\w-]+.rise: "),
    ],
)
def test_wrong_field_is_named_with_its_file(
    monkeypatch: pytest.MonkeyPatch, table: Any, change: dict[str, Any], wrong: str
) -> None:
    """Of the first row."""
    read = sources._read

    def changed(name: str) -> Any:
        content = copy.deepcopy(read(name))
        rows = next(content[key] for key in ("devices", "models", "types", "rows") if key in content)
        (next(iter(rows.values())) if isinstance(rows, dict) else rows[0]).update(change)
        return content

    monkeypatch.setattr(sources, "_read", changed)
    with pytest.raises(ValueError, match=wrong):
        table.__wrapped__()
