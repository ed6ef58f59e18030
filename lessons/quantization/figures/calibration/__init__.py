"""FIG.04B: what calibration sees: loud channels, those worth keeping, how much text, and which text."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.chart import Axis, Chart, Point, Rule, Series
from lessons.kit.controls import FigureControls, choice
from lessons.kit.figure import Figure
from lessons.kit.mathml import tex
from lessons.kit.scales import linear_ticks
from lessons.kit.view import Column, Readout, Sentence, Table, View
from lessons.quantization import measuring, sources
from lessons.quantization.figures.awq import GROUP_SIZES, KEEP, KEPT_BY, KEPT_SHARES, KeptBy, kept, kept_count
from lessons.quantization.sources import MeasuredCalibration
from quant_core.llm import calibrate
from quant_core.methods import awq, gptq, metrics, rtn

LAYER = "minilm.5.ffn_in"
"""The one layer of which calibration activations are shipped, not their second moments alone."""

TOKENS = (64, 128, 256, 512, 1024)
ALL_TOKENS = 15360
"""The second moments of this many tokens are shipped; the first 1024 of X_cal are a part of them."""

COUNTS = (*TOKENS, ALL_TOKENS)
TICKED = (64, 256, 1024, ALL_TOKENS)
AHEAD = 1.01
"""Ratio of two gains from which one is ahead: at four bits and 512 tokens they are all but equal."""

ENOUGH = 4096
"""Calibration tokens of the small model whose perplexities are read out."""

TINY_LAYER = "blk.1.ffn_gate.weight"
TINY_WINDOWS = 16
CHANNELS = (*GROUP_SIZES, "tinylm")
METHODS = ("gptq", "awq")
LOOKS = {"gptq": "method-2", "awq": "quantized"}
SOURCE_LOOKS = {"own": "method-1", "play": "quantized", "bible": "method-3"}
NAMED_AT = {
    "gptq": {"own": (1, "bottom-left"), "play": (-1, "bottom-left"), "bible": (0, "top-right")},
    "awq": {"own": (1, "bottom-left"), "play": (0, "top-right"), "bible": (-1, "bottom-right")},
}
CHANNEL_LOOKS = dict(zip(CHANNELS, ("quantized", "method-1", "method-2", "method-4"), strict=True))
CHANNELS_NAMED_AT = dict(
    zip(
        CHANNELS,
        ((2, "bottom-left"), (3, "bottom-left"), (2, "top-right"), (7, "bottom-left")),
        strict=True,
    )
)
KEPT_LOOKS: dict[KeptBy, str] = {"activation": "quantized", "weight": "method-1", "random": "method-2"}
HEIGHT = 300
SHOWN_RANKS = 64
"""Channels of which a mark is drawn, the loudest first; the quiet hundreds lie level."""


class Controls(FigureControls):
    """Which of the four questions is asked, and of what."""

    question: str = choice("channels", ("channels", "kept", "amount", "domain"), style="segments")
    bits: str = choice("3", ("4", "3", "2"), style="segments")
    method: str = choice("gptq", METHODS, style="segments")


@dataclass(frozen=True, slots=True, eq=False)
class LoudChannels:
    """The mean |x| of the channels of each layer over the median channel's, the loudest first."""

    controls: Controls
    ranked: dict[str, NDArray[np.float64]]
    loudest_0: float
    loudest_1: float
    loudest_2: float
    loudest_3: float


@dataclass(frozen=True, slots=True, eq=False)
class KeptChannels:
    """What is left of RTN's output error when some channels keep 16 bits.

    `left` has it for each of `KEPT_SHARES`, by how the channels are chosen; the read-outs are of `KEEP`, the
    last two by activation in the other layers.
    """

    controls: Controls
    columns: int
    left: dict[KeptBy, tuple[float, ...]]
    kept_activation: float
    kept_weight: float
    kept_random: float
    kept_of_1: float
    kept_of_2: float


@dataclass(frozen=True, slots=True, eq=False)
class TextAmount:
    """RTN's output error over each method's, for each of `COUNTS`.

    `crossing` is the first number of tokens with which GPTQ is ahead by `AHEAD`, "" where there is none.
    """

    controls: Controls
    gains: dict[str, tuple[float, ...]]
    gptq_few: float
    awq_few: float
    gptq_all: float
    awq_all: float
    crossing: int | str


