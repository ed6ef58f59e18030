"""FIG.08: every combination has a sensible advice that fits, or a refusal that says why and what would do."""

from __future__ import annotations

import functools
import json
import re

from lessons.catalogue import load_lesson
from lessons.quantization import sources
from lessons.quantization.figures import fit
from lessons.quantization.figures.chooser import (
    GGUF,
    MACHINES,
    OWN,
    SERVED,
    USES,
    Controls,
    Result,
    compute,
    reasons,
    served_bytes,
    view,
)

TEXT = load_lesson("quantization")
WITH_GPU = ("card", "server")


@functools.cache
def states() -> list[tuple[Controls, Result]]:
    return [(controls, compute(controls)) for controls in Controls.every()]


def test_what_is_advised_fits_and_nothing_better_that_a_rule_names_does() -> None:
    order = [rule.id for rule in sources.chooser_rules()]
    for controls, result in states():
        allowed = [each for each in result.candidates if each.rule]
        if taken := result.taken:
            assert taken.outcome.margin >= 0, controls
            assert taken.rule is not None
            earlier = [
                each
                for each in allowed
                if each.rule and order.index(each.rule.id) < order.index(taken.rule.id)
            ]
            assert not any(each.taken_if_first for each in earlier), controls
        else:
            assert not any(each.fits and each.rule and not each.rule.roomy for each in allowed), controls


def test_advice_follows_the_table_of_the_section() -> None:
    for controls, result in states():
        group, generation = MACHINES[controls.device]
        taken = result.format
        if not taken:
            continue
        if taken == "own":
            assert controls.model in OWN
        elif controls.use == "many":
            assert group in WITH_GPU
            assert (
                taken
                in {
                    "Blackwell": ("NVFP4", "INT4"),
                    "Hopper": ("FP8", "INT4"),
                    "Ampere": ("INT8", "INT4"),
                }[generation]
            )
        elif group == "server":
            assert taken in ("INT4", *GGUF)
        else:
            assert taken in GGUF


def test_many_conversations_are_refused_without_a_gpu() -> None:
    refused = [
        result
        for controls, result in states()
        if controls.use == "many" and MACHINES[controls.device][0] not in WITH_GPU
    ]
    assert refused
    for result in refused:
        assert result.taken is None
        assert view(result).description[0].key == "refuse_many"


def test_a_need_is_that_of_figure_six() -> None:
    for controls, result in states():
        for each in result.candidates:
            if each.format not in GGUF:
                continue
            same = fit.Controls(
                model=controls.model,
                mix=each.format,
                device=controls.device,
                context=controls.context,
                sequences=str(USES[controls.use]),
            )
            shown = fit.compute(same)
            assert (shown.total, shown.chosen.margin) == (each.outcome.need.total, each.outcome.margin)
            break  # one format of each state: they share the code


def test_bytes_of_served_formats() -> None:
    shape = fit.PRESETS["llama-3.1-8b"].shape
    int4, awq = served_bytes(shape, SERVED["INT4"]), fit.file_bytes(shape, "AWQ")
    assert abs(int4 - awq) < 1e-3 * awq
    assert abs(served_bytes(shape, 16.0) - 2 * shape.parameters) < 1000  # but for the table of positions


def test_every_advice_says_its_reason_and_its_price_and_every_refusal_a_way_out() -> None:
    for controls, result in states():
        finding, keys = view(result).description[0].key, [sentence.key for sentence in reasons(result)]
        if result.taken:
            assert result.taken.rule
            assert finding.startswith("take")
            need, rule = result.taken.outcome.need, result.taken.rule.id
            why = "int4_caches" if rule == "int4" and need.cache > need.weights else rule
            assert keys == [f"because_{why}", f"price_{rule}"]
        else:
            assert finding.startswith("refuse")
            assert keys, controls


def test_alternatives_are_true() -> None:
    names = {preset.name: id for id, preset in fit.PRESETS.items()}
    for controls, result in states():
        for sentence in reasons(result):
            if sentence.key.startswith("would_m"):
                assert sentence.key.endswith("_alone") == (controls.use == "alone")
            if sentence.key.startswith("would_model"):
                other = controls.model_copy(update={"model": names[sentence.slots["other"]]})
                assert compute(other).taken
            if sentence.key.startswith("would_machine"):
                (machine,) = (
                    d.id
                    for d in sources.hardware()
                    if d.short == sentence.slots["other"] and d.id in MACHINES
                )
                assert compute(controls.model_copy(update={"device": machine})).taken
            if sentence.key == "would_alone":
                assert compute(controls.model_copy(update={"use": "alone"})).taken


def test_only_rules_of_others_name_the_day_they_were_read() -> None:
    for _, result in states():
        keys = [sentence.key for sentence in view(result).notes]
        if result.taken and result.taken.rule:
            assert ("rule" in keys) == bool(result.taken.rule.url)
            assert ("rule_own" in keys) != bool(result.taken.rule.url)


def test_every_rule_has_a_source_and_a_day_and_can_win() -> None:
    rows = json.loads((sources.DATA / "chooser.json").read_text("utf-8"))["rules"]
    for row in rows:
        assert len(row["source"]) > 40
        assert ("url" in row) == ("read" in row), "only what somebody else says was read on a day"
        assert "url" not in row or re.fullmatch(r"2026-\d\d-\d\d", row["read"])
    won = {result.taken.rule.id for _, result in states() if result.taken and result.taken.rule}
    assert won >= {rule.id for rule in sources.chooser_rules()} - {"squeezed"}
