"""A calculation for each section, with numbers of real weights and models, answered by quant_core.

The given numbers are rounded as printed *before* anything is computed, so that a calculation by hand from the
printed page has the same result.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from lessons.kit import numbers
from lessons.kit.language import gettext
from lessons.kit.task import Exercise, Slip, Step, Task
from lessons.kit.view import Sentence
from lessons.quantization import sources
from lessons.quantization.anatomy import FORMATS, byte_roles
from lessons.quantization.figures import xray
from quant_core import memory
from quant_core.memory import GIB
from quant_core.methods import awq, grid, rounding, rtn, smoothquant
from quant_core.methods.grid import Grid

Array = NDArray[np.float64]

LAYERS = ("minilm.5.ffn_in", "minilm.1.query", "smollm2.15.q")
BITS = 4


def rng_of(seed: int, section: str) -> np.random.Generator:
    """The random generator of a task and a seed."""
    return np.random.default_rng([seed, *section.encode()])


def _some_weights(rng: np.random.Generator, count: int, places: int = 3) -> Array:
    """Neighbouring weights of a real row, rounded, with both signs among them."""
    while True:
        layer = sources.load_layer(str(rng.choice(LAYERS[:2]))).weights
        row, column = int(rng.integers(len(layer))), int(rng.integers(layer.shape[1] - count))
        weights: Array = np.asarray(layer[row, column : column + count], np.float64).round(places)
        if weights.min() < -0.02 and weights.max() > 0.02 and len(np.unique(weights)) == count:
            return weights


def _fixed(value: float, places: int) -> str:
    return numbers.fixed(value, places)


def _number(
    name: str,
    answer: float,
    places: int,
    slips: Iterable[tuple[str, float]] = (),
    slots: dict[str, str] | None = None,
    *,
    exact: bool = False,
    unit: str = "",
    how: str = "",
) -> Step:
    text = numbers.integer(answer) if exact else _fixed(answer, places)
    known = tuple(Slip(key, float(value)) for key, value in slips)
    values = (slots or {}) | {"answer": text}
    return Step(name, float(answer), text, known, (), unit, exact, 10.0**-places, values, how)


def exact_step(name: str, answer: int, slots: dict[str, str]) -> Step:
    """A step whose answer is a whole number."""
    return _number(name, answer, 0, (), slots, exact=True)


def _choice(
    name: str, answer: str, options: tuple[str, ...], slips: Iterable[tuple[str, str]], slots: dict[str, str]
) -> Step:
    known = tuple(Slip(key, value) for key, value in slips)
    return Step(name, answer, answer, known, options, slots=slots | {"answer": answer})


def _as_grid(scale: float, zero_point: int, bits: int = BITS) -> Grid:
    return Grid("asymmetric", bits, np.asarray(scale, np.float64), np.asarray(zero_point, np.int32))


def _code(levels: Grid, weight: float) -> int:
    return int(levels.quantize(np.array([weight]))[0])


def _level(levels: Grid, code: int) -> float:
    return float(levels.dequantize(np.array([code]))[0])


def _clipped(code: float, bits: int = BITS) -> int:
    return int(min(max(code, 0), 2**bits - 1))


# --- opening: one weight to its code and back ---------------------------------------------------------------


def _primitive(seed: int) -> Exercise:
    rng = rng_of(seed, "opening")
    while True:
        weights = _some_weights(rng, 16)
        fitted = grid.fit_asymmetric(weights, BITS)
        scale, zero_point = round(float(fitted.scale), 4), int(fitted.zero_point)  # type: ignore[arg-type]
        levels = _as_grid(scale, zero_point)
        weight = float(rng.choice(weights))
        steps = weight / scale
        if abs(weight) > 0.02 and 0.08 < abs(steps - np.rint(steps)) < 0.42 and zero_point > 1:
            break
    code = _code(levels, weight)
    restored = _level(levels, code)
    slots = {
        "w": _fixed(weight, 3),
        "s": _fixed(scale, 4),
        "z": str(zero_point),
        "steps": _fixed(steps, 2),
        "nearest": numbers.integer(np.rint(steps)),
        "q": str(code),
        "restored": _fixed(restored, 4),
    }
    return Exercise(
        (Sentence("given", bits=str(BITS), last=str(2**BITS - 1), **slots),),
        (
            _number(
                "code",
                code,
                0,
                (
                    ("zero_point", float(np.rint(steps))),
                    ("truncated", _clipped(math.trunc(steps) + zero_point)),
                    ("minus", _clipped(float(np.rint(steps)) - zero_point)),
                ),
                slots,
                exact=True,
            ),
            _number(
                "restored",
                restored,
                4,
                (("zero_point", scale * code), ("plus", scale * (code + zero_point)), ("weight", weight)),
                slots,
            ),
            _number("error", restored - weight, 4, (("turned", weight - restored),), slots),
        ),
    )


# --- the idea: what a weight really costs -------------------------------------------------------------------


def _cost(seed: int) -> Exercise:
    rng = rng_of(seed, "idea")
    bits, size = int(rng.integers(2, 9)), int(rng.choice([16, 32, 64, 128, 256]))
    per_weight = rtn.bits_per_weight(bits, size)
    extra = (per_weight - bits) * size
    scale = rtn.SCALE_BITS
    slots = {
        "bits": str(bits),
        "n": str(size),
        "scale": str(scale),
        "extra": numbers.integer(extra),
        "share": _fixed(extra / size, 4),
        "bpw": _fixed(per_weight, 4),
    }
    return Exercise(
        (Sentence("given", **slots),),
        (
            _number(
                "extra",
                extra,
                0,
                (("scale_only", scale), ("float_offset", 2 * scale), ("codes", bits * size)),
                slots,
                exact=True,
            ),
            _number(
                "per_weight",
                per_weight,
                4,
                (
                    ("codes_only", bits),
                    ("scale_only", bits + scale / size),
                    ("share_only", extra / size),
                    ("added", bits + extra),
                ),
                slots,
            ),
            _number(
                "smaller",
                16 / per_weight,
                2,
                (("ideal", 16 / bits), ("turned", per_weight / 16)),
                slots,
                unit=numbers.TIMES,
            ),
        ),
    )


# --- round-to-nearest: a block by hand ----------------------------------------------------------------------


def _block_given(rng: np.random.Generator) -> tuple[Array, Grid, int]:
    """Eight weights, their grid, and one of them: no rounding of the exercise is close to a tie."""
    while True:
        weights = _some_weights(rng, 8)
        low, high = float(weights.min()), float(weights.max())
        fitted = grid.fit_asymmetric(weights, BITS)
        scale = float(fitted.scale)
        which = int(rng.integers(8))
        weight = float(weights[which])
        steps = weight / scale
        settled = abs(-low / scale % 1 - 0.5) > 0.1
        if settled and weight not in (low, high) and 0.08 < abs(steps - np.rint(steps)) < 0.42:
            return weights, fitted, which


def _block(seed: int) -> Exercise:
    weights, fitted, which = _block_given(rng_of(seed, "rounding"))
    low, high, weight = float(weights.min()), float(weights.max()), float(weights[which])
    scale = float(fitted.scale)
    slots = {
        "low": _fixed(low, 3),
        "high": _fixed(high, 3),
        "range": _fixed(high - low, 3),
        "steps": str(2**BITS - 1),
        "levels": str(2**BITS),
        "s": _fixed(scale, 5),
        "z": str(int(fitted.zero_point)),  # type: ignore[arg-type]
        "w": _fixed(weight, 3),
        "position": str(which + 1),
        "ratio": _fixed(weight / scale, 2),
        "ends": _fixed(-low / scale, 2),
        "q": str(_code(fitted, weight)),
    }
    return Exercise(
        (Sentence("given", bits=str(BITS), **slots),),
        _block_steps(weights, fitted, weight, slots),
        rows=(("w", tuple(_fixed(float(value), 3) for value in weights)),),
    )


def _block_steps(weights: Array, fitted: Grid, weight: float, slots: dict[str, str]) -> tuple[Step, ...]:
    low, high, largest = float(weights.min()), float(weights.max()), float(np.abs(weights).max())
    scale, zero_point = float(fitted.scale), int(fitted.zero_point)  # type: ignore[arg-type]
    steps, sixteen, code = weight / scale, (high - low) / 2**BITS, _code(fitted, weight)
    with_sixteen = _as_grid(sixteen, round(-low / sixteen))
    of_scale = (
        ("sixteen", sixteen),
        ("symmetric", largest / (2 ** (BITS - 1) - 1)),
        ("half", largest / (2**BITS - 1)),
        ("range", high - low),
    )
    of_zero_point = (
        ("sign", -zero_point),
        ("middle", 2 ** (BITS - 1)),
        ("floor", math.floor(-low / scale)),
    )
    of_code = (
        ("zero_point", float(np.rint(steps))),
        ("truncated", _clipped(math.trunc(steps) + zero_point)),
        ("sixteen", _code(with_sixteen, weight)),
    )
    of_restored = (
        ("zero_point", scale * code),
        ("weight", weight),
        ("sixteen", sixteen * (code - zero_point)),
    )
    return (
        _number("scale", scale, 5, of_scale, slots),
        _number("zero_point", zero_point, 0, of_zero_point, slots, exact=True),
        _number("code", code, 0, of_code, slots, exact=True),
        _number("restored", _level(fitted, code), 4, of_restored, slots),
    )


# --- four-bit floats: a power of two as the scale -----------------------------------------------------------

E2M1_LEVELS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
FITS = ("beyond", "below")


def _powers(seed: int) -> Exercise:
    rng = rng_of(seed, "powers")
    while True:
        weights = _some_weights(rng, 32)
        largest = float(np.abs(weights).max())
        weight = abs(float(rng.choice(weights)))
        exponent = math.floor(math.log2(largest)) - 2
        scale = 2.0**exponent
        levels = np.array(E2M1_LEVELS)
        steps = weight / scale
        gaps = np.sort(np.abs(levels - steps))
        uneven = levels[np.argmin(np.abs(levels - steps))] != np.rint(steps)
        if uneven and gaps[1] - gaps[0] > 0.1 and steps < 6 and abs(6 * scale / largest - 1) > 0.05:
            break
    level = float(levels[np.argmin(np.abs(levels - steps))])
    fit = "beyond" if 6 * scale > largest else "below"
    slots = {
        "n": str(len(weights)),
        "largest": _fixed(largest, 3),
        "w": _fixed(weight, 3),
        "power": numbers.shortest(4 * scale),
        "s": numbers.shortest(scale),
        "top": numbers.shortest(6 * scale),
        "steps": _fixed(steps, 2),
        "level": numbers.shortest(level),
        "levels": ", ".join(map(numbers.shortest, E2M1_LEVELS)),
        "four": "4",
        "six": numbers.shortest(E2M1_LEVELS[-1]),
    }
    places = -exponent
    above = 2.0 ** math.ceil(math.log2(largest))
    return Exercise(
        (Sentence("given", **slots),),
        (
            _number(
                "scale",
                scale,
                places,
                (("whole", 4 * scale), ("up", above / 4), ("sixth", largest / 6)),
                slots,
            ),
            _choice("fit", fit, FITS, ((f"is_{fit}", FITS[fit == "beyond"]),), slots),
            _number(
                "restored",
                level * scale,
                places + 1,
                (("even", float(np.rint(steps)) * scale), ("level", level), ("weight", weight)),
                slots,
            ),
        ),
    )


# --- output error: four roundings of two weights ------------------------------------------------------------

ARROWS = "↓↑"


def _four(seed: int) -> Exercise:
    rng = rng_of(seed, "output-error")
    tokens = sources.load_layer("minilm.1.query").activations_test
    assert tokens is not None
    while True:
        weights = _some_weights(rng, 2)
        scale = round(float(rng.uniform(0.03, 0.06)), 3)
        token, channel = int(rng.integers(len(tokens))), int(rng.integers(tokens.shape[1] - 1))
        x = np.round(tokens[token, channel : channel + 2].astype(np.float64), 2)
        four = rounding.all_roundings(weights, x, _as_grid(scale, 2 ** (BITS - 1)))
        errors = np.sort(four.output_error)
        parted = errors[0] > 0.002 and bool((np.diff(errors) > 0.002).all())
        if parted and four.best != four.nearest and np.abs(x).min() > 0.2:
            break
    names = tuple("".join(ARROWS[int(up)] for up in row) for row in four.up)
    near, best = names[four.nearest], names[four.best]
    nudges = four.values - weights

    def terms(row: int) -> str:
        parts = (
            f"({_fixed(float(n), 3)})·{_fixed(float(v), 2) if v >= 0 else f'({_fixed(float(v), 2)})'}"
            for n, v in zip(nudges[row], x, strict=True)
        )
        return f"|{' + '.join(parts)}|"

    def slips(row: int) -> tuple[tuple[str, float], ...]:
        return (
            ("apart", float(np.abs(nudges[row] * x).sum())),
            ("weights", float(np.abs(nudges[row]).sum())),
            ("distance", float(four.weight_error[row])),
        )

    slots = {
        "near": near,
        "best": best,
        "near_terms": terms(four.nearest),
        "best_terms": terms(four.best),
        "errors": ", ".join(
            f"{name} {_fixed(float(e), 4)}" for name, e in zip(names, four.output_error, strict=True)
        ),
    }
    worst = names[int(np.argmax(four.output_error))]
    others = tuple(("other", name) for name in names if name not in (best, near, worst))
    return Exercise(
        (Sentence("given"),),
        (
            _number("nearest_error", float(four.output_error[four.nearest]), 4, slips(four.nearest), slots),
            _choice("best", best, names, (("nearest", near), ("worst", worst), *others), slots),
            _number("best_error", float(four.output_error[four.best]), 4, slips(four.best), slots),
        ),
        rows=(
            ("w", tuple(_fixed(float(v), 3) for v in weights)),
            ("down", tuple(_fixed(float(v), 3) for v in four.values[0])),
            ("up", tuple(_fixed(float(v), 3) for v in four.values[-1])),
            ("x", tuple(_fixed(float(v), 2) for v in x)),
        ),
    )


# --- AWQ: which channel is protected, and how far -----------------------------------------------------------

CHANNELS = 6
ALPHA = 0.5


def _protect(seed: int) -> Exercise:
    rng = rng_of(seed, "awq")
    while True:
        layer = sources.load_layer(str(rng.choice(LAYERS)))
        assert layer.mean_abs is not None
        channels = np.sort(rng.choice(layer.weights.shape[1], CHANNELS, replace=False))
        x = np.round(layer.mean_abs[channels].astype(np.float64), 2)
        w = np.round(np.abs(layer.weights[:, channels]).mean(axis=0).astype(np.float64), 3)
        ranked = np.sort(x)
        parted = ranked[-1] > 1.15 * ranked[-2] and ranked[0] > 0.04
        if parted and np.argmax(x) != np.argmax(w) and len(np.unique(w)) == CHANNELS:
            break
    scales = awq.scales_for(x, ALPHA).astype(np.float64)
    loud = int(np.argmax(x))
    named = tuple(str(channel) for channel in channels)
    s = float(scales[loud])
    powers = x**ALPHA
    slots = {
        "loud": named[loud],
        "x": _fixed(float(x[loud]), 2),
        "heavy": named[int(np.argmax(w))],
        "alpha": numbers.as_printed(f"{ALPHA:g}"),
        "power": _fixed(float(powers[loud]), 3),
        "high": _fixed(float(powers.max()), 3),
        "least": _fixed(float(powers.min()), 3),
        "s": _fixed(s, 3),
    }
    others = tuple(("other", name) for i, name in enumerate(named) if i not in (loud, int(np.argmax(w))))
    return Exercise(
        (Sentence("given", **slots),),
        (
            _choice("channel", named[loud], named, (("heavy", named[int(np.argmax(w))]), *others), slots),
            _number(
                "scale",
                s,
                3,
                (
                    ("plain", float(powers[loud])),
                    ("linear", float(x[loud] / np.sqrt(x.max() * x.min()))),
                    ("itself", float(x[loud])),
                    ("product", float(powers[loud] / (powers.max() * powers.min()))),
                    ("turned", 1 / s),
                ),
                slots,
            ),
            _number("finer", 1 / s, 3, (("turned", s), ("squared", 1 / s**2)), slots),
        ),
        rows=(
            ("channel", named),
            ("x", tuple(_fixed(float(v), 2) for v in x)),
            ("w", tuple(_fixed(float(v), 3) for v in w)),
        ),
    )


# --- GGUF: decode a byte ------------------------------------------------------------------------------------


def _byte(seed: int) -> Exercise:
    rng = rng_of(seed, "gguf")
    name = str(rng.choice(["ffn_in", "tinylm"]))
    block = xray.encoded(name, False)
    d, dmin = float(block.fields["d"][0]), float(block.fields["dmin"][0])
    first = {field.name: field.offset for field in FORMATS["Q4_K"].layout.fields}["qs"]
    while True:
        byte = first + int(rng.integers(128))
        low, high = int(block.data[byte]) & 15, int(block.data[byte]) >> 4
        if low != high and min(low, high) > 0:
            break
    roles = byte_roles("Q4_K", byte)
    role = roles[int(rng.integers(2))]
    weight = role.weights[0]
    part = weight // 32
    upper = role.low_bit == 4
    code, other = (high, low) if upper else (low, high)
    sc, m = int(block.fields["scales"][part]), int(block.fields["mins"][part])
    d, dmin = (float(np.format_float_positional(v, 5, fractional=False)) for v in (d, dmin))
    value = d * sc * code - dmin * m
    assert abs(value - float(block.weights[weight])) < 1e-4 * abs(d * sc * 15)
    text = functools.partial(numbers.significant, digits=5)
    slots = {
        "byte": str(byte),
        "hex": f"{int(block.data[byte]):02X}",
        "bits": f"{int(block.data[byte]):08b}"[:4] + " " + f"{int(block.data[byte]):08b}"[4:],
        "weight": str(weight),
        "part": str(part),
        "within": str(byte - first),
        "code": str(code),
        "other": str(other),
        "d": text(d),
        "dmin": text(dmin),
        "sc": str(sc),
        "m": str(m),
    }
    of_code = (("nibble", other), ("byte", int(block.data[byte])), ("signed", code - 8))
    of_value = (
        ("minimum", d * sc * code),
        ("plus", d * sc * code + dmin * m),
        ("dmin_alone", d * sc * code - dmin),
        ("scale", d * code - dmin * m),
        ("nibble", d * sc * other - dmin * m),
    )
    return Exercise(
        (Sentence("given", **slots), Sentence("given_high" if upper else "given_low", **slots)),
        (
            _number("code", code, 0, of_code, slots, exact=True, how="code_high" if upper else "code_low"),
            _number("level", d * sc * code, 5, (("scale", d * code), ("nibble", d * sc * other)), slots),
            _number("value", value, 5, of_value, slots),
        ),
    )


# --- fit: a model and a machine -----------------------------------------------------------------------------

SMALL = ("llama-3.1-8b", "llama-3.2-3b", "llama-3.1-70b")
SCHEMES = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_K_S", "Q3_K_M")
TOKENS = (8192, 16384, 32768, 65536)
VERDICTS = ("fits", "over")


def _fits(seed: int) -> Exercise:
    rng = rng_of(seed, "fit")
    machines = [d for d in sources.hardware() if d.kind in ("sbc", "unified", "cpu-ram")]
    while True:
        preset = sources.model(str(rng.choice(SMALL)))
        scheme, tokens = str(rng.choice(SCHEMES)), int(rng.choice(TOKENS))
        machine = machines[int(rng.integers(len(machines)))]
        bits = round(memory.bits_per_weight(preset.shape, scheme), 2)
        count = round(preset.shape.parameters / 1e9, 2)
        weights = count * bits / 8
        cache = round(memory.kv_cache_bytes(preset.shape, tokens) / GIB, 2)
        buffer = round(memory.compute_buffer_bytes(preset.shape, tokens) / GIB, 2)
        usable = round(machine.usable_bytes / GIB, 1)
        gib = weights * 1e9 / GIB
        total = gib + cache + buffer
        if 0.03 < abs(total / usable - 1) < 0.5:
            break
    verdict = "fits" if total <= usable else "over"
    nominal = int("".join(c for c in scheme[:2] if c.isdigit()))
    slots = {
        "model": preset.name,
        "scheme": scheme,
        "count": _fixed(count, 2),
        "bits": _fixed(bits, 2),
        "nominal": str(nominal),
        "machine": gettext(machine.name),
        "usable": _fixed(usable, 1),
        "tokens": numbers.integer(tokens),
        "cache": _fixed(cache, 2),
        "buffer": _fixed(buffer, 2),
        "gb": _fixed(weights, 2),
        "gib": _fixed(gib, 2),
        "total": _fixed(total, 2),
        "left": _fixed(abs(usable - total), 2),
    }
    wrong = "over" if verdict == "fits" else "fits"
    of_gb = (
        ("bits", count * bits),
        ("nominal", count * nominal / 8),
        ("sixteen", count * 2),
        ("gib", gib),
    )
    of_total = (
        ("gb", weights + cache + buffer),
        ("weights", gib),
        ("cache", gib + buffer),
        ("buffer", gib + cache),
        ("turned", weights * GIB / 1e9 + cache + buffer),
    )
    return Exercise(
        (Sentence("given", **slots), Sentence("given_rest", **slots)),
        (
            _number("gb", weights, 2, of_gb, slots, unit="GB"),
            _number("total", total, 2, of_total, slots, unit="GiB"),
            _choice("verdict", verdict, VERDICTS, ((f"is_{verdict}", wrong),), slots),
        ),
    )


# --- the family: move the difficulty ------------------------------------------------------------------------


def _smooth(seed: int) -> Exercise:
    rng = rng_of(seed, "family")
    layer = sources.load_layer("minilm.5.ffn_in")
    assert layer.activations_test is not None
    largest = np.abs(layer.activations_test).max(axis=0)
    loud = np.argsort(-largest)[:40]
    alpha = float(rng.choice([0.25, 0.4, 0.6, 0.75]))
    while True:
        channel = int(rng.choice(loud))
        x = round(float(largest[channel]), 2)
        w = round(float(np.abs(layer.weights[:, channel]).max()), 3)
        if x > 1.5 and w < 0.9:
            break
    s = float(smoothquant.smoothing_factors([[x]], [[w]], alpha)[0])
    of_x, of_w = x**alpha, w ** (1 - alpha)
    slots = {
        "channel": str(channel),
        "x": _fixed(x, 2),
        "w": _fixed(w, 3),
        "alpha": numbers.as_printed(f"{alpha:g}"),
        "rest": numbers.as_printed(f"{1 - alpha:g}"),
        "of_x": _fixed(of_x, 3),
        "of_w": _fixed(of_w, 3),
        "s": _fixed(s, 3),
    }
    return Exercise(
        (Sentence("given", **slots),),
        (
            _number(
                "factor",
                s,
                3,
                (
                    ("swapped", x ** (1 - alpha) / w**alpha),
                    ("same", (x / w) ** alpha),
                    ("product", of_x * of_w),
                    ("turned", 1 / s),
                    ("activation", of_x),
                ),
                slots,
            ),
            _number("activation", x / s, 3, (("times", x * s), ("factor", s)), slots),
            _number("weight", w * s, 3, (("divided", w / s), ("factor", s)), slots),
        ),
    )


# --- beside other courses: a codebook, and a product of integers --------------------------------------------

CODEBOOK = 4
"""Centroids of the codebook in the task: two bits of each code."""


def _codebook(seed: int) -> Exercise:
    """One step of k-means for one centroid, and what the whole codebook takes."""
    rng = rng_of(seed, "codebook")
    count = int(rng.choice([64, 128, 256]))
    while True:
        weights = np.sort(_some_weights(rng, 6))
        low, high = (round(float(end), 2) for end in (weights[1], weights[-2]))
        if high - low < 0.02:
            continue
        near_low = np.abs(weights - low) < np.abs(weights - high)
        mine = weights[near_low]
        if not 2 <= len(mine) <= 4 or np.abs(np.abs(weights - low) - np.abs(weights - high)).min() < 2e-3:
            continue
        centroid, whole, middle = mine.mean(), weights.mean(), (mine[0] + mine[-1]) / 2
        values = np.array([centroid, whole, middle, low])
        if np.abs(np.subtract.outer(values, values))[np.triu_indices(4, 1)].min() > 2e-3:
            break
    bits = math.log2(CODEBOOK) + 16 * CODEBOOK / count
    slots = {
        "weights": ", ".join(_fixed(float(w), 3) for w in weights),
        "low": _fixed(low, 2),
        "high": _fixed(high, 2),
        "mine": ", ".join(_fixed(float(w), 3) for w in mine),
        "n": str(len(mine)),
        "k": str(CODEBOOK),
        "count": str(count),
        "table": str(16 * CODEBOOK),
        "code": str(int(math.log2(CODEBOOK))),
    }
    return Exercise(
        (Sentence("given", **slots),),
        (
            exact_step("near", len(mine), slots),
            _number(
                "centroid",
                float(centroid),
                4,
                (("all", float(whole)), ("middle", float(middle)), ("stays", low)),
                slots,
            ),
            _number(
                "bits",
                bits,
                3,
                (("codes", math.log2(CODEBOOK)), ("levels", CODEBOOK + 16 * CODEBOOK / count)),
                slots,
            ),
        ),
    )


def _integers(seed: int) -> Exercise:
    """A product of two rows of eight-bit integers, scaled back, and rounded again for the next layer."""
    rng = rng_of(seed, "integers")
    while True:
        x, w = rng.integers(-127, 128, 3), rng.integers(-127, 128, 3)
        total = int(x @ w)
        scale_x, scale_w = (
            round(float(rng.uniform(0.02, 0.06)), 3),
            round(float(rng.uniform(0.002, 0.009)), 4),
        )
        y = scale_x * scale_w * total
        scale_y = round(abs(y) / float(rng.uniform(20, 110)), 3)
        if abs(total) < 2000 or scale_y < 0.01:
            continue
        ratio = y / scale_y
        if abs(ratio - round(ratio)) < 0.4 and int(ratio) != round(ratio):
            break
    slots = {
        "x": ", ".join(map(numbers.integer, x.tolist())),
        "w": ", ".join(map(numbers.integer, w.tolist())),
        "scale_x": numbers.as_printed(f"{scale_x:g}"),
        "scale_w": numbers.as_printed(f"{scale_w:g}"),
        "scale_y": numbers.as_printed(f"{scale_y:g}"),
        "total": numbers.integer(total),
        "y": _fixed(y, 3),
        "ratio": _fixed(ratio, 2),
    }
    return Exercise(
        (Sentence("given", **slots),),
        (
            exact_step("total", total, slots),
            _number("value", y, 3, (("one_x", scale_x * total), ("one_w", scale_w * total)), slots),
            _number("again", round(ratio), 0, (("cut", int(ratio)),), slots, exact=True),
        ),
    )


_MAKERS: dict[str, Callable[[int], Exercise]] = {
    "opening": _primitive,
    "idea": _cost,
    "rounding": _block,
    "powers": _powers,
    "output-error": _four,
    "awq": _protect,
    "gguf": _byte,
    "fit": _fits,
    "family": _smooth,
    "codebook": _codebook,
    "integers": _integers,
}

PAGES = {
    "powers": "four-bit-floats",
    "gguf": "block",
    "family": "activations",
    "codebook": "four-bit-floats",
    "integers": "activations",
}
"""Calculations that stand on a page of the workshop."""

TASKS = tuple(Task(name, PAGES.get(name, name), make, by_hand=True) for name, make in _MAKERS.items())
