"""The claims: measured ones are measured again, with the function and block that they name."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.catalogue import ROOT, load_lesson
from lessons.kit import duration
from lessons.kit.prose import Section
from lessons.quantization import sources
from lessons.quantization.blocks import BLOCKS, block_weights, start
from lessons.quantization.figures import awq as fig_awq
from lessons.quantization.figures import budget as fig_budget
from lessons.quantization.figures import fourbit as fig_fourbit
from lessons.quantization.figures import methods as fig_methods
from lessons.quantization.figures import rotation as fig_rotation
from lessons.quantization.figures import smooth as fig_smooth
from quant_core import ggml
from quant_core.methods import awq, gptq, metrics, mxfp4, nvfp4, rtn
from tests.each import each
from tests.lessons.test_prose import printed

LESSON = load_lesson("quantization")
MAIN, BITS, GROUP = "minilm.5.ffn_in", 3, 128
Matrix = NDArray[Any]


@functools.cache
def main() -> sources.Layer:
    return sources.load_layer(MAIN)


@functools.cache
def rounded(method: str) -> Matrix:
    """The main layer at three bits in groups of 128, by each method of the table in section 03."""
    w, h, mean = main().weights, main().hessian, main().mean_abs
    assert h is not None
    assert mean is not None
    if method == "rtn":
        return rtn.round_to_nearest(w, BITS, GROUP).dequantize()
    if method == "awq":
        scales = awq.scales_for(mean, awq.search_statistics(w, h, mean, BITS, GROUP).alpha)
        return awq.apply(w, scales, BITS, GROUP).dequantize()
    return gptq.gptq(w, h, BITS, GROUP, act_order=method == "gptq-act").dequantized


def weight_error(method: str) -> float:
    return metrics.relative_weight_error(main().weights, rounded(method))


def output_error(method: str) -> float:
    held_out = main().activations_test
    assert held_out is not None
    return metrics.relative_output_error(held_out, main().weights, rounded(method))


def outlier() -> tuple[Matrix, int]:
    return block_weights("outlier", GROUP), BLOCKS["outlier"].column - start("outlier", GROUP)


def outlier_ratio() -> float:
    """The mean error of the others, with the outlier in the block and without."""
    block, at = outlier()
    rest = np.delete(block, at)
    with_it = np.delete(rtn.round_to_nearest(block[None], 4, None).dequantize()[0], at)
    without = rtn.round_to_nearest(rest[None], 4, None).dequantize()[0]
    return metrics.mean_absolute_error(rest, with_it) / metrics.mean_absolute_error(rest, without)


def outlier_zeros() -> int:
    block, at = outlier()
    return int(np.sum(np.delete(rtn.round_to_nearest(block[None], 4, None).dequantize()[0], at) == 0))


def outlier_sqnr(others: bool) -> float:
    block, at = outlier()
    back = rtn.round_to_nearest(block[None], 4, None).dequantize()[0]
    if others:
        block, back = np.delete(block, at), np.delete(back, at)
    return metrics.sqnr_db(block, back)


def energy() -> Matrix:
    hessian = main().hessian
    assert hessian is not None
    return np.sort(np.diag(hessian))[::-1]


def loud_and_light() -> int:
    """How many channels, the loudest first, are among the five whose weights have the smallest norm."""
    hessian = main().hessian
    assert hessian is not None
    lightest = set(np.argsort(np.linalg.norm(main().weights, axis=0))[:5].tolist())
    loudest = np.argsort(-np.diag(hessian)).tolist()
    return next(i for i, channel in enumerate(loudest) if channel not in lightest)


def loudness() -> float:
    mean = main().mean_abs
    assert mean is not None
    return float(mean.max() / np.median(mean))


def scaled_block(what: int) -> float:
    """s of the loud channel at the best α, its block's range, and both spacings: from the weights again."""
    sweep, mean = fig_awq.sweep(MAIN, BITS), main().mean_abs
    assert mean is not None
    row, loud = sweep.salient
    scales = awq.scales_for(mean, sweep.alpha)
    block = slice(loud // GROUP * GROUP, loud // GROUP * GROUP + GROUP)
    quiet = block.start + int(np.argmin(mean[block]))

    def reach(values: Matrix) -> float:
        return max(0.0, float(values.max())) - min(0.0, float(values.min()))

    before = main().weights[row, block].astype(np.float64)
    change = reach(before * scales[block]) / reach(before)
    return (float(scales[loud]), change, float(scales[loud]) / change, change / float(scales[quiet]))[what]


def importance(weighted: bool) -> float:
    """Q4_K on the layer's first super-blocks, with an imatrix over without, as a share."""
    hessian = main().hessian
    assert hessian is not None
    weights = np.ascontiguousarray(main().weights[:, :256])
    matter = np.diag(hessian)[:256].astype(np.float32)
    errors = []
    for matrix in (matter, None):
        back = ggml.dequantize(ggml.quantize(weights, "Q4_K", importance=matrix), "Q4_K")
        errors.append(float(((matter if weighted else 1) * (weights - back).astype(np.float64) ** 2).sum()))
    return errors[0] / errors[1]


def requantized(first: str) -> float:
    """The squared error of Q4_K after another format, over that of Q4_K alone."""
    weights = np.ascontiguousarray(main().weights[:, :256])

    twice, once = through(through(weights, first), "Q4_K"), through(weights, "Q4_K")
    return metrics.relative_weight_error(weights, twice) / metrics.relative_weight_error(weights, once)


def through(weights: Matrix, name: str) -> Matrix:
    return ggml.dequantize(ggml.quantize(np.ascontiguousarray(weights), name), name)


def main_error(approximation: Matrix) -> float:
    return metrics.relative_weight_error(main().weights, approximation)


def noise_share(n: int) -> float:
    """RMS of the error of the outputs over RMS of the outputs, when only n input channels are added up."""
    layer = main()
    assert layer.activations_test is not None
    inputs = layer.activations_test[:, :n].astype(float)
    weights = layer.weights.astype(float)[:, :n]
    error = rtn.round_to_nearest(layer.weights, 4, 32).dequantize()[:, :n] - weights
    return float(np.linalg.norm(inputs @ error.T) / np.linalg.norm(inputs @ weights.T))


def smoothing(form: str, alpha: float | None) -> float:
    s = fig_smooth.sweep(MAIN, form)
    return s.plain if alpha is None else s.errors[fig_smooth.ALPHAS.index(alpha)]


def rotated_readout(name: str) -> float:
    """Of the main layer in four bits, all its channels mixed that can be."""
    return float(getattr(fig_rotation.compute(fig_rotation.Controls()), name))


def rank(column: int) -> int:
    table = {row[0]: row for row in fig_methods.FIGURE.view(fig_methods.Controls()).table.rows}
    return int(table["GPTQ act-order"][column])


def among_the_last_two() -> str:
    return "last two" if rank(4) > len(fig_methods.scores_of(MAIN, 4)) - 2 else str(rank(4))


def small(key: str) -> float:
    """The perplexity of the lesson's own model, as `make measure` measured it."""
    return next(row.perplexity for row in sources.measured() if row.key == key)


def cache_of_smollm2(key: str, value: str, rotate: bool) -> float:
    """The divergence of SmolLM2-135M, as `make caches` measured it."""
    rows = sources.kv_cache_conditions()["smollm2"]["rows"]
    wanted = {"cache_type_k": key, "cache_type_v": value, "rotate": rotate}
    return next(float(row["divergence"]) for row in rows if row.items() >= wanted.items())


def own_text(method: str) -> list[sources.MeasuredCalibration]:
    """After calibration on text that the small model wrote, the least of it first."""
    rows = [row for row in sources.measured_calibration() if (row.method, row.source) == (method, "own")]
    return sorted(rows, key=lambda row: row.tokens)


def value_harm() -> float:
    costs = {group: kinds["Q4_K"].error for group, kinds in fig_budget.priced().items()}
    return 100 * costs["values"] / sum(costs.values())


MEASURED: dict[str, Callable[[], float | str]] = {
    "outlier-value": lambda: float(np.abs(outlier()[0]).max()),
    "outlier-median": lambda: float(np.median(np.abs(outlier()[0]))),
    "outlier-step": lambda: float(rtn.round_to_nearest(outlier()[0][None], 4, None).scale[0, 0]),
    "outlier-others": outlier_zeros,
    "outlier-others-sqnr": lambda: outlier_sqnr(others=True),
    "outlier-sqnr": lambda: outlier_sqnr(others=False),
    "outlier-error-4": outlier_ratio,
    "werr-rtn": lambda: weight_error("rtn"),
    "werr-awq": lambda: weight_error("awq"),
    "werr-gptq": lambda: weight_error("gptq"),
    "werr-gptq-act": lambda: weight_error("gptq-act"),
    "oerr-rtn": lambda: output_error("rtn"),
    "oerr-awq": lambda: output_error("awq"),
    "oerr-gptq": lambda: output_error("gptq"),
    "oerr-gptq-act": lambda: output_error("gptq-act"),
    "noise-share-1": lambda: 100 * noise_share(1),
    "noise-share-all": lambda: 100 * noise_share(384),
    "channel-ratio": loudness,
    "channel-top": loud_and_light,
    "channel-count": lambda: len(energy()),
    "channel-energy": lambda: 100 * float(energy()[:3].sum() / energy().sum()),
    "keep-activation": lambda: 100 * fig_awq.sweep(MAIN, BITS).kept["activation"],
    "keep-weight": lambda: 100 * fig_awq.sweep(MAIN, BITS).kept["weight"],
    "keep-random": lambda: 100 * fig_awq.sweep(MAIN, BITS).kept["random"],
    "awq-alpha": lambda: fig_awq.sweep(MAIN, BITS).alpha,
    "awq-scale": lambda: scaled_block(0),
    "awq-range": lambda: 100 * scaled_block(1),
    "awq-finer": lambda: scaled_block(2),
    "awq-coarser": lambda: scaled_block(3),
    "awq-gain": lambda: output_error("rtn") / output_error("awq"),
    "awq-overshoot": lambda: float(fig_awq.sweep(MAIN, BITS).held_out[-1] / output_error("rtn")),
    "imatrix-weighted": lambda: 100 * importance(weighted=True),
    "imatrix-plain": lambda: 100 * (importance(weighted=False) - 1),
    "requantize-q8": lambda: 100 * (requantized("Q8_0") - 1),
    "requantize-q5": lambda: 100 * (requantized("Q5_K") - 1),
    "w8a8-plain": lambda: smoothing("int8", None),
    "w8a8-gain": lambda: smoothing("int8", None) / smoothing("int8", 0.5),
    "rotation-loud": lambda: rotated_readout("loudness_plain"),
    "rotation-zeros": lambda: 100 * rotated_readout("at_zero_plain"),
    "rotation-plain": lambda: 100 * rotated_readout("output_error_plain"),
    "rotation-error": lambda: 100 * rotated_readout("output_error"),
    "rotation-smooth": lambda: 100 * rotated_readout("output_error_smooth"),
    "fp8-plain": lambda: smoothing("e4m3", None),
    "fp8-smooth": lambda: smoothing("e4m3", 0.5),
    "methods-count": lambda: len(fig_methods.scores_of(MAIN, 4)),
    "act-weight-rank": among_the_last_two,
    "act-output-rank": lambda: rank(6),
    "mxfp4-error": lambda: 100 * main_error(mxfp4.quantize(main().weights).dequantize()),
    "e4m3-error": lambda: 100 * fig_fourbit.layer_error("calm", "e4m3", "32"),
    "nvfp4-error": lambda: 100 * main_error(nvfp4.quantize(main().weights).dequantize()),
    "q4-0-error": lambda: 100 * main_error(through(main().weights, "Q4_0")),
    # `make training` wrote these; test_trained.py runs a part of it again.
    "tq-ordinary": lambda: 100 * sources.trained_layer().ternary.usual,
    "tq-trained": lambda: 100 * sources.trained_layer().ternary.stored,
    # `make measure` wrote these, and its own test runs a part of it again.
    "tiny-16": lambda: small("F16"),
    "tiny-4": lambda: small("rtn-4-g64"),
    "tiny-3": lambda: small("rtn-3-g64"),
    "tiny-2": lambda: small("rtn-2-g64"),
    "few-tokens": lambda: min(row.tokens for row in own_text("gptq")),
    "few-gptq": lambda: own_text("gptq")[0].perplexity,
    "few-rtn": lambda: next(row.perplexity for row in sources.measured_calibration() if row.method == "rtn"),
    "few-awq": lambda: own_text("awq")[0].perplexity,
    "many-tokens": lambda: max(row.tokens for row in own_text("gptq")),
    "many-gptq": lambda: own_text("gptq")[-1].perplexity,
    **{
        f"cache-smol-{part}{'-rotated' if rotate else ''}": partial(cache_of_smollm2, *types, rotate)
        for part, types in {"k": ("q4_0", "f32"), "v": ("f32", "q4_0"), "both": ("q4_0", "q4_0")}.items()
        for rotate in (False, True)
    },
    "cache-smol-ratio": lambda: cache_of_smollm2("q4_0", "f32", True) / cache_of_smollm2("f32", "q4_0", True),
    "cache-smol-tokens": lambda: int(sources.kv_cache_conditions()["smollm2"]["predictions"]),
    "cache-k-rotated": lambda: sources.kv_cache()["q4_0", "f32", True].divergence,
    "cache-v-rotated": lambda: sources.kv_cache()["f32", "q4_0", True].divergence,
    # `make maps` wrote what these are read from; test_budget.py measures a part of it again.
    "budget-off": lambda: 100 * float(np.median(fig_budget.additivity())),
    "budget-v-weights": lambda: 100 * fig_budget.share_of("values"),
    "budget-v-harm": value_harm,
    "tiny-tokens": lambda: int(sources.measured_conditions()["text"]["predictions"]),
}


def test_the_field_is_told_as_of_the_newest_day_on_which_a_source_was_read() -> None:
    days = [claim.read for claim in LESSON.claims.values() if claim.read]
    days += [rule.read for rule in sources.chooser_rules() if rule.read]
    assert LESSON.claims["field-date"].value == f"{max(days):%-d %B %Y}"


def test_about_twenty_claims_are_headlines_of_the_sections() -> None:
    """The sections link these; they print the other claims as plain text."""
    headlines = {id for id, claim in LESSON.claims.items() if claim.headline}
    in_sections = {id for section in LESSON.sections for id in section.claims}
    assert headlines <= in_sections
    assert 18 <= len(headlines) <= 24
    linked = {
        id
        for section in LESSON.sections
        for text in (*(part.content for part in section.parts), section.front.get("lead", ""))
        for id in re.findall(r'class="claim [^>]*#([\w-]+)"', text)
    }
    assert linked == headlines


def test_every_derived_claim_has_its_formula() -> None:
    """That it still gives the value is tested beside the prose."""
    assert [
        id for id, claim in LESSON.claims.items() if (claim.kind == "derived") != bool(claim.formula)
    ] == []


def test_cited_and_changing_claims_have_a_date() -> None:
    dated = [
        claim for claim in LESSON.claims.values() if claim.kind == "cited" or (claim.url and not claim.fixed)
    ]
    loose = [claim.id for claim in dated if not claim.read]
    assert loose == []


def test_cited_claims_have_a_url() -> None:
    cited = [claim for claim in LESSON.claims.values() if claim.kind == "cited"]
    assert [claim.id for claim in cited if not claim.url.startswith("https://")] == []


def test_one_commit_of_llama_cpp_is_cited() -> None:
    """The one that quant_core follows and whose bytes the tests hold."""
    claims = (ROOT / "quantization" / "claims.toml").read_text("utf-8")
    tables = "".join(path.read_text("utf-8") for path in (ROOT / "quantization" / "data").glob("*.json"))
    commits = set(re.findall(r"ggml-org/(?:llama\.cpp|ggml)/blob/(\w+)/", claims + tables))
    assert commits == {"0c1e57098bba43ac29e6e3b677cdceebdd22334f"}
    short = re.findall(r"(?:llama\.cpp|ggml-common\.h|llama-quant\.cpp)[^;:\"]*? @ ([0-9a-f]+)", claims)
    assert set(short) == {"0c1e5709"}


def test_printed_duration_follows_its_rule() -> None:
    claims = {id: int(LESSON.claims[id].value) for id in LESSON.claims if id.endswith(("-minutes", "-rate"))}
    assert claims == {
        "reading-rate": duration.WORDS_A_MINUTE,
        "figure-minutes": duration.FIGURE_MINUTES,
        "workshop-figure-minutes": duration.WORKSHOP_FIGURE_MINUTES,
        "question-minutes": duration.QUESTION_MINUTES,
        "task-minutes": duration.TASK_MINUTES,
    }

    def counted(page: Section) -> float:
        prose = " ".join(part.content for part in page.parts if part.kind == "html")
        each = 1 if page in LESSON.sections else 2
        return len(re.sub(r"<[^>]*>", " ", prose).split()) / 238 + each * len(page.figures)

    reading, whole = LESSON.minutes
    expected = sum(map(counted, LESSON.sections))
    assert reading - 1 < expected <= reading
    asked = [name for name in LESSON.questions if LESSON.page_of(name) in LESSON.sections]
    slugs = {section.slug for section in LESSON.sections}
    tasks = [task for task in LESSON.tasks.values() if task.section in slugs]
    assert len(tasks) < len(LESSON.tasks), "those of the workshop are not counted"
    assert abs(whole - expected - len(asked) - 2 * len(tasks)) <= 2.5
    for page in LESSON.pages:
        assert LESSON.minutes_of(page) - 1 < max(1, counted(page)) <= LESSON.minutes_of(page)


def test_every_popular_mistake_has_evidence() -> None:
    """The common sentence, then the correction with a claim as evidence."""
    prose = [path.read_text("utf-8") for path in (ROOT / "quantization" / "en").glob("**/*.md")]
    found = [told for text in prose for told in re.findall(r":::mistake\n(.*?)\n:::", text, re.DOTALL)]
    assert len(found) >= 16
    for told in found:
        said, _, fact = told.partition("\n\n")
        assert said.endswith(".")
        assert "{{" in fact, told


def test_a_popular_mistake_has_two_labels() -> None:
    parts = [part.content for page in LESSON.pages for part in page.parts if part.kind == "html"]
    found = [told for html in parts for told in re.findall(r'<div class="mistake".*?</div>', html, re.DOTALL)]
    assert len(found) >= 16
    for told in found:
        assert re.findall(r"<p><b>(.*?)</b>", told)[:2] == ["Often said:", "In fact:"]


def test_popular_mistakes_have_one_markup() -> None:
    prose = [path.read_text("utf-8") for path in (ROOT / "quantization" / "en").glob("**/*.md")]
    assert not any(re.search(r"^>|Often said|In fact:", text, re.MULTILINE) for text in prose)


def test_every_measured_claim_has_a_measurement() -> None:
    measured = {id for id, claim in LESSON.claims.items() if claim.kind == "measured"}
    assert measured == set(MEASURED)


@each("id", MEASURED)
def test_measured_claims_match_the_measurement(id: str) -> None:
    value, found = LESSON.claims[id].value, MEASURED[id]()
    if isinstance(found, str):
        assert found == value
    else:
        number, half_unit = printed(value)
        assert abs(found - number) <= half_unit * 1.02, (value, found)
