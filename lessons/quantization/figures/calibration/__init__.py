"""FIG.04B: what calibration sees: loud channels, those worth keeping, how much text, and which text."""

from __future__ import annotations

import functools

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
TICKED = (64, 256, 1024, ALL_TOKENS)
"""The second moments of this many tokens are shipped; the first 1024 of X_cal are a part of them."""

TINY_LAYER = "blk.1.ffn_gate.weight"
TINY_WINDOWS = 16
CHANNELS = (*GROUP_SIZES, "tinylm")
METHODS = ("gptq", "awq")
LOOKS = {"gptq": "method-2", "awq": "quantized"}
SOURCE_LOOKS = {"own": "method-1", "play": "quantized", "bible": "method-3"}
CHANNEL_LOOKS = dict(zip(CHANNELS, ("quantized", "method-1", "method-2", "method-4"), strict=True))
KEPT_LOOKS: dict[KeptBy, str] = {"activation": "quantized", "weight": "method-1", "random": "method-2"}
SHOWN_RANKS = 64
"""Channels of which a mark is drawn, the loudest first; the quiet hundreds lie level."""


class Controls(FigureControls):
    """Which of the four questions is asked, and of what."""

    question: str = choice("channels", ("channels", "kept", "amount", "domain"), style="segments")
    bits: str = choice("3", ("4", "3", "2"), style="segments")
    method: str = choice("gptq", METHODS, style="segments")


def view(c: Controls) -> View:
    """One question at a time."""
    if c.question == "channels":
        return _channels()
    if c.question == "kept":
        return _kept(int(c.bits))
    if c.question == "amount":
        return _amount(int(c.bits))
    return _domain(c.method)


# --- loud channels ----------------------------------------------------------------------------------------


@functools.cache
def loudness(name: str) -> NDArray[np.float64]:
    """Mean |x| of each input channel over the median channel's, the loudest first."""
    if name == "tinylm":
        seen = calibrate.statistics(
            measuring.tiny_model(), measuring.calibration()[:TINY_WINDOWS], [TINY_LAYER]
        )
        magnitude = seen[TINY_LAYER].magnitude
    else:
        mean_abs = sources.load_layer(name).mean_abs
        assert mean_abs is not None
        magnitude = mean_abs.astype(np.float64)
    ranked: NDArray[np.float64] = np.sort(magnitude / np.median(magnitude))[::-1]
    return ranked


def _channels() -> View:
    ranked = {name: loudness(name) for name in CHANNELS}
    said = {f"loudest_{i}": numbers.times(float(ranked[name][0]), 1) for i, name in enumerate(CHANNELS)}
    said["columns"] = str(len(ranked[LAYER]))
    top = 1.25 * max(float(values[0]) for values in ranked.values())
    chart = Chart(
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
            *tuple(
                Series(
                    name,
                    tuple(
                        Point(
                            rank,
                            float(value),
                            f"{name}-{rank}",
                            hover=f"{rank} · {numbers.times(float(value), 1)}",
                        )
                        for rank, value in enumerate(ranked[name][:SHOWN_RANKS], 1)
                    ),
                    "line",
                    CHANNEL_LOOKS[name],
                )
                for name in CHANNELS
            ),
            _loudest(ranked[LAYER]),
        ),
        (Rule("y", 1.0, "median_rule", below=True),),
    )
    return View(
        readouts=tuple(
            Readout(
                f"loudest_{i}",
                float(ranked[name][0]),
                numbers.times(float(ranked[name][0]), 1),
                accent=name == LAYER,
            )
            for i, name in enumerate(CHANNELS)
        ),
        drawing={"legend": [(name, CHANNEL_LOOKS[name]) for name in CHANNELS]},
        description=(Sentence("channels", **said), Sentence("no_outliers", **said)),
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
        chart=chart,
    )


def _loudest(ranked: NDArray[np.float64]) -> Series:
    """A mark on the one that the read-outs and the words begin with."""
    value = float(ranked[0])
    point = Point(1, value, "loudest", hover=f"1 · {numbers.times(value, 1)}", marked=True)
    return Series("loudest", (point,), role="quantized")


# --- channels worth keeping -------------------------------------------------------------------------------


