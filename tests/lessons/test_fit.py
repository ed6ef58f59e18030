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
from lessons.quantization.figures.fit import FIGURE, GAP_LABEL, Controls
from quant_core import memory

GIB, MIB = 2**30, 2**20
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


def test_example_of_the_lesson() -> None:
    """70B: 141 GB in F16, 42.5 GB = 39.6 GiB in Q4_K_M, which the 62 GB machine holds; Q8_0 it does not."""
    shown = view()
    assert value(shown, "weights") / 1e9 == pytest.approx(42.5, abs=0.05)
    assert value(shown, "total") / GIB == pytest.approx(39.6, abs=0.05)
    assert value(shown, "against_f16") * value(shown, "weights") / 1e9 == pytest.approx(141.1, abs=0.05)
    assert shown.drawing["verdict"] == "fits"
    assert "141" in view(mix="F16").drawing["f16"]["gb"]
    assert view(mix="Q8_0").drawing["verdict"] == "over"
    assert view(mix="F16").drawing["verdict"] == "over"


def test_assumed_bandwidth_is_labelled() -> None:
    assert "is our assumption" in words(view())
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
    shown = view()
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
    ram = view(model="llama-3.1-8b", scope="everything")
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
    verdicts = {gib: view(device="own", memory=gib).drawing["verdict"] for gib in (39, 40, 48)}
    assert verdicts == {39: "over", 40: "tight", 48: "fits"}
    assert "your machine" in words(view(device="own", memory=48))


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


def test_the_machines_are_radio_buttons_of_the_form() -> None:
    markup = render("kit/view.jinja", f=figure_context(LESSON, "fit", FigureQuery(Controls()))).decode()
    assert markup.count('name="device"') == len(sources.hardware()) + 1
    assert len(re.findall(r'name="device"[^>]* checked', markup)) == 1
