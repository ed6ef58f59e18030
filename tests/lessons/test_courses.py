"""The page beside other courses: every link leads to a state, and the state shows what its line says."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from lessons.catalogue import ROOT, load_lesson
from lessons.quantization.figures import awq, calibration

LESSON = load_lesson("quantization")
PROSE = (ROOT / "quantization" / "en" / "courses.md").read_text("utf-8")
LINKS = re.findall(r"\[([^\]]*)\]\(figures/(\w+)(?:\?([^)]*))?\)", PROSE)


def shown(name: str, query: str = "") -> dict[str, Any]:
    """The read-outs of a state."""
    figure = LESSON.figures[name]
    return {each.name: each.value for each in figure.view(figure.controls.parse(parse_qsl(query))).readouts}


def line(question: str) -> tuple[str, str]:
    """The figure and the query that the line of a question of Lab 4 links to."""
    (found,) = re.findall(
        rf"^\| {re.escape(question)} .*?\(figures/(\w+)(?:\?([^)]*))?\)", PROSE, re.MULTILINE
    )
    return found[0], found[1]


def test_every_link_names_its_figure_and_a_state_that_is_not_the_default_by_chance() -> None:
    assert len(LINKS) > 20
    for label, name, query in LINKS:
        controls = LESSON.figures[name].controls.parse(parse_qsl(query))
        if label.startswith("FIG."):
            assert label == LESSON.figures[name].label
        given = dict(parse_qsl(query))
        assert set(given) == set(dict(controls.query())), f"{name}?{query} names a default"


def test_kept_channels() -> None:
    assert line("1.1") == line("1.2")
    kept = shown(*line("1.1"))
    assert calibration.Controls.parse(parse_qsl(line("1.1")[1])).bits == "3"  # as in the lab
    assert 0.4 < kept["kept_activation"] < 0.6
    assert kept["kept_random"] > 0.95


def test_loud_channels() -> None:
    assert shown(*line("1.3"))["loudest_0"] > 10


def test_scaled_channels() -> None:
    nothing = awq.compute(awq.Controls(alpha=0)).output_error
    little, whole, best = (shown(*line(question))["output_error"] for question in ("2.1", "2.2", "2.3"))
    assert best < little < nothing < whole
    assert awq.Controls().bits == "3"
    assert awq.GROUP_SIZES[awq.Controls().layer] == 128


def test_searched_scale_is_the_lowest_of_the_sweep() -> None:
    name, query = line("2.3")
    best = shown(name, query)["output_error"]
    sweep = [awq.compute(awq.Controls(alpha=round(0.05 * i, 2))).output_error for i in range(21)]
    assert best == min(sweep)
