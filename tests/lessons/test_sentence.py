"""FIG.05E: typed text is bounded, normalised, and measured by the same model as the table."""

from __future__ import annotations

import numpy as np
import pytest

from lessons.catalogue import load_lesson
from lessons.kit.controls import ControlError
from lessons.kit.view import View
from lessons.quantization import measuring, small_model
from lessons.quantization.figures.sentence import EXAMPLES, FIGURE, LEVELS, MOST_CHARACTERS, Controls
from quant_core.llm.evaluate import losses

TEXT = load_lesson("quantization").texts["sentence"]


def view(**controls: object) -> View:
    return FIGURE.view(Controls.parse([(name, str(value)) for name, value in controls.items()]))


def words(shown: View) -> str:
    return " ".join(TEXT.sentence(sentence) for sentence in (*shown.description, *shown.notes))


def test_losses_are_those_of_the_model_at_each_width() -> None:
    sentence = EXAMPLES["macbeth"]
    reading = small_model.read(sentence, 1)
    ids = [0, *measuring.tokenizer().encode(sentence)]
    assert "".join(reading.tokens) == sentence
    for bits, row in zip(small_model.WIDTHS, reading.losses, strict=True):
        np.testing.assert_allclose(row, losses(small_model.at_width(bits), ids), atol=1e-4)


@pytest.mark.parametrize("bits", [16, 4, 3, 2])
def test_the_widths_are_those_of_the_table(bits: int) -> None:
    key = "F16" if bits == 16 else f"rtn-{bits}-g64"
    recipe = next(recipe for recipe in measuring.RECIPES if recipe.key == key)
    weights = small_model.at_width(bits).weights
    for name, matrix in measuring.rounded(recipe).model.weights.items():
        np.testing.assert_array_equal(weights[name], matrix)


def test_the_drawing_tints_by_the_rise() -> None:
    shown, reading = view(), small_model.read(EXAMPLES["genesis"], 1)
    for row, rises in zip(shown.drawing["rows"], reading.rises, strict=True):
        for token, rise in zip(row["tokens"], rises, strict=True):
            assert token["level"] == sum(float(rise) >= level for level in LEVELS)
    assert all(token["level"] == 0 for token in shown.drawing["rows"][0]["tokens"])


def test_own_sentence_takes_precedence_over_the_example() -> None:
    shown = view(sentence="To be, or not to be")
    assert "".join(token["text"] for token in shown.drawing["rows"][0]["tokens"]) == "To be, or not to be"
    assert view(sentence="   ").drawing == view().drawing


def test_typographic_punctuation_is_normalised() -> None:
    assert view(sentence="I’ll say “no” – now").drawing == view(sentence='I\'ll say "no" - now').drawing


@pytest.mark.parametrize(
    ("sentence", "read", "named"),
    [
        ("a café 🙂", "a cafe", ["“é”", "“🙂”"]),
        ("naïve naïve", "naive naive", ["“ï”"]),
        ("cafe\u0301", "cafe", ["“e\u0301”"]),
        ("👩‍👩‍👧 I see", "I see", ["“👩‍👩‍👧”"]),
        ("日本", EXAMPLES["genesis"], ["“日”", "“本”"]),
        ("…" * MOST_CHARACTERS, "." * MOST_CHARACTERS, ["“…”"]),
    ],
)
def test_unsupported_letters_are_named_beside_the_field(sentence: str, read: str, named: list[str]) -> None:
    shown = view(sentence=sentence)
    assert "".join(token["text"] for token in shown.drawing["rows"][0]["tokens"]) == read
    limit = shown.limits["sentence"]
    assert limit.options == ()
    said = TEXT.sentence(limit.reason)
    assert all(name in said for name in named)
    assert said.count("“") == len(named) + 1
    assert read in said
    assert not view(sentence="To be").limits


@pytest.mark.parametrize(
    "sentence", ["x" * (MOST_CHARACTERS + 1), "🙂" * (MOST_CHARACTERS + 1), "a\nb", "\t", "\x00"]
)
def test_too_long_or_multi_line_text_is_refused_by_name(sentence: str) -> None:
    with pytest.raises(ControlError) as caught:
        Controls.parse([("sentence", sentence)])
    (problem,) = caught.value.problems
    assert problem.control == "sentence"
    assert problem.allowed == "at most 100 characters in one line"


def test_the_longest_sentence_fits_the_models_context() -> None:
    """The worst case: every character is a token."""
    worst = "~" * MOST_CHARACTERS
    assert len(measuring.tokenizer().encode(worst)) <= MOST_CHARACTERS
    assert 1 + MOST_CHARACTERS + small_model.CONTINUED <= measuring.CONTEXT
    read = {each.name: each.value for each in view(sentence=worst).readouts}
    assert int(read["tokens"]) <= MOST_CHARACTERS


def test_continuations_start_equal_and_diverge() -> None:
    reading = small_model.read(EXAMPLES["genesis"], 1)
    assert reading.continuations == small_model.read(EXAMPLES["genesis"], 1).continuations
    assert reading.continuations != small_model.read(EXAMPLES["genesis"], 2).continuations
    assert len(set(reading.continuations)) > 2


def test_batched_sentences_equal_single_ones() -> None:
    """Bit for bit: results must not depend on other readers."""
    asked = [(text, seed) for seed, text in enumerate((*EXAMPLES.values(), "a", "~" * MOST_CHARACTERS), 1)]
    small_model.forget()
    together = small_model.read_each([*asked, asked[0]])
    assert together[-1] is together[0]
    for (text, seed), reading in zip(asked, together, strict=False):
        small_model.forget()
        alone = small_model.read(text, seed)
        np.testing.assert_array_equal(alone.losses, reading.losses)
        assert (alone.tokens, alone.continuations) == (reading.tokens, reading.continuations)


def test_the_continuation_is_that_of_each_model() -> None:
    sentence = EXAMPLES["genesis"]
    ids = measuring.tokenizer().encode(sentence)
    for bits, continuation in zip(
        small_model.WIDTHS, small_model.read(sentence, 1).continuations, strict=True
    ):
        single = small_model.read_by(small_model.at_width(bits), measuring.tokenizer(), ids, 1)[1]
        assert continuation == single


def test_note_says_that_one_sentence_is_noisy() -> None:
    assert "One sentence is noisy" in words(view())
    for example in EXAMPLES:
        shown = view(example=example)
        lowest = int(small_model.read(EXAMPLES[example], 1).perplexities.argmin())
        assert ("lucky" in words(shown)) == (small_model.WIDTHS[lowest] != 16)
