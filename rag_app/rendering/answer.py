"""Answers as Markdown whose citation markers lead to their sources."""

import re

from rag_app.language import KOREAN, Say
from rag_app.rendering.text import escape_markdown

_MARKER = re.compile(r"( ?\[\d{1,3}\])")
_FREE_MARKER = re.compile(r"((?: |(?<!\S))\[\d{1,3}\])(?!\S)")
"""Of a marker that stands free: in an answer of quoted sentences one inside a sentence is the article's own."""


def source_id(anchor: str, number: int | str) -> str:
    """Return the id that the card of a source has on the page.

    Args:
        anchor: The id of the turn.
        number: The source's citation.
    """
    return f"source-{anchor}-{number}"


def answer_markdown(piece: str, *, written: bool, anchor: str = "", say: Say = KOREAN) -> str:
    """Return a piece of an answer as Markdown, in which its citation markers lead to their sources.

    If a model wrote it there is emphasis and there are lists. Everything else is text. Else "3~5도, 7~9도" would be
    struck through, a price in dollars become a formula, and an image in an article or a model's answer would be
    fetched.

    Args:
        piece: A piece of it, or all. No marker is cut in two.
        written: A chat model wrote it; otherwise it quotes sentences, and markers inside those are their own.
        anchor: The id of the turn whose sources the markers lead to, see `source_id`; empty for markers that only
            stand out.
        say: The language in which a screen reader is told what a marker is.
    """
    keep = "*-." if written else ""
    return "".join(
        _citation_markdown(part, anchor, say) if number % 2 else escape_markdown(part, keep)
        for number, part in enumerate((_MARKER if written else _FREE_MARKER).split(piece))
    )


def _citation_markdown(marker: str, anchor: str, say: Say) -> str:
    space, number = marker[: marker.index("[")], marker.strip(" []")
    if not anchor:
        return f"{space}:blue[**{escape_markdown(f'[{number}]')}**]"
    # It stays on the line of what it supports. What is :small is hidden by page.css from all but screen readers.
    space = "\u00a0" if space else ""
    return f"{space}[:small[{say('출처', 'Source')}] {number}](#{source_id(anchor, number)})"


def cited_numbers(answer: str, *, written: bool = True) -> set[int]:
    """Return the numbers in the citation markers of an answer, as `answer_markdown` takes them."""
    return {int(marker.strip(" []")) for marker in (_MARKER if written else _FREE_MARKER).findall(answer)}
