"""FIG.06: the sums, the bar and its limit, and consistent verdicts for every machine."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from typing import Any

import pytest

from app.views.environment import render
from app.views.figure import figure_context
from lessons.catalogue import load_lesson
from lessons.kit.arrangement import FigureQuery
from lessons.kit.controls import as_parameter
from lessons.kit.view import View
from lessons.quantization import sources
from lessons.quantization.figures.fit import (
    CONFIGS,
    FIGURE,
    GAP_LABEL,
    LEAST_BITS,
    MIXES,
    PRESETS,
    TILES,
    USUAL,
    Controls,
    _size,
    as_published,
    compute,
    file_bytes,
    found,
    rows_refused,
)  # fmt: skip
from quant_core import memory
from quant_core.ggml import mixes
from quant_core.ggml.mixes import BLOCK_SIZES

GIB, MIB = 2**30, 2**20
FALLING = (
    "F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "Q4_0", "IQ4_XS", "Q3_K_L", "Q3_K_M",
    "Q3_K_S", "Q2_K", "IQ2_M", "IQ2_XXS", "IQ1_S",
)  # fmt: skip
LESSON = load_lesson("quantization")
TEXT = LESSON.texts["fit"]


def view(**controls: Any) -> View:
    return FIGURE.view(Controls.parse([(name, as_parameter(value)) for name, value in controls.items()]))


def value(shown: View, name: str) -> Any:
    return next(readout.value for readout in shown.readouts if readout.name == name)


def words(shown: View) -> str:
    return " ".join(TEXT.sentence(sentence) for sentence in (*shown.description, *shown.notes))


def part(shown: View, name: str) -> int:
    return int(next(segment["size"] for segment in shown.drawing["segments"] if segment["name"] == name))


def row(shown: View, device: str) -> dict[str, Any]:
    return next(row for group in shown.drawing["groups"] for row in group["rows"] if row["id"] == device)


def tile(shown: View, device: str) -> dict[str, Any]:
    return next(tile for tile in shown.drawing["tiles"] if tile["id"] == device)


def finding(**controls: Any) -> str:
    return TEXT.sentence(view(**controls).description[0])


def number(text: str, unit: str) -> float:
    """Bytes of a printed size."""
    return float(text) * {"GB": 1e9, "MB": 1e6}[unit]


def test_example_of_the_lesson() -> None:
    """70B: 141 GB in F16, 42.5 GB = 39.6 GiB in Q4_K_M, which a laptop of 64 GB holds."""
    shown = view()
    assert value(shown, "weights") / 1e9 == pytest.approx(42.5, abs=0.05)
    assert value(shown, "total") / 1e9 == pytest.approx(45.4, abs=0.05)
    assert value(shown, "against_f16") * value(shown, "weights") / 1e9 == pytest.approx(141.1, abs=0.05)
    assert sources.device("mac-m1-max-64").usable_bytes == 48 * GIB
    assert finding() == (
        "Llama 3.1 / 3.3 70B in Q4_K_M needs 45.4\u202fGB. "
        "Your MacBook M1 Max lets a model use 51.5\u202fGB: it fits, with 6.1\u202fGB to spare."
    )
    assert part(view(mix="F16"), "weights") / 1e9 == pytest.approx(141.1, abs=0.05)
    for mix in ("Q5_K_M", "Q8_0", "F16"):
        assert view(mix=mix).drawing["verdict"] == "over"


def test_formats_from_large_to_small_turn_the_tiles_from_short_to_fits() -> None:
    """Each machine holds the 70B from some format on, and all smaller ones; the last holds none."""
    rank = {"over": 0, "tight": 1, "fits": 2}
    first = {}
    for name in TILES:
        verdicts = [rank[tile(view(mix=mix), name)["verdict"]] for mix in FALLING]
        assert verdicts == sorted(verdicts)
        first[name] = next((mix for mix, held in zip(FALLING, verdicts, strict=True) if held), None)
    assert first == {
        "rpi5-16": None,
        "laptop-32-lpddr5x": "IQ2_M",
        "rtx-5090": "Q3_K_S",
        "mac-m1-max-64": "Q4_K_M",
        "ram-62": "Q6_K",
        "h100-80": "Q8_0",
    }


def test_finding_is_short_and_true_in_every_state() -> None:
    generator = random.Random(15)
    widgets = Controls.widgets()
    states: list[dict[str, Any]] = [
        {name: generator.choice(widget.states()) for name, widget in widgets.items()} for _ in range(300)
    ]
    states += [{"device": device.id, "mix": mix} for device in sources.hardware() for mix in USUAL]
    states += [
        {"device": "own", "source": "config", "config": CONFIGS[1], "memory": memory}
        for memory in range(1, 9)
    ]
    for state in states:
        shown = view(**state)
        said = TEXT.sentence(shown.description[0])
        usable = next(
            (device.usable_bytes for device in sources.hardware() if device.id == state.get("device")),
            state.get("memory", 16) * GIB,
        )
        margin = usable - value(shown, "total")
        assert len(said) <= 155, said
        assert ("to spare" in said) == (margin >= 0) != ("short" in said), said
        if "cannot write" not in said:
            assert ("just fit" in said) == (0 <= margin < 0.1 * usable), said
            assert ("weights of" in said) == (state.get("scope") == "weights"), said
        printed = [number(*found) for found in re.findall(r"([\d.]+)\u202f([GM]B)", said)]
        told = [value(shown, "total"), usable, abs(margin)]
        if "cannot write" in said:
            del told[1]
        for text, true in zip(printed[-len(told) :], told, strict=True):
            assert text == pytest.approx(true, rel=0.06, abs=0.051e9 if true >= 1e9 else 0.0051e9), said
        assert not re.search(r"\b0\.0+\u202fGB", said), said


# --- every file type, layers on the card, the same bytes ---------------------------------------------------


def test_every_file_type_is_offered_and_the_refused_are_told() -> None:
    assert set(MIXES) == set(mixes.MIXES)
    refused = [name for name, preset in PRESETS.items() if rows_refused(preset.shape, "Q1_0")]
    assert len(refused) == 7
    for name, preset in PRESETS.items():
        if name in refused:
            with pytest.raises(ValueError, match="no type to fall back to"):
                memory.weight_bytes(preset.shape, "Q1_0")
        else:
            assert memory.weight_bytes(preset.shape, "Q1_0") > 0
    shown = view(model="gpt-oss-20b", mix="Q1_0")
    assert "llama.cpp cannot write gpt-oss 20B in Q1_0. In Q4_K_M it needs" in finding(
        model="gpt-oss-20b", mix="Q1_0"
    )
    assert "rows of 2880 weights do not divide into the blocks of 128" in words(shown)
    assert shown.limits["mix"].options == ("Q1_0",)
    assert value(shown, "weights") == value(view(model="gpt-oss-20b"), "weights")
    assert "mix" not in view(mix="Q1_0").limits


def test_layers_that_a_card_does_not_hold_stay_in_ram() -> None:
    result = compute(Controls(device="rtx-5090"))
    split, run = result.split, result.run
    assert split is not None
    assert (result.gpu_layers, split.layers, split.of) == ("61/81", 61, 81)
    room = result.chosen.device.usable_bytes - result.footprint.buffer - result.footprint.runtime
    rest = (run.context, run.cache_type, run.value_type, run.sequences, run.flash_attention)
    assert memory.offload(run.shape, run.mix, 61, *rest).gpu <= room
    assert memory.offload(run.shape, run.mix, 62, *rest).gpu > room
    assert "--n-gpu-layers 61, llama.cpp puts 61 of 81 layers" in words(view(device="rtx-5090"))
    # What fits is on the card as a whole; other machines have no card.
    whole = compute(Controls(device="rtx-5090", model="llama-3.1-8b"))
    assert whole.gpu_layers == "33/33"
    assert "--n-gpu-layers" not in words(view(device="rtx-5090", model="llama-3.1-8b"))
    for other in (Controls(), Controls(device="rtx-5090", scope="weights"), Controls(device="ram-62")):
        assert compute(other).split is None
    generator = random.Random(3)
    cards = [device.id for device in sources.hardware() if device.is_gpu and device.kind != "multi-gpu"]
    for _ in range(60):
        state = Controls(
            model=generator.choice(list(PRESETS)),
            mix=generator.choice(USUAL),
            device=generator.choice(cards),
            context=generator.choice(("2048", "131072")),
        )
        result = compute(state)
        assert result.split is not None
        assert (result.split.layers == result.split.of) == (result.chosen.margin >= 0)


def test_files_of_models_born_in_four_bits_hardly_differ() -> None:
    said = words(view(model="gpt-oss-20b"))
    assert "91\u202f% of all weights, stay in MXFP4" in said
    assert "11.5\u202fGB in Q2_K, 13.8\u202fGB in F16" in said
    assert "born" not in words(view())
    assert "born" not in words(view(model="gpt-oss-20b", mix="AWQ"))


def test_the_same_bytes_hold_what_is_said() -> None:
    names = {preset.name: preset for preset in PRESETS.values()}
    told = 0
    for name, preset in PRESETS.items():
        for mix in ("Q4_K_M", "Q8_0"):
            shown = view(model=name, mix=mix)
            for sentence in shown.description:
                if not sentence.key.startswith("same_"):
                    continue
                told += 1
                size = value(shown, "weights")
                for side in ("larger", "smaller"):
                    if side not in sentence.values:
                        continue
                    other, into = names[sentence.values[side]], sentence.values[f"{side}_mix"]
                    assert file_bytes(as_published(other.shape), into) <= size
                    assert (other.total_params > preset.total_params) == (side == "larger")
                    assert (other.family, other.kind) == (preset.family, preset.kind)
                bits = value(shown, "bits_per_weight")
                if "larger" in sentence.values:
                    block, stored = BLOCK_SIZES[mixes.MIXES[sentence.values["larger_mix"]].default]
                    bits = 8 * stored / block
                assert sentence.key.endswith("above") == (bits >= LEAST_BITS)
    assert told > 20


def test_a_margin_below_the_first_decimal_is_not_nought() -> None:
    """Q5_K_S is 50 MB over; a margin of a few bytes is printed in MB."""
    assert finding(mix="Q5_K_S").endswith("it is 0.05\u202fGB short.")
    assert _size(3_200_000) == "3.2\u202fMB"
    assert _size(9_960_000) == "0.01\u202fGB"
    assert _size(994_000_000) == "0.99\u202fGB"
    assert _size(996_000_000) == "1.0\u202fGB"


def test_a_search_finds_machines_by_parts_of_their_names() -> None:
    assert found("3060") == ["rtx-3060-12"]
    assert found("m1 max") == found("M1MAX") == found("macbook  pro max") == ["mac-m1-max-64"]
    assert found("2x 3090") == ["2x-rtx-3090"]
    assert found("pi 16") == ["rpi5-16"]
    assert found("abacus") == []
    assert {"rtx-5090", "mac-m5-32"} <= set(found("32 gb"))


def test_what_is_found_stands_on_the_tiles_with_the_chosen_machine_and_the_reader_s_own() -> None:
    def tiles(**controls: Any) -> list[str]:
        return [tile["id"] for tile in view(**controls).drawing["tiles"]]

    assert tiles() == [*TILES, "own"]
    assert tiles(device="l4") == [*TILES, "l4", "own"]
    assert tiles(find="4060") == ["rtx-4060", "rtx-4060-laptop", "rtx-4060-ti-16", "mac-m1-max-64", "own"]
    assert tiles(find="4060", device="rtx-4060") == ["rtx-4060", "rtx-4060-laptop", "rtx-4060-ti-16", "own"]
    assert tiles(find="abacus") == [*TILES, "own"]
    assert "No machine" in TEXT.sentence(view(find="abacus").limits["find"].reason)
    many = view(find="rtx").limits["find"].reason
    assert TEXT.sentence(many).startswith(f"{len(found('rtx'))} machines have that name; the first 6")
    assert view(find="4060").limits == {}


def test_gptq_on_a_machine_without_a_gpu_is_told_beside_the_format() -> None:
    assert "kernels of a GPU" in TEXT.sentence(view(mix="GPTQ").limits["mix"].reason)
    assert view(mix="GPTQ", device="rtx-5090").limits == view(mix="GPTQ", device="own").limits == {}


def test_assumed_bandwidth_is_labelled() -> None:
    assert "is our assumption" in words(view(device="ram-62"))
    assert view(device="ram-62").drawing["rule"]["doubt"] == "assumed"
    assert "is our assumption" not in words(view(device="rtx-3090"))


@pytest.mark.parametrize(("context", "gib"), [("8192", 1.0), ("131072", 16.0)])
def test_the_cache_of_the_8b_by_hand(context: str, gib: float) -> None:
    """32 layers × 2 × 8 heads × 128 × 2 bytes = 128 KiB a token."""
    shown = view(model="llama-3.1-8b", scope="everything", context=context)
    assert part(shown, "cache") == gib * GIB == 32 * 2 * 8 * 128 * 2 * int(context)


def test_a_quantized_cache_by_hand() -> None:
    shown = view(model="llama-3.1-8b", scope="everything", cache_type="q8_0")
    assert part(shown, "cache") == 544 * MIB  # 1024 MiB of f16 × 34/64


def test_the_logged_buffer_without_flash_attention() -> None:
    """Mistral-7B at 32K tokens logged 2144 MiB (fedora-copr/logdetective, pull 106)."""
    shown = view(model="mistral-7b-v0.3", scope="everything", context="32768", flash_attention=False)
    assert part(shown, "buffer") == pytest.approx(2144 * MIB, rel=1e-3)
    with_it = view(model="mistral-7b-v0.3", scope="everything", context="32768")
    assert part(with_it, "buffer") < part(shown, "buffer") / 10


def test_a_quantized_v_without_flash_attention_is_refused_in_words() -> None:
    shown = view(model="llama-3.1-8b", scope="everything", cache_type="q8_0", flash_attention=False)
    assert "refuses a quantized V cache" in words(shown)
    assert part(shown, "cache") == (272 + 512) * MIB  # K in q8_0, V in f16


def test_the_context_is_clamped_to_the_model_s() -> None:
    at_most, beyond = (
        view(model="mixtral-8x7b", scope="everything", context=context) for context in ("32768", "131072")
    )
    assert part(at_most, "cache") == part(beyond, "cache")
    assert "at most 32\u202f768 tokens" in words(beyond)
    assert "at most" not in TEXT.sentence(at_most.notes[0])


def test_conversations_multiply_the_cache_and_are_counted() -> None:
    """24 GiB − 4.30 − 0.26 − 0.29 hold 19 caches of 1 GiB; one of 16 GiB fits, a second does not."""
    one, eight = (
        view(model="llama-3.1-8b", scope="everything", device="rtx-4090", sequences=n) for n in ("1", "8")
    )
    assert part(eight, "cache") == 8 * part(one, "cache")
    long = view(model="llama-3.1-8b", scope="everything", device="rtx-4090", context="131072")
    assert "holds one conversation of 131\u202f072 tokens" in words(long)
    assert "holds 19 conversations" in words(one)


def test_speed_is_a_band_below_the_bound() -> None:
    shown = view(device="ram-62", scope="weights")
    low, high = (float(end) for end in str(value(shown, "tokens_per_second")).split("-"))
    assert low / high == pytest.approx(0.3 / 0.9, rel=1e-2)
    bound = 51.2e9 / value(shown, "weights")
    assert bound < high / 0.9 < 1.02 * bound  # the embedding is not read whole, so a little above
    assert "at most 1.2 tokens a second" in words(shown)


def test_the_printed_band_is_that_of_the_library() -> None:
    low, high = memory.SPEED_SHARE
    assert LESSON.claims["speed-band"].value == f"{low}–{high}"
    shown = view()
    assert f"reach {low}–{high} of that" in words(shown)
    assert "without speculative decoding or multi-token prediction" in words(shown)


def test_every_machine_names_source_date_and_weak_sources() -> None:
    for device in sources.hardware():
        shown = view(device=device.id)
        said = words(shown)
        assert device.source in said
        assert re.search(r"Read on \d+ November 2026", said)
        assert ("weak source" in said) == (device.weak_source and not device.bandwidth_assumed)
        marked = {row["id"] for group in shown.drawing["groups"] for row in group["rows"] if row["weak"]}
    assert marked == {one.id for one in sources.hardware() if one.weak_source and not one.bandwidth_assumed}


def test_a_mixture_of_experts_reads_only_its_active_weights() -> None:
    dense, mixture = (view(model=name, device="rtx-5090") for name in ("qwen3-32b", "qwen3-30b-a3b"))

    def high(shown: View) -> float:
        return float(str(value(shown, "tokens_per_second")).split("-")[1])

    assert high(mixture) > 5 * high(dense)


def test_what_does_not_fit_has_no_speed() -> None:
    assert value(view(device="rtx-3090"), "tokens_per_second") == ""


def test_gptq_and_awq_keep_the_embeddings_in_sixteen_bits() -> None:
    """GPTQ adds the group of each input column, 4 bytes: 6 matrices of 4096 columns a layer, one of 14336."""
    gptq, awq = view(model="llama-3.1-8b", mix="GPTQ"), view(model="llama-3.1-8b", mix="AWQ")
    tables, norms = 2 * 128_256 * 4096, 65 * 4096
    linear = 8_030_261_248 - tables - norms
    by_hand = (16 * (tables + norms) + (4 + 20 / 128) * linear) / 8
    assert value(awq, "weights") == pytest.approx(by_hand, rel=1e-6)
    assert value(gptq, "weights") - value(awq, "weights") == 4 * 32 * (6 * 4096 + 14_336)


def test_a_card_has_a_runtime_and_keeps_the_embedding_in_ram() -> None:
    card = view(model="llama-3.1-8b", scope="everything", device="rtx-3090")
    assert part(card, "runtime") == 300 * MIB
    assert part(card, "weights") == pytest.approx(4403.49 * MIB, abs=0.01 * MIB)  # logged, ollama's runner
    assert "embedding table, 0.28\u202fGiB" in words(card)
    ram = view(model="llama-3.1-8b", device="ram-62")
    assert part(ram, "runtime") == 0
    two = view(model="llama-3.1-8b", scope="everything", device="2x-rtx-3090")
    assert part(two, "runtime") == 2 * part(card, "runtime")
    assert part(two, "buffer") == 2 * part(card, "buffer")


def percent(printed: str) -> float:
    return float(printed.removesuffix("%"))


@pytest.mark.parametrize("scope", ["weights", "everything"])
@pytest.mark.parametrize("device", ["rtx-3090", "a100-40", "ram-62", "mac-m4-max-128"])
def test_bar_ends_at_the_memory_limit_and_the_excess_is_separate(scope: str, device: str) -> None:
    shown = view(scope=scope, device=device, context="131072")
    drawing, usable = shown.drawing, sources.device(device).usable_bytes
    edge = percent(drawing["edge"]["x"])
    per_byte = edge / usable
    for parts, start, end in (
        (drawing["held"], 0, min(value(shown, "total"), usable)),
        (drawing["beyond"], usable, max(value(shown, "total"), usable)),
    ):
        places = [(percent(part["x"]), percent(part["width"])) for part in parts]
        assert sum(width for _, width in places) == pytest.approx(per_byte * (end - start), abs=0.03)
        for (x, width), (following, _) in pairwise(places):
            assert following == pytest.approx(x + width, abs=0.02)
    assert bool(drawing["beyond"]) == (value(shown, "margin") < 0) == (drawing["verdict"] == "over")


def test_excess_is_named_by_its_part() -> None:
    """The weights of the 8B fill 4.6 of 24 GiB; sixteen caches of 16 GiB do not go in."""
    drawing = view(
        model="llama-3.1-8b", scope="everything", device="rtx-4090", context="131072", sequences="16"
    ).drawing
    assert [part["name"] for part in drawing["held"]] == ["weights", "cache"]
    assert [part["name"] for part in drawing["beyond"]] == ["cache", "buffer", "runtime"]


def test_gap_spans_from_bar_to_limit_with_a_visible_label() -> None:
    for controls in ({}, {"mix": "Q8_0"}, {"device": "rpi5-8"}, {"device": "own", "memory": 40}):
        drawing = view(**controls).drawing
        ends = [percent(drawing["gap"][end]) for end in ("left", "right")]
        needed = sum(percent(part["width"]) for part in (*drawing["held"], *drawing["beyond"]))
        assert ends == pytest.approx(sorted((needed, percent(drawing["edge"]["x"]))), abs=0.03)
        at, width = percent(drawing["gap"]["at"]), 2 * GAP_LABEL
        left = {"start": at, "middle": at - width / 2, "end": at - width}[drawing["gap"]["anchor"]]
        assert 0 <= left <= 100 - width


def test_list_and_view_of_a_machine_agree() -> None:
    for scope in ("weights", "everything"):
        shown = view(scope=scope)
        for index, device in enumerate(sources.hardware()):
            chosen = view(scope=scope, device=device.id)
            assert row(shown, device.id)["verdict"] == chosen.drawing["verdict"]
            assert shown.table.rows[index][7] == pytest.approx(value(chosen, "margin"))
    listed = sum(group["of"] for group in shown.drawing["groups"])
    assert listed == len(sources.hardware()) + 1


def test_verdicts_at_their_limits() -> None:
    """39.6 GiB: 40 GiB is tight, 44 leaves exactly a tenth, 48 fits, 39 does not."""
    verdicts = {
        gib: view(device="own", memory=gib, scope="weights").drawing["verdict"] for gib in (39, 40, 48)
    }
    assert verdicts == {39: "over", 40: "tight", 48: "fits"}
    assert "Your machine lets a model use 51.5" in words(view(device="own", memory=48))


def test_a_size_without_a_model() -> None:
    shown = view(source="size", parameters=9.9)
    assert value(shown, "parameters") == pytest.approx(10**9.9, rel=0.03)
    assert "no architecture" in words(shown)


def test_any_combination_of_controls_has_a_view() -> None:
    generator = random.Random(6)
    widgets = Controls.widgets()
    for _ in range(250):
        state = {name: generator.choice(widget.states()) for name, widget in widgets.items()}
        shown = view(**state)
        assert value(shown, "total") > 0, state
        assert not re.search(r"\bnan\b|\binf\b|\de[-+]\d", words(shown)), state


def test_tiles_are_radio_buttons_and_the_list_has_every_machine_once_more() -> None:
    """The tile of the chosen machine is the one that is checked, so that a keyboard always reaches it."""
    for query, tiles in ((Controls(), 7), (Controls(device="l4"), 8), (Controls(find="3060"), 3)):
        markup = render("kit/view.jinja", f=figure_context(LESSON, "fit", FigureQuery(query))).decode()
        buttons = re.findall(r'<input type="radio" name="device"[^>]*>', markup)
        listed = [button for button in buttons if "data-again" in button]
        assert len(listed) == len(sources.hardware()) + 1
        assert len(buttons) - len(listed) == tiles
        assert [button for button in buttons if " checked" in button] == [
            f'<input type="radio" name="device" id="fig-06-{query.device}" value="{query.device}" checked>'
        ]
