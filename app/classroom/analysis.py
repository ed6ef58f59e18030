"""What the answers of a class say about its questions, as pure functions over the rows of a class.

An item is a question that was asked, a question that students answered at their own pace, or a step of a
task. A student's first answer to it counts: one that is right or close has credit, any other has none.
Late votes and those of who would rather not are left out. Before a question is revealed nothing of it is
told here either, while the class runs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from statistics import correlation, median_low
from typing import Literal

from app.classroom.flow import Phase
from app.classroom.judging import NEAR, SHOWN_FROM, percent

READ_AGAIN = 0.1
"""A correlation, as printed, below which the question does not tell strong students from weak ones."""

MOST_WRONG = 4
"""Wrong answers that are listed for an item; the rest are counted together."""

CERTAIN = 3
"""The highest confidence: a guess, fairly sure, certain."""

MANY_TRIES = 3
"""Attempts at a step after which a student who is not right may need a word."""

NO_ANSWER = ("skipped", "open", "unread")

Kind = Literal["vote", "prediction", "task"]
Reason = Callable[[str, str], str]
"""From a question's name and a guess to the key of the thought behind it."""


@dataclass(frozen=True, slots=True)
class StudentRow:
    id: str
    name: str
    joined_at: datetime


@dataclass(frozen=True, slots=True)
class ItemRow:
    """A line of the running order."""

    id: int
    kind: str
    name: str
    phase: Phase
    twice: bool = True
    opened_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class VoteRow:
    item: int
    student: str
    round: int
    value: str | None
    outcome: str
    confidence: int | None
    late: bool
    seconds: float
    at: datetime


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """An answer at a student's own pace: `kind` is "prediction" or "task"."""

    student: str
    kind: str
    name: str
    step: str
    variant: int
    value: str | None
    outcome: str
    slip: str
    attempt: int
    seconds: float | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Record:
    """All that is stored of a class."""

    code: str
    title: str
    lesson: str
    created_at: datetime
    ends_on: date
    ended: bool
    students: tuple[StudentRow, ...] = ()
    items: tuple[ItemRow, ...] = ()
    votes: tuple[VoteRow, ...] = ()
    answers: tuple[AnswerRow, ...] = ()
    progress: tuple[tuple[str, str, bool], ...] = ()
    """Student, section, and whether it is done."""

    def visible(self) -> Record:
        """The record without what its teacher must not see yet: of questions that are not revealed.

        Once the class has ended all are visible. Votes of a withdrawn question are kept and never analysed.
        """
        hidden = {i.id for i in self.items if i.kind == "question" and not self.is_visible(i)}
        covered = {i.name for i in self.items if i.id in hidden and not self.ended}
        return replace(
            self,
            votes=tuple(vote for vote in self.votes if vote.item not in hidden),
            answers=tuple(a for a in self.answers if a.kind != "prediction" or a.name not in covered),
        )

    def is_visible(self, item: ItemRow) -> bool:
        """Whether a question was asked and its votes may be seen."""
        if item.phase in (Phase.WAITING, Phase.WITHDRAWN):
            return False
        return self.ended or item.phase is Phase.REVEALED


@dataclass(frozen=True, slots=True)
class Share:
    """How many of the answers were right or near."""

    near: int
    of: int

    @property
    def percent(self) -> int | None:
        """See `judging.percent`."""
        return percent(self.near, self.of)


@dataclass(frozen=True, slots=True)
class Discrimination:
    """The corrected point-biserial correlation of an item, or why it has none.

    "few": under `SHOWN_FROM` answers. "alone": too few of these students answered anything else. "same":
    all had the same credit, or the same score in the rest.
    """

    r: float | None
    missing: Literal["", "few", "alone", "same"] = ""

    @property
    def is_weak(self) -> bool:
        return self.r is not None and round(self.r, 2) < READ_AGAIN


@dataclass(frozen=True, slots=True)
class Wrong:
    """Wrong answers of one kind: the thought behind them, and the values by how often they were given.

    `near`: all of them were close, so they have credit and are still not right.
    """

    reason: str
    count: int
    values: tuple[str, ...]
    near: bool = False


@dataclass(frozen=True, slots=True)
class ItemAnalysis:
    """One line of the table. `in_the_end` counts who was right at any attempt; of votes it is None."""

    kind: Kind
    name: str
    step: str
    item: int | None
    first: Share
    second: Share | None
    skipped: int
    discrimination: Discrimination
    wrong: tuple[Wrong, ...]
    others: int
    seconds: float | None
    in_the_end: int | None = None
    attempts: tuple[int, int] | None = None
    """The median and the largest number of attempts of a student at their first exercise."""


