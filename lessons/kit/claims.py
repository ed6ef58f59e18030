"""Claims: the numbers that are written and not computed on the page, each with its kind and its source.

`{{ id }}` stands for a claim, in prose and in the words of a figure. It prints the value, and where there is
room for a link it leads to the source.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import ClassVar, Literal

from pydantic import ConfigDict

from lessons.kit.numbers import as_printed

Kind = Literal["measured", "derived", "cited", "chosen"]
_VERSION = re.compile(r"/[0-9a-f]{40}/|//arxiv\.org/abs/")
_CLAIM = re.compile(r"\{\{ ?([a-z0-9-]+) ?\}\}")


@dataclass(frozen=True, slots=True)
class Claim:
    """A written number with where it comes from.

    `kind`: "measured" here by `function` on `on`; "derived" by `formula` from cited inputs; "cited"; or
    "chosen" by us, as an example is. `read` is the day on which the source of a cited one was read, or
    of another that may change: one without a version in its address. `headline`: it is a link wherever it
    stands; the sections of a lesson show the other claims as plain text.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    id: str
    value: str
    kind: Kind
    source: str
    url: str = ""
    formula: str = ""
    function: str = ""
    on: str = ""
    read: date | None = None
    headline: bool = False

    @property
    def fixed(self) -> bool:
        """Whether its address names a version: a commit, or a paper."""
        return bool(_VERSION.search(self.url))

    @property
    def text(self) -> str:
        """The value as it is printed in the current language."""
        return as_printed(self.value)

    def link(self, sources_url: str) -> str:
        """The value as HTML, leading to its place in the list of sources."""
        return f'<a class="claim {self.kind}" href="{sources_url}#{self.id}">{html.escape(self.text)}</a>'


def named_in(text: str) -> Iterator[str]:
    """The ids of the claims that a text refers to, in order."""
    return (match[1] for match in _CLAIM.finditer(text))


def with_claims(text: str, claims: Mapping[str, Claim], show: Callable[[Claim], str], origin: str) -> str:
    """A text with its claims filled in; raises an error that names the file where a claim is not known."""

    def shown(match: re.Match[str]) -> str:
        claim = claims.get(match[1])
        if claim is None:
            raise KeyError(f"{origin}: no claim {match[1]!r} in claims.toml")
        return show(claim)

    return _CLAIM.sub(shown, text)
