"""The Python of every figure, run by itself, gives the numbers that the figure shows."""

from __future__ import annotations

import ast
import inspect
import math
import subprocess
import sys
from typing import Any

import pytest

from lessons.catalogue import ROOT, load_lesson
from lessons.kit.controls import FigureControls, as_parameter
from lessons.kit.program import computation_of
from lessons.quantization.figures import fit
from tests.each import each

LESSON = load_lesson("quantization")

OTHER_STATES = {
    "fold": ["step=4&weight=3&block=outlier&format=bf16", "step=0"],
    "primitive": ["convention=float_offset&bits=3&block=llm&weight=4", "convention=symmetric&block=outlier"],
    "noise": ["length=4&bits=2", "length=0&signs=one&bits=3"],
    "rtn": [
        "format=Q4_K&block=llm&stretch=4",
        "format=NF4",
        "format=Q8_0&block=outlier",
        "format=MXFP4",
        "scheme=symmetric&group_size=128&bits=5&stretch=3",
    ],
    "xray": [
        "format=Q6_K&importance=on&block=tinylm&pick=weight-200",
        "block=outlier&format=Q4_0&pick=byte-3&flip=6",
        "importance=on&format=IQ4_NL",
        "format=MXFP4&pick=byte-0&flip=7",
    ],
    "rounding": ["pair=outlier&bits=2&x2=3&n=12", "pair=adding&bits=4"],
    "gptq": ["slice=calm&bits=2&order=act-order&step=16", "slice=neighbours&step=0", "slice=llm&step=1"],
    "calibration": [
        "question=kept",
        "question=amount&bits=2",
        "question=domain",
        "question=domain&method=awq",
    ],
    "measured": ["family=gptq", "family=w8a8&row=llm-int8", "row=rtn-2-g64&quoted=on", "row=F16"],
    "sentence": ["example=modern", "sentence=A+wise+king."],
    "awq": ["layer=smollm2.15.q&bits=2&alpha=0.3"],
    "smooth": ["layer=minilm.1.query&format=e4m3&alpha=0.2", "alpha=-0.05", "alpha=-0.05&format=e5m2"],
    "qlora": ["rank=0&double_quantization=off&layer=minilm.1.query"],
    "speed": ["doublings=0&format=fp8&machine=a100-80", "format=nvfp4&machine=b200-180&doublings=10"],
    "trained": ["bits=2&steps=40", "story=lattice", "story=ternary"],
    "methods": ["layer=minilm.1.query&bits=3&sort=output_error"],
    "quality": ["data=base&scheme=IQ2_M&sort=perplexity", "scheme=F16", "data=base&scheme=Q3_K_S"],
    "mixes": ["mix=Q2_K&against=none&model=qwen2.5-0.5b"],
    "fit": [
        "source=size&parameters=10.3&scope=everything&sequences=4&cache_type=q8_0&device=2x-rtx-3090",
        "mix=GPTQ&scope=everything&device=own&memory=80&flash_attention=off",
        "model=llama-3.1-8b&device=rtx-3090&scope=everything",
        f"source=config&scope=everything&config={fit.CONFIGS[1]}",
        f"source=config&scope=everything&config={fit.CONFIGS[1]} assumed=1:vocab_size towers=unknown",
    ],
}


def state(name: str, query: str) -> FigureControls:
    pairs = [(key, value) for key, _, value in (item.partition("=") for item in query.split("&") if item)]
    controls: FigureControls = LESSON.figures[name].controls.parse(pairs)
    return controls


def queries(name: str) -> list[str]:
    """The default and other states: those named above, or each control at its last value."""
    widgets = LESSON.figures[name].controls.widgets()
    lasts = [f"{key}={as_parameter(widget.states()[-1])}" for key, widget in widgets.items()]
    return ["", *OTHER_STATES.get(name, lasts)]


CASES = [(name, query) for name in LESSON.figures for query in queries(name)]


@pytest.mark.parametrize(("name", "query"), CASES)
def test_python_gives_the_read_outs(name: str, query: str, capsys: pytest.CaptureFixture[str]) -> None:
    controls = state(name, query)
    variables: dict[str, Any] = {}
    exec(compile(LESSON.python(name, controls), f"{name}?{query}", "exec"), variables)
    figure = LESSON.figures[name]
    readouts = figure.view(controls).readouts
    printed = [line.partition(" = ")[0] for line in capsys.readouterr().out.splitlines()]
    assert printed == [readout.name for readout in readouts]
    for readout in readouts:
        found = getattr(variables["result"], readout.name)
        if isinstance(readout.value, str):
            assert str(found) == readout.value, readout.name
        else:
            assert math.isclose(float(found), readout.value, rel_tol=1e-6, abs_tol=1e-12), readout.name


@pytest.mark.parametrize("name", LESSON.figures)
def test_shown_and_offered_code_is_the_code_that_ran(name: str) -> None:
    figure = LESSON.figures[name]
    computation = computation_of(figure.compute)
    assert computation.listing.startswith(inspect.getsource(figure.compute).rstrip())
    offered = LESSON.python(name, figure.controls())
    assert all(code in offered for code in (*computation.first, *computation.functions))


@pytest.mark.parametrize("name", ["rtn", "fit", "calibration"])
def test_downloaded_python_runs_in_the_repository(name: str) -> None:
    """As a downloaded file, with only the repository."""
    controls = LESSON.figures[name].controls()
    done = subprocess.run(
        [sys.executable, "-"],
        cwd=ROOT.parent,
        input=LESSON.python(name, controls),
        capture_output=True,
        text=True,
        check=True,
    )
    printed = dict(line.split(" = ") for line in done.stdout.splitlines())
    readouts = LESSON.figures[name].view(controls).readouts
    assert printed == {readout.name: repr(readout.value) for readout in readouts}


@each("name, query", CASES)
def test_python_imports_only_what_it_says(name: str, query: str) -> None:
    tree = ast.parse(LESSON.python(name, state(name, query)))
    modules = {
        (str(node.module) if isinstance(node, ast.ImportFrom) else node.names[0].name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert modules <= {"numpy", "safetensors", "quant_core", "lessons", *sys.stdlib_module_names}
    assert modules & {"quant_core", "lessons"}
    assert max(len(line) for line in LESSON.python(name, state(name, query)).splitlines()) <= 110
