"""The jobs of SmolLM2: with a stand-in, and with the model itself if it is installed.

The stand-in is the lesson's own model: the job must give the results of `measuring` and `small_model`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lessons.catalogue import load_lesson
from lessons.kit.job import Found, JobState, Nothing, Row
from lessons.kit.job_store import JobStore
from lessons.kit.view import View
from lessons.quantization import measuring, small_model, smollm2, smollm2_sentence, sources
from lessons.quantization.figures import measured, sentence
from lessons.quantization.figures.sentence import JobControls
from lessons.quantization.jobs import JOBS
from quant_core import ggml
from quant_core.ggml.mixes import tensor_types
from quant_core.llm.evaluate import Windows

LESSON = load_lesson("quantization")
ALL = smollm2.RECIPES
FIGURE_05D, FIGURE_05E = measured.FIGURE, sentence.FIGURE
SMOL = measured.Controls(model="smollm2")
FEW = ("F16", "rtn-4-g64", "Q4_K_M", "nf4")
INSTALLED = smollm2.model_file() is not None
needs_smollm2 = pytest.mark.skipif(
    not INSTALLED, reason="SMOLLM2 IS NOT MEASURED: `make smollm2` installs it"
)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lesson's own model in SmolLM2's place, and few recipes on little text."""
    monkeypatch.setattr(smollm2, "model_file", lambda: measuring.WEIGHTS_FILE)
    monkeypatch.setattr(smollm2, "CONTEXT", 64)
    monkeypatch.setattr(smollm2, "TOKENS", 320)
    monkeypatch.setattr(smollm2, "RECIPES", tuple(r for r in smollm2.RECIPES if r.key in FEW))


def rows_of(steps: Iterator[Any]) -> list[Row]:
    return [step.row for step in steps if step.row is not None]


# --- measuring --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("stand_in")
def test_job_reproduces_the_table_of_the_small_model() -> None:
    text = smollm2.text(measuring.tokenizer())
    assert text.tokens.shape == (5, 64)
    expected = {
        row["key"]: row for row in measuring.measure(smollm2.RECIPES, Windows(text.tokens, text.first))
    }
    found = rows_of(smollm2.steps(Nothing(), ()))
    assert [row["key"] for row in found] == [recipe.key for recipe in smollm2.RECIPES]
    for row in found:
        other = expected[row["key"]]
        for name in ("bytes", "bits_per_weight", "perplexity", "rise_error", "divergence", "agreement"):
            assert row[name] == pytest.approx(other[name], rel=1e-4, abs=1e-7), (row["key"], name)
        assert json.loads(json.dumps(row)) == row


@pytest.mark.usefixtures("stand_in")
def test_known_rows_are_not_measured_again() -> None:
    found = rows_of(smollm2.steps(Nothing(), ()))
    steps = list(smollm2.steps(Nothing(), found[:3]))
    assert rows_of(iter(steps))[0] | {"seconds": 0} == found[3] | {"seconds": 0}
    assert len(rows_of(iter(steps))) == 1
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert all(step.done < 1 for step in steps[:-1])
    assert steps[-1].done == 1


def test_rows_without_calibration_are_measured_by_width() -> None:
    keys = [recipe.key for recipe in smollm2.RECIPES]
    assert keys[:7] == ["F16", *(f"rtn-{bits}-g64" for bits in (8, 6, 5, 4, 3, 2))]
    wanted = {
        "Q8_0",
        "Q6_K",
        "Q5_K_M",
        "Q4_K_M",
        "Q3_K_M",
        "Q2_K",
        "IQ4_XS",
        "nf4",
        "mxfp4",
        "fp8",
        "hqq-4-g64",
    }
    assert wanted <= set(keys)
    assert not any(recipe.importance or recipe.family in ("gptq", "awq") for recipe in smollm2.RECIPES)
    assert set(keys) <= set(measured.ROWS), "every key is one of the control's"


def test_job_does_not_start_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "PACKAGE", "no_such_package")
    assert smollm2.model_file() is None
    assert not any(job.runs_here() for job in JOBS.values())
    with pytest.raises(FileNotFoundError, match="not installed"):
        rows_of(smollm2.steps(Nothing(), ()))
    with pytest.raises(FileNotFoundError, match="not installed"):
        rows_of(smollm2_sentence.steps("A wise king", 1))


# --- FIG.05D ----------------------------------------------------------------------------------------------