@dataclass(frozen=True, slots=True, eq=False)
class TextKind:
    """Perplexities of the small model after calibration on different texts, as `make measure` found them.

    `rows` has them by source and number of tokens; the read-outs are of `ENOUGH` tokens.
    """

    controls: Controls
    rows: dict[str, dict[int, MeasuredCalibration]]
    rtn: float
    same: float
    own: float
    other: float


def compute(controls: Controls) -> LoudChannels | KeptChannels | TextAmount | TextKind:
    """Answer one of the four questions about calibration."""
    if controls.question == "channels":
        return loud_channels(controls)
    if controls.question == "kept":
        return kept_channels(controls)
    if controls.question == "amount":
        return text_amount(controls)
    return text_kind(controls)


def loud_channels(controls: Controls) -> LoudChannels:
    """Rank the input channels of four layers by loudness."""
    ranked = {name: loudness(name) for name in CHANNELS}
    return LoudChannels(controls, ranked, *(float(values[0]) for values in ranked.values()))


@functools.cache
def loudness(name: str) -> NDArray[np.float64]:
    """Mean |x| of each input channel over the median channel's, the loudest first."""
    if name == "tinylm":
        text = measuring.calibration()[:TINY_WINDOWS]
        magnitude = calibrate.statistics(measuring.tiny_model(), text, [TINY_LAYER])[TINY_LAYER].magnitude
    else:
        mean_abs = sources.load_layer(name).mean_abs
        assert mean_abs is not None
        magnitude = mean_abs.astype(np.float64)
    ranked: NDArray[np.float64] = np.sort(magnitude / np.median(magnitude))[::-1]
    return ranked


def kept_channels(controls: Controls) -> KeptChannels:
    """Round a layer, but for the channels that are loudest, of the largest weights, or drawn at random."""
    left = [kept(name, int(controls.bits)) for name in GROUP_SIZES]
    share = KEPT_SHARES.index(KEEP)
    return KeptChannels(
        controls,
        len(loudness(LAYER)),
        left[0],
        kept_activation=left[0]["activation"][share],
        kept_weight=left[0]["weight"][share],
        kept_random=left[0]["random"][share],
        kept_of_1=left[1]["activation"][share],
        kept_of_2=left[2]["activation"][share],
    )


def text_amount(controls: Controls) -> TextAmount:
    """Calibrate GPTQ and AWQ on more and more tokens."""
    found = gains(int(controls.bits))
    leads = [n for n, g, a in zip(COUNTS, found["gptq"], found["awq"], strict=True) if g > AHEAD * a]
    return TextAmount(
        controls,
        found,
        gptq_few=found["gptq"][0],
        awq_few=found["awq"][0],
        gptq_all=found["gptq"][-1],
        awq_all=found["awq"][-1],
        crossing=leads[0] if leads else "",
    )


@functools.lru_cache(maxsize=3)
def gains(bits: int) -> dict[str, tuple[float, ...]]:
    """RTN's output error over each method's, on text that neither saw, for each number of tokens."""
    layer = sources.load_layer(LAYER)
    assert layer.activations_calibration is not None
    assert layer.activations_test is not None
    assert layer.hessian is not None
    assert layer.mean_abs is not None
    weights, size = layer.weights, GROUP_SIZES[LAYER]
    unseen = layer.activations_test.astype(np.float64)
    moment = unseen.T @ unseen / len(unseen)
    text = layer.activations_calibration.astype(np.float64)
    seen = [(text[:n].T @ text[:n] / n, np.abs(text[:n]).mean(axis=0)) for n in TOKENS]
    seen.append((layer.hessian.astype(np.float64), layer.mean_abs.astype(np.float64)))

    def error(approximation: NDArray[np.floating]) -> float:
        return metrics.relative_output_error_from_hessian(moment, weights, approximation)

    plain = error(rtn.round_to_nearest(weights, bits, size).dequantize())
    return {
        "gptq": tuple(plain / error(gptq.gptq(weights, h, bits, size).dequantized) for h, _ in seen),
        "awq": tuple(
            plain / error(awq.search_statistics(weights, h, mean, bits, size).dequantized) for h, mean in seen
        ),
    }


def text_kind(controls: Controls) -> TextKind:
    """Look up what calibration on a text of each kind does to the whole small model."""
    measured = sources.measured_calibration()
    rows = {
        source: {row.tokens: row for row in measured if (row.method, row.source) == (controls.method, source)}
        for source in measuring.SOURCES
    }
    return TextKind(
        controls,
        rows,
        rtn=next(row.perplexity for row in measured if row.method == "rtn"),
        same=rows["play"][ENOUGH].perplexity,
        own=rows["own"][ENOUGH].perplexity,
        other=rows["bible"][ENOUGH].perplexity,
    )


