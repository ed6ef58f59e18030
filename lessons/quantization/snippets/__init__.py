"""For each figure, Python that reproduces its read-outs with `quant_core`, in any state of its controls.

A snippet gives every read-out a variable of the read-out's own name, so that a test can hold the two against
each other. It reads what the lesson ships, from the root of the repository.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lessons.quantization.snippets import small_model

SNIPPETS: dict[str, Callable[[Any], str]] = {
    "sentence": small_model.sentence,
}
"""Figure → its controls → code."""
