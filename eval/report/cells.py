"""Cells of tables: figures and names as they are written, and what to make of them."""

from math import copysign
from typing import NamedTuple

from eval.results import Interval
from rag_app.significance import Comparison

_TONES = 5


class Cell(NamedTuple):
    """One figure or name in a table.

    Attributes:
        text: What it says.
        value: What to sort by; None for what has no order.
        interval: Between what the figure may lie.
        detail: More about it.
        best: Whether it is the best of its column.
        level: Whether it is not the best, but cannot be told apart from it.
        tone: From -5, much worse, to 5, much better.
    """

    text: str
    value: float | None = None
    interval: Interval | None = None
    detail: str = ""
    best: bool = False
    level: bool = False
    tone: int = 0


class Table(NamedTuple):
    """A table with a title and a note on how to read it.

    Attributes:
        title: What it shows.
        header: The columns' names.
        rows: Cells, as many in each row as there are columns.
        note: How to read it.
        labels: How many columns from the left say what the row is about.
    """

    title: str
    header: list[str]
    rows: list[list[Cell]]
    note: str = ""
    labels: int = 1


def mean_cell(interval: Interval, *, best: bool = False, level: bool = False) -> Cell:
    """Return a mean with its interval."""
    return Cell(f"{interval.mean:.3f}", interval.mean, interval, best=best, level=level)


def percent_cell(interval: Interval) -> Cell:
    """Return a share with its interval."""
    return Cell(f"{interval.mean:.1%}", interval.mean, detail=f"{100 * interval.low:.1f}–{interval.high:.1%}")


def ms(seconds: float) -> str:
    """Return milliseconds with as many digits as matter."""
    value = 1000 * seconds
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def signed(value: float, digits: int = 3) -> str:
    """Return a difference with its sign, and none for what rounds to zero."""
    text = f"{abs(value):.{digits}f}"
    return text if not float(text) else f"{'−' if value < 0 else '+'}{text}"


def number_cell(value: float, digits: int = 2) -> Cell:
    """Return a number with so many digits after the point."""
    return Cell(f"{value:,.{digits}f}", value)


def short(value: float) -> str:
    """Return a number with three digits after the point at most: ``0.04``, ``12``, ``1557.98``."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def count_cell(number: int) -> Cell:
    """Return a count."""
    return Cell(f"{number:,}", number)


def bytes_cell(count: int | None) -> Cell:
    """Return a size in mebibytes."""
    if count is None:
        return Cell("–")
    return Cell(f"{count / 2**20:,.1f} MiB", count)


def p_text(p: float) -> str:
    """Return a p value as it is written."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def change_cell(comparison: Comparison, step: float = 0.02, *, significant: bool = False) -> Cell:
    """Return a difference, coloured by how many steps it is; a significant one by one step at least."""
    change = comparison.after - comparison.before
    steps = max(min(_TONES, round(abs(change) / step)), int(significant))
    tone = int(copysign(steps, change)) if change else 0
    return Cell(signed(change), change, best=significant, tone=tone)


def with_interval(interval: Interval) -> str:
    """Return a mean and its interval as text."""
    return f"{interval.mean:.3f} ({interval.low:.3f}–{interval.high:.3f})"
