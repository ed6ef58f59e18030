"""FIG.06C: a roofline: how fast memory and arithmetic let each format be, by tokens at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from lessons.kit import numbers
from lessons.kit.controls import FigureControls, choice, slider
from lessons.kit.figure import Figure
from lessons.kit.language import current_language
from lessons.kit.mathml import tex
from lessons.kit.scales import Scale
from lessons.kit.view import Column, PlotScales, Readout, Sentence, Table, View
from lessons.quantization import sources
from lessons.quantization.sources import Peak
from quant_core import roofline

MODEL = "llama-3.1-8b"
MACHINES = tuple(peak.id for peak in sources.peaks())
MOST_DOUBLINGS = 12
DOUBLINGS = range(MOST_DOUBLINGS + 1)
TERA = 1e12
HEIGHT = 280


class Format(NamedTuple):
    """Bits that are read for a weight, with its share of a scale, and the type that multiplies it."""

    bits: float
    arithmetic: str


FORMATS = {
    "f16": Format(16, "fp16"),
    "int4": Format(4 + 16 / 128, "fp16"),
    "fp8": Format(8, "fp8"),
    "nvfp4": Format(4 + 8 / 16, "fp4"),
}
"""INT4 has a scale of 16 bits for each 128 weights, NVFP4 one of 8 bits for each 16; FP8 one for each row."""

CHOSEN = ("int4", "fp8", "nvfp4")
LOOKS = {"f16": "true", "int4": "quantized", "fp8": "method-1", "nvfp4": "method-2"}


def _tokens(doublings: float) -> str:
    return numbers.integer(2 ** int(doublings))


class Controls(FigureControls):
    """The tokens that are worked on together are 2 to the power of `doublings`."""

    doublings: int = slider(7, low=0, high=MOST_DOUBLINGS, show=_tokens)
    format: str = choice("int4", CHOSEN, style="segments")
    machine: str = choice("h100-80", MACHINES, labels={m: sources.device(m).short for m in MACHINES})


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """The bounds of every format in tokens per second, for each of `DOUBLINGS`, and those of the state.

    `ridge` is the number of tokens from which arithmetic is the limit of the format.
    """

    controls: Controls
    bounds: dict[str, tuple[float, ...]]
    tokens: int
    tokens_per_second: float
    f16_tokens_per_second: float
    speedup: float
    bits_per_weight: float
    ridge: float
    f16_ridge: float


def compute(controls: Controls) -> Result:
    """Bound the tokens per second by memory and by arithmetic; the smaller bound decides."""
    bounds = {name: tuple(bound(controls.machine, name, 2**n) for n in DOUBLINGS) for name in FORMATS}
    ours, full = bounds[controls.format][controls.doublings], bounds["f16"][controls.doublings]
    return Result(
        controls,
        bounds,
        tokens=2**controls.doublings,
        tokens_per_second=ours,
        f16_tokens_per_second=full,
        speedup=ours / full,
        bits_per_weight=FORMATS[controls.format].bits,
        ridge=ridge_of(controls.machine, controls.format),
        f16_ridge=ridge_of(controls.machine, "f16"),
    )


def bound(machine: str, name: str, tokens: int) -> float:
    """The tokens per second that a machine can at most work on in a format."""
    bandwidth, peak = sources.device(machine).bandwidth, speed_of(machine, arithmetic(machine, name))
    return tokens / roofline.seconds(multiplied(), FORMATS[name].bits, tokens, bandwidth, peak)


def ridge_of(machine: str, name: str) -> float:
    """The tokens from which arithmetic is the limit."""
    peak = speed_of(machine, arithmetic(machine, name))
    return roofline.ridge(FORMATS[name].bits, sources.device(machine).bandwidth, peak)


def multiplied() -> int:
    """The weights that each token is multiplied with: all but the embedding, which is looked up."""
    model = sources.model(MODEL)
    return model.total_params - model.shape.vocab_size * model.shape.hidden_size


def arithmetic(machine: str, name: str) -> str:
    """The type in which a machine multiplies: what it has no arithmetic for is expanded to 16 bits."""
    wanted = FORMATS[name].arithmetic
    return wanted if getattr(sources.peak(machine), wanted) else "fp16"


def speed_of(machine: str, kind: str) -> float:
    """The operations per second of a machine in a type."""
    found: float = getattr(sources.peak(machine), kind)
    return TERA * found


def view(result: Result) -> View:
    controls = result.controls
    machine, peak = sources.device(controls.machine), sources.peak(controls.machine)
    kind = arithmetic(controls.machine, controls.format)
    rate = numbers.integer
    return View(
        readouts=(
            Readout.of(result, "speedup", lambda v: numbers.times(v, 2), accent=True),
            Readout.of(result, "tokens_per_second", _rate, accent=True),
            Readout.of(result, "f16_tokens_per_second", _rate),
            Readout.of(result, "ridge", numbers.integer),
            Readout.of(result, "tokens", numbers.integer),
            Readout.of(result, "bits_per_weight", lambda v: numbers.fixed(v, 3)),
        ),
        drawing=_drawing(result),
        description=(
            Sentence(
                finding(result),
                tokens=rate(result.tokens),
                machine=machine.short,
                kind=kind.upper(),
                most=numbers.times(16 / result.bits_per_weight, 1),
                times=numbers.times(result.speedup, 1),
                name=_NAMES[controls.format],
            ),
            Sentence(
                "from", ridge=rate(result.ridge), full=rate(result.f16_ridge), name=_NAMES[controls.format]
            ),
            Sentence(
                _arithmetic(controls.machine, controls.format),
                kind=kind.upper(),
                name=_NAMES[controls.format],
            ),
        ),
        table=Table(
            (Column("tokens", rate), *(Column(name, _rate) for name in FORMATS)),
            tuple((2**n, *(result.bounds[name][n] for name in FORMATS)) for n in DOUBLINGS),
            frozenset({controls.doublings}),
        ),
        formulas=_formulas(result, machine.bandwidth, speed_of(controls.machine, kind)),
        ran=(roofline.seconds, roofline.ridge),
        notes=(
            Sentence("bound"),
            Sentence("left_out"),
            Sentence(
                "machine",
                machine=machine.name,
                bandwidth=numbers.with_unit(numbers.integer(machine.bandwidth / 1e9), "GB/s"),
                peaks=_peaks(peak),
                memory_source=machine.source,
                peak_source=peak.source,
                read=current_language().date(peak.read),
            ),
        ),
        source=Sentence("source", machine=machine.short),
        plots={"roofline": PlotScales(*_scales(result))},
    )


_NAMES = {"f16": "F16", "int4": "INT4", "fp8": "FP8", "nvfp4": "NVFP4"}


def _rate(tokens_per_second: float) -> str:
    """Three digits: a bound is not known more exactly."""
    return numbers.integer(float(f"{tokens_per_second:.3g}"))


def _peaks(peak: Peak) -> str:
    kinds = (("FP16", peak.fp16), ("FP8", peak.fp8), ("FP4", peak.fp4))
    return ", ".join(f"{name} {numbers.shortest(speed)}" for name, speed in kinds if speed)


def finding(result: Result) -> str:
    """The sentence that says which limit decides, of the format and of F16."""
    if result.tokens == 1:
        return "one"
    if result.tokens <= result.ridge:
        return "memory"
    if result.tokens <= result.f16_ridge:
        return "squeezed"
    machine, name = result.controls.machine, result.controls.format
    return "same" if arithmetic(machine, name) == "fp16" else "faster"


def _arithmetic(machine: str, name: str) -> str:
    """The sentence that says in which type the format is multiplied here."""
    if FORMATS[name].arithmetic == "fp16":
        return "expanded"
    return "lacking" if arithmetic(machine, name) == "fp16" else "native"


def _scales(result: Result) -> tuple[Scale, Scale]:
    low = 0.7 * result.bounds["f16"][0]
    high = 2 * max(bounds[-1] for bounds in result.bounds.values())
    return Scale((0.0, float(MOST_DOUBLINGS))), Scale((low, high), (float(HEIGHT), 0.0), log=True)


def _drawing(result: Result) -> dict[str, Any]:
    x, y = _scales(result)
    controls = result.controls
    at = x(controls.doublings)
    return {
        "height": HEIGHT,
        "lines": [
            {
                "name": name,
                "look": LOOKS[name],
                "chosen": name == controls.format,
                "path": _path(result, name),
            }
            for name in FORMATS
        ],
        "x": x.percent(controls.doublings),
        "side": "end" if at > 80 else "start",
        "full": y(result.f16_tokens_per_second),
        "ours": y(result.tokens_per_second),
        "gap": numbers.times(result.speedup, 1),
        "ridge": f"{round(x(math.log2(result.ridge)), 2):g}%",
        "x_ticks": [{"at": x.percent(n), "text": _tokens(n)} for n in range(0, MOST_DOUBLINGS + 1, 2)],
        "y_ticks": [{"at": y(v), "text": numbers.integer(v)} for v in y.ticks()],
        "rows": [_row(result, name) for name in FORMATS],
    }


def _path(result: Result, name: str) -> str:
    """The bound by memory up to the ridge, then that by arithmetic."""
    x, y = _scales(result)
    bounds, ridge = result.bounds[name], ridge_of(result.controls.machine, name)
    corner = bound(result.controls.machine, name, 1) * ridge
    points = ((0.0, bounds[0]), (math.log2(ridge), corner), (float(MOST_DOUBLINGS), bounds[-1]))
    return " ".join(
        f"{'L' if i else 'M'}{10 * x(at):.1f} {1000 * y(value) / HEIGHT:.1f}"
        for i, (at, value) in enumerate(points)
    )


def _row(result: Result, name: str) -> dict[str, Any]:
    machine = result.controls.machine
    return {
        "name": name,
        "chosen": name == result.controls.format,
        "bits": numbers.shortest(FORMATS[name].bits)
        if name != "int4"
        else numbers.fixed(FORMATS[name].bits, 1),
        "kind": arithmetic(machine, name).upper(),
        "expanded": name != "f16" and arithmetic(machine, name) == "fp16",
        "rate": _rate(result.bounds[name][result.controls.doublings]),
    }


def _formulas(result: Result, bandwidth: float, peak: float) -> tuple[str, ...]:
    bits, weights = tex(numbers.shortest(result.bits_per_weight)), tex(numbers.integer(multiplied()))
    return (
        r"t = \max\!\left(\frac{n \, b / 8}{\mathrm{bandwidth}}, \; \frac{2 \, n \, T}{\mathrm{peak}}\right)",
        rf"n = {weights}, \quad b = {bits}, \quad T = {result.tokens}",
        rf"\mathrm{{bandwidth}} = {tex(numbers.shortest(bandwidth / 1e12))} \times 10^{{12}},"
        rf" \quad \mathrm{{peak}} = {tex(numbers.shortest(peak / 1e12))} \times 10^{{12}}",
    )


FIGURE = Figure("speed", "fig-06c", "FIG.06C", Controls, compute, view, shows="model")
