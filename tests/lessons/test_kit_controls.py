"""Controls: states survive a round trip through their URL; invalid ones are named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.kit.controls import ControlError, FigureControls, Slider, choice, line, slider, straight, switch


class Example(FigureControls):
    bits: int = slider(4, low=2, high=8)
    alpha: float = slider(0.5, low=0, high=1, step=0.05)
    block: str = choice("calm", ("calm", "outlier"))
    flash: bool = switch(True)


states = st.builds(
    Example,
    bits=st.integers(2, 8),
    alpha=st.integers(0, 20).map(lambda i: i / 20),
    block=st.sampled_from(("calm", "outlier")),
    flash=st.booleans(),
)


@given(states)
def test_a_state_survives_its_url(state: Example) -> None:
    assert Example.parse(state.query()) == state


def test_defaults_are_left_out_of_the_url() -> None:
    assert Example().query() == []
    assert Example(bits=3, flash=False).query() == [("bits", "3"), ("flash", "off")]


def test_missing_controls_take_their_defaults() -> None:
    assert Example.parse([("bits", "3")]) == Example(bits=3)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("bits", "9", "2 to 8"),
        ("bits", "3.5", "2 to 8"),
        ("bits", "", "2 to 8"),
        ("alpha", "nan", "0 to 1 in steps of 0.05"),
        ("alpha", "0.51", "0 to 1 in steps of 0.05"),
        ("block", "loud", "one of calm, outlier"),
        ("flash", "perhaps", "on or off"),
    ],
)
def test_a_refused_value_names_the_control_and_its_range(name: str, value: str, allowed: str) -> None:
    with pytest.raises(ControlError) as caught:
        Example.parse([(name, value)])
    (problem,) = caught.value.problems
    assert (problem.control, problem.given, problem.allowed) == (name, value, allowed)


def test_a_range_says_what_its_values_stand_for_where_they_are_printed_otherwise() -> None:
    powers = Slider(0, 12, 1, show=lambda power: str(2 ** int(power)))
    assert powers.allowed() == "0 to 12, which stand for 1 to 4096"
    assert Slider(3, 7, 0.25, show=lambda value: f"{value:.2f}").allowed() == "3 to 7 in steps of 0.25"
    assert Slider(0, 6, 1).allowed() == "0 to 6"


def test_nearest_controls_keep_valid_values() -> None:
    with pytest.raises(ControlError) as caught:
        Example.parse([("bits", "3"), ("alpha", "7"), ("block", "outlier")])
    assert caught.value.nearest == Example(bits=3, block="outlier")


def test_an_unknown_control_is_named_with_its_likely_spelling() -> None:
    with pytest.raises(ControlError) as caught:
        Example.parse([("bit", "3")])
    assert caught.value.problems[0].suggestion == "bits"


def test_a_control_given_twice_is_refused() -> None:
    with pytest.raises(ControlError, match="one value"):
        Example.parse([("bits", "3"), ("bits", "4")])


def test_all_problems_are_reported_together() -> None:
    with pytest.raises(ControlError) as caught:
        Example.parse([("bits", "9"), ("alpha", "x"), ("nothing", "1")])
    assert {problem.control for problem in caught.value.problems} == {"bits", "alpha", "nothing"}


def test_a_long_value_is_not_echoed_in_full() -> None:
    with pytest.raises(ControlError) as caught:
        Example.parse([("bits", "1" * 5000)])
    assert len(caught.value.problems[0].given) == 40


def test_default_outside_its_range_is_an_error() -> None:
    with pytest.raises(ValueError, match="not allowed"):
        slider(9, low=2, high=8)


@given(st.lists(st.tuples(st.text(max_size=10), st.text(max_size=20)), max_size=5))
def test_parse_raises_nothing_but_control_errors(parameters: list[tuple[str, str]]) -> None:
    try:
        Example.parse(parameters)
    except ControlError as error:
        assert error.problems


class Typed(FigureControls):
    bits: int = slider(4, low=2, high=8)
    words: str = line("", most=20, samples=("", "A word"), instead_of="bits", slow=True)


class Quick(FigureControls):
    words: str = line("", most=20, samples=("", "A word"))


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20))
def test_text_survives_its_url(words: str) -> None:
    assert Typed.parse(Typed(words=words).query()) == Typed(words=words)


@pytest.mark.parametrize("words", ["x" * 21, "é", "\n", "\x7f", "\u202e", "ﬁ"])
def test_text_out_of_bounds_is_refused_with_the_limits(words: str) -> None:
    with pytest.raises(ControlError, match="at most 20 characters: letters without accents"):
        Typed.parse([("words", words)])


def test_text_controls_are_never_fetched_ahead() -> None:
    assert Typed.tabled() == ("bits",)
    assert not Typed().typed()
    assert Typed(words="a").typed()
    assert not Quick(words="a").typed()
    assert not Example().typed()


@given(st.text(max_size=20))
def test_accepted_text_is_plain_after_normalisation(words: str) -> None:
    if Typed.widgets()["words"].accepts(words):
        plain = straight(words)
        assert plain.isascii()
        assert len(plain) == len(words)


def test_all_states_are_listed_once_without_typed_text() -> None:
    class Few(FigureControls):
        bits: int = slider(4, low=2, high=8)
        flash: bool = switch(True)
        words: str = line("", most=10, samples=("a", "b"))

    every = list(Few.every())
    assert len(every) == len(set(every)) == Few.combinations() == 14
    assert {state.words for state in every} == {""}


def test_large_state_tables_have_parts() -> None:
    class Large(FigureControls):
        format: str = choice("c", "abcdefg", together=3)

    assert Large.parted() == ("format",)
    assert Large(format="c").part("format").states == ["c", "d"]
    parts = {tuple(Large(format=each).part("format").states) for each in "abcdefg"}
    assert sorted("".join(part) for part in parts) == ["ab", "cd", "efg"]
