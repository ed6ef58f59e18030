"""A task for each section that asks for an idea, or to bring a figure into a state.

A state is judged by the figure's own read-outs, so any state that fulfils the condition is right.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

import numpy as np

from lessons.kit import numbers
from lessons.kit.controls import FigureControls
from lessons.kit.figure import Figure
from lessons.kit.language import gettext
from lessons.kit.task import Exercise, Slip, StateStep, Step, Task
from lessons.kit.view import Sentence
from lessons.quantization import sources
from lessons.quantization.figures import awq, fit, noise, primitive, quality, rounding, rtn
from lessons.quantization.tasks.by_hand import rng_of
from quant_core.methods.rtn import bits_per_weight


@functools.lru_cache(maxsize=256)
def readouts(figure: Figure[Any], controls: FigureControls) -> Mapping[str, Any]:
    """The read-outs of a state, by name."""
    return {shown.name: shown.value for shown in figure.view(controls).readouts}


def state_step(
    name: str,
    figure: Figure[Any],
    holds: Callable[[Any, Mapping[str, Any]], bool],
    measured: Callable[[Any, Mapping[str, Any]], Mapping[str, str]],
    example: FigureControls,
    slots: Mapping[str, str],
) -> StateStep:
    """A step that asks for a state of a figure; `holds` and `measured` are given controls and read-outs."""
    return StateStep(
        name,
        urlencode(example.query()) or "=",
        example_text(example),
        slots=slots,
        figure=figure.name,
        controls=figure.controls,
        holds=lambda controls: holds(controls, readouts(figure, controls)),
        measured=lambda controls: measured(controls, readouts(figure, controls)),
    )


def example_text(controls: FigureControls) -> str:
    """A state as its parameters."""
    return ", ".join(f"{name} = {value}" for name, value in controls.query())


def idea_step(
    name: str, answer: str, options: Iterable[str], rng: np.random.Generator, slots: Mapping[str, str]
) -> Step:
    """A step with one right statement, in an order that the seed gives; each wrong one has its sentence."""
    shuffled = [str(option) for option in rng.permutation(list(options))]
    slips = tuple(Slip(f"{name}_{option}", option) for option in shuffled if option != answer)
    return Step(name, answer, answer, slips, tuple(shuffled), slots=slots)


# --- opening: what the four bits say ------------------------------------------------------------------------


def _index(seed: int) -> Exercise:
    rng = rng_of(seed, "index")
    block = primitive.compute(primitive.Controls())
    codes = sorted(
        {int(code) for code in block.codes} - {int(readouts(primitive.FIGURE, primitive.Controls())["q"])}
    )
    code = int(rng.choice(codes))
    weight = int(np.flatnonzero(np.asarray(block.codes) == code)[0])
    slots = {"code": str(code), "bits": f"{code:04b}", "weight": str(weight)}
    return Exercise(
        (Sentence("given"),),
        (
            idea_step("bits", "index", ("index", "cut", "digits"), rng, slots),
            state_step(
                "code",
                primitive.FIGURE,
                lambda c, shown: c.bits == "4" and shown["q"] == code,
                lambda c, shown: {"q": str(shown["q"]), "width": c.bits},
                primitive.Controls(weight=str(weight)),
                slots,
            ),
        ),
    )


# --- idea: what cancels -------------------------------------------------------------------------------------


def _share(seed: int) -> Exercise:
    rng = rng_of(seed, "share")
    whole = noise.Controls()
    ratios = {
        stop: float(readouts(noise.FIGURE, noise.Controls(length=stop))["ratio"])
        for stop in range(whole.length)
    }
    target = int(rng.integers(3, 8))
    stop = next(stop for stop, ratio in ratios.items() if ratio >= target)
    last = max(stop for stop, ratio in ratios.items() if ratio <= target + 2)
    low, high = readouts(noise.FIGURE, noise.Controls(length=0)), readouts(noise.FIGURE, whole)
    slots = {
        "target": str(target),
        "most": str(target + 2),
        "first_share": numbers.percent(low["share"], 1),
        "last_share": numbers.percent(high["share"], 1),
        "length": str(noise.LENGTHS[max(stop, min(last, stop))]),
    }
    return Exercise(
        (Sentence("given"),),
        (
            idea_step("who", "stays", ("stays", "shrinks", "grows"), rng, slots),
            state_step(
                "ratio",
                noise.FIGURE,
                lambda c, shown: target <= shown["ratio"] <= target + 2,
                lambda c, shown: {"ratio": numbers.times(float(shown["ratio"]))},
                noise.Controls(length=stop),
                slots,
            ),
        ),
    )


# --- rounding: fewer zeros, within a budget -----------------------------------------------------------------


def _zeros(seed: int) -> Exercise:
    rng = rng_of(seed, "zeros")
    plain = {
        (block, bits, size): rtn.Controls(block=block, bits=bits, group_size=size)
        for block in ("calm", "attention", "llm")
        for bits in range(3, 7)
        for size in ("16", "32", "64")
    }
    found = {key: readouts(rtn.FIGURE, controls) for key, controls in plain.items()}
    while True:
        block, bits, size = list(plain)[int(rng.integers(len(plain)))]
        wanted = found[block, bits, size]
        start = readouts(rtn.FIGURE, rtn.Controls(block=block))
        if wanted["zeros"] < start["zeros"] and wanted["zeros"] <= 6:
            break
    most, budget = int(wanted["zeros"]), float(wanted["bits_per_weight"])
    slots = {
        "block": block,
        "most": str(most),
        "budget": numbers.fixed(budget, 2),
        "bits": str(bits),
        "size": size,
        "halved": numbers.fixed(bits_per_weight(bits, int(size) // 2), 2),
        "one_more": numbers.fixed(bits_per_weight(bits + 1, int(size)), 2),
        "now": numbers.fixed(bits_per_weight(bits, int(size)), 2),
    }
    cheaper = bits_per_weight(bits, int(size) // 2) < bits_per_weight(bits + 1, int(size))
    return Exercise(
        (Sentence("given", **slots),),
        (
            state_step(
                f"zeros_{block}",
                rtn.FIGURE,
                lambda c, shown: (
                    c.block == block
                    and c.stretch == 1
                    and shown["zeros"] <= most
                    and shown["bits_per_weight"] <= budget + 1e-9
                ),
                lambda c, shown: {
                    "zeros": str(shown["zeros"]),
                    "bpw": numbers.fixed(float(shown["bits_per_weight"]), 2),
                },
                plain[block, bits, size],
                slots,
            ),
            idea_step("cheaper", "half" if cheaper else "bit", ("half", "bit", "same"), rng, slots),
        ),
    )


# --- output error: when the far way wins --------------------------------------------------------------------


def _signs(seed: int) -> Exercise:
    rng = rng_of(seed, "signs")
    while True:
        pair = str(rng.choice(list(rounding.PAIRS)))
        bits = str(rng.choice(["2", "3", "4"]))
        times = int(rng.integers(2, 5))
        start = readouts(rounding.FIGURE, rounding.Controls(pair=pair, bits=bits))
        states = [
            rounding.Controls(pair=pair, bits=bits, x2=x2)
            for x2 in rounding.Controls.widgets()["x2"].states()
        ]
        right = [state for state in states if _gains(readouts(rounding.FIGURE, state), times)]
        if right and len(right) < 20 and not _gains(start, times):
            break
    slots = {"pair": pair, "bits": bits, "times": str(times), "x2": numbers.fixed(right[0].x2, 3)}
    return Exercise(
        (Sentence("given", **slots),),
        (
            idea_step("why", "cancel", ("cancel", "near", "small"), rng, slots),
            state_step(
                f"far_{pair}",
                rounding.FIGURE,
                lambda c, shown: c.pair == pair and c.bits == bits and _gains(shown, times),
                lambda c, shown: {
                    "nearest": numbers.significant(float(shown["nearest_error"])),
                    "best": numbers.significant(float(shown["best_error"])),
                },
                right[0],
                slots,
            ),
        ),
    )


def _gains(shown: Mapping[str, Any], times: int) -> bool:
    return bool(shown["best_error"] * times <= shown["nearest_error"])


# --- AWQ: the bottom of the valley --------------------------------------------------------------------------

WITHIN = 0.02


VALLEYS = (("minilm.1.query", "2"), ("minilm.1.query", "4"), ("smollm2.15.q", "2"), ("smollm2.15.q", "3"))
"""Layers and widths whose best α is not where the figure begins."""


def _valley(seed: int) -> Exercise:
    rng = rng_of(seed, "valley")
    layer, bits = VALLEYS[int(rng.integers(len(VALLEYS)))]
    states = [
        awq.Controls(layer=layer, bits=bits, alpha=alpha)
        for alpha in awq.Controls.widgets()["alpha"].states()
    ]
    errors = [float(readouts(awq.FIGURE, state)["output_error"]) for state in states]
    least = min(errors)
    best = states[errors.index(least)]
    slots = {
        "bits": bits,
        "within": numbers.percent(WITHIN, 0),
        "alpha": numbers.fixed(best.alpha, 2),
        "least": numbers.percent(least, 2),
        "last": numbers.percent(errors[-1], 2),
        "first": numbers.percent(errors[0], 2),
    }
    name = layer.replace(".", "_")
    return Exercise(
        (Sentence("given"),),
        (
            state_step(
                f"valley_{name}",
                awq.FIGURE,
                lambda c, shown: (
                    c.layer == layer and c.bits == bits and shown["output_error"] <= (1 + WITHIN) * least
                ),
                lambda c, shown: {"error": numbers.percent(float(shown["output_error"]), 2)},
                best,
                slots,
            ),
            idea_step("price", "neighbours", ("neighbours", "loud", "bits"), rng, slots),
        ),
    )


# --- GGUF: the smallest file that is good enough ------------------------------------------------------------


def _smallest(seed: int) -> Exercise:
    rng = rng_of(seed, "smallest")
    schemes = [row.scheme for row in quality.rows_of("instruct") if row.scheme != quality.BASELINE]
    found = {name: readouts(quality.FIGURE, quality.Controls(scheme=name)) for name in schemes}
    most = float(rng.choice([0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0]))
    fitting = [name for name in schemes if -found[name]["points"] <= most]
    right = min(fitting, key=lambda name: found[name]["size_gb"])
    slots = {
        "most": numbers.as_printed(f"{most:g}"),
        "scheme": right,
        "size": numbers.fixed(float(found[right]["size_gb"]), 2),
        "loss": numbers.signed(float(found[right]["points"]), 2),
    }
    return Exercise(
        (Sentence("given"),),
        (
            state_step(
                "file",
                quality.FIGURE,
                lambda c, shown: c.data == "instruct" and c.scheme == right,
                lambda c, shown: {
                    "chosen": c.scheme,
                    "chosen_size": numbers.fixed(float(shown["size_gb"]), 2),
                    "chosen_loss": numbers.signed(float(shown["points"]), 2),
                },
                quality.Controls(scheme=right),
                slots,
            ),
            idea_step("suffix", "tensors", ("tensors", "codes", "model"), rng, slots),
        ),
    )


# --- fit: make it fit ---------------------------------------------------------------------------------------

MACHINES = ("rtx-3060-12", "rtx-4090", "rtx-5090", "mac-m1-max-64")
MODELS = ("llama-3.1-8b", "qwen2.5-14b", "mistral-small-24b", "qwen2.5-32b", "llama-3.1-70b")


def _make_it_fit(seed: int) -> Exercise:
    rng, usual = rng_of(seed, "make-it-fit"), fit.Controls()
    while True:
        machine, model = str(rng.choice(MACHINES)), str(rng.choice(MODELS))
        if (machine, model) == (usual.device, usual.model):
            continue  # there the figure begins
        states = [
            fit.Controls(device=machine, model=model, mix=mix, scope="everything")
            for mix in fit.MIXES
            if not mix.startswith("I")
        ]
        fitting = [state for state in states if readouts(fit.FIGURE, state)["margin"] >= 0]
        if fitting and len(fitting) < len(states):
            break
    largest = max(fitting, key=lambda state: readouts(fit.FIGURE, state)["bits_per_weight"])
    bits = float(readouts(fit.FIGURE, largest)["bits_per_weight"])
    slots = {
        "machine": gettext(next(device.name for device in sources.hardware() if device.id == machine)),
        "model": fit.PRESETS[model].name,
        "mix": largest.mix,
        "bits": numbers.fixed(bits, 2),
    }
    return Exercise(
        (Sentence("given"),),
        (
            state_step(
                "largest",
                fit.FIGURE,
                lambda c, shown: (
                    (c.device, c.source, c.model, c.scope, c.context)
                    == (machine, "preset", model, "everything", largest.context)
                    and shown["margin"] >= 0
                    and shown["bits_per_weight"] >= bits - 1e-9
                ),
                lambda c, shown: {
                    "margin": numbers.signed(float(shown["margin"]), 1),
                    "bpw": numbers.fixed(float(shown["bits_per_weight"]), 2),
                },
                largest,
                slots,
            ),
            idea_step("more", "cache", ("cache", "file", "screen"), rng, slots),
        ),
    )


# --- the family: which one to take --------------------------------------------------------------------------

CASES = {
    "laptop": "kquant",
    "server": "fp8",
    "three": "imatrix",
    "born": "own",
    "roomy": "q8",
    "judge": "kld",
}
"""A case, and the option that the lesson's table gives it."""

OPTIONS = {
    "laptop": ("kquant", "fp8", "two"),
    "server": ("fp8", "kquant", "nf4"),
    "three": ("imatrix", "plain", "kquant4"),
    "born": ("own", "requantize", "f16"),
    "roomy": ("q8", "two", "nf4"),
    "judge": ("kld", "size", "ppl"),
}


def _choose(seed: int) -> Exercise:
    rng = rng_of(seed, "choose")
    cases = [str(case) for case in rng.permutation(list(CASES))[:3]]
    return Exercise(
        (Sentence("given"),), tuple(idea_step(case, CASES[case], OPTIONS[case], rng, {}) for case in cases)
    )


TASKS = (
    Task("index", "opening", _index),
    Task("share", "idea", _share),
    Task("zeros", "rounding", _zeros),
    Task("signs", "output-error", _signs),
    Task("valley", "awq", _valley),
    Task("smallest", "gguf", _smallest),
    Task("make-it-fit", "fit", _make_it_fit),
    Task("choose", "family", _choose),
)
