"""What an index holds, in figures."""

from itertools import count

import pytest

from rag_app.corpus.catalogue import ArticleRow
from rag_app.corpus.overview import summarise

_IDS = count()


def _row(
    date: str = "", *, section: str = "", source: str = "", characters: int = 100, passages: int = 1
) -> ArticleRow:
    return ArticleRow(f"{next(_IDS)}", "제목", source, section, date, "", characters, passages)


@pytest.mark.parametrize(
    ("last", "period", "bars"),
    [
        ("2025-01-03", "day", [("2025-01-01", 1), ("2025-01-02", 0), ("2025-01-03", 1)]),
        ("2025-04-30", "month", [("2025-01", 1), ("2025-02", 0), ("2025-03", 0), ("2025-04", 1)]),
        ("2031-01-01", "year", [(str(year), int(year in (2025, 2031))) for year in range(2025, 2032)]),
    ],
)
def test_time_is_told_in_days_months_or_years_without_gaps(last: str, period: str, bars: list[tuple[str, int]]) -> None:
    overview = summarise([_row("2025-01-01"), _row(last), _row("어제"), _row()])
    assert (overview.period, overview.times) == (period, bars)
    assert overview.undated == 2


def test_names_are_counted_and_the_rare_ones_stand_together() -> None:
    rows = [_row(section="경제", source=f"매체 {number:02}") for number in range(22)] + [_row(source="매체 00")]
    overview = summarise(rows)
    assert overview.sections == [("경제", 22)]
    assert overview.outlets[0] == ("매체 00", 2)
    assert overview.outlets[-1] == ("", 2)
    assert len(overview.outlets) == 21
    assert sum(number for _, number in overview.outlets) == 23


def test_lengths_and_passages_fall_into_classes() -> None:
    rows = [_row(characters=199), _row(characters=200, passages=2), _row(characters=1500, passages=40)]
    overview = summarise(rows)
    assert overview.lengths == [("0", 1), ("200", 1), ("500", 0), ("1,000", 1)]
    assert overview.cuts == [("1", 1), ("2", 1), *((str(number), 0) for number in range(3, 10)), ("10", 1)]
    assert (overview.articles, overview.passages, overview.median) == (3, 43, 200)


def test_the_longest_articles_are_counted_too() -> None:
    assert summarise([_row(characters=50_000)]).lengths[-1] == ("10,000", 1)


def test_of_no_articles_there_is_nothing_to_tell() -> None:
    overview = summarise([])
    assert (overview.articles, overview.median, overview.untitled) == (0, 0, 0)
    assert overview.times == overview.sections == overview.lengths == overview.cuts == []
