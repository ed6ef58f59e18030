"""FIG.05E: the reader's sentence, read by a model at seven widths: which tokens go first.

The small model reads it at once. SmolLM2-135M takes a job (`smollm2_sentence`), whose rows are shown in its
place when this host has them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from urllib.parse import urlencode

import numpy as np

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice, line, readable
from lessons.kit.figure import Figure
from lessons.kit.job import Found, Row
from lessons.kit.mathml import tex
from lessons.kit.view import Column, Limit, Readout, Sentence, Table, View
from lessons.quantization import small_model, smollm2
from lessons.quantization.small_model import WIDTHS, Reading
from quant_core.llm import batch, evaluate, model
from quant_core.methods import rtn

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


class Asked(FigureControls):
    """An example or the reader's own words, and which numbers the continuation is drawn with."""

    example: str = choice("genesis", EXAMPLES)
    sentence: str = line(
        "",
        most=MOST_CHARACTERS,
        samples=("", "To be, or not to be", "!?"),
        instead_of="example",
        slow=True,
        lenient=True,
    )
    seed: str = choice("1", tuple("123456789"))


class Controls(Asked):
    """The same, and which model reads it."""

    model: str = choice(
        "tinylm",
        ("tinylm", "smollm2"),
        style="segments",
        ahead=False,
        needs={"smollm2": smollm2.is_installed},
    )


def said(asked: Asked) -> str:
    """The sentence that is read."""
    own = " ".join(readable(asked.sentence)[0].split())[:MOST_CHARACTERS]
    return own or EXAMPLES[asked.example]


def unread(asked: Asked) -> dict[str, Limit]:
    """What is said beside the field of characters that are not read."""
    text, changed = readable(asked.sentence)
    if not changed:
        return {}
    characters = ", ".join(f"“{character}”" for character in changed)
    reason = Sentence("unread" if text.strip() else "all_unread", characters=characters, read=said(asked))
    return {"sentence": Limit(reason, ())}


def asked_of(c: Controls) -> Asked:
    """What is asked, whichever model reads it."""
    return Asked(example=c.example, sentence=c.sentence, seed=c.seed)


def reading_of(rows: Sequence[Row]) -> Reading:
    """The rows that the job has found, one for each width."""
    losses = np.array([row["losses"] for row in rows])
    return Reading(tuple(rows[0]["tokens"]), losses, tuple(row["continuation"] for row in rows))


def prepare(states: Sequence[Controls]) -> None:
    """Read the sentences of several states in one pass."""
    small_model.read_each([(said(c), int(c.seed)) for c in states if c.model == "tinylm"])


def view(c: Controls) -> View:
    """The sentence at every width."""
    return on_found(c, Found())


def on_found(c: Controls, found: Found) -> View:
    """The same with what this host has of it; the small model's reading stands in for SmolLM2's."""
    small = c.model == "tinylm" or not found.state.finished
    awaited = "" if c.model == "tinylm" or not small else "read" if found.installed else "missing"
    query = urlencode(asked_of(c).query())
    reading = small_model.read(said(c), int(c.seed)) if small else reading_of(found.state.rows)
    perplexity = dict(zip(WIDTHS, reading.perplexities.tolist(), strict=True))
    rises = dict(zip(WIDTHS, reading.rises, strict=True))
    first = int(np.argmax(rises[FIRST_AT]))
    better = int((rises[FIRST_AT] < 0).sum())
    share = float(np.exp(-rises[FIRST_AT][first]))
    count = len(reading.tokens)
    words = {
        **{f"at_{bits}": _three(value) for bits, value in perplexity.items()},
        "tokens": str(count),
        "first": visible(reading.tokens[first]),
        "first_rise": numbers.fixed(float(rises[FIRST_AT][first]), 1),
        "first_share": numbers.percent(share, 0 if share >= 0.01 else 1),
        "better": str(better),
    }
    lowest = min(perplexity, key=lambda bits: perplexity[bits])
    words |= {"lowest": str(lowest)}
    return View(
        readouts=(
            Readout("tokens", count, str(count)),
            *(
                Readout(f"perplexity_{bits}", perplexity[bits], words[f"at_{bits}"], accent=bits == FIRST_AT)
                for bits in SHOWN
            ),
            Readout("first", visible(reading.tokens[first]), visible(reading.tokens[first])),
            Readout("first_rise", float(rises[FIRST_AT][first]), words["first_rise"], "nats"),
        ),
        limits=unread(c),
        drawing=drawing_of(reading) | ({"awaited": awaited, "query": query} if awaited else {}),
        description=(
            Sentence("perplexities_awaited" if awaited else "perplexities", **words),
            Sentence(_suffering(share), **words),
            Sentence("noisy" if lowest == 16 else "luckier", **words),
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
            rf"\max_t \Delta_t = {tex(words['first_rise'])} \text{{ at }} b = {FIRST_AT}",
            r"\mathrm{PPL} = \exp\left(-\frac{1}{n}\sum_t \ln p(x_t)\right)"
            rf" = {tex(words[f'at_{FIRST_AT}'])}, \quad n = {count}",
        ),
        ran=(rtn.round_to_nearest, model.Transformer.logits, batch.generate_each, evaluate.losses),
        notes=(
            (Sentence("from"), Sentence("one_sentence"))
            if small
            else (Sentence("from_smollm2"), Sentence("one_sentence_smollm2"))
        ),
    )


def _suffering(share: float) -> str:
    """How the token is told of that keeps this share of its probability, the smallest of all."""
    return "none" if share > math.exp(-LEVELS[0]) else "first" if share >= 0.001 else "first_gone"


def drawing_of(reading: Reading) -> dict[str, object]:
    """The rows of the drawing, as many as there are widths."""
    levels = [numbers.fixed(level, 1) for level in LEVELS]
    return {"rows": _rows(reading), "levels": levels, "awaited": ""}


def visible(token: str) -> str:
    """A token as it is named alone: a space is seen, and so is half a character."""
    return token.replace(" ", "␣").replace("\n", "↵")


def _three(perplexity: float) -> str:
    """Three digits that count, and zeros behind them: more of one sentence would be noise."""
    return numbers.significant(float(f"{perplexity:.3g}"), 3)


def _rows(reading: Reading) -> list[dict[str, object]]:
    return [
        {
            "bits": bits,
            "perplexity": _three(float(reading.perplexities[row])),
            "tokens": [
                {
                    "text": token,
                    "level": int(np.searchsorted(LEVELS, reading.rises[row, i], side="right")),
                    "rise": numbers.signed(float(reading.rises[row, i]), 1),
                }
                for i, token in enumerate(reading.tokens)
            ],
            "continuation": reading.continuations[row].rstrip(),
        }
        for row, bits in enumerate(WIDTHS[: len(reading.continuations)])
    ]


def job(c: Controls) -> tuple[str, Asked] | None:
    """What reads the sentence with SmolLM2 on this host."""
    return ("sentence", asked_of(c)) if c.model == "smollm2" else None


FIGURE = Figure(
    *("sentence", "fig-05e", "FIG.05E", Controls, None, view),
    is_html=True,
    job=job,
    on_found=on_found,
    prepare=prepare,
)
