"""The opening's figure: a sentence continued by a small model at falling widths, and the file of a large one.

The sentences were recorded by `scripts/record_continuations.py`. The sizes are those of llama.cpp's file
types, and what a machine has left is what FIG.06 says as it opens: with a cache and the buffers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice, slider
from lessons.kit.figure import Figure
from lessons.kit.language import current_language
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale
from lessons.kit.view import Column, Readout, Sentence, Table, View
from lessons.quantization import sources
from lessons.quantization.figures import fit
from lessons.quantization.sources import Continuation
from quant_core import memory
from quant_core.memory import GIB

FILE_TYPES = {
    16: "F16", 8: "Q8_0", 6: "Q6_K", 5: "Q5_K_M", 4: "Q4_K_M", 3: "Q3_K_M", 2: "Q2_K",
}  # fmt: skip
"""Bits → the file type of llama.cpp that keeps so many of most weights."""

WIDTHS = tuple(FILE_TYPES)
MODEL = "llama-3.1-70b"
LAPTOP, CARD = "mac-m1-max-64", "rtx-5090"

ANSWERS = {"capital": "Paris", "king": "king", "moon": "Neil Armstrong"}
"""Sentence → what a model that knows goes on with."""

DEBRIS = 1e4
"""A text of this perplexity under the unrounded model is no language: a draw from ten thousand tokens."""

SHOWN_CANDIDATES = 3
MOST_LETTERS = 7
"""Of a first word under its stop; on a phone a longer one would meet its neighbours."""


class Controls(FigureControls):
    step: int = slider(WIDTHS.index(3), low=0, high=len(WIDTHS) - 1, show=lambda step: str(WIDTHS[int(step)]))
    prompt: str = choice("capital", ANSWERS, style="drawn")


@dataclass(frozen=True, slots=True)
class Width:
    """A sentence's continuation and a model's file at one width; sizes and what is spare are in bytes.

    `size` is the file, `need` what running it takes on the laptop.
    """

    bits: int
    written: Continuation
    file_type: str
    size: int
    need: int
    bits_per_weight: float
    laptop_spare: int
    card_spare: int

    @property
    def line(self) -> str:
        """The first line of what was written: the sentence that the figure shows."""
        return self.written.text.lstrip("\n").partition("\n")[0].rstrip()

    @property
    def fate(self) -> str:
        """Whether the small model "knows" the answer, has "lost" it, or writes "debris"."""
        if ANSWERS[self.written.sentence] in self.line:
            return "knows"
        return "debris" if self.written.perplexity > DEBRIS else "lost"

    @property
    def fits(self) -> str:
        """Which machines run the file."""
        return "neither" if self.laptop_spare < 0 else "laptop" if self.card_spare < 0 else "both"


@dataclass(frozen=True, slots=True)
class Result:
    """All widths of a sentence and the chosen one. The read-outs have its names, in GB."""

    controls: Controls
    widths: tuple[Width, ...]
    chosen: Width
    file_size: float
    laptop_spare: float
    card_spare: float

    @property
    def is_quantized(self) -> bool:
        """Whether anything was rounded."""
        return self.controls.step > 0


def compute(controls: Controls) -> Result:
    """Look up what was written at each width, and hold the file of each against both machines."""
    widths = tuple(at_width(controls.prompt, bits) for bits in WIDTHS)
    chosen = widths[controls.step]
    return Result(
        controls,
        widths,
        chosen,
        file_size=chosen.size / 1e9,
        laptop_spare=chosen.laptop_spare / 1e9,
        card_spare=chosen.card_spare / 1e9,
    )


def at_width(prompt: str, bits: int) -> Width:
    """A sentence and the 70B at one width."""
    shape, file_type = sources.model(MODEL).shape, FILE_TYPES[bits]
    footprint = fit.footprint_of(fit.run_of(fit.Controls(model=MODEL, mix=file_type)))
    laptop, card = (fit.outcome_on(footprint, sources.device(machine)) for machine in (LAPTOP, CARD))
    return Width(
        bits,
        sources.continuations()[prompt, bits],
        file_type,
        memory.weight_bytes(shape, file_type),
        laptop.need.total,
        memory.bits_per_weight(shape, file_type),
        laptop.margin,
        card.margin,
    )


def view(result: Result) -> View:
    chosen = result.chosen
    size = Readout.of(
        result, "file_size", lambda v: numbers.fixed(v, 1), "GB", accent=chosen.bits < WIDTHS[0]
    )
    return View(
        readouts=(
            size,
            Readout.of(result, "laptop_spare", lambda v: numbers.signed(v, 1), "GB"),
            Readout.of(result, "card_spare", lambda v: numbers.signed(v, 1), "GB"),
        ),
        drawing=_drawing(result),
        description=(
            Sentence(_finding(result), bits=str(chosen.bits)),
            Sentence(
                "file",
                type=chosen.file_type,
                size=numbers.gigabytes(chosen.size),
                bpw=numbers.fixed(chosen.bits_per_weight, 2),
            ),
            Sentence("first", candidates=_candidates(chosen.written)),
        ),
        table=_table(result),
        formulas=(
            r"\mathrm{size} = \sum_{\mathrm{tensors}} \frac{n}{n_\mathrm{block}}\, b_\mathrm{block}"
            rf" = {tex(size.text)} \times 10^9 \;\mathrm{{bytes}}",
        ),
        ran=(memory.weight_bytes, memory.bits_per_weight),
        notes=_notes(),
    )


def _notes() -> tuple[Sentence, ...]:
    conditions = sources.continuation_conditions()
    laptop, card = sources.device(LAPTOP), sources.device(CARD)
    return (
        Sentence(
            "recorded",
            day=current_language().date(date.fromisoformat(conditions["made"])),
            package=conditions["package"],
            tokens=str(conditions["tokens"]),
            group_size=str(conditions["group_size"]),
        ),
        Sentence("already_q4_1"),
        Sentence("larger"),
        Sentence(
            "machines",
            laptop=numbers.gigabytes(laptop.usable_bytes),
            share=numbers.percent(laptop.usable_bytes / laptop.memory_bytes, 0),
            card=numbers.gigabytes(card.usable_bytes),
            context=numbers.integer(int(fit.Controls().context)),
        ),
    )


def _finding(result: Result) -> str:
    """The key of the first sentence: where the file fits, and what became of the sentence."""
    chosen = result.chosen
    subject = "" if chosen.fate == "debris" else f"_{result.controls.prompt}"
    return f"{chosen.fits}_{chosen.fate}{subject}"


def _drawing(result: Result) -> dict[str, Any]:
    chosen = result.chosen
    sentences = sources.continuation_conditions()["sentences"]
    x = Scale((0.0, float(result.widths[0].need)))
    machines = {"card": sources.device(CARD), "laptop": sources.device(LAPTOP)}
    spare = {"card": chosen.card_spare, "laptop": chosen.laptop_spare}
    return {
        "sentence": sentences[result.controls.prompt],
        "prompts": list(ANSWERS),
        "stops": [
            {
                "bits": str(width.bits),
                "first": _shortened(width.line.split()[0]),
                "line": _ended(width),
                "chosen": width is chosen,
            }
            for width in result.widths
        ],
        "quantized": result.is_quantized,
        "bar": x.percent(chosen.size),
        "size": numbers.gigabytes(chosen.size),
        "rest": {
            "width": f"{x(chosen.need) - x(chosen.size):.2f}%",
            "size": numbers.gigabytes(chosen.need - chosen.size, 1),
        },
        "whole": {
            "width": x.percent(result.widths[0].size),
            "size": numbers.gigabytes(result.widths[0].size),
        },
        "ticks": [
            {"x": x.percent(width.size), "bits": str(width.bits), "chosen": width is chosen}
            for width in result.widths
        ],
        "machines": [
            {
                "key": key,
                "x": x.percent(device.usable_bytes),
                "gb": str(device.memory_bytes // GIB),
                "usable": numbers.gigabytes(device.usable_bytes),
                "holds": spare[key] >= 0,
            }
            for key, device in machines.items()
        ],
    }


def _ended(width: Width) -> str:
    """The shown line; an ellipsis where the recording breaks off within it."""
    broken_off = "\n" not in width.written.text.lstrip("\n") and not width.line.endswith(".")
    return width.line + "…" * broken_off


def _shortened(word: str) -> str:
    return word if len(word) <= MOST_LETTERS else f"{word[: MOST_LETTERS - 1]}…"


def _candidates(written: Continuation) -> str:
    return ", ".join(
        f"“{_visible(token)}” {numbers.percent(probability)}"
        for token, probability in written.candidates[:SHOWN_CANDIDATES]
    )


def _visible(text: str) -> str:
    return text.strip(" ").replace("\n", "↵") or "␣"


def _table(result: Result) -> Table:
    columns = (
        Column("bits", str),
        Column("written"),
        Column("first"),
        Column("probability", numbers.percent),
        Column("perplexity", numbers.significant),
        Column("file_type"),
        Column("bits_per_weight", lambda v: numbers.fixed(v, 2)),
        Column("file_size", lambda v: numbers.fixed(v, 1)),
        Column("laptop_spare", lambda v: numbers.signed(v, 1)),
        Column("card_spare", lambda v: numbers.signed(v, 1)),
    )
    rows = tuple(
        (
            width.bits,
            _visible(width.written.text),
            _visible(width.written.candidates[0][0]),
            width.written.candidates[0][1],
            width.written.perplexity,
            width.file_type,
            width.bits_per_weight,
            width.size / 1e9,
            width.laptop_spare / 1e9,
            width.card_spare / 1e9,
        )
        for width in result.widths
    )
    return Table(columns, rows, frozenset({result.controls.step}))


FIGURE = Figure("hero", "fig-hero", "FIG.0", Controls, compute, view, shows="model", is_html=True)