def some_rows(keys: Sequence[str] = ("F16", "Q8_0", "rtn-4-g64", "rtn-2-g64")) -> tuple[Row, ...]:
    """Rows as the job leaves them, of made-up height: 16 for the reference, and up."""
    recipes = {recipe.key: recipe for recipe in ALL}
    rows = []
    for place, key in enumerate(keys):
        recipe = recipes[key]
        perplexity = (16.0, 16.5, 20.0, 50_000.0, 17.0, 18.0, 19.0)[place]
        rows.append(
            {
                "key": key,
                "family": recipe.family,
                "name": "Q4_1" if key == "F16" else recipe.name,
                "bits": recipe.bits,
                "group_size": recipe.group_size,
                "importance": False,
                "bytes": 10**8 - place,
                "bits_per_weight": 6.0 - place / 2,
                "perplexity": perplexity,
                "standard_error": perplexity / 20,
                "rise": float(np.log(perplexity / 16)),
                "rise_error": 0.01 if place else 0.0,
                "divergence": 0.1 * place,
                "divergence_error": 0.01,
                "agreement": 1 - 0.1 * place,
                "sample_perplexity": perplexity,
                "seconds": 1.0,
            }
        )
    return tuple(rows)


def words(name: str, shown: View) -> str:
    text = LESSON.texts[name]
    return " ".join(text.sentence(sentence) for sentence in (*shown.description, *shown.notes))


def row_of(shown: View) -> float | str:
    return next(readout.value for readout in shown.readouts if readout.name == "row")


def test_until_measured_the_small_model_is_shown_with_a_note() -> None:
    own = FIGURE_05D.view(measured.Controls())
    for installed, key in ((False, "missing"), (True, "measure")):
        shown = measured.on_found(SMOL, Found(JobState(), installed))
        assert shown.drawing["awaited"] == key
        assert shown.readouts == own.readouts
        assert shown.table.rows == own.table.rows
        assert "SmolLM2-135M is not measured here" in words("measured", shown)
        assert LESSON.texts["measured"].word(f"awaited_{key}_link")
    assert FIGURE_05D.view(SMOL).drawing == measured.on_found(SMOL, Found()).drawing
    assert own.drawing["awaited"] == ""
    assert measured.FIGURE.waits_for(measured.Controls()) is None
    assert measured.FIGURE.waits_for(SMOL) == ("bigger", Nothing())


def test_measured_rows_are_compared_with_the_shipped_model() -> None:
    shown = measured.on_found(SMOL, Found(JobState(False, 1.0, some_rows()), True))
    assert shown.drawing["awaited"] == ""
    assert [row[0] for row in shown.table.rows] == ["SmolLM2 Q4_1", "Q8_0", "RTN 4 g64", "RTN 2 g64"]
    assert row_of(shown) == "Q8_0"
    assert words("measured", shown).startswith("Q8_0, 5.50 bits a weight, costs ")
    said = words("measured", shown)
    assert "against 16.00 of the reference" in said
    assert "rounding twice" in said
    assert "below the plot: RTN 2 g64 (50 000)" in said.replace("\u202f", " ").replace("\u2009", " ")
    assert shown.chart
    marks = [series for series in shown.chart.series if series.kind == "points"]
    assert [point.key for series in marks for point in series.points] == ["rtn-4-g64", "Q8_0"]
    assert "Q4_K_M is not among the rows shown" in said
    assert len(shown.chart.y.ticks) >= 3
    picked = measured.on_found(
        measured.Controls(model="smollm2", row="F16"), Found(JobState(False, 1.0, some_rows()), True)
    )
    assert row_of(picked) == "SmolLM2 Q4_1"
    assert "As shipped, in Q4_1" in words("measured", picked)


def test_partial_results_are_shown_with_a_link_to_the_job() -> None:
    shown = measured.on_found(SMOL, Found(JobState(True, 0.4, some_rows()), True))
    assert shown.drawing["awaited"] == "rest"
    assert len(shown.table.rows) == 4
    one = measured.on_found(SMOL, Found(JobState(True, 0.1, some_rows()[:1]), True))
    assert one.drawing["of"] == "tinylm"


@pytest.mark.parametrize("family", ["all", "gguf", "rtn", "gptq", "awq", "other"])
@pytest.mark.parametrize("quoted", [False, True])
def test_every_family_has_a_drawing(family: str, quoted: bool) -> None:
    rows = some_rows(("F16", "Q8_0", "rtn-4-g64", "rtn-2-g64", "nf4", "rtn-4-g32", "Q2_K"))
    state = measured.Controls(model="smollm2", family=family, quoted=quoted, group="32")
    shown = measured.on_found(state, Found(JobState(False, 1.0, rows), True))
    assert shown.chart
    high, low = shown.chart.y.domain
    assert all(low < p.y < high for s in shown.chart.series for p in s.points)
    assert shown.table.rows