@dataclass(slots=True)
class _Item:
    """The first answers to an item, by student, and what else its line needs."""

    kind: Kind
    name: str
    step: str = ""
    item: int | None = None
    first: dict[str, VoteRow | AnswerRow] = field(default_factory=dict)
    second: dict[str, VoteRow] | None = None
    skipped: int = 0
    attempts: Counter[str] = field(default_factory=Counter)
    right: set[str] = field(default_factory=set)

    @property
    def credits(self) -> dict[str, bool]:
        return {student: row.outcome in NEAR for student, row in self.first.items()}


def analyse(record: Record, reason: Reason) -> tuple[ItemAnalysis, ...]:
    """A line for every item of a class: asked questions in their order, then answers at own pace.

    `reason` says which thought stands behind a guess; of a step of a task the stored slip does.
    """
    items = _items(record.visible())
    credits = [item.credits for item in items]
    return tuple(_line(item, discrimination(credits, i), reason) for i, item in enumerate(items))


def discrimination(credits: list[dict[str, bool]], item: int) -> Discrimination:
    """The point-biserial correlation of an item with the rest of the score, the item itself left out.

    The rest of a student's score is the share of credit among the other items that the student answered, so
    that who came late is not taken for weak; with complete data it is proportional to the usual sum.

    Source: Henrysson, Correction of item-total correlations in item analysis, Psychometrika 28 (1963).
    """
    own = credits[item]
    if len(own) < SHOWN_FROM:
        return Discrimination(None, "few")
    rests = {
        student: [other[student] for i, other in enumerate(credits) if i != item and student in other]
        for student in own
    }
    pairs = [(float(own[student]), sum(rest) / len(rest)) for student, rest in rests.items() if rest]
    if len(pairs) < SHOWN_FROM:
        return Discrimination(None, "alone")
    scores, others = zip(*pairs, strict=True)
    if len(set(scores)) == 1 or len(set(others)) == 1:
        return Discrimination(None, "same")
    return Discrimination(correlation(scores, others))


def _items(record: Record) -> list[_Item]:
    votes: dict[int, list[VoteRow]] = defaultdict(list)
    for vote in record.votes:
        if not vote.late:
            votes[vote.item].append(vote)
    asked = [item for item in record.items if item.kind == "question" and record.is_visible(item)]
    return [_of_votes(item, votes[item.id]) for item in asked] + _at_own_pace(record.answers)


def _of_votes(item: ItemRow, votes: Iterable[VoteRow]) -> _Item:
    made = _Item("vote", item.name, item=item.id, second={})
    for vote in votes:
        if vote.outcome in NO_ANSWER:
            made.skipped += vote.round == 1
        elif vote.round == 1:
            made.first[vote.student] = vote
        elif made.second is not None:
            made.second[vote.student] = vote
    made.second = made.second or None
    return made


def _at_own_pace(answers: Iterable[AnswerRow]) -> list[_Item]:
    """Questions and steps of tasks in the order in which they were first answered."""
    made: dict[tuple[str, str, str], _Item] = {}
    for answer in sorted(answers, key=lambda answer: (answer.at, answer.attempt)):
        kind: Kind = "task" if answer.kind == "task" else "prediction"
        item = made.setdefault((kind, answer.name, answer.step), _Item(kind, answer.name, answer.step))
        if answer.outcome in NO_ANSWER:
            item.skipped += answer.outcome == "skipped"
            continue
        first = item.first.setdefault(answer.student, answer)
        item.attempts[answer.student] += isinstance(first, AnswerRow) and first.variant == answer.variant
        if answer.outcome in NEAR:
            item.right.add(answer.student)
    return list(made.values())


def _line(item: _Item, found: Discrimination, reason: Reason) -> ItemAnalysis:
    wrong = _wrong_answers(item, reason)
    seconds = [row.seconds for row in item.first.values() if row.seconds is not None]
    of_votes = item.kind == "vote"
    return ItemAnalysis(
        item.kind,
        item.name,
        item.step,
        item.item,
        _share(item.first),
        None if item.second is None else _share(item.second),
        item.skipped,
        found,
        wrong[:MOST_WRONG],
        sum(group.count for group in wrong[MOST_WRONG:]),
        median_low(seconds) if seconds else None,
        None if of_votes else len(item.right),
        (median_low(item.attempts.values()), max(item.attempts.values()))
        if item.attempts and not of_votes
        else None,
    )


