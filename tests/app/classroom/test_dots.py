"""Dots: one for every guess, on the question's own scale, none upon another; and who moved."""

import itertools
import math
import random
from collections import defaultdict

import pytest

from app.classroom.dots import FRAMES, Dots, dot_size, drawing, places, table
from app.classroom.judging import percent
from app.classroom.moves import LABEL, flow_drawing, moves
from app.classroom.scale import VoteScale, answer_of, counted, scale_of
from app.classroom.states import Guesses
from lessons.catalogue import load_lesson
from lessons.kit.controls import choice, slider
from lessons.kit.question import Guess, Question, Reveal, Verdict, answered_by
from tests.each import each

LESSON = load_lesson("quantization")
SIZES = (0, 1, 4, 5, 19, 20, 64, 350, 2000)


def asked(low: float, high: float, truth: float, *, near: float = 3, step: float = 1) -> Question:
    """A question about a number between `low` and `high`."""

    def reveal(guess: Guess | None) -> Reveal:
        off = math.inf if guess is None else abs(float(guess) - truth)
        verdict: Verdict = "right" if off <= 1 else "close" if off <= near else "off"
        controls = kind()
        return Reveal(str(truth), None, verdict, None, (), (), controls, truth)

    kind = answered_by(slider(low, low=low, high=high, step=step), float if step < 1 else int)
    return Question("made", kind, reveal, kind())


NEIGHBOURS = asked(0, 31, 17)
"""The question of the design: 0 to 31, 17 is right, 14 to 20 are near."""


