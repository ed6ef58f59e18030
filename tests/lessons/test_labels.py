"""Labels of a chart are beside their marks and do not overlap, on phones and desktops."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons.kit.labels import CHARACTER, GAP, HALF_LINE, Label, LabelArea, LabelPlace, place

PLOT = LabelArea(wide=900, narrow=260, height=340)


def extent(label: Label, placed: LabelPlace, width: float) -> tuple[float, float, float, float]:
    """Left, right, top and bottom of a placed label in pixels, written out once more."""
    length = CHARACTER * len(label.text)
    x = label.x * width
    left = {"right": x + GAP, "left": x - GAP - length}.get(placed.side, x - length / 2)
    shift = {"top": -GAP - HALF_LINE, "bottom": GAP + HALF_LINE}.get(placed.side, 0.0)
    return left, left + length, label.y + shift - HALF_LINE, label.y + shift + HALF_LINE


def touch(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]


def test_a_lone_label_stands_on_the_right() -> None:
    assert place([Label("a", "Q4_K_M", 0.5, 100)], PLOT) == {"a": LabelPlace("right", minor=False)}


def test_a_label_at_the_right_edge_turns_to_the_left() -> None:
    assert place([Label("a", "Q4_K_M", 0.99, 100)], PLOT)["a"].side == "left"


def test_a_label_avoids_a_rule_when_it_can_and_crosses_it_when_it_must() -> None:
    beside = Label("a", "Q3_K_S", 0.5, 100)
    assert place([beside], LabelArea(900, 260, 340, upright=(0.6,)))["a"].side == "left"
    everywhere = LabelArea(900, 260, 340, level=tuple(float(y) for y in range(0, 340, 4)))
    assert place([beside], everywhere)["a"].side == "right"


def test_a_label_leaves_a_caption_free() -> None:
    beside = Label("a", "Q8_0", 0.8, 100)
    free = place([beside], PLOT)["a"]
    moved = place([beside], LabelArea(900, 260, 340, captions=((15, 100.0),)))["a"]
    assert (free.side, moved.side) == ("right", "top")
    before = Label("a", "Q8_0", 0.1, 100)
    away = place([before], LabelArea(900, 260, 340, starts=((15, 100.0),)))["a"]
    assert (place([before], PLOT)["a"].side, away.side) == ("right", "top")


def test_where_rules_are_strict_only_the_first_label_crosses_one() -> None:
    labels = [Label("a", "Q8_0", 0.1, 100), Label("b", "Q6_K", 0.9, 100)]
    everywhere = tuple(float(y) for y in range(0, 340, 4))
    assert set(place(labels, LabelArea(900, 900, 340, level=everywhere))) == {"a", "b"}
    assert set(place(labels, LabelArea(900, 900, 340, level=everywhere, strict=True))) == {"a"}


def test_an_error_bar_keeps_its_column_free() -> None:
    crowded = [Label("a", "F16", 0.0, 100, bar=(60, 140)), Label("b", "", 0.05, 100)]
    placed = place(crowded, LabelArea(wide=300, narrow=300, height=340))
    assert placed["a"].side in ("left", "right"), "the first label covers what it must, but not its own bar"


def test_only_the_first_label_is_shown_where_there_is_no_room() -> None:
    crowd = [Label(str(i), "Q4_K_M", 0.5 + 0.01 * i, 100 + i) for i in range(9)]
    placed = place(crowd, PLOT)
    assert "0" in placed
    assert not placed["0"].minor
    assert len(placed) < len(crowd)


def test_a_line_is_named_once_at_the_first_of_its_marks_that_has_room() -> None:
    line = [Label(str(i), "RTN", 0.2 + 0.3 * i, 100, of="RTN") for i in range(3)]
    crowd = [Label(f"m{i}", "", 0.2 + 0.02 * (i % 3 - 1), 76 + 8 * i) for i in range(7)]
    assert set(place(line, PLOT)) == {"0"}
    chosen = Label("chosen", "Q4", 0.2, 40)
    assert set(place([chosen, *line, *crowd], PLOT)) == {"chosen", "1"}


def test_a_mark_that_comes_nearer_as_the_plot_widens_is_avoided() -> None:
    """On the narrow plot it stands before the label, on the wide one in it."""
    pair = [Label("a", "Q4_K_M", 0.3, 100), Label("b", "", 0.31, 102)]
    assert place(pair, PLOT)["a"].side == "left"


def test_a_strict_plot_has_no_label_across_a_curve() -> None:
    """A curve along the marks leaves the sides above and below them."""
    row = [Label(str(i), "Q4", 0.2 + 0.3 * i, 100, sides=("right", "top")) for i in range(3)]
    along = LabelArea(300, 300, 340, curves=(((0.0, 100.0), (1.0, 100.0)),), strict=True)
    assert {one.side for one in place(row, along).values()} == {"top"}
    assert {one.side for one in place(row, LabelArea(300, 300, 340)).values()} == {"right"}


def test_labels_without_room_on_a_phone_are_minor() -> None:
    row = [Label(str(i), "Q4_K_M", 0.3 + 0.12 * i, 100) for i in range(4)]
    marks = [Label(f"m{i}", "", 0.3 + 0.03 * i, 100 + 20 * (-1) ** i) for i in range(9)]
    placed = place([*row, *marks], PLOT)
    assert any(one.minor for one in placed.values())


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 340), st.sampled_from(["F16", "Q4_K_M", "IQ2_XXS"])),
        min_size=1,
        max_size=25,
    )
)
def test_no_two_labels_of_one_width_touch(marks: list[tuple[float, float, str]]) -> None:
    labels = [Label(str(i), text, x, y) for i, (x, y, text) in enumerate(marks)]
    placed = place(labels, PLOT)
    for width, with_minor in ((PLOT.narrow, False), (PLOT.wide, True)):
        boxes = [
            extent(label, placed[label.key], width)
            for label in labels
            if label.key in placed and (with_minor or not placed[label.key].minor)
        ]
        for i, box in enumerate(boxes):
            assert not any(touch(box, other) for other in boxes[:i])


@pytest.mark.parametrize("text", ["", "Q4_K_M"])
def test_only_marks_with_text_get_a_label(text: str) -> None:
    assert bool(place([Label("a", text, 0.5, 100)], PLOT)) == bool(text)
