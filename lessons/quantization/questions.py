"""A question before each main figure; its answer is read off the figure's own view.

No answer is written down: answers are read-outs, charts and arrays of the views, computed after the guess.
Each question asks for a state that the page does not show. A guess is marked on the figure as what it claims:
the weights that would have to land on zero, the gap that there would be, the place where nearest would stand.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lessons.kit import numbers
from lessons.kit.controls import choice, slider
from lessons.kit.question import (
    CHART,
    Guess,
    Mark,
    Place,
    Question,
    Reveal,
    Verdict,
    answered_by,
    difference_off,
    printed,
    ratio_off,
)
from lessons.kit.view import Sentence, View
from lessons.quantization.anatomy import byte_roles, flipped
from lessons.quantization.blocks import block_weights
from lessons.quantization.figures import (
    awq,
    budget,
    cache,
    fit,
    fourbit,
    gptq,
    offload,
    primitive,
    quality,
    rotation,
    rounding,
    rtn,
    speed,
    trained,
    xray,
)
from lessons.quantization.figures.rtn.levels import snap_to_grid
from quant_core.memory import GIB
from quant_core.methods.awq import GRID


def readout(view: View, name: str) -> float:
    """The raw value of a read-out."""
    return float(next(shown.value for shown in view.readouts if shown.name == name))


def _reveal(
    name: str,
    guess: Guess | None,
    truth: str,
    *,
    verdict: Verdict,
    why: str,
    slots: dict[str, str],
    marks: tuple[Mark, ...],
    controls: Any,
    distance: Sentence | None = None,
    place: float | None = None,
) -> Reveal:
    """The sentences are `so` and the reason that fits the guess; skipped, that of a right guess."""
    own = None if guess is None else printed(QUESTIONS[name].widget, guess)
    if own is None:
        verdict, why, distance = "skipped", "right", None
    values = slots | {"truth": truth, "guess": own or ""}
    sentences = (Sentence("so", **values), Sentence(f"why_{why}", **values))
    thought = "" if own is None else why
    return Reveal(truth, own, verdict, distance, sentences, marks, controls, place, thought)


def _marks(
    plot: str, guess: tuple[str, Place, Place] | None, truth: tuple[str, Place, Place] | None
) -> tuple[Mark, ...]:
    """Guess and truth on a plot, each with its text and its places along x and y, where there are any."""
    marks = (Mark("guess", plot, *guess) if guess else None, Mark("truth", plot, *truth) if truth else None)
    return tuple(mark for mark in marks if mark)


# --- FIG.0A: how many weights land on zero ------------------------------------------------------------------

ZERO_AT = primitive.Controls(bits="2")


def _reach(count: float) -> float:
    """How far from zero the level of zero would have to reach for that many weights to land on it."""
    sizes = np.sort(np.abs(block_weights(ZERO_AT.block, primitive.GROUP_SIZE).astype(np.float64)))
    between = np.concatenate([[0.0], (sizes[:-1] + sizes[1:]) / 2, [sizes[-1]]])
    return float(between[int(count)])


def _zeros(guess: Guess | None) -> Reveal:
    weights = block_weights(ZERO_AT.block, primitive.GROUP_SIZE)
    block = primitive.compute(ZERO_AT)
    levels = 2 ** int(ZERO_AT.bits)
    total, truth = len(weights), int(np.count_nonzero(block.codes == block.zero_point))
    even = total / levels
    own = None if guess is None else float(guess)
    off = abs((own or 0) - truth)
    why = (
        "right"
        if off <= 2
        else "even"
        if abs((own or 0) - even) <= 3
        else "few"
        if (own or 0) < truth
        else "many"
    )
    half, reach = block.scale / 2, _reach(own or 0)
    marks = _marks(
        "weights",
        None if own is None else (str(guess), (-reach, reach), None),
        (str(truth), (-half, half), None),
    )
    slots = {"total": str(total), "levels": str(levels), "even": numbers.integer(even)}
    verdict: Verdict = "right" if off <= 2 else "close" if off <= 5 else "off"
    return _reveal(
        "primitive",
        guess,
        str(truth),
        verdict=verdict,
        why=why,
        slots=slots,
        marks=marks,
        controls=ZERO_AT,
        distance=None if own is None else difference_off(own, truth, numbers.integer, counted=True),
        place=truth,
    )


def _primitive_given() -> dict[str, str]:
    return {"total": str(primitive.GROUP_SIZE), "levels": str(2 ** int(ZERO_AT.bits))}


# --- FIG.02: half the bits ----------------------------------------------------------------------------------

FINE, COARSE = rtn.Controls(bits=6), rtn.Controls(bits=3)


def _spacing(guess: Guess | None) -> Reveal:
    fine, coarse = (readout(rtn.FIGURE.view(c), "step") for c in (FINE, COARSE))
    truth = coarse / fine
    twice, powers = 2.0, 2.0 ** (FINE.bits - COARSE.bits)
    own = None if guess is None else float(guess)
    off = abs((own or 0) - truth)
    why = (
        "right"
        if off < 0.5
        else "powers"
        if own == powers
        else "twice"
        if (own or 0) <= twice + 1
        else "few"
        if (own or 0) < truth
        else "many"
    )
    weights = block_weights(COARSE.block, int(COARSE.group_size))
    kept = snap_to_grid(weights, COARSE.bits, COARSE.scheme)
    foot = float(kept.levels[len(kept.levels) // 2])  # from a middle level up, where few weights are
    at = _gap(np.maximum(weights, kept.values) <= foot)
    truth_text = numbers.times(truth, 0)
    marks = _marks(
        "levels",
        None if own is None else (f"{guess}×", at - 0.5, (foot, foot + own * fine)),
        (truth_text, at + 0.5, (foot, foot + coarse)),
    )
    slots = {
        "fine": numbers.significant(fine),
        "coarse": numbers.significant(coarse),
        "fine_steps": str(2**FINE.bits - 1),
        "coarse_steps": str(2**COARSE.bits - 1),
        "powers": numbers.integer(powers),
    }
    verdict: Verdict = "right" if off < 0.5 else "close" if off <= 2 else "off"
    return _reveal(
        "rtn",
        guess,
        truth_text,
        verdict=verdict,
        why=why,
        slots=slots,
        marks=marks,
        controls=COARSE,
        distance=None if own is None else ratio_off(own, truth),
        place=truth,
    )


def _gap(free: Any) -> float:
    """The middle of the longest run of free columns."""
    runs = "".join("x "[not one] for one in free).split(" ")
    longest = max(runs, key=len)
    return " ".join(runs).index(longest) + (len(longest) - 1) / 2


# --- FIG.02B: a power of two for half a block ---------------------------------------------------------------

HALVES = fourbit.Controls(scale="e8m0", size="16")


def _halves(guess: Guess | None) -> Reveal:
    result, half = fourbit.compute(HALVES), int(HALVES.size)
    truth, whole = 100 * result.error, 100 * result.mxfp4_error
    own = None if guess is None else float(guess)
    off = abs((own or 0) - truth)
    why = (
        "right"
        if off <= 0.3
        else "none"
        if (own or 0) <= 0.2 * whole
        else "half"
        if (own or 0) <= 0.6 * whole
        else "finer"
        if (own or 0) < 0.95 * whole
        else "same"
        if (own or 0) <= 1.1 * whole
        else "low"
        if (own or 0) < truth
        else "high"
    )
    largest, top = float(np.abs(result.weights[half:]).max()), float(result.own.levels[1].max())
    percent: Callable[[float], str] = lambda v: numbers.percent(v / 100, 2)  # noqa: E731
    marks = _marks("errors", None if own is None else (percent(own), (0.0, own / 100), None), None)
    slots = {
        "whole": percent(whole),
        "largest": numbers.significant(largest),
        "top": numbers.significant(top),
        "size": HALVES.size,
        "n": str(fourbit.SIZE),
    }
    verdict: Verdict = "right" if off <= 0.3 else "close" if off <= 0.7 else "off"
    return _reveal(
        "fourbit",
        guess,
        percent(truth),
        verdict=verdict,
        why=why,
        slots=slots,
        marks=marks,
        controls=HALVES,
        distance=None if own is None else difference_off(own, truth, percent),
        place=truth,
    )


def _fourbit_given() -> dict[str, str]:
    error = readout(fourbit.FIGURE.view(HALVES), "mxfp4_error")
    return {"whole": numbers.percent(error, 2), "size": HALVES.size, "n": str(fourbit.SIZE)}


# --- FIG.03: how many roundings beat the nearest ------------------------------------------------------------

CROWD = rounding.Controls(n=12)


def _power(exponent: float) -> str:
    return "0" if exponent == 0 else f"≈{2 ** int(exponent)}"


def _beaten(guess: Guess | None) -> Reveal:
    crowd = rounding.crowd_of(CROWD.pair, int(CROWD.bits), CROWD.n)
    truth, total = crowd.rank - 1, 2**CROWD.n
    at = math.log2(max(1, truth))
    own = None if guess is None else float(guess)
    off = abs((own or 0) - at)
    why = "right" if off <= 1 else "none" if (own or 0) <= 1 else "few" if (own or 0) < at else "many"
    # Were the guess right, nearest would stand where that many roundings do better.
    beaten = min(2 ** int(own) if own else 0, total - 1)
    error = float(np.sort(crowd.errors)[beaten])
    marks = _marks("crowd", None if own is None else (_power(own), error, None), None)
    slots = {
        "total": numbers.integer(total),
        "n": str(CROWD.n),
        "share": numbers.percent(truth / total, 0),
        "nearest": numbers.significant(crowd.nearest),
        "best": numbers.significant(crowd.best, 2),
    }
    verdict: Verdict = "right" if off <= 1 else "close" if off <= 2 else "off"
    truth_text = numbers.integer(truth)
    return _reveal(
        "rounding",
        guess,
        truth_text,
        verdict=verdict,
        why=why,
        slots=slots,
        marks=marks,
        controls=CROWD,
        distance=None
        if own is None
        else difference_off(2**own if own else 0, truth, numbers.integer, counted=True),
        place=at,
    )


# --- FIG.03B: what is left of RTN's error -------------------------------------------------------------------

TWO_BITS = gptq.Controls(bits="2", step=gptq.COLUMNS)


def _left_over(guess: Guess | None) -> Reveal:
    run = gptq.run_of(TWO_BITS.slice, int(TWO_BITS.bits), TWO_BITS.order == "act-order")
    ours, theirs = float(run.running[-1]), float(run.rtn[-1])
    truth = 100 * ours / theirs
    own = None if guess is None else float(guess)
    off = abs((own or 0) - truth)
    why = (
        "right"
        if off <= 7.5
        else "all"
        if (own or 0) <= 10
        else "none"
        if (own or 0) >= 90
        else "less"
        if (own or 0) < truth
        else "more"
    )
    percent: Callable[[float], str] = lambda v: numbers.percent(v / 100, 0)  # noqa: E731
    marks = _marks(
        "running",
        None if own is None else (percent(own), None, own / 100 * theirs),
        (percent(truth), None, ours),
    )
    slots = {
        "ours": numbers.percent(ours, run.places),
        "theirs": numbers.percent(theirs, run.places),
        "columns": str(gptq.COLUMNS),
        "last": numbers.percent(float(run.after[-1] / run.running[-1]), 0),
    }
    verdict: Verdict = "right" if off <= 7.5 else "close" if off <= 15 else "off"
    return _reveal(
        "gptq",
        guess,
        percent(truth),
        verdict=verdict,
        why=why,
        slots=slots,
        marks=marks,
        controls=TWO_BITS,
        distance=None if own is None else difference_off(own, truth, percent),
        place=truth,
    )


# --- FIG.04: the best α where no channel is loud ------------------------------------------------------------

QUIET = awq.Controls(layer="minilm.1.query", alpha=0)


def _best_alpha(guess: Guess | None) -> Reveal:
    sweep, usual = awq.sweep(QUIET.layer, int(QUIET.bits)), awq.Controls()
    truth, loud = sweep.alpha, awq.sweep(usual.layer, int(usual.bits))
    own = None if guess is None else float(guess)
    off = abs((own or 0) - truth)
    why = (
        "right"
        if off < 0.075
        else "sharper"
        if (own or 0) >= 0.8
        else "constant"
        if abs((own or 0) - loud.alpha) < 0.075
        else "nothing"
        if own == 0
        else "high"
        if (own or 0) > truth
        else "low"
    )
    best, at_own = (round(alpha * GRID) for alpha in (truth, own or 0))
    text = functools.partial(numbers.fixed, places=2)
    marks = _marks("error", None if own is None else (text(own), own, None), (text(truth), truth, None))
    slots = {
        "loudness": numbers.times(sweep.loudness, 1),
        "loud": numbers.times(loud.loudness, 1),
        "usual": text(loud.alpha),
        "gain": numbers.percent(1 - float(sweep.calibration[best] / sweep.calibration[0]), 0),
        "cost": numbers.times(float(sweep.calibration[at_own] / sweep.calibration[0])),
    }
    verdict: Verdict = "right" if off < 0.075 else "close" if off < 0.175 else "off"
    controls = awq.Controls(layer=QUIET.layer, alpha=truth)
    return _reveal(
        "awq",
        guess,
        text(truth),
        verdict=verdict,
        why=why,
        slots=slots,
        marks=marks,
        controls=controls,
        distance=None if own is None else difference_off(own, truth, text),
        place=truth,
    )


def _awq_given() -> dict[str, str]:
    return {"loudness": numbers.times(awq.sweep(QUIET.layer, int(QUIET.bits)).loudness, 1)}


# --- FIG.05: beyond the cliff -------------------------------------------------------------------------------

LOWEST, KNOWN = "IQ1_S", "IQ2_M"
CLIFF = quality.Controls(data="base", scheme=LOWEST)


def _base_row(scheme: str) -> quality.Row:
    return next(row for row in quality.rows_of("base") if row.scheme == scheme)


def _perplexity(scheme: str) -> float:
    """The perplexity of a row, with an imatrix where there is one."""
    row = _base_row(scheme)
    measured = row.perplexity_imatrix or row.perplexity
    assert measured is not None
    return measured


def _cliff(guess: Guess | None) -> Reveal:
    row, known, usual = _base_row(LOWEST), _base_row(KNOWN), _base_row(quality.FALLBACK)
    truth, between, above = (_perplexity(scheme) for scheme in (LOWEST, KNOWN, quality.FALLBACK))
    full = _perplexity(quality.BASELINE)
    # As much again for each bit as between the two rows that the question names.
    slope = (between - above) / (usual.bits_per_weight - known.bits_per_weight)
    straight = between + slope * (known.bits_per_weight - row.bits_per_weight)
    own = None if guess is None else 10 ** float(guess)
    off = abs(math.log2((own or truth) / truth))
    why = "right" if off <= 0.5 else "straight" if (own or 0) <= 1.3 * straight else "low"
    text = functools.partial(numbers.significant, digits=2)
    marks = _marks(
        CHART,
        None if own is None else (text(own), row.size / 1e9, own),
        (text(truth), row.size / 1e9, truth),
    )
    slots = {
        "bits": numbers.fixed(row.bits_per_weight, 2),
        "straight": text(straight),
        "full": numbers.fixed(full, 2),
        "times": numbers.times(truth / full, 0),
    }
    verdict: Verdict = "right" if off <= 0.5 else "close" if off <= 1 else "off"
    return _reveal(
        "quality",
        guess,
        text(truth),
        verdict=verdict,
        why=why,
        slots=slots,
        marks=marks,
        controls=CLIFF,
        distance=None if own is None else ratio_off(own, truth),
        place=math.log10(truth),
    )


def _quality_given() -> dict[str, str]:
    known, usual = _base_row(KNOWN), _base_row(quality.FALLBACK)
    return {
        "usual": usual.scheme,
        "usual_bits": numbers.fixed(usual.bits_per_weight, 1),
        "usual_ppl": numbers.fixed(_perplexity(quality.FALLBACK), 1),
        "known": known.scheme,
        "known_bits": numbers.fixed(known.bits_per_weight, 1),
        "known_ppl": numbers.fixed(_perplexity(KNOWN), 1),
        "lowest": LOWEST,
        "bits": numbers.fixed(_base_row(LOWEST).bits_per_weight, 1),
    }


# --- FIG.05B: a bit of a scale ------------------------------------------------------------------------------

TURNED = xray.Controls(pick="byte-4", flip="0")
COUNTS = ("1", "8", "32", "256")


def _moved(guess: Guess | None) -> Reveal:
    before = xray.encoded(TURNED.block, TURNED.importance, TURNED.format)
    byte, bit = int(TURNED.pick.partition("-")[2]), int(TURNED.flip)
    after = flipped(before, byte, bit)
    moved = np.asarray(after.weights != before.weights)
    count = int(np.count_nonzero(moved))
    truth = next(option for option in COUNTS if int(option) >= count)
    marks = _marks("cells", None if guess is None else (str(guess), (0.0, float(guess)), None), None)
    slots = {
        "count": str(count),
        "span": truth,
        "idle": str(int(truth) - count),
        "byte": str(byte),
        "factor": numbers.integer(after.number(byte_roles(TURNED.format, byte)[0])),
        "was": numbers.integer(before.number(byte_roles(TURNED.format, byte)[0])),
    }
    right = guess == truth
    return _reveal(
        "xray",
        guess,
        str(count),
        verdict="right" if right else "off",
        why="right" if right else f"{guess}",
        slots=slots,
        marks=marks,
        controls=TURNED,
    )


# --- FIG.05F: what eight bits for a small matrix take away --------------------------------------------------

RAISED = budget.Controls(values="Q8_0")


def _gone(guess: Guess | None) -> Reveal:
    before, after = budget.compute(budget.Controls()), budget.compute(RAISED)
    truth = 100 * (1 - after.divergence / before.divergence)
    share = 100 * budget.share_of("values")
    own = None if guess is None else float(guess)
    off = abs((own or 0) - truth)
    why = (
        "right"
        if off <= 2
        else "share"
        if abs((own or 0) - share) <= 2
        else "low"
        if (own or 0) < truth
        else "high"
    )
    text: Callable[[float], str] = lambda v: numbers.percent(v / 100, 0)  # noqa: E731
    left = None if own is None else before.divergence * (1 - own / 100)
    marks = _marks(
        CHART,
        None if left is None else (text(own or 0), after.bits_per_weight, left),
        (text(truth), after.bits_per_weight, after.divergence),
    )
    slots = {
        "share": text(share),
        "before": numbers.fixed(before.divergence, 4),
        "after": numbers.fixed(after.divergence, 4),
        "more": numbers.fixed(after.bits_per_weight - before.bits_per_weight, 2),
    }
    verdict: Verdict = "right" if off <= 2 else "close" if off <= 5 else "off"
    return _reveal(
        "budget",
        guess,
        text(truth),
        verdict=verdict,
        why=why,
        slots=slots,
        marks=marks,
        controls=RAISED,
        distance=None if own is None else difference_off(own, truth, text),
        place=truth,
    )


def _budget_given() -> dict[str, str]:
    before = budget.compute(budget.Controls())
    return {
        "share": numbers.percent(budget.share_of("values"), 0),
        "before": numbers.fixed(before.divergence, 4),
    }


# --- FIG.06: the whole, with a long memory ------------------------------------------------------------------

LONG = fit.Controls(scope="everything", context=fit.CONTEXTS[-1])


def _whole(guess: Guess | None) -> Reveal:
    view = fit.FIGURE.view(LONG)
    parts = {
        name: float(value) for name, value in zip(("weights", "cache", "buffer"), _parts(view), strict=True)
    }
    total = readout(view, "total") / 1e9
    own = None if guess is None else float(guess)
    off = abs((own or 0) - total) / total
    why = (
        "right"
        if off <= 0.08
        else "weights"
        if (own or 0) <= 1.12 * parts["weights"]
        else "low"
        if (own or 0) < total
        else "high"
    )
    text: Callable[[float], str] = lambda v: numbers.with_unit(numbers.integer(v), "GB")  # noqa: E731
    marks = _marks(
        "memory",
        None if own is None else (text(own), (0.0, 1e9 * own), None),
        (text(total), (0.0, 1e9 * total), None),
    )
    slots = {name: numbers.gigabytes(1e9 * size) for name, size in parts.items()} | {
        "context": numbers.integer(int(LONG.context)),
        "usable": numbers.gigabytes(1e9 * total + readout(view, "margin") * GIB),
    }
    verdict: Verdict = "right" if off <= 0.08 else "close" if off <= 0.2 else "off"
    return _reveal(
        "fit",
        guess,
        text(total),
        verdict=verdict,
        why=why,
        slots=slots,
        marks=marks,
        controls=LONG,
        distance=None if own is None else difference_off(own, total, text),
        place=total,
    )


def _parts(view: View) -> tuple[float, float, float]:
    """Weights, cache and buffer of the machine that is shown, in GB."""
    sizes = {segment["name"]: segment["size"] / 1e9 for segment in view.drawing["segments"]}
    return sizes["weights"], sizes["cache"], sizes["buffer"]


def _fit_given() -> dict[str, str]:
    weights = readout(fit.FIGURE.view(fit.Controls()), "weights")
    return {"weights": numbers.gigabytes(weights), "context": numbers.integer(int(LONG.context))}


# --- FIG.06B: what rotation leaves of the keys' cost --------------------------------------------------------

TURNED_KEYS = cache.Controls(rotate=True)


def _rotated(guess: Guess | None) -> Reveal:
    plain = cache.measured(TURNED_KEYS.key, TURNED_KEYS.value, False)[1].divergence
    view = cache.FIGURE.view(TURNED_KEYS)
    turned = readout(view, "keys_divergence")
    truth = 100 * turned / plain
    own = None if guess is None else float(guess)
    off = abs((own or 0) - truth)
    why = (
        "right"
        if off <= 7.5
        else "none"
        if (own or 0) <= 5
        else "all"
        if (own or 0) >= 90
        else "less"
        if (own or 0) < truth
        else "more"
    )
    percent: Callable[[float], str] = lambda v: numbers.percent(v / 100, 0)  # noqa: E731
    # From where the rotation would lead, or leads, to where the keys were.
    at = max(cache.LEAST, (own or 0) / 100 * plain)
    marks = _marks(
        "keys",
        None if own is None else (percent(own), (min(at, plain), max(at, plain)), None),
        (percent(truth), (turned, plain), None),
    )
    slots = {
        "plain": numbers.significant(plain, 2),
        "turned": numbers.significant(turned, 2),
        "values": numbers.significant(readout(view, "values_divergence"), 2),
        "loud": numbers.times(cache.compute(cache.Controls()).keys_loudest, 1),
        "flat": numbers.times(readout(view, "keys_loudest"), 1),
    }
    verdict: Verdict = "right" if off <= 7.5 else "close" if off <= 15 else "off"
    return _reveal(
        "cache",
        guess,
        percent(truth),
        verdict=verdict,
        why=why,
        slots=slots,
        marks=marks,
        controls=TURNED_KEYS,
        distance=None if own is None else difference_off(own, truth, percent),
        place=truth,
    )


def _cache_given() -> dict[str, str]:
    _, keys, values = cache.measured(TURNED_KEYS.key, TURNED_KEYS.value, False)
    return {
        "keys": numbers.significant(keys.divergence, 2),
        "values": numbers.significant(values.divergence, 2),
        "type": TURNED_KEYS.key,
    }


# --- FIG.07D: an outlier, mixed -----------------------------------------------------------------------------

GIANT = rotation.Controls(layer="smollm2.15.q", size=6)


def _spread(guess: Guess | None) -> Reveal:
    result = rotation.compute(GIANT)
    truth, before = result.loudness, result.loudness_plain
    own = None if guess is None else float(guess)
    off = abs((own or 0) - truth)
    why = (
        "right"
        if off <= 1.5
        else "flat"
        if (own or 0) <= 2
        else "same"
        if (own or 0) >= 0.75 * before
        else "low"
        if (own or 0) < truth
        else "high"
    )
    text: Callable[[float], str] = lambda v: numbers.times(v, 1)  # noqa: E731
    marks = _marks(
        "channels",
        None if own is None else (numbers.times(own, 0), None, own),
        None,
    )
    slots = {
        "before": text(before),
        "n": str(result.n),
        "root": numbers.shortest(math.sqrt(result.n)),
    }
    verdict: Verdict = "right" if off <= 1.5 else "close" if off <= 3 else "off"
    return _reveal(
        "rotation",
        guess,
        text(truth),
        verdict=verdict,
        why=why,
        slots=slots,
        marks=marks,
        controls=GIANT,
        distance=None if own is None else ratio_off(own, truth),
        place=truth,
    )


def _rotation_given() -> dict[str, str]:
    result = rotation.compute(GIANT)
    return {"before": numbers.times(result.loudness_plain, 1), "n": str(result.n)}


# --- FIG.06C: INT4 on a prompt ------------------------------------------------------------------------------

PROMPT = speed.Controls(doublings=9)


def _prompt_speed(guess: Guess | None) -> Reveal:
    shown = speed.compute(PROMPT)
    truth, ratio = shown.speedup, speed.compute(PROMPT.model_copy(update={"doublings": 0})).speedup
    own = None if guess is None else float(guess)
    off = abs((own or 0) - truth)
    why = (
        "right"
        if off < 0.15
        else "slower"
        if (own or 0) < truth
        else "bits"
        if (own or 0) >= 0.85 * ratio
        else "some"
    )
    text = functools.partial(numbers.times, places=1)
    full = shown.f16_tokens_per_second
    marks = _marks(
        "roofline",
        None if own is None else (text(own), None, own * full),
        (text(truth), None, truth * full),
    )
    verdict: Verdict = "right" if off < 0.15 else "close" if off < 0.45 else "off"
    return _reveal(
        "speed",
        guess,
        text(truth),
        verdict=verdict,
        why=why,
        slots=_speed_given(),
        marks=marks,
        controls=PROMPT,
        distance=None if own is None else difference_off(own, truth, text),
        place=truth,
    )


def _speed_given() -> dict[str, str]:
    one = speed.compute(PROMPT.model_copy(update={"doublings": 0})).speedup
    return {"one": numbers.times(one, 1), "tokens": numbers.integer(2**PROMPT.doublings)}


# --- FIG.07E: what training leaves of the error -------------------------------------------------------------

TRAINED_BITS = trained.Controls(bits="2")


def _left_by_training(guess: Guess | None) -> Reveal:
    view = trained.FIGURE.view(TRAINED_BITS)
    after, truth = (100 * readout(view, name) for name in ("after_error", "during_error"))
    own = None if guess is None else float(guess)
    off = abs((own or 0) - truth)
    why = (
        "right"
        if off <= 3
        else "all"
        if (own or 0) <= 4
        else "none"
        if (own or 0) >= 0.8 * after
        else "less"
        if (own or 0) < truth
        else "more"
    )
    text: Callable[[float], str] = lambda v: numbers.percent(v / 100, 0)  # noqa: E731
    marks = _marks(
        "error",
        None if own is None else (text(own), None, own / 100),
        (text(truth), None, truth / 100),
    )
    verdict: Verdict = "right" if off <= 3 else "close" if off <= 6 else "off"
    return _reveal(
        "trained",
        guess,
        trained.percent(truth / 100),
        verdict=verdict,
        why=why,
        slots={"gain": numbers.times(after / truth, 1)},
        marks=marks,
        controls=TRAINED_BITS,
        distance=None if own is None else difference_off(own, truth, text),
        place=truth,
    )


def _trained_given() -> dict[str, str]:
    after = trained.errors_of(int(TRAINED_BITS.bits))[0]
    return {"after": trained.percent(after), "steps": str(TRAINED_BITS.steps)}


# --- FIG.06D: a quarter of the layers in RAM ----------------------------------------------------------------

QUARTER = offload.Controls(model="llama-3.1-8b", mix="Q8_0", card="rtx-4070", layers=25)


def _longer(guess: Guess | None) -> Reveal:
    result = offload.compute(QUARTER)
    card, ram = offload.device(QUARTER.card), offload.device(QUARTER.ram)
    truth, ratio = result.slower, card.bandwidth / ram.bandwidth
    plain = 1 / (1 - _read_from_ram(result))
    own = None if guess is None else float(guess)
    off = abs((own or 0) - truth) / truth
    why = (
        "right"
        if off <= 0.12
        else "share"
        if (own or 0) <= plain + 0.05
        else "all"
        if abs((own or 0) - ratio) <= 0.5
        else "low"
        if (own or 0) < truth
        else "high"
    )
    whole = (result.card_time + result.ram_time) / truth
    marks = _marks(
        "time",
        None if own is None else (numbers.times(own, 1), (0.0, own * whole), None),
        (numbers.times(truth, 1), (0.0, result.card_time + result.ram_time), None),
    )
    texts = offload.view(result).drawing["texts"]
    slots = {
        "card_time": texts["card_time"],
        "ram_time": texts["ram_time"],
        "card_rate": _gigabytes_a_second(card.bandwidth),
        "ram_rate": _gigabytes_a_second(ram.bandwidth),
        "ratio": numbers.times(ratio, 1),
        "share": numbers.percent(_read_from_ram(result), 0),
    }
    verdict: Verdict = "right" if off <= 0.12 else "close" if off <= 0.3 else "off"
    return _reveal(
        "offload",
        guess,
        numbers.times(truth, 1),
        verdict=verdict,
        why=why,
        slots=slots,
        marks=marks,
        controls=QUARTER,
        distance=None if own is None else ratio_off(own, truth),
        place=truth,
    )


def _read_from_ram(result: offload.Result) -> float:
    """The share of the bytes that a token reads which lie in RAM."""
    in_ram = result.ram_time * offload.device(QUARTER.ram).bandwidth
    on_card = result.card_time * offload.device(QUARTER.card).bandwidth
    return in_ram / (in_ram + on_card)


def _gigabytes_a_second(bandwidth: float) -> str:
    return numbers.with_unit(numbers.significant(bandwidth / 1e9), "GB/s")


def _offload_given() -> dict[str, str]:
    result = offload.compute(QUARTER)
    return {
        "model": offload.MODELS[QUARTER.model],
        "mix": QUARTER.mix,
        "card": offload.device(QUARTER.card).short,
        "rest": str(result.split.of - result.split.layers),
        "of": str(result.split.of),
        "share": numbers.percent(_read_from_ram(result), 0),
    }


QUESTIONS = {
    question.figure: question
    for question in (
        Question(
            "primitive",
            answered_by(slider(8, low=0, high=32), int),
            _zeros,
            ZERO_AT,
            ("weight",),
            _primitive_given,
        ),
        Question("rtn", answered_by(slider(4, low=1, high=20, unit="×"), int), _spacing, COARSE),
        Question(
            "fourbit",
            answered_by(slider(1.2, low=0, high=4, step=0.1, unit="%"), float),
            _halves,
            HALVES,
            (),
            _fourbit_given,
        ),
        Question(
            "rounding",
            answered_by(slider(3, low=0, high=CROWD.n, show=_power), int),
            _beaten,
            CROWD,
            (),
            lambda: {"n": str(CROWD.n), "total": numbers.integer(2**CROWD.n)},
        ),
        Question(
            "gptq",
            answered_by(slider(50, low=0, high=125, step=5, unit="%"), int),
            _left_over,
            TWO_BITS,
            ("step",),
        ),
        Question(
            "awq",
            answered_by(slider(0.5, low=0, high=1, step=0.05), float),
            _best_alpha,
            QUIET,
            ("alpha",),
            _awq_given,
        ),
        Question(
            "quality",
            answered_by(
                slider(1, low=0.8, high=1.8, step=0.05, show=lambda v: numbers.significant(10**v, 2)), float
            ),
            _cliff,
            CLIFF,
            ("measure", "order", "sort", "scheme"),
            _quality_given,
        ),
        Question("xray", answered_by(choice("1", COUNTS, style="segments"), str), _moved, TURNED),
        Question(
            "budget",
            answered_by(slider(20, low=0, high=60, unit="%"), int),
            _gone,
            RAISED,
            ("budget", "beside"),
            _budget_given,
        ),
        Question(
            "fit",
            answered_by(slider(60, low=40, high=160, step=2, unit="GB"), int),
            _whole,
            LONG,
            ("parameters", "config", "memory", "bandwidth"),
            _fit_given,
        ),
        Question(
            "cache",
            answered_by(slider(50, low=0, high=120, step=5, unit="%"), int),
            _rotated,
            TURNED_KEYS,
            (),
            _cache_given,
        ),
        Question(
            "speed",
            answered_by(slider(2, low=0.5, high=4, step=0.1, unit="×"), float),
            _prompt_speed,
            PROMPT,
            (),
            _speed_given,
        ),
        Question(
            "offload",
            answered_by(slider(1.5, low=1, high=8, step=0.1, unit="×"), float),
            _longer,
            QUARTER,
            (),
            _offload_given,
        ),
        Question(
            "rotation",
            answered_by(slider(20, low=1, high=55, unit="×"), int),
            _spread,
            GIANT,
            ("bits",),
            _rotation_given,
        ),
        Question(
            "trained",
            answered_by(slider(20, low=0, high=40, unit="%"), int),
            _left_by_training,
            TRAINED_BITS,
            ("steps",),
            _trained_given,
        ),
    )
}
"""In the order of the lesson."""
