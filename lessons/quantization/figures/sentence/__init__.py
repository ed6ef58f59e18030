"""FIG.05E: the reader's sentence, read by a model at seven widths: which tokens go first.

The small model reads it at once. SmolLM2-135M takes a job (`smollm2_sentence`), whose rows are shown in its
place when this host has them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice, line, readable
from lessons.kit.figure import Figure
from lessons.kit.job import Found, Job, Row
from lessons.kit.mathml import tex
from lessons.kit.view import Column, Limit, Readout, Sentence, Table, View
from lessons.quantization import small_model, smollm2, smollm2_sentence
from lessons.quantization.small_model import WIDTHS, Reading
from quant_core.llm import batch, evaluate
from quant_core.llm.model import Transformer
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


class JobControls(FigureControls):
    """What decides a reading: an example or the reader's own words, and the numbers it is continued with."""

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


class Controls(JobControls):
    """The same, and which model reads it."""

    model: str = choice(
        "tinylm",
        ("tinylm", "smollm2"),
        style="segments",
        ahead=False,
        needs={"smollm2": smollm2.is_installed},
    )


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A sentence as one model reads it at every width; the read-outs have their names.

    `rises` is how much worse each token is predicted at 3 bits than at 16, in nats; `worst` is the place of
    the token that suffers most, which `first` names.
    """

    controls: Controls
    model: str
    reading: Reading
    rises: NDArray[np.float64]
    worst: int
    tokens: int
    perplexity_16: float
    perplexity_4: float
    perplexity_3: float
    perplexity_2: float
    first: str
    first_rise: float


def compute(controls: Controls) -> Result:
    """Read the sentence with the small model, rounded to every width."""
    reading = small_model.read(sentence_of(controls), int(controls.seed))
    return compare(controls, "tinylm", reading)


def compute_smollm2(controls: Controls) -> Result:
    """Read it with SmolLM2-135M, which takes seconds for each width."""
    steps = smollm2_sentence.steps(sentence_of(controls), int(controls.seed))
    reading = reading_of([step.row for step in steps if step.row])
    return compare(controls, "smollm2", reading)


def sentence_of(controls: JobControls) -> str:
    """The sentence that is read."""
    own = " ".join(readable(controls.sentence)[0].split())[:MOST_CHARACTERS]
    return own or EXAMPLES[controls.example]


def compare(controls: Controls, model: str, reading: Reading) -> Result:
    """Compare the widths: the perplexity of the sentence, and the token that 3 bits predict worst."""
    perplexity = dict(zip(WIDTHS, reading.perplexities.tolist(), strict=True))
    rises = reading.losses[WIDTHS.index(FIRST_AT)] - reading.losses[0]
    worst = int(np.argmax(rises))
    return Result(
        controls,
        model,
        reading,
        rises,
        worst,
        tokens=len(reading.tokens),
        perplexity_16=perplexity[16],
        perplexity_4=perplexity[4],
        perplexity_3=perplexity[3],
        perplexity_2=perplexity[2],
        first=visible(reading.tokens[worst]),
        first_rise=float(rises[worst]),
    )


def visible(token: str) -> str:
    """A token that stands alone, with its space and line break made visible."""
    return token.replace(" ", "␣").replace("\n", "↵")


def reading_of(rows: Sequence[Row]) -> Reading:
    """The rows that the job has found, one for each width."""
    losses = np.array([row["losses"] for row in rows])
    return Reading(tuple(rows[0]["tokens"]), losses, tuple(row["continuation"] for row in rows))


def prepare(states: Sequence[Controls]) -> None:
    """Read the sentences of several states in one pass."""
    small_model.read_each(
        [(sentence_of(controls), int(controls.seed)) for controls in states if controls.model == "tinylm"]
    )


def on_found(controls: Controls, found: Found) -> View:
    """The view with what this host has read; the small model's reading stands in for SmolLM2's."""
    if controls.model == "tinylm" or not found.state.finished:
        return view(compute(controls), found)
    return view(compare(controls, "smollm2", reading_of(found.state.rows)), found)


def view(result: Result, found: Found | None = None) -> View:
    controls, reading = result.controls, result.reading
    awaited = ""
    if controls.model != result.model:
        awaited = "read" if found and found.installed else "missing"
    query = urlencode(job_controls(controls).query())
    first_rise = Readout.of(result, "first_rise", lambda v: numbers.fixed(v, 1), "nats")
    perplexities = {
        bits: Readout.of(result, f"perplexity_{bits}", _three, accent=bits == FIRST_AT) for bits in SHOWN
    }
    return View(
        readouts=(
            *perplexities.values(),
            Readout.of(result, "tokens", str),
            Readout.of(result, "first", str),
            first_rise,
        ),
        limits=_unread(controls),
        drawing=drawing_of(reading) | ({"awaited": awaited, "query": query} if awaited else {}),
        description=tuple(_description(result, awaited)),
        table=Table(
            (
                Column("token"),
                *(Column(f"loss_{bits}", lambda v: numbers.fixed(v, 2)) for bits in WIDTHS),
            ),
            tuple(
                (visible(token), *(float(v) for v in reading.losses[:, i]))
                for i, token in enumerate(reading.tokens)
            ),
            frozenset({result.worst}),
        ),
        formulas=(
            r"\Delta_t = \ln p_{16}(x_t) - \ln p_{b}(x_t), \quad"
            rf"\max_t \Delta_t = {tex(first_rise.text)} \text{{ at }} b = {FIRST_AT}",
            r"\mathrm{PPL} = \exp\left(-\frac{1}{n}\sum_t \ln p(x_t)\right)"
            rf" = {tex(perplexities[FIRST_AT].text)}, \quad n = {result.tokens}",
        ),
        ran=(rtn.round_to_nearest, Transformer.logits, batch.generate_each, evaluate.losses),
        notes=(
            (Sentence("from"), Sentence("one_sentence"))
            if result.model == "tinylm"
            else (Sentence("from_smollm2"), Sentence("one_sentence_smollm2"))
        ),
    )


def _description(result: Result, awaited: str) -> Iterator[Sentence]:
    yield Sentence("perplexities_awaited" if awaited else "perplexities")
    share = math.exp(-result.first_rise)
    yield Sentence(
        _suffering(share),
        first_share=numbers.percent(share, 0 if share >= 0.01 else 1),
        better=str(int((result.rises < 0).sum())),
    )
    lowest = WIDTHS[int(np.argmin(result.reading.perplexities))]
    yield Sentence("noisy") if lowest == 16 else Sentence("luckier", lowest=str(lowest))


def _unread(controls: Controls) -> dict[str, Limit]:
    """What is said beside the field of characters that are not read."""
    text, changed = readable(controls.sentence)
    if not changed:
        return {}
    characters = ", ".join(f"“{character}”" for character in changed)
    key = "unread" if text.strip() else "all_unread"
    return {"sentence": Limit(Sentence(key, characters=characters, read=sentence_of(controls)), ())}


def _suffering(share: float) -> str:
    """How the token is told of that keeps this share of its probability, the smallest of all."""
    return "none" if share > math.exp(-LEVELS[0]) else "first" if share >= 0.001 else "first_gone"


def drawing_of(reading: Reading) -> dict[str, object]:
    """The rows of the drawing, as many as there are widths."""
    levels = [numbers.fixed(level, 1) for level in LEVELS]
    return {"rows": _rows(reading), "levels": levels, "awaited": ""}


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


def job_controls(controls: Controls) -> JobControls:
    """The controls without the model."""
    return JobControls(example=controls.example, sentence=controls.sentence, seed=controls.seed)


def job(controls: Controls) -> tuple[str, JobControls] | None:
    """What reads the sentence with SmolLM2 on this host."""
    return ("sentence", job_controls(controls)) if controls.model == "smollm2" else None


JOB = Job(
    "sentence",
    smollm2.is_installed,
    lambda controls, known: smollm2_sentence.steps(sentence_of(controls), int(controls.seed), known),
    drawing=lambda rows: drawing_of(reading_of(rows)),
    figure="sentence",
    figure_query=lambda controls: [*controls.query(), ("model", "smollm2")],
    controls=JobControls,
    asked=lambda controls: {"sentence": sentence_of(controls), "seed": controls.seed},
    depends_on=smollm2.depends_on,
)

FIGURE = Figure(
    *("sentence", "fig-05e", "FIG.05E", Controls, compute, view),
    shows="model",
    is_html=True,
    job=job,
    on_found=on_found,
    compute_job=compute_smollm2,
    prepare=prepare,
)
