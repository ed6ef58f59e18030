"""FIG.05E: the reader's sentence, read by the lesson's small model at seven widths: which tokens go first."""

from __future__ import annotations

import numpy as np

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice, line, straight
from lessons.kit.figure import Figure
from lessons.kit.mathml import tex
from lessons.kit.view import Column, Readout, Sentence, Table, View
from lessons.quantization import small_model
from lessons.quantization.small_model import WIDTHS, Reading
from quant_core import evaluate, model, rtn

EXAMPLES = {
    "genesis": "In the beginning God created the heaven and the earth.",
    "macbeth": "Is this a dagger which I see before me, the handle toward my hand?",
    "proverb": "A wise son makes a glad father, but a foolish son brings grief to his mother.",
    "letter": "I thank my God whenever I remember you, always in every request of mine.",
    "modern": "The train to London leaves from platform nine at half past seven.",
}
"""The first three are of the kind that the model was trained on, the letter is of its held-out text."""

MOST_CHARACTERS = 100
LEVELS = (0.1, 0.5, 1.0, 2.0)
"""Nats worse than at 16 bits, from which on each tint applies: p falls to 90, 61, 37 and 14 per cent."""

SHOWN = (16, 4, 3, 2)
"""Widths whose perplexity is a read-out; the drawing has all of them."""

FIRST_AT = 3
"""The width at which the token that suffers most is named."""


class Controls(FigureControls):
    """An example or the reader's own words, and which numbers the continuation is drawn with."""

    example: str = choice("genesis", EXAMPLES)
    sentence: str = line(
        "", most=MOST_CHARACTERS, samples=("", "To be, or not to be", "!?"), instead_of="example"
    )
    seed: str = choice("1", tuple("123456789"))


def view(c: Controls) -> View:
    """The sentence at every width."""
    own = " ".join(straight(c.sentence).split())
    reading = small_model.read(own or EXAMPLES[c.example], int(c.seed))
    perplexity = dict(zip(WIDTHS, reading.perplexities.tolist(), strict=True))
    rises = dict(zip(WIDTHS, reading.rises, strict=True))
    first = int(np.argmax(rises[FIRST_AT]))
    better = int((rises[FIRST_AT] < 0).sum())
    count = len(reading.tokens)
    said = {
        **{f"at_{bits}": numbers.significant(value, 3) for bits, value in perplexity.items()},
        "tokens": str(count),
        "first": visible(reading.tokens[first]),
        "first_rise": numbers.fixed(float(rises[FIRST_AT][first]), 1),
        "first_share": numbers.percent(float(np.exp(-rises[FIRST_AT][first])), 0),
        "better": str(better),
    }
    lowest = min(perplexity, key=lambda bits: perplexity[bits])
    said |= {"lowest": str(lowest)}
    return View(
        readouts=(
            Readout("tokens", count, str(count)),
            *(
                Readout(f"perplexity_{bits}", perplexity[bits], said[f"at_{bits}"], accent=bits == FIRST_AT)
                for bits in SHOWN
            ),
            Readout("first", visible(reading.tokens[first]), visible(reading.tokens[first])),
            Readout("first_rise", float(rises[FIRST_AT][first]), said["first_rise"], "nats"),
        ),
        drawing={"rows": _rows(reading), "levels": [numbers.fixed(level, 1) for level in LEVELS]},
        description=(
            Sentence("perplexities", **said),
            Sentence("first" if rises[FIRST_AT][first] >= LEVELS[0] else "none", **said),
            Sentence("noisy" if lowest == 16 else "luckier", **said),
        ),
        table=Table(
            (
                Column("token"),
                *(Column(f"loss_{bits}", lambda v: numbers.fixed(v, 2)) for bits in WIDTHS),
            ),
            tuple(
                (visible(token), *(float(v) for v in reading.losses[:, i]))
                for i, token in enumerate(reading.tokens)
            ),
            frozenset({first}),
        ),
        formulas=(
            r"\Delta_t = \ln p_{16}(x_t) - \ln p_{b}(x_t), \quad"
            rf"\max_t \Delta_t = {tex(said['first_rise'])} \text{{ at }} b = {FIRST_AT}",
            r"\mathrm{PPL} = \exp\left(-\frac{1}{n}\sum_t \ln p(x_t)\right)"
            rf" = {tex(said[f'at_{FIRST_AT}'])}, \quad n = {count}",
        ),
        ran=(rtn.round_to_nearest, model.Transformer.logits, model.Transformer.generate, evaluate.losses),
        notes=(Sentence("from"), Sentence("one_sentence")),
    )


def visible(token: str) -> str:
    """A token as it is named alone: a space is seen, and so is half a character."""
    return token.replace(" ", "␣").replace("\n", "↵")


def _rows(reading: Reading) -> list[dict[str, object]]:
    return [
        {
            "bits": bits,
            "perplexity": numbers.significant(float(reading.perplexities[row]), 3),
            "tokens": [
                {
                    "text": token,
                    "level": int(np.searchsorted(LEVELS, reading.rises[row, i], side="right")),
                    "rise": numbers.signed(float(reading.rises[row, i]), 1),
                }
                for i, token in enumerate(reading.tokens)
            ],
            "continuation": reading.continuations[row],
        }
        for row, bits in enumerate(WIDTHS)
    ]


FIGURE = Figure("sentence", "fig-05e", "FIG.05E", Controls, view, is_html=True)
