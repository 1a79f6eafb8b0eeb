"""Tables as plain text."""

from collections.abc import Sequence
from unicodedata import east_asian_width


def aligned(rows: Sequence[Sequence[str]], *, labels: int | None = None) -> str:
    """Return rows as lines with their columns aligned, for letters of which Korean ones are twice as wide.

    Args:
        rows: Each with as many cells.
        labels: How many columns from the left are flush left; the others, of figures, are flush right. All if None.
    """
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        padded = [(text, " " * (width - _width(text))) for text, width in zip(row, widths, strict=True)]
        cells = (
            f"{pad}{text}" if labels is not None and place >= labels else f"{text}{pad}"
            for place, (text, pad) in enumerate(padded)
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _width(text: str) -> int:
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