def _kept(bits: int) -> View:
    """What is left of RTN's error when some channels keep 16 bits, by how they are chosen."""
    left = {name: kept(name, bits) for name in GROUP_SIZES}
    at = KEPT_SHARES.index(KEEP)
    main, columns = left[LAYER], len(loudness(LAYER))
    said = {
        "bits": str(bits),
        "share": numbers.percent(KEEP, 0),
        "count": str(kept_count(KEEP, columns)),
        "columns": str(columns),
        **{by: numbers.fixed(main[by][at], 2) for by in KEPT_BY},
        **{f"of_{i}": numbers.fixed(left[name]["activation"][at], 2) for i, name in enumerate(GROUP_SIZES)},
        **{
            f"model_{by}": numbers.fixed(sources.measured_row(f"keep-{by}-3-g64").perplexity, 2)
            for by in KEPT_BY
        },
        "model_rtn": numbers.fixed(sources.measured_row("rtn-3-g64").perplexity, 2),
    }
    top = 1.08 * max(1.0, *(max(values) for values in main.values()))
    return View(
        readouts=tuple(
            Readout(f"kept_{by}", main[by][at], said[by], accent=by == "activation") for by in KEPT_BY
        )
        + tuple(
            Readout(f"kept_of_{i}", left[name]["activation"][at], said[f"of_{i}"])
            for i, name in enumerate(GROUP_SIZES)
            if name != LAYER
        ),
        drawing={"legend": [(by, KEPT_LOOKS[by]) for by in KEPT_BY]},
        description=(Sentence("kept", **said), Sentence("kept_elsewhere", **said)),
        table=Table(
            (
                Column("share", lambda v: numbers.percent(v, 2)),
                Column("channels", str),
                *(Column(by, lambda v: numbers.fixed(v, 3)) for by in KEPT_BY),
            ),
            tuple(
                (share, kept_count(share, columns), *(main[by][i] for by in KEPT_BY))
                for i, share in enumerate(KEPT_SHARES)
            ),
            frozenset({at}),
        ),
        formulas=(
            r"\frac{\lVert X_{\mathrm{rest}} (W - \hat W)_{\mathrm{rest}}^\top \rVert^2}"
            r"{\lVert X (W - \hat W)^\top \rVert^2}" + rf" = {tex(said['activation'])}",
        ),
        ran=(awq.channel_order, awq.keep_channels, calibrate.statistics),
        notes=(Sentence("from_kept"), Sentence("kept_in_model", **said)),
        chart=Chart(
            Axis(
                "share_axis",
                (0.0022, 0.115),
                tuple(
                    (v, numbers.percent(v, 0 if v >= KEEP else 2)) for v in (0.0025, KEEP, 0.02, 0.05, 0.1)
                ),
                log=True,
            ),
            Axis(
                "left_axis",
                (0.0, top),
                tuple((v, numbers.fixed(v, 1)) for v in linear_ticks(0.0, top, 5)),
            ),
            tuple(
                Series(
                    by,
                    tuple(
                        Point(
                            share,
                            main[by][i],
                            f"{by}-{i}",
                            hover=f"{numbers.percent(share, 2)} · {numbers.fixed(main[by][i], 2)}",
                            marked=share == KEEP,
                        )
                        for i, share in enumerate(KEPT_SHARES)
                    ),
                    "both",
                    KEPT_LOOKS[by],
                )
                for by in KEPT_BY
            ),
            (Rule("y", 1.0, "all_rounded"),),
        ),
    )


# --- how much text ----------------------------------------------------------------------------------------


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


def _amount(bits: int) -> View:
    found = gains(bits)
    counts = (*TOKENS, ALL_TOKENS)
    crossing = next((n for n, g, a in zip(counts, found["gptq"], found["awq"], strict=True) if g > a), None)
    said = {
        "bits": str(bits),
        "few": str(TOKENS[0]),
        "all": numbers.integer(ALL_TOKENS),
        "crossing": numbers.integer(crossing) if crossing else "–",
        **{f"{name}_few": numbers.times(values[0]) for name, values in found.items()},
        **{f"{name}_all": numbers.times(values[-1]) for name, values in found.items()},
    }
    low = min(0.95, *(min(values) for values in found.values()))
    top = 1.08 * max(max(values) for values in found.values())
    return View(
        readouts=(
            *(
                Readout(
                    f"{name}_{which}", found[name][at], numbers.times(found[name][at]), accent=name == "awq"
                )
                for which, at in (("few", 0), ("all", -1))
                for name in METHODS
            ),
            Readout("crossing", crossing or "", said["crossing"], "tokens" if crossing else ""),
        ),
        drawing={"legend": [(name, LOOKS[name]) for name in METHODS]},
        description=(
            Sentence("amount", **said),
            Sentence("crosses" if crossing else "never_crosses", **said),
        ),
        table=Table(
            (
                Column("tokens", numbers.integer),
                *(Column(name, lambda v: numbers.times(v, 3)) for name in METHODS),
            ),
            tuple((n, *(found[name][i] for name in METHODS)) for i, n in enumerate(counts)),
        ),
        formulas=(
            r"\frac{\lVert X (W - \hat W_{\mathrm{RTN}})^\top \rVert^2}{\lVert X (W - \hat W)^\top \rVert^2}"
            rf" = {tex(said['gptq_all'])} \text{{ (GPTQ)}},\; {tex(said['awq_all'])} \text{{ (AWQ)}}",
        ),
        ran=(gptq.gptq, awq.search_statistics, metrics.relative_output_error_from_hessian),
        notes=(Sentence("from_amount"), Sentence("cannot_show")),
        chart=Chart(
            Axis("tokens_axis", (52, 19000), tuple((n, numbers.integer(n)) for n in TICKED), log=True),
            Axis(
                "gain_axis",
                (low * 0.97, top),
                tuple((v, numbers.times(v, 1)) for v in linear_ticks(low, top, 5)),
            ),
            tuple(
                Series(
                    name,
                    tuple(
                        Point(
                            n,
                            found[name][i],
                            f"{name}-{n}",
                            hover=f"{name.upper()} · {numbers.integer(n)} · {numbers.times(found[name][i])}",
                        )
                        for i, n in enumerate(counts)
                    ),
                    "both",
                    LOOKS[name],
                )
                for name in METHODS
            ),
            (Rule("y", 1.0, "rtn_rule"),),
        ),
    )


