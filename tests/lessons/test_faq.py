"""The page of questions that people ask: every answer is short, with a source and a figure that shows it."""

from __future__ import annotations

import re

import pytest

from lessons.catalogue import ROOT, load_lesson

LESSON = load_lesson("quantization")
_, *ANSWERS = (ROOT / "quantization" / "en" / "faq.md").read_text("utf-8").split("\n## ")


def test_there_are_questions_to_answer() -> None:
    assert len(ANSWERS) >= 17
    assert LESSON.faq is not None


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.partition("\n")[0])
def test_an_answer_is_short_and_has_a_source_and_a_figure(answer: str) -> None:
    question, _, text = answer.partition("\n\n")
    assert question.endswith("?")
    assert 2 <= len(re.findall(r"[.?!](?=\s|$)", text)) <= 5, text
    assert any(
        LESSON.claims[claim].url or LESSON.claims[claim].function
        for claim in re.findall(r"{{ (\S+) }}", text)
    )
    links = re.findall(r"\[(FIG\.\w+)\]\(figures/(\w+)(?:\?[^)]*)?\)", text)
    assert links
    assert [label for label, _ in links] == [LESSON.figures[name].label for _, name in links]
