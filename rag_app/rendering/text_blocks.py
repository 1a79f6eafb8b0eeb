"""A text cut into blocks with marked parts, for a page that builds elements of it: offsets do not travel, text does."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

BLOCK_CHARS = 2000
"""A longer paragraph is cut: a browser lays out one of some hundred thousand characters in minutes, many short ones at
once."""

Span = tuple[int, int]
_BREAKS = (re.compile(r"\n"), re.compile(r"(?<=[.!?。”\"’'])\s"), re.compile(r"\s"))
"""Where a long paragraph is best cut, the best first."""


class Run(NamedTuple):
    """A part of a block that is marked in one way.

    Attributes:
        mark: ``"quote"``, ``"passage"`` or neither.
        text: What it says.
        quote: The place of the quote among the quotes, from 0; -1 for none.
    """

    mark: Literal["", "passage", "quote"]
    text: str
    quote: int = -1


def marked_blocks(text: str, passages: Sequence[Span], quotes: Sequence[Span]) -> list[list[Run]]:
    """Return the paragraphs of a text as runs, and what of them is a passage and what a quoted sentence.

    Args:
        text: Of any length; the blocks hold all of it but the white space that parts them.
        passages: Stretches of it; they may overlap each other.
        quotes: Parts that are marked as such whether in a passage or not.

    Returns:
        The blocks in order, none empty: a paragraph is one, or several if it is longer than `BLOCK_CHARS`.
    """
    cuts = sorted({min(max(at, 0), len(text)) for span in (*passages, *quotes) for at in span})
    blocks = []
    for start, end in _blocks(text):
        inside = cuts[bisect_right(cuts, start) : bisect_left(cuts, end)]
        blocks.append([_run(text[one:other], one, passages, quotes) for one, other in pairwise([start, *inside, end])])
    return blocks


def _run(text: str, start: int, passages: Sequence[Span], quotes: Sequence[Span]) -> Run:
    if (quote := _place(start, quotes)) >= 0:
        return Run("quote", text, quote)
    return Run("passage" if _place(start, passages) >= 0 else "", text)


def _place(at: int, spans: Sequence[Span]) -> int:
    return next((place for place, (start, end) in enumerate(spans) if start <= at < end), -1)


def _blocks(text: str) -> Iterator[Span]:
    """Yield where the blocks of a text start and end."""
    start = 0
    for paragraph in text.split("\n\n"):
        end = start + len(paragraph)
        while end - start > BLOCK_CHARS:
            cut, following = _cut(text, start + BLOCK_CHARS // 2, start + BLOCK_CHARS)
            if cut > start:
                yield start, cut
            start = following
        if end > start:
            yield start, end
        start = end + 2


def _cut(text: str, first: int, last: int) -> Span:
    """Return where the latest good break between two places is: where it starts, and where the text goes on."""
    for pattern in _BREAKS:
        if breaks := list(pattern.finditer(text, first, last)):
            return breaks[-1].span()
    return last, last