# --- which text -------------------------------------------------------------------------------------------


def _domain(method: str) -> View:
    rows = sources.measured_calibration()
    plain = next(row for row in rows if row.method == "rtn")
    by_source = {
        source: [row for row in rows if (row.method, row.source) == (method, source)]
        for source in measuring.SOURCES
    }
    most = {source: of[-1] for source, of in by_source.items()}
    first = {source: of[0] for source, of in by_source.items()}
    same, other = _at(by_source["play"], 4096), _at(by_source["bible"], 4096)
    said = {
        "method": method.upper(),
        "rtn": numbers.fixed(plain.perplexity, 1),
        "same": numbers.fixed(same.perplexity, 1),
        "other": numbers.fixed(other.perplexity, 1),
        "own": numbers.fixed(_at(by_source["own"], 4096).perplexity, 1),
        "error": numbers.fixed(same.perplexity * same.rise_error, 1),
        "few": numbers.integer(first["play"].tokens),
        "few_perplexity": numbers.fixed(first["play"].perplexity, 1),
        "most": numbers.integer(most["play"].tokens),
        "predictions": numbers.integer(sources.measured_conditions()["judged_play"]["predictions"]),
    }
    every = [plain, *(row for of in by_source.values() for row in of)]
    low, high = (pick(row.perplexity for row in every) for pick in (min, max))
    room = max(0.06 * (high - low), 0.3)
    return View(
        readouts=(
            Readout("rtn", plain.perplexity, said["rtn"]),
            Readout("same", same.perplexity, said["same"], accent=True),
            Readout("own", _at(by_source["own"], 4096).perplexity, said["own"]),
            Readout("other", other.perplexity, said["other"]),
        ),
        drawing={"legend": [(source, SOURCE_LOOKS[source]) for source in measuring.SOURCES]},
        description=(
            Sentence("domain", **said),
            Sentence(_verdict(same, first["play"], plain), **said),
        ),
        table=Table(
            (
                Column("tokens", numbers.integer),
                *(Column(source, lambda v: numbers.fixed(v, 2)) for source in measuring.SOURCES),
            ),
            tuple(
                (tokens, *(_perplexity(of, tokens) for of in by_source.values()))
                for tokens in measuring.CALIBRATION_TOKENS
            ),
        ),
        formulas=(r"\mathrm{PPL} = \exp\left(-\frac{1}{n} \sum_t \ln p(x_t)\right)" rf" = {said['same']}",),
        ran=(calibrate.gptq_layers, calibrate.awq_layers, calibrate.statistics),
        notes=(Sentence("from_domain", **said),),
        chart=Chart(
            Axis(
                "tokens_axis",
                (220, 19000),
                tuple((n, numbers.integer(n)) for n in measuring.CALIBRATION_TOKENS),
                log=True,
            ),
            Axis(
                "perplexity_axis",
                (low - room, high + room),
                tuple((v, numbers.fixed(v, 0)) for v in linear_ticks(low - room, high + room, 5)),
            ),
            tuple(
                Series(source, tuple(_calibrated(row) for row in of), "both", SOURCE_LOOKS[source])
                for source, of in by_source.items()
            ),
            (Rule("y", plain.perplexity, "rtn_rule"),),
        ),
    )


def _verdict(enough: MeasuredCalibration, few: MeasuredCalibration, plain: MeasuredCalibration) -> str:
    """What calibration on another play does: it helps, only with text enough, or not."""
    if enough.perplexity >= plain.perplexity:
        return "hurts"
    return "helps" if few.perplexity < plain.perplexity else "needs_enough"


def _at(rows: list[MeasuredCalibration], tokens: int) -> MeasuredCalibration:
    return next(row for row in rows if row.tokens == tokens)


def _perplexity(rows: list[MeasuredCalibration], tokens: int) -> float | None:
    """Of so many tokens, where a source has them."""
    return next((row.perplexity for row in rows if row.tokens == tokens), None)


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


FIGURE = Figure("calibration", "fig-04b", "FIG.04B", Controls, None, view)