def view(result: LoudChannels | KeptChannels | TextAmount | TextKind) -> View:
    match result:
        case LoudChannels():
            return _loud_channels(result)
        case KeptChannels():
            return _kept_channels(result)
        case TextAmount():
            return _text_amount(result)
        case TextKind():
            return _text_kind(result)


# --- loud channels ----------------------------------------------------------------------------------------


def _loud_channels(result: LoudChannels) -> View:
    ranked = result.ranked
    return View(
        readouts=tuple(
            Readout.of(result, f"loudest_{i}", lambda v: numbers.times(v, 1), accent=CHANNELS[i] == LAYER)
            for i in (0, 2, 3, 1)
        ),
        drawing={},
        description=(
            Sentence("finding_channels", columns=str(len(ranked[LAYER]))),
            Sentence("channels"),
            Sentence("no_outliers"),
        ),
        table=Table(
            (
                Column("rank", str),
                *(Column(f"channel_{i}", lambda v: numbers.times(v, 2)) for i in range(len(CHANNELS))),
            ),
            tuple(
                (rank + 1, *(float(ranked[name][rank]) for name in CHANNELS)) for rank in range(SHOWN_RANKS)
            ),
            frozenset({0}),
        ),
        formulas=(
            r"\bar{x}_j = \frac{1}{n} \sum_t |x_{tj}|",
            r"\bar{x}_j \,/\, \mathrm{median}_j\, \bar{x}_j",
        ),
        ran=(calibrate.statistics, awq.scales_for),
        notes=(Sentence("from_channels"),),
        source=Sentence("source_channels"),
        chart=_loudness_chart(ranked),
    )


def _loudness_chart(ranked: dict[str, NDArray[np.float64]]) -> Chart:
    top = 1.25 * max(float(values[0]) for values in ranked.values())

    def point(name: str, rank: int, value: float) -> Point:
        return Point(rank, value, f"{name}-{rank}", hover=f"{rank} · {numbers.times(value, 1)}")

    return Chart(
        Axis(
            "rank_axis",
            (0.9, SHOWN_RANKS * 1.1),
            tuple((v, f"{v:g}") for v in (1, 2, 4, 8, 16, 32, 64)),
            log=True,
        ),
        Axis(
            "loudness_axis",
            (0.7, top),
            tuple((v, numbers.times(v, 0)) for v in (1, 2, 5, 10, 20, 50) if v < top),
            log=True,
        ),
        (
            *(
                Series(
                    name,
                    tuple(point(name, rank, float(v)) for rank, v in enumerate(values[:SHOWN_RANKS], 1)),
                    "line",
                    CHANNEL_LOOKS[name],
                    named=CHANNELS_NAMED_AT[name],
                )
                for name, values in ranked.items()
            ),
            _loudest(ranked[LAYER]),
        ),
        (Rule("y", 1.0, "median_rule", below=True),),
        height=HEIGHT,
    )


def _loudest(ranked: NDArray[np.float64]) -> Series:
    """A mark on the one that the read-outs and the words begin with."""
    value = float(ranked[0])
    point = Point(1, value, "loudest", hover=f"1 · {numbers.times(value, 1)}", marked=True)
    return Series("loudest", (point,), role="quantized")


# --- channels worth keeping -------------------------------------------------------------------------------


