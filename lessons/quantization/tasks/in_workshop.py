"""A task for each page of the workshop that has none by hand: an idea, most often with a state to find."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from lessons.kit import numbers
from lessons.kit.figure import Figure
from lessons.kit.task import Exercise, Task
from lessons.kit.view import Sentence
from lessons.quantization import sources
from lessons.quantization.figures import (
    budget,
    cache,
    chooser,
    gptq,
    measured,
    methods,
    mixes,
    offload,
    qlora,
    rotation,
    speed,
    trained,
)
from lessons.quantization.tasks.by_hand import LAYERS, exact_step, rng_of
from lessons.quantization.tasks.on_figures import idea_step, readouts, state_step


def _helpers(seed: int) -> Exercise:
    rng = rng_of(seed, "helpers")
    start = _gain(gptq.FIGURE, gptq.Controls())
    while True:
        bits, cut = str(rng.choice(["2", "3", "4"])), str(rng.choice(["strongest", "neighbours", "llm"]))
        states = [gptq.Controls(bits=bits, slice=cut, step=step) for step in range(1, gptq.COLUMNS + 1)]
        gains = [_gain(gptq.FIGURE, state) for state in states]
        times = float(np.floor(max(gains) * 4) / 4)
        if times >= 1.25 and times > start:
            break
    example = states[int(np.argmax(gains))]
    slots = {"bits": bits, "times": numbers.as_printed(f"{times:g}"), "step": str(example.step)}
    return Exercise(
        (Sentence("given"),),
        (
            state_step(
                f"running_{cut}",
                gptq.FIGURE,
                lambda c, shown: (
                    c.bits == bits
                    and c.slice == cut
                    and c.step > 0
                    and shown["rtn_error"] >= times * shown["gptq_error"]
                ),
                lambda c, shown: {
                    "ours": numbers.percent(float(shown["gptq_error"]), 2),
                    "theirs": numbers.percent(float(shown["rtn_error"]), 2),
                },
                example,
                slots,
            ),
            idea_step("last", "nobody", ("nobody", "first", "text"), rng, slots),
        ),
    )


def _gain(figure: Figure[Any], controls: gptq.Controls) -> float:
    shown = readouts(figure, controls)
    return float(shown["rtn_error"]) / max(float(shown["gptq_error"]), 1e-12)


def _changed(seed: int) -> Exercise:
    rng = rng_of(seed, "changed")
    start = int(readouts(mixes.FIGURE, mixes.Controls())["changed"])
    pairs = (("Q2_K", "Q2_K_S"), ("Q3_K_M", "Q3_K_S"), ("Q3_K_L", "Q3_K_M"), ("Q5_K_M", "Q5_K_S"))
    while True:
        mix, against = pairs[int(rng.integers(len(pairs)))]
        example = mixes.Controls(mix=mix, against=against)
        changed = int(readouts(mixes.FIGURE, example)["changed"])
        low, high = changed - 5, changed + 5
        if not low <= start <= high:
            break
    slots = {"low": str(low), "high": str(high), "mix": mix, "against": against, "changed": str(changed)}
    return Exercise(
        (Sentence("given"),),
        (
            state_step(
                "pair",
                mixes.FIGURE,
                lambda c, shown: c.against != "none" and low <= shown["changed"] <= high,
                lambda c, shown: {"now": str(shown["changed"])},
                example,
                slots,
            ),
            idea_step("stays", "output", ("output", "attn_v", "ffn_down"), rng, slots),
        ),
    )


def _spend(seed: int) -> Exercise:
    rng = rng_of(seed, "spend")
    bits = float(rng.choice([4.75, 5.25, 5.5, 5.75, 6.0]))
    best = budget.compute(budget.Controls(budget=bits)).answers["best"]
    most = float(np.ceil(1.15 * best.divergence * 1e4) / 1e4)
    types = {group: next(iter(kinds)) for group, kinds in best.types.items()}
    slots = {"bits": numbers.as_printed(f"{bits:g}"), "most": numbers.fixed(most, 4)}
    return Exercise(
        (Sentence("given"),),
        (
            state_step(
                "map",
                budget.FIGURE,
                lambda c, shown: shown["bits_per_weight"] <= bits and shown["divergence"] <= most,
                lambda c, shown: {
                    "now": numbers.fixed(float(shown["bits_per_weight"]), 2),
                    "cost": numbers.fixed(float(shown["divergence"]), 4),
                },
                budget.Controls(budget=bits, **types),
                slots,
            ),
            idea_step("worth", "ratio", ("ratio", "size", "harm"), rng, slots),
        ),
    )


FAMILIES = {"rtn": "rtn-", "gptq": "gptq-", "awq": "awq-"}


def _cheapest(seed: int) -> Exercise:
    rng = rng_of(seed, "cheapest")
    family = str(rng.choice(list(FAMILIES)))
    size = measured.Controls().group  # rows of other block sizes are not shown with it
    rows = [
        row
        for row in measured.Controls.widgets()["row"].states()
        if str(row).startswith(FAMILIES[family])
        and str(row).endswith(f"-g{size}")
        and "act-order" not in str(row)
        and "clip" not in str(row)
    ]
    found = {str(row): readouts(measured.FIGURE, measured.Controls(row=str(row))) for row in rows}
    least = min(shown["rise"] for shown in found.values())
    most = float(rng.choice([most for most in (2.0, 5.0, 10.0, 25.0) if most >= least]))
    fitting = [row for row, shown in found.items() if shown["rise"] <= most]
    best = min(fitting, key=lambda row: found[row]["bits_per_weight"])
    bits = float(found[best]["bits_per_weight"])
    slots = {"most": numbers.as_printed(f"{most:g}"), "row": best, "bits": numbers.fixed(bits, 2)}
    return Exercise(
        (Sentence("given"),),
        (
            state_step(
                f"row_{family}",
                measured.FIGURE,
                lambda c, shown: (
                    c.model == "tinylm"
                    and c.row.startswith(FAMILIES[family])
                    and shown["rise"] <= most
                    and shown["bits_per_weight"] <= bits + 1e-9
                ),
                lambda c, shown: {
                    "rise": numbers.signed(float(shown["rise"]), 1),
                    "bpw": numbers.fixed(float(shown["bits_per_weight"]), 2),
                },
                measured.Controls(row=best),
                slots,
            ),
            idea_step("carries", "shape", ("shape", "height", "nothing"), rng, slots),
        ),
    )


def _split(seed: int) -> Exercise:
    rng = rng_of(seed, "split")
    while True:
        state = offload.Controls(
            model=str(
                rng.choice(["llama-3.1-70b", "qwen2.5-32b", "qwen3-32b", "gemma-3-27b", "qwen2.5-72b"])
            ),
            mix=str(rng.choice(["Q8_0", "Q6_K", "Q4_K_M"])),
            card=str(rng.choice(["rtx-4070", "rtx-5070-ti", "rtx-4090", "rtx-3060-12"])),
            layers=0,
        )
        result = offload.compute(state)
        if 5 <= result.fit_layers < result.split.of - 3:
            break
    most, card = result.fit_layers, offload.device(state.card)
    slots = {
        "model": offload.MODELS[state.model],
        "mix": state.mix,
        "card": card.short,
        "context": numbers.integer(int(state.context)),
        "layers": str(most),
    }
    wanted = (state.model, state.mix, state.card, state.context, most)
    return Exercise(
        (Sentence("given"),),
        (
            state_step(
                "most",
                offload.FIGURE,
                lambda c, shown: (c.model, c.mix, c.card, c.context, c.layers) == wanted,
                lambda c, shown: {
                    "now": str(c.layers),
                    "which": f"{offload.MODELS[c.model]} {c.mix}",
                    "card_now": offload.device(c.card).short,
                    "context_now": numbers.integer(int(c.context)),
                },
                state.model_copy(update={"layers": most}),
                slots,
            ),
            idea_step("pace", "ram", ("ram", "card", "count"), rng, slots),
        ),
    )


def _tint(seed: int) -> Exercise:
    rng = rng_of(seed, "tint")
    slots = {"n": str(int(rng.integers(4, 40)))}
    return Exercise(
        (Sentence("given"),),
        (
            idea_step("tint", "rise", ("rise", "rare", "wrong"), rng, {}),
            idea_step("surprise", "unsure", ("unsure", "mistakes", "length"), rng, slots),
        ),
    )


def _adapter(seed: int) -> Exercise:
    rng = rng_of(seed, "adapter")
    layer = str(rng.choice(["minilm.5.ffn_in", "minilm.1.query"]))
    states = [qlora.Controls(rank=rank, layer=layer) for rank in range(2, 66, 2)]
    while True:
        most = int(rng.integers(2, 16)) * 5
        right = [s for s in states if 100 * readouts(qlora.FIGURE, s)["adapter_share"] <= most]
        if right and right[-1].rank not in (qlora.Controls().rank, states[-1].rank):
            break
    best = right[-1]
    slots = {"most": str(most), "rank": str(best.rank)}
    return Exercise(
        (Sentence("given"),),
        (
            state_step(
                f"rank_{layer.replace('.', '_')}",
                qlora.FIGURE,
                lambda c, shown: c.layer == layer and c.rank == best.rank,
                lambda c, shown: {
                    "now": numbers.integer(c.rank),
                    "share": numbers.fixed(100 * float(shown["adapter_share"]), 1),
                },
                best,
                slots,
            ),
            idea_step("trained", "adapter", ("adapter", "codes", "scales"), rng, slots),
        ),
    )


def _spread(seed: int) -> Exercise:
    rng = rng_of(seed, "spread")
    layer, size = str(rng.choice(LAYERS)), int(rng.integers(1, 6))
    before, after = (
        float(readouts(rotation.FIGURE, rotation.Controls(layer=layer, size=power))["loudness"])
        for power in (size - 1, size)
    )
    most = round((before + after) / 2, 1)
    slots = {"most": numbers.times(most, 1), "size": str(2**size), "loudness": numbers.times(after)}
    return Exercise(
        (Sentence("given"),),
        (
            state_step(
                f"size_{layer.replace('.', '_')}",
                rotation.FIGURE,
                lambda c, shown: c.layer == layer and c.size == size,
                lambda c, shown: {
                    "now": str(rotation.mixed_together(c)),
                    "loud": numbers.times(float(shown["loudness"])),
                },
                rotation.Controls(layer=layer, size=size),
                slots,
            ),
            idea_step("same", "both", ("both", "undone", "small"), rng, slots),
        ),
    )


def _ranks(seed: int) -> Exercise:
    rng = rng_of(seed, "ranks")
    # Elsewhere one method leads both rankings.
    states = (("4", "minilm.5.ffn_in"), ("4", "minilm.1.query"), ("2", "smollm2.15.q"))
    bits, layer = states[rng.integers(len(states))]
    shown = readouts(methods.FIGURE, methods.Controls(bits=bits, layer=layer))
    slots = {"bits": bits}
    rank = exact_step("rank", int(shown["weight_best_rank"]), slots)
    return Exercise(
        (Sentence(f"given_{layer.replace('.', '_')}", **slots),),
        (rank, idea_step("fair", "bits", ("bits", "weights", "alphabet"), rng, slots)),
    )


def _returns(seed: int) -> Exercise:
    rng = rng_of(seed, "returns")
    return Exercise(
        (Sentence("given"),),
        (
            idea_step("returns", "codes", ("codes", "weights", "errors"), rng, {}),
            idea_step("dequantize", "subtract", ("subtract", "add", "divide"), rng, {}),
        ),
    )


def _runs(seed: int) -> Exercise:
    rng = rng_of(seed, "runs")
    return Exercise(
        (Sentence("given"),),
        (
            idea_step("gguf", "both", ("both", "cpu", "float"), rng, {}),
            idea_step("old", "read", ("read", "best", "broken"), rng, {}),
        ),
    )


@functools.cache
def _advised() -> dict[str, list[chooser.Controls]]:
    """The states of FIG.08 by the format that is advised there."""
    states: dict[str, list[chooser.Controls]] = {}
    for controls in chooser.Controls.every():
        states.setdefault(chooser.compute(controls).format, []).append(controls)
    return states


def _advice(seed: int) -> Exercise:
    rng = rng_of(seed, "advice")
    wanted = str(rng.choice(["NVFP4", "FP8", "INT8", "INT4", "Q8_0", "Q3_K_M", "Q2_K"]))
    states = _advised()[wanted]
    example = states[int(rng.integers(len(states)))]
    return Exercise(
        (Sentence("given"),),
        (
            state_step(
                "wanted",
                chooser.FIGURE,
                lambda c, shown: shown["format"] == wanted,
                lambda c, shown: {"now": str(shown["format"] or "–")},
                example,
                {
                    "wanted": wanted,
                    "machine": chooser.machine_name(example.device),
                    "use": str(chooser.USES[example.use]),
                },
            ),
            idea_step("batch", "arithmetic", ("arithmetic", "memory", "quality"), rng, {}),
        ),
    )


def _kept(seed: int) -> Exercise:
    rng = rng_of(seed, "kept")
    return Exercise(
        (Sentence("given"),),
        (
            idea_step("choose", "activation", ("activation", "weight", "chance"), rng, {}),
            idea_step("text", "enough", ("enough", "much", "none"), rng, {}),
        ),
    )


def _shortest(seed: int) -> Exercise:
    rng = rng_of(seed, "shortest")
    while True:
        bits = str(rng.choice(trained.BITS))
        errors = trained.errors_of(int(bits))
        at = int(rng.integers(2, len(errors) - 2))
        places = 4 if bits == "2" else 5
        most = round((errors[at] + errors[at - 1]) / 2, places)
        shown = [round(error, trained.places_of(error) + 2) for error in errors]
        if min(*errors[:at], *shown[:at]) > most >= max(errors[at], shown[at]):  # also as printed
            break
    best = trained.Controls(bits=bits, steps=trained.STEPS[at])
    slots = {"most": numbers.percent(most, places - 2), "steps": str(best.steps)}
    return Exercise(
        (Sentence("given"),),
        (
            state_step(
                f"steps_{bits}",
                trained.FIGURE,
                lambda c, shown: (c.story, c.bits, c.steps) == ("during", bits, best.steps),
                lambda c, shown: {
                    "bits": c.bits,
                    "steps_now": str(c.steps),
                    "now": trained.percent(trained.errors_of(int(c.bits))[trained.STEPS.index(c.steps)]),
                },
                best,
                slots,
            ),
            idea_step("estimator", "slope", ("slope", "exact", "finer"), rng, slots),
        ),
    )


def _cached(seed: int) -> Exercise:
    rng = rng_of(seed, "cached")
    states = [state for state in cache.Controls.every() if "f32" not in (state.key, state.value)]
    costs = {state: cache.compute(state) for state in states}
    most = float(rng.choice([0.002, 0.005, 0.008, 0.012, 0.015]))
    allowed = [state for state in states if costs[state].divergence <= most]
    best = min(allowed, key=lambda state: (costs[state].size, costs[state].divergence))
    least = costs[best].size
    types = f"{best.key}, {best.value}"
    slots = {"most": numbers.as_printed(f"{most:g}"), "size": numbers.fixed(least / 1e9, 2), "types": types}
    return Exercise(
        (Sentence("given"),),
        (
            idea_step("channel", "scale", ("scale", "more", "position"), rng, {}),
            state_step(
                "types",
                cache.FIGURE,
                lambda c, shown: shown["divergence"] <= most and shown["size"] <= least,
                lambda c, shown: {
                    "divergence": numbers.significant(float(shown["divergence"]), 2),
                    "now": numbers.fixed(float(shown["size"]) / 1e9, 2),
                },
                best,
                slots,
            ),
        ),
    )


def _knee(seed: int) -> Exercise:
    rng = rng_of(seed, "knee")
    while True:
        machine = str(rng.choice(speed.MACHINES))
        states = [speed.Controls(doublings=n, machine=machine) for n in speed.DOUBLINGS]
        gains = [speed.compute(state).speedup for state in states]
        most = float(rng.choice([1.25, 1.5, 2.0, 2.5, 3.0]))
        best = states[next(n for n, gain in enumerate(gains) if gain <= most)]
        if best != speed.Controls():
            break
    slots = {
        "machine": sources.device(machine).short,
        "most": numbers.as_printed(f"{most:g}{numbers.TIMES}"),
        "tokens": numbers.integer(2**best.doublings),
    }
    return Exercise(
        (Sentence("given"),),
        (
            state_step(
                "state",
                speed.FIGURE,
                lambda c, shown: c == best,
                lambda c, shown: {
                    "now": numbers.times(float(shown["speedup"]), 2),
                    "machine_now": sources.device(c.machine).short,
                    "tokens_now": numbers.integer(2**c.doublings),
                },
                best,
                slots,
            ),
            idea_step("prompt", "arithmetic", ("arithmetic", "cache", "int4"), rng, slots),
        ),
    )


TASKS = (
    Task("returns", "code", _returns),
    Task("helpers", "gptq", _helpers),
    Task("kept", "calibration", _kept),
    Task("cheapest", "measured", _cheapest),
    Task("cached", "cache-bits", _cached),
    Task("tint", "sentence", _tint),
    Task("changed", "mixes", _changed),
    Task("spend", "bit-budget", _spend),
    Task("split", "card-and-ram", _split),
    Task("runs", "today", _runs),
    Task("advice", "today", _advice),
    Task("adapter", "qlora", _adapter),
    Task("spread", "rotate-outliers", _spread),
    Task("shortest", "trained-for-it", _shortest),
    Task("knee", "four-bits-speed", _knee),
    Task("ranks", "methods", _ranks),
)
