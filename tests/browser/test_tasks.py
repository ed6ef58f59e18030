"""The lesson's tasks, done without scripts, by keyboard, by touch on a small phone, and by names alone.

A task is a function of a reader: it sets controls, reads and answers. The answer has to be that of the reader
who asks the figure's function. The last part is about colour: no two marks differ by it alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lessons.kit.controls import as_parameter
from tests.browser.conftest import NewPage
from tests.browser.figures import FIGURES, LESSON
from tests.browser.readers import ByKeyboard, ByName, ByTouch, Computed, InPage, Reader, WithoutScripts

pytestmark = pytest.mark.tidy

WAYS: dict[str, tuple[type[InPage], dict[str, Any]]] = {
    "without scripts": (WithoutScripts, {"javascript": False}),
    "by keyboard": (ByKeyboard, {}),
    "by touch": (ByTouch, {"device": "phone", "viewport": {"width": 320, "height": 568}}),
    "by name": (ByName, {}),
}


def size_of_the_file_at_eight_bits(reader: Reader) -> str:
    reader.set(step="8")
    return reader.read("model_size")


def code_of_the_last_weight_in_the_symmetric_convention(reader: Reader) -> str:
    reader.set(convention="symmetric", weight="13")
    return f"{reader.read('q')} comes back as {reader.read('restored')}"


def fewest_bits_with_a_mean_error_below_five_thousandths(reader: Reader) -> str:
    for bits in ("2", "3", "4", "5"):
        reader.set(bits=bits)
        if number(reader.read("mean_error")) < 0.005:
            return bits
    raise AssertionError("no number of bits is enough")


def activation_at_which_the_best_rounding_is_no_longer_the_nearest(reader: Reader) -> str:
    for x2 in ("0.75", "0.875", "1"):
        reader.set(x2=x2)
        if reader.read("best_error") != reader.read("nearest_error"):
            return x2
    raise AssertionError("the nearest is always best")


def errors_when_the_last_column_is_rounded(reader: Reader) -> str:
    reader.set(step="16")
    return f"GPTQ {reader.read('gptq_error')}, RTN {reader.read('rtn_error')}"


def alpha_with_the_least_output_error(reader: Reader) -> str:
    errors = {}
    for alpha in ("0.35", "0.45", "0.55"):
        reader.set(alpha=alpha)
        errors[alpha] = number(reader.read("output_error"))
    return min(errors, key=lambda alpha: errors[alpha])


def scheme_of_least_perplexity_below_five_gigabytes(reader: Reader) -> str:
    reader.set(order="ascending", sort="perplexity")
    return next(scheme for scheme, _, size, *_ in reader.rows() if number(size) < 5)


def weights_that_a_byte_holds(reader: Reader) -> str:
    reader.set(pick="byte-47")
    return reader.words()


def matrices_that_the_larger_mix_raises(reader: Reader) -> str:
    reader.set(against="Q4_K_M", mix="Q5_K_M")
    return f"{reader.read('raised')} raised, {reader.read('size_gb')} GB"


def smallest_machine_that_holds_the_seventy_billion(reader: Reader) -> str:
    machines = [row for row in reader.rows() if row[7].startswith("+")]
    smallest = min(machines, key=lambda row: number(row[1]))
    reader.set(find="a6000")
    reader.set(device="rtx-a6000")
    return f"{smallest[0]}; on an A6000 {reader.read('margin')} GB are left"


def eight_bits_that_gain_more_from_smoothing(reader: Reader) -> str:
    gains = {}
    for format in ("e4m3", "int8"):
        reader.set(format=format)
        gains[format] = number(reader.read("gain"))
    return max(gains, key=lambda format: gains[format])


def least_rank_with_an_error_below_two_thousandths(reader: Reader) -> str:
    for rank in ("18", "20", "22", "24"):
        reader.set(rank=rank)
        if number(reader.read("output_error")) < 0.2:
            return rank
    raise AssertionError("no rank is enough")


def method_of_least_output_error_at_three_bits(reader: Reader) -> str:
    reader.set(bits="3")
    return reader.read("output_best")


def tokens_from_which_gptq_is_ahead(reader: Reader) -> str:
    reader.set(question="amount", bits="4")
    return reader.read("crossing")


def smallest_type_that_costs_less_than_two_per_cent(reader: Reader) -> str:
    reader.set(family="gguf", imatrix="with")  # and wait: the rows to choose from are others then
    reader.set(row="IQ4_XS-imatrix")
    return f"{reader.read('row')} {reader.read('rise')}"


def what_goes_first_of_the_readers_own_words(reader: Reader) -> str:
    reader.set(sentence="The lord of the castle spoke.")
    return f"{reader.read('tokens')} tokens, {reader.read('first')}"


def times_that_errors_of_one_sign_are_larger_over_sixteen_products(reader: Reader) -> str:
    reader.set(length="4")
    return reader.read("ratio")


TASKS: dict[str, Callable[[Reader], str]] = {
    "fold": size_of_the_file_at_eight_bits,
    "primitive": code_of_the_last_weight_in_the_symmetric_convention,
    "noise": times_that_errors_of_one_sign_are_larger_over_sixteen_products,
    "rtn": fewest_bits_with_a_mean_error_below_five_thousandths,
    "rounding": activation_at_which_the_best_rounding_is_no_longer_the_nearest,
    "gptq": errors_when_the_last_column_is_rounded,
    "awq": alpha_with_the_least_output_error,
    "calibration": tokens_from_which_gptq_is_ahead,
    "quality": scheme_of_least_perplexity_below_five_gigabytes,
    "measured": smallest_type_that_costs_less_than_two_per_cent,
    "sentence": what_goes_first_of_the_readers_own_words,
    "xray": weights_that_a_byte_holds,
    "mixes": matrices_that_the_larger_mix_raises,
    "fit": smallest_machine_that_holds_the_seventy_billion,
    "smooth": eight_bits_that_gain_more_from_smoothing,
    "qlora": least_rank_with_an_error_below_two_thousandths,
    "methods": method_of_least_output_error_at_three_bits,
}


def first_read_out_at_the_end_of_the_first_control(reader: Reader) -> str:
    """The task with a figure that has none of its own."""
    controls = FIGURES[reader.name].controls
    control, widget = next(iter(controls.widgets().items()))
    reader.set(**{control: as_parameter(widget.states()[-1])})
    return reader.read(FIGURES[reader.name].view(controls()).readouts[0].name)


def number(text: str) -> float:
    return float(text.replace("−", "-").replace("\u202f", "").rstrip("×").strip())


def turns() -> list[tuple[str, str]]:
    """Every figure by name; in each other way one figure of every section, another one in each way."""
    return [
        (name, way)
        for turn, way in enumerate(WAYS)
        for section in LESSON.sections
        for at, name in enumerate(section.figures)
        if way == "by name" or at == turn % len(section.figures)
    ]


@pytest.mark.parametrize(("name", "way"), turns())
def test_a_task_is_done(new_page: NewPage, name: str, way: str) -> None:
    reader, options = WAYS[way]
    task = TASKS.get(name, first_read_out_at_the_end_of_the_first_control)
    answer, wanted = task(reader(new_page(**options), name)), task(Computed(name))
    assert answer.split() == wanted.split()  # the tree writes every kind of space alike