def _kept_channels(result: KeptChannels) -> View:
    left = result.left

    def readout(name: str, accent: bool = False) -> Readout:
        return Readout.of(result, name, lambda v: numbers.fixed(v, 2), accent=accent)

    share = KEPT_SHARES.index(KEEP)
    remaining: dict[str, str] = {by: numbers.percent(left[by][share], 0) for by in KEPT_BY}
    said = {
        "bits": result.controls.bits,
        "count": str(kept_count(KEEP, result.columns)),
        "columns": str(result.columns),
        **remaining,
    }
    model = {
        **{f"model_{by}": f"keep-{by}-3-g64" for by in KEPT_BY},
        "model_rtn": "rtn-3-g64",
    }
    in_model = {slot: numbers.fixed(sources.measured_row(key).perplexity, 2) for slot, key in model.items()}
    activation = readout("kept_activation", accent=True)
    return View(
        readouts=(
            activation,
            *(readout(name) for name in ("kept_weight", "kept_random", "kept_of_1", "kept_of_2")),
        ),
        drawing={},
        description=(Sentence("finding_kept", **said), Sentence("kept_elsewhere")),
        table=Table(
            (
                Column("share", lambda v: numbers.percent(v, 2)),
                Column("channels", str),
                *(Column(by, lambda v: numbers.fixed(v, 3)) for by in KEPT_BY),
            ),
            tuple(
                (share, kept_count(share, result.columns), *(left[by][i] for by in KEPT_BY))
                for i, share in enumerate(KEPT_SHARES)
            ),
            frozenset({KEPT_SHARES.index(KEEP)}),
        ),
        formulas=(
            r"\frac{\lVert X_{\mathrm{rest}} (W - \hat W)_{\mathrm{rest}}^\top \rVert^2}"
            r"{\lVert X (W - \hat W)^\top \rVert^2}" + rf" = {tex(activation.text)}",
        ),
        ran=(awq.channel_order, awq.keep_channels, calibrate.statistics),
        notes=(Sentence("from_kept"), Sentence("kept_in_model", **in_model)),
        source=Sentence("source_kept"),
        chart=_kept_chart(left),
    )


def _kept_chart(left: dict[KeptBy, tuple[float, ...]]) -> Chart:
    top = 1.08 * max(1.0, *(max(values) for values in left.values()))
    shares = (0.0025, KEEP, 0.02, 0.05, 0.1)

    def point(by: str, i: int, value: float) -> Point:
        share = KEPT_SHARES[i]
        hover = f"{numbers.percent(share, 2)} · {numbers.fixed(value, 2)}"
        return Point(share, value, f"{by}-{i}", hover=hover, marked=share == KEEP)

    return Chart(
        Axis(
            "share_axis",
            (0.0022, 0.21),
            tuple((v, numbers.percent(v, 0 if v >= KEEP else 2)) for v in shares),
            log=True,
        ),
        Axis("left_axis", (0.0, top), tuple((v, numbers.fixed(v, 1)) for v in linear_ticks(0.0, top, 5))),
        tuple(
            Series(
                by,
                tuple(point(by, i, v) for i, v in enumerate(left[by])),
                "both",
                KEPT_LOOKS[by],
                named=(-1, "right" if by != "activation" else "bottom"),
            )
            for by in KEPT_BY
        ),
        (Rule("y", 1.0, "all_rounded"),),
        height=HEIGHT,
    )


# --- how much text ----------------------------------------------------------------------------------------


def _text_amount(result: TextAmount) -> View:
    found = result.gains
    readouts = [
        Readout.of(result, f"{name}_{which}", numbers.times, accent=name == "awq")
        for which in ("all", "few")
        for name in METHODS
    ]
    texts = {readout.name: tex(readout.text) for readout in readouts}
    crosses = result.crossing != ""
    said = {
        "bits": result.controls.bits,
        "few": str(TOKENS[0]),
        "all": numbers.integer(ALL_TOKENS),
    }
    return View(
        readouts=(
            *readouts[:2],
            Readout.of(
                result,
                "crossing",
                lambda v: numbers.integer(v) if crosses else "–",
                "tokens" if crosses else "",
            ),
            *readouts[2:],
        ),
        drawing={},
        description=(
            Sentence("finding_amount" if crosses else "finding_amount_never", **said),
            Sentence("amount"),
        ),
        table=Table(
            (
                Column("tokens", numbers.integer),
                *(Column(name, lambda v: numbers.times(v, 3)) for name in METHODS),
            ),
            tuple((n, *(found[name][i] for name in METHODS)) for i, n in enumerate(COUNTS)),
        ),
        formulas=(
            r"\frac{\lVert X (W - \hat W_{\mathrm{RTN}})^\top \rVert^2}{\lVert X (W - \hat W)^\top \rVert^2}"
            rf" = {texts['gptq_all']} \text{{ (GPTQ)}},\; {texts['awq_all']} \text{{ (AWQ)}}",
        ),
        ran=(gptq.gptq, awq.search_statistics, metrics.relative_output_error_from_hessian),
        notes=(Sentence("from_amount"), Sentence("cannot_show")),
        source=Sentence("source_amount"),
        chart=_gain_chart(found),
    )