def test_the_table_of_the_job_names_and_compares() -> None:
    table = smollm2.table(some_rows(), LESSON.job_texts["bigger"].word)
    printed = [
        [column.text(value) for column, value in zip(table.columns, row, strict=True)] for row in table.rows
    ]
    assert printed[0][:5] == ["as shipped, Q4_1", "6.00", "16.00", "0.80", "1.00"]
    assert [row[0] for row in printed[1:]] == ["Q8_0", "RTN 4 g64", "RTN 2 g64"]
    assert printed[2][4] == "1.25"
    assert all(LESSON.job_texts["bigger"].column(column.name) for column in table.columns)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("key", ["F16", "rtn-4-g64", "Q4_K_M", "nf4", "fp8", "hqq-3-g64", "mxfp4"])
def test_python_reproduces_the_job(
    monkeypatch: pytest.MonkeyPatch, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recipes = [recipe for recipe in ALL if recipe.key in ("F16", key)]
    monkeypatch.setattr(smollm2, "RECIPES", tuple(recipes))
    monkeypatch.setattr(smollm2, "TOKENS", 128)
    row = rows_of(smollm2.steps(Nothing(), ()))[-1]
    found = run(LESSON.python("measured", measured.Controls(model="smollm2", row=key)))
    names = ("bits_per_weight", "perplexity", "divergence", "agreement")
    assert {name: getattr(found, name) for name in names} == pytest.approx(
        {name: row[name] for name in names}, rel=1e-5
    )
    assert found.size == row["bytes"]
    assert found.row == sources.name_of(sources.Measured(**row))
    printed = [line.partition(" = ")[0] for line in capsys.readouterr().out.splitlines()]
    assert printed == [readout.name for readout in FIGURE_05D.view(SMOL).readouts]


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("family", ["all", "gguf", "rtn", "gptq", "other"])
def test_python_is_for_the_selected_row(monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    monkeypatch.setattr(smollm2, "TOKENS", 64)
    monkeypatch.setattr(smollm2, "RECIPES", tuple(r for r in ALL if r.key in (*FEW, "Q8_0", "rtn-8-g64")))
    state = measured.Controls(model="smollm2", family=family, row="gptq-3-g64")
    rows = tuple(rows_of(smollm2.steps(Nothing(), ())))
    shown = measured.on_found(state, Found(JobState(False, 1.0, rows), True))
    python = LESSON.python("measured", state)
    assert run(python).row == row_of(shown)
    assert max(len(line) for line in python.splitlines()) <= 110


def run(python: str) -> Any:
    """The result that a reader's own run of the program has."""
    found: dict[str, Any] = {}
    exec(python, found)
    return found["result"]


# --- FIG.05E ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("stand_in")
def test_a_sentence_is_read_as_figure_05e_reads_it() -> None:
    rows = rows_of(smollm2_sentence.steps("A wise king", 3))
    assert [row["bits"] for row in rows] == list(small_model.WIDTHS)
    read, own = sentence.reading_of(rows), small_model.read("A wise king", 3)
    assert read.tokens == own.tokens
    assert read.continuations == own.continuations
    np.testing.assert_allclose(read.losses, own.losses, atol=1e-6)
    later = rows_of(smollm2_sentence.steps("A wise king", 3, rows[:5]))
    assert later == rows[5:]


@pytest.mark.usefixtures("stand_in")
def test_figure_draws_the_result_of_the_job() -> None:
    state = sentence.Controls(sentence="A wise king", seed="3", model="smollm2")
    rows = tuple(rows_of(smollm2_sentence.steps("A wise king", 3)))
    own = FIGURE_05E.view(sentence.Controls(sentence="A wise king", seed="3"))
    shown = sentence.on_found(state, Found(JobState(False, 1.0, rows), True))
    assert shown.drawing["rows"] == own.drawing["rows"]
    assert shown.readouts == own.readouts
    assert "rounding twice" in words("sentence", shown)
    drawing = sentence.JOB.drawing
    assert drawing
    assert drawing(rows[:2])["rows"] == own.drawing["rows"][:2]
    for part, installed, key in ((rows[:3], True, "read"), ((), True, "read"), ((), False, "missing")):
        waiting = sentence.on_found(state, Found(JobState(bool(part), 0.4, part), installed))
        assert waiting.drawing["awaited"] == key
        assert waiting.drawing["query"] == "sentence=A+wise+king&seed=3"
        assert "has not read this sentence here" in words("sentence", waiting)


@pytest.mark.usefixtures("stand_in")
def test_python_reproduces_the_sentence_job() -> None:
    state = sentence.Controls(sentence="A wise king", model="smollm2")
    found = run(LESSON.python("sentence", state))
    for readout in FIGURE_05E.view(sentence.Controls(sentence="A wise king")).readouts:
        expected = readout.value if isinstance(readout.value, str) else pytest.approx(readout.value, rel=1e-4)
        assert getattr(found, readout.name) == expected, readout.name


def test_the_same_words_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    job = sentence.JOB
    key = job.key(JobControls(sentence="To be"))
    assert key == job.key(JobControls(sentence="  To   be ", example="macbeth"))
    assert key != job.key(JobControls(sentence="To be", seed="2"))
    assert job.key(JobControls(example="modern")) == job.key(
        JobControls(sentence=sentence.EXAMPLES["modern"])
    )
    monkeypatch.setattr(smollm2, "code", lambda: "another")
    changed = type(job)(**{name: getattr(job, name) for name in job.__dataclass_fields__})
    monkeypatch.setattr(smollm2, "model_file", lambda: Path(__file__))
    assert changed.key(JobControls(sentence="To be")) != key


def test_sentence_job_has_the_limits_of_the_figure() -> None:
    assert sentence.Controls.widgets()["sentence"] is JobControls.widgets()["sentence"]
    assert set(sentence.Controls.model_fields) - set(JobControls.model_fields) == {"model"}


# --- the model itself -------------------------------------------------------------------------------------


@needs_smollm2
def test_smollm2_reads_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is shipped: 16.3 was measured on all of the text; a model that knows nothing has 49 152."""
    monkeypatch.setattr(smollm2, "TOKENS", 512)
    monkeypatch.setattr(smollm2, "RECIPES", smollm2.RECIPES[:2])
    shipped, eight = rows_of(smollm2.steps(Nothing(), ()))
    assert shipped["name"] == smollm2.SOURCE
    assert 8 < shipped["perplexity"] < 32
    assert abs(eight["rise"]) < 0.05
    assert 5 < shipped["bits_per_weight"] < 6


@needs_smollm2
def test_smollm2_reads_a_sentence(tmp_path: Path) -> None:
    words = sentence.EXAMPLES["genesis"]
    steps = smollm2_sentence.steps(words, 1)
    (row,) = rows_of(islice(steps, 3))
    assert "".join(row["tokens"]) == words
    assert np.exp(np.mean(row["losses"])) < 20
    assert JobStore(tmp_path).compute("sentence", lambda _: islice(smollm2_sentence.steps(words, 1), 1))


def test_statements_about_smollm2_rows_hold() -> None:
    assert smollm2.CONTEXT == 256
    assert sources.load_layer("smollm2.15.q").weights.shape[1] == 576
    shape = sources.model("smollm2-135m").shape
    types = {one.name: one.type for one in tensor_types(shape, "Q2_K", False)}
    assert types.pop("token_embd.weight") == "Q8_0"
    matrices = [kind for kind in types.values() if kind != "F32"]
    assert matrices.count("Q4_0") > 0.8 * len(matrices)


def test_second_grid_interferes_with_the_first() -> None:
    """Sixteen levels on 32: below the middle of a block all round down, above it up, away from it."""
    blocks = sources.load_layer("smollm2.15.q").weights.astype(np.float64).reshape(-1, 32)
    away = blocks - (blocks.max(axis=1) + blocks.min(axis=1))[:, None] / 2

    def gain(name: str) -> float:
        rounded = ggml.dequantize(ggml.quantize(blocks.astype(np.float32), name), name)
        return float(((rounded - blocks) * away).sum() / (away**2).sum())

    assert 0.015 < gain("Q5_1") < 0.025
    assert abs(gain("Q5_0")) < 0.002
    assert abs(gain("Q4_1")) < 1e-4


def test_sources_name_the_model() -> None:
    assert sources.name_of(smollm2.RECIPES[0]) == "F16"
    assert sources.name_of(sources.Measured(**some_rows()[0])) == "SmolLM2 Q4_1"
