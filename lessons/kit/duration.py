"""How long a page takes, computed from its length.

The words of its prose at the rate of silent reading, and a fixed time for each figure: less on a page that
shows one finding of it than on one that goes through all its controls. Questions and tasks come on top. A
lesson's claims hold these numbers with their source; a test compares the two.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable

WORDS_A_MINUTE = 238
"""Adults' silent reading of English non-fiction: Brysbaert 2019, doi:10.1016/j.jml.2019.104047."""

FIGURE_MINUTES, WORKSHOP_FIGURE_MINUTES, QUESTION_MINUTES, TASK_MINUTES = 1, 2, 1, 2

_TAG = re.compile(r"<[^>]*>")


def words(parts: Iterable[str]) -> int:
    """Words of HTML parts, without their tags."""
    return sum(len(html.unescape(_TAG.sub(" ", part)).split()) for part in parts)


def seconds(parts: Iterable[str], figures: int, figure_minutes: int) -> float:
    """Seconds to read HTML parts and to look at the figures between them."""
    return 60 * (words(parts) / WORDS_A_MINUTE + figure_minutes * figures)


def minutes(seconds: float, questions: int = 0, tasks: int = 0) -> int:
    """Whole minutes, rounded up; with questions to answer and tasks to solve, to the nearest five.

    >>> minutes(905), minutes(905, questions=8, tasks=8)
    (16, 40)
    """
    reading = seconds / 60
    if not questions and not tasks:
        return max(1, math.ceil(reading))
    return max(5, 5 * round((reading + QUESTION_MINUTES * questions + TASK_MINUTES * tasks) / 5))