def _share(rows: Mapping[str, VoteRow | AnswerRow]) -> Share:
    return Share(sum(row.outcome in NEAR for row in rows.values()), len(rows))


def _wrong_answers(item: _Item, reason: Reason) -> tuple[Wrong, ...]:
    """The answers that were not right, grouped by the thought behind them, the most frequent first."""
    groups: dict[str, list[VoteRow | AnswerRow]] = defaultdict(list)
    for row in item.first.values():
        if row.outcome != "right" and row.value is not None:
            slip = row.slip if isinstance(row, AnswerRow) and item.kind == "task" else None
            groups[reason(item.name, row.value) if slip is None else slip].append(row)
    made = [
        Wrong(
            key,
            len(rows),
            tuple(value for value, _ in _by_count(row.value for row in rows if row.value is not None)),
            all(row.outcome == "close" for row in rows),
        )
        for key, rows in groups.items()
    ]
    return tuple(sorted(made, key=lambda group: (-group.count, group.values)))


def _by_count(values: Iterable[str]) -> list[tuple[str, int]]:
    return sorted(Counter(values).items(), key=lambda pair: (-pair[1], pair[0]))


# --- students ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cell:
    """What one student made of one item; an empty `first` and `second` where there is nothing."""

    kind: Kind
    name: str
    step: str
    first: VoteRow | AnswerRow | None
    second: VoteRow | None
    attempts: int = 0
    item: int | None = None


def rows_of(record: Record) -> dict[str, tuple[Cell, ...]]:
    """Everything that each student answered, by id, item by item; skipped and late answers too."""
    visible = record.visible()
    votes: dict[str, dict[tuple[int, int], VoteRow]] = defaultdict(dict)
    for vote in visible.votes:
        votes[vote.student][vote.item, vote.round] = vote
    answers: dict[str, list[AnswerRow]] = defaultdict(list)
    for answer in sorted(visible.answers, key=lambda answer: (answer.at, answer.attempt)):
        answers[answer.student].append(answer)
    return {
        student.id: (*_voted(visible.items, votes[student.id]), *_answered(answers[student.id]))
        for student in visible.students
    }


def _voted(items: Iterable[ItemRow], votes: Mapping[tuple[int, int], VoteRow]) -> list[Cell]:
    pairs = [(item, votes.get((item.id, 1)), votes.get((item.id, 2))) for item in items]
    return [
        Cell("vote", item.name, "", first, second, item=item.id)
        for item, first, second in pairs
        if first or second
    ]


def _answered(answers: Iterable[AnswerRow]) -> list[Cell]:
    """A cell for each question or step: the answer with credit, or else the last one."""
    steps: dict[tuple[str, str, str], list[AnswerRow]] = defaultdict(list)
    for answer in answers:
        steps[answer.kind, answer.name, answer.step].append(answer)
    return [
        Cell(
            "task" if kind == "task" else "prediction",
            name,
            step,
            next((row for row in rows if row.outcome in NEAR), rows[-1]),
            None,
            len(rows),
        )
        for (kind, name, step), rows in steps.items()
    ]


def may_need_a_word(record: Record, section: Callable[[str, str], str]) -> dict[str, tuple[str, ...]]:
    """Students by section: two votes, neither near, and certain of the second; or a step of a task that was
    tried `MANY_TRIES` times and never right. `section` says from kind and name where an item belongs.
    """
    visible = record.visible()
    names = {item.id: item.name for item in visible.items}
    found: dict[str, dict[str, None]] = defaultdict(dict)
    pairs: dict[tuple[int, str], dict[int, VoteRow]] = defaultdict(dict)
    for vote in visible.votes:
        if not vote.late and vote.outcome not in NO_ANSWER:
            pairs[vote.item, vote.student][vote.round] = vote
    for (item, student), own in pairs.items():
        missed = len(own) == 2 and not any(vote.outcome in NEAR for vote in own.values())
        if missed and own[2].confidence == CERTAIN:
            found[section("question", names[item])][student] = None
    for step in _at_own_pace(visible.answers):
        if step.kind == "task":
            for student, tries in step.attempts.items():
                if tries >= MANY_TRIES and student not in step.right:
                    found[section("task", step.name)][student] = None
    order = [student.id for student in record.students]
    return {place: tuple(s for s in order if s in students) for place, students in found.items()}