def voted(question: Question, count: int, seed: int = 1) -> Guesses:
    """So many pairs of guesses, the first ones crowded at one value."""
    draw, values = random.Random(seed), [column.value for column in scale_of(question).columns]
    crowd = values[len(values) // 3]
    first = [crowd if draw.random() < 0.2 else draw.choice(values) for _ in range(count)]
    return Guesses(tuple((value, draw.choice([value, draw.choice(values), None])) for value in first))


def nearest(dots: tuple[tuple[float, float], ...], reach: float) -> float:
    """The least distance of two dots, looked for within `reach`."""
    cells = defaultdict(list)
    for x, y in dots:
        cells[int(x // reach), int(y // reach)].append((x, y))
    beside = list(itertools.product((-1, 0, 1), repeat=2))
    return min(
        (
            math.dist(one, other)
            for (column, row), found in cells.items()
            for i, one in enumerate(found)
            for dx, dy in beside
            for other in (found[i + 1 :] if dx == dy == 0 else cells.get((column + dx, row + dy), []))
        ),
        default=math.inf,
    )


# --- the scale ---


def test_the_scale_has_a_column_for_each_step() -> None:
    assert [column.value for column in scale_of(NEIGHBOURS).columns] == [str(i) for i in range(32)]
    alpha = scale_of(LESSON.questions["awq"])
    assert len(alpha.columns) == 21
    assert [alpha.columns[i].value for i in (0, 1, 20)] == ["0", "0.05", "1"]


def test_the_scale_of_a_choice_has_its_options() -> None:
    scale = scale_of(LESSON.questions["xray"], lambda option: f"<{option}>")
    assert [column.text for column in scale.columns] == ["<1>", "<8>", "<32>", "<256>"]
    assert not scale.ordered
    assert [column.at for column in scale.columns] == [0.125, 0.375, 0.625, 0.875]


@pytest.mark.parametrize("name", LESSON.questions)
def test_the_axis_names_both_ends_and_few_values_between(name: str) -> None:
    scale = scale_of(LESSON.questions[name])
    named = [column for column in scale.columns if column.tick]
    assert named[0] is scale.columns[0]
    assert named[-1] is scale.columns[-1]
    assert 2 <= len(named) <= 9


def test_a_guess_beyond_the_scale_stands_at_its_end() -> None:
    scale = scale_of(NEIGHBOURS)
    assert scale.index("40") == 31
    assert scale.index("-3") == 0
    assert scale.index("16.8") == 17
    assert scale.index("no number") is None
    assert scale.index("nan") is None
    assert scale_of(LESSON.questions["xray"]).index("64") is None


# --- the answer ---


@pytest.mark.parametrize("name", LESSON.questions)
def test_what_is_near_is_what_the_question_says(name: str) -> None:
    question = LESSON.questions[name]
    scale = scale_of(question)
    answer = answer_of(question, scale)
    for column, near in zip(scale.columns, answer.near, strict=True):
        guess = question.read([("answer", column.value)])[1]
        assert near == (question.reveal(guess).verdict in ("right", "close"))
    assert answer.span is not None
    assert all(answer.near[answer.span[0] : answer.span[1] + 1]), "one band"


def test_an_answer_beyond_the_scale_stands_at_its_end() -> None:
    for truth, at, beyond in ((40, 1.0, "above"), (-2, 0.0, "below"), (17, 17 / 31, "")):
        question = asked(0, 31, truth)
        answer = answer_of(question, scale_of(question))
        assert (answer.at, answer.beyond) == (at, beyond)


def test_where_nobody_can_be_near_there_is_no_band() -> None:
    question = asked(0, 31, 60)
    scale = scale_of(question)
    picture = drawing(scale, answer_of(question, scale), voted(question, 30), FRAMES["screen"])
    assert picture.band is None
    found = moves(scale, answer_of(question, scale), Guesses((("3", "31"),)))
    assert found.flows == (("below", "below", 1),)


# --- dots ---


def test_the_sizes_of_the_design() -> None:
    """64 guesses, 11 in the tallest column: 21 units, one abreast. 350, 64 in it: 10 units, three abreast."""
    assert dot_size(11, 36.6, 236) == Dots(21, 1)
    assert dot_size(64, 36.6, 236) == Dots(10, 3)


def test_few_guesses_have_large_dots_and_no_larger() -> None:
    assert dot_size(1, 300, 236) == Dots(28, 9)
    assert dot_size(0, 36.6, 236) == Dots(28, 1)


def test_a_dot_stands_for_several_only_where_there_is_no_room() -> None:
    """A column of 25 rows of 5 is the most with dots of 6 units in a row of 150."""
    assert dot_size(125, 36.6, 150, 30).each == 1
    assert dot_size(126, 36.6, 150, 30).each == 5
    assert dot_size(100_000, 36.6, 150, 30).each >= 500


def test_a_column_narrower_than_the_smallest_dot_has_smaller_ones() -> None:
    assert dot_size(3, 5, 110) == Dots(4.6, 1)


def test_a_short_last_row_is_centred() -> None:
    assert places(4, Dots(10, 3)) == [(-10, 5), (0, 5), (10, 5), (0, 15)]
    assert places(0, Dots(10, 3)) == []
    assert len(places(11, Dots(10, 3, each=5))) == 3, "no guess vanishes"


@each("frame, count, name", itertools.product(FRAMES.values(), SIZES, ["primitive", "fit", "xray"]))
def test_one_dot_for_each_guess_and_none_upon_another(name: str, count: int, frame: object) -> None:
    question = LESSON.questions[name]
    scale, guesses = scale_of(question), voted(question, count)
    votes = (1,) if frame is FRAMES["phone"] else (1, 2)
    picture = drawing(scale, answer_of(question, scale), guesses, frame, votes)  # type: ignore[arg-type]
    d = picture.dots.diameter
    for row in picture.rows:
        assert row.number == len(guesses.of(row.vote))
        if picture.dots.each == 1:
            assert len(row.dots) == row.number
        assert all(d / 2 - 0.01 <= y <= picture.height - d / 2 + 0.01 for _, y in row.dots)
        assert all(d / 2 <= x <= picture.frame.width - d / 2 for x, _ in row.dots)
        assert nearest(row.dots, d) >= d - 0.02
    assert 2 * picture.radius + picture.stroke < d, "lines of neighbours do not touch"


def test_counts_stand_above_columns_where_a_dot_is_several() -> None:
    scale = scale_of(NEIGHBOURS)
    guesses = Guesses(tuple((str(i % 32), None) for i in range(32 * 900)))
    picture = drawing(scale, answer_of(NEIGHBOURS, scale), guesses, FRAMES["phone"])
    assert picture.dots.each > 1
    counts = picture.rows[0].counts
    assert counts
    assert {count.text for count in counts} == {"900"}
    middles = sorted(count.x for count in counts)
    assert all(b - a > 20 for a, b in itertools.pairwise(middles)), "none upon another"


def test_both_votes_share_a_size() -> None:
    """A vote that comes later does not change the dots that are there."""
    scale = scale_of(NEIGHBOURS)
    crowded = Guesses(tuple((str(i % 20), "17") for i in range(60)))
    sizes = {
        drawing(scale, answer_of(NEIGHBOURS, scale), crowded, FRAMES["phone"], votes).dots
        for votes in ((1,), (2,))
    }
    assert len(sizes) == 1


def test_one_column_alone() -> None:
    question = asked(5, 5, 5)
    scale = scale_of(question)
    assert [column.at for column in scale.columns] == [0.5]
    guesses = Guesses((("5", "5"),) * 7)
    picture = drawing(scale, answer_of(question, scale), guesses, FRAMES["desk"])
    assert len(picture.rows[0].dots) == 7
    assert picture.rows[0].near == 7


def test_the_order_of_students_does_not_show() -> None:
    scale, guesses = scale_of(NEIGHBOURS), voted(NEIGHBOURS, 64)
    answer = answer_of(NEIGHBOURS, scale)
    other = Guesses(tuple(reversed(guesses.pairs)))
    assert drawing(scale, answer, guesses, FRAMES["screen"]) == drawing(
        scale, answer, other, FRAMES["screen"]
    )


# --- numbers ---


def test_per_cent_from_twenty_on_and_half_up() -> None:
    assert percent(10, 19) is None
    assert percent(5, 20) == 25
    assert percent(1, 40) == 3, "2.5"
    assert percent(21, 64) == 33
    assert percent(44, 62) == 71


def test_the_table_has_every_guess() -> None:
    scale, guesses = scale_of(NEIGHBOURS), voted(NEIGHBOURS, 64)
    rows = table(scale, answer_of(NEIGHBOURS, scale), guesses)
    assert sum(row.first for row in rows) == 64
    assert sum(row.second for row in rows) == len(guesses.of(2))
    assert [row.text for row in rows if row.near] == [row.text for row in rows if 14 <= int(row.text) <= 20]


# --- who moved ---


def test_who_moved() -> None:
    scale = scale_of(NEIGHBOURS)
    answer = answer_of(NEIGHBOURS, scale)
    pairs = (("6", "17"), ("6", "7"), ("24", "5"), ("17", "3"), ("16", "18"), ("31", None), (None, "17"))
    found = moves(scale, answer, Guesses(pairs))
    assert (found.came, found.left, found.stayed, found.crossed, found.gone, found.joined) == (
        1,
        1,
        2,
        1,
        1,
        1,
    )
    assert [found.first(band) for band in found.bands] == [2, 2, 2]
    assert [found.second(band) for band in found.bands] == [0, 2, 3]


@each("count, name", itertools.product(SIZES, LESSON.questions))
def test_the_counts_of_who_moved_are_those_of_the_votes(name: str, count: int) -> None:
    question = LESSON.questions[name]
    scale, guesses = scale_of(question), voted(question, count)
    answer = answer_of(question, scale)
    found = moves(scale, answer, guesses)
    row = drawing(scale, answer, guesses, FRAMES["screen"]).rows
    assert found.total == row[0].number
    assert found.first("near") == row[0].near
    assert found.total - found.gone + found.joined == row[1].number
    assert found.came + found.left + found.stayed + found.crossed + found.gone == found.total


@pytest.mark.parametrize("count", SIZES)
def test_ribbons_fill_their_bands(count: int) -> None:
    scale = scale_of(NEIGHBOURS)
    found = moves(scale, answer_of(NEIGHBOURS, scale), voted(NEIGHBOURS, count))
    text = 26
    picture = flow_drawing(found, text)
    inside = picture.height - 2 * text
    for side in (picture.first, picture.second):
        assert sum(node.count for node in side) == found.total
        assert all(node.y >= -0.01 and node.y + node.height <= inside + 0.01 for node in side)
        labels = [node.label for node in side]
        assert all(b - a >= LABEL * text - 0.1 for a, b in itertools.pairwise(labels)), "labels lie apart"
        assert all(-0.01 <= label <= inside for label in labels)
    assert sum(ribbon.count for ribbon in picture.ribbons) == found.total


def test_a_choice_has_two_bands() -> None:
    kind = answered_by(choice("a", ("a", "b", "c")))
    right = Reveal("b", None, "right", None, (), (), kind())
    wrong = Reveal("b", None, "off", None, (), (), kind())
    question = Question("made", kind, lambda guess: right if guess == "b" else wrong, kind())
    scale: VoteScale = scale_of(question)
    found = moves(
        scale, answer_of(question, scale), Guesses((("a", "b"), ("b", "b"), ("c", "a"), ("b", "c")))
    )
    assert found.bands == ("near", "other")
    assert (found.came, found.left, found.stayed) == (1, 1, 2)
    assert counted(scale, ["a", "b", None, "no option"]) == [1, 1, 0]
