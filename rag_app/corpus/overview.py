"""What an index holds, in figures: how many articles of when, of which section and outlet, and how long."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Literal, NamedTuple

from rag_app.corpus.catalogue import ArticleRow
from rag_app.files.dates import iso_day

Period = Literal["day", "month", "year"]
Bars = list[tuple[str, int]]

LENGTHS = (0, 200, 500, 1000, 2000, 5000, 10_000)
"""Where the classes of lengths begin, in characters."""
_MOST_DAYS = 62  # bars that can be told apart
_MOST_MONTHS = 60
_MOST_NAMES = 20


class Overview(NamedTuple):
    """What an index holds.

    Attributes:
        articles: How many.
        passages: How many they were cut into.
        median: The length of an article in the middle, in characters.
        undated: How many have no date that could be read.
        untitled: How many have no title.
        period: What a bar of ``times`` stands for.
        times: Articles by day, month or year, without gaps.
        sections: Articles by section, the most first; those beyond 20 together under an empty name.
        outlets: Likewise by outlet.
        lengths: Articles by length; each class is named by its lower bound in characters.
        cuts: Articles by the number of their passages.
    """

    articles: int
    passages: int
    median: int
    undated: int
    untitled: int
    period: Period
    times: Bars
    sections: Bars
    outlets: Bars
    lengths: Bars
    cuts: Bars


def summarise(rows: Sequence[ArticleRow]) -> Overview:
    """Return what some articles are."""
    days = sorted(day for row in rows if (day := iso_day(row.date)))
    period, times = _over_time(days)
    lengths = sorted(row.characters for row in rows)
    return Overview(
        articles=len(rows),
        passages=sum(row.passages for row in rows),
        median=lengths[len(lengths) // 2] if lengths else 0,
        undated=len(rows) - len(days),
        untitled=sum(not row.title for row in rows),
        period=period,
        times=times,
        sections=_most_common(row.section for row in rows),
        outlets=_most_common(row.source for row in rows),
        lengths=_by_length(lengths),
        cuts=_by_passages(row.passages for row in rows),
    )


def _over_time(days: Sequence[date]) -> tuple[Period, Bars]:
    """Return the articles by day, month or year, whichever gives bars that can be told apart."""
    if not days:
        return "day", []
    first, last = days[0], days[-1]
    if (last - first).days < _MOST_DAYS:
        names = [date.fromordinal(number).isoformat() for number in range(first.toordinal(), last.toordinal() + 1)]
        return "day", _count((day.isoformat() for day in days), names)
    months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
    if len(months) <= _MOST_MONTHS:
        names = [f"{month // 12:04}-{month % 12 + 1:02}" for month in months]
        return "month", _count((day.isoformat()[:7] for day in days), names)
    years = [f"{year:04}" for year in range(first.year, last.year + 1)]
    return "year", _count((day.isoformat()[:4] for day in days), years)


def _count(values: Iterable[str], names: Iterable[str]) -> Bars:
    counts = Counter(values)
    return [(name, counts[name]) for name in names]


def _most_common(names: Iterable[str]) -> Bars:
    counts = Counter(name for name in names if name)
    most = counts.most_common(_MOST_NAMES)
    rest = counts.total() - sum(count for _, count in most)
    return most + ([("", rest)] if rest else [])


def _by_length(lengths: Sequence[int]) -> Bars:
    if not lengths:
        return []
    ends = (*LENGTHS[1:], lengths[-1] + 1)
    classes = zip(LENGTHS, ends, strict=True)
    bars = [(f"{start:,}", sum(start <= length < end for length in lengths)) for start, end in classes]
    while bars and not bars[-1][1]:
        bars.pop()
    return bars


def _by_passages(counts: Iterable[int]) -> Bars:
    """Return the articles by number of passages; 10 stands for 10 and more."""
    found = Counter(min(count, 10) for count in counts)
    return [(str(number), found[number]) for number in range(1, max(found, default=0) + 1)]