def _gain_chart(found: dict[str, tuple[float, ...]]) -> Chart:
    low = min(0.95, *(min(values) for values in found.values()))
    top = 1.08 * max(max(values) for values in found.values())

    def point(name: str, tokens: int, value: float) -> Point:
        hover = f"{name.upper()} · {numbers.integer(tokens)} · {numbers.times(value)}"
        return Point(tokens, value, f"{name}-{tokens}", hover=hover)

    return Chart(
        Axis("tokens_axis", (52, 19000), tuple((n, numbers.integer(n)) for n in TICKED), log=True),
        Axis(
            "gain_axis",
            (low * 0.97, top),
            tuple((v, numbers.times(v, 1)) for v in linear_ticks(low, top, 5)),
        ),
        tuple(
            Series(
                name,
                tuple(point(name, n, v) for n, v in zip(COUNTS, found[name], strict=True)),
                "both",
                LOOKS[name],
                named=(-2, "top-left" if name == "gptq" else "bottom"),
            )
            for name in METHODS
        ),
        (Rule("y", 1.0, "rtn_rule"),),
        height=HEIGHT,
    )


# --- which text -------------------------------------------------------------------------------------------


def _text_kind(result: TextKind) -> View:
    few, enough = (result.rows["play"][tokens] for tokens in (measuring.CALIBRATION_TOKENS[0], ENOUGH))
    readouts = [
        Readout.of(result, name, lambda v: numbers.fixed(v, 1), accent=name == "same")
        for name in ("same", "other", "rtn", "own")
    ]
    predictions = sources.measured_conditions()["judged_play"]["predictions"]
    verdict = _verdict(result, few)
    said = {
        "method": result.controls.method.upper(),
        "enough": numbers.integer(ENOUGH),
        "error": numbers.fixed(enough.perplexity * enough.rise_error, 1),
        "few": numbers.integer(few.tokens),
        "few_perplexity": numbers.fixed(few.perplexity, 1),
    }
    return View(
        readouts=tuple(readouts),
        drawing={},
        description=(
            Sentence(f"finding_{verdict}", **said),
            Sentence("domain", **said),
            Sentence(verdict, **said),
        ),
        table=Table(
            (
                Column("tokens", numbers.integer),
                *(Column(source, lambda v: numbers.fixed(v, 2)) for source in measuring.SOURCES),
            ),
            tuple(
                (n, *(of[n].perplexity if n in of else None for of in result.rows.values()))
                for n in measuring.CALIBRATION_TOKENS
            ),
        ),
        formulas=(
            r"\mathrm{PPL} = \exp\left(-\frac{1}{n} \sum_t \ln p(x_t)\right)" rf" = {readouts[0].text}",
        ),
        ran=(calibrate.gptq_layers, calibrate.awq_layers, calibrate.statistics),
        notes=(Sentence("from_domain", predictions=numbers.integer(predictions)),),
        source=Sentence("source_domain"),
        chart=_perplexity_chart(result),
    )


def _perplexity_chart(result: TextKind) -> Chart:
    """Both methods are drawn on one scale: what is small beside the other looks small."""
    every = [row.perplexity for row in sources.measured_calibration()]
    room = 0.06 * (max(every) - min(every))
    low, high = min(every) - 1.5 * room, max(every) + room
    counts = measuring.CALIBRATION_TOKENS
    return Chart(
        Axis("tokens_axis", (220, 19000), tuple((n, numbers.integer(n)) for n in counts), log=True),
        Axis(
            "perplexity_axis",
            (low, high),
            tuple((v, numbers.fixed(v, 0)) for v in linear_ticks(low, high, 5)),
        ),
        tuple(
            Series(
                source,
                tuple(_calibrated(row) for row in of.values()),
                "both",
                SOURCE_LOOKS[source],
                named=NAMED_AT[result.controls.method][source],
            )
            for source, of in result.rows.items()
        ),
        (Rule("y", result.rtn, "rtn_rule"),),
        height=HEIGHT,
    )


def _verdict(result: TextKind, few: MeasuredCalibration) -> str:
    """What calibration on another play does: it helps, only with text enough, or not."""
    if result.same >= result.rtn:
        return "hurts"
    return "helps" if few.perplexity < result.rtn else "needs_enough"


def _calibrated(row: MeasuredCalibration) -> Point:
    """The error bar is that of the difference from 16 bits: the text is the same for all marks."""
    error = row.perplexity * row.rise_error
    return Point(
        row.tokens,
        row.perplexity,
        f"{row.source}-{row.tokens}",
        hover=f"{numbers.integer(row.tokens)} · {numbers.fixed(row.perplexity, 2)} "
        f"± {numbers.fixed(error, 2)}",
        error=error,
    )


FIGURE = Figure("calibration", "fig-04b", "FIG.04B", Controls, compute, view, shows="layer")
