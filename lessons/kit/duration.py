"""How long a lesson takes, computed from its length.

The words of the prose at the rate of silent reading, plus a fixed time for every figure, question and task.
A lesson's claims hold these numbers with their source; a test compares the two.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

WORDS_A_MINUTE = 238
"""Adults' silent reading of English non-fiction: Brysbaert 2019, doi:10.1016/j.jml.2019.104047."""

FIGURE_MINUTES, QUESTION_MINUTES, TASK_MINUTES = 2, 1, 2

_TAG = re.compile(r"<[^>]*>")


def words(parts: Iterable[str]) -> int:
    """Words of HTML parts, without their tags."""
    return sum(len(html.unescape(_TAG.sub(" ", part)).split()) for part in parts)


def minutes(word_count: int, figures: int, questions: int, tasks: int) -> tuple[int, int]:
    """Minutes to read, rounded up; and with everything in it, to the nearest five.

    >>> minutes(2380, 10, 5, 5)
    (10, 45)
    """
    reading = word_count / WORDS_A_MINUTE
    whole = reading + FIGURE_MINUTES * figures + QUESTION_MINUTES * questions + TASK_MINUTES * tasks
    return max(1, -int(-reading // 1)), max(5, 5 * round(whole / 5))
