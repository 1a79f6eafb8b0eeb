"""Dates in Korean questions, absolute or relative, as the days that they mean: ``지난달``, ``2014년 6월``."""

import re
from calendar import monthrange
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import NamedTuple


class DateRange(NamedTuple):
    """The days that an expression means.

    Attributes:
        start: The first day.
        end: The last day.
        text: The expression as it stands in the question.
        yearless: Whether it is a day, month or season of no named year, so that the year depends on who asks when.
    """

    start: date
    end: date
    text: str
    yearless: bool


def find_dates(question: str, today: date) -> list[DateRange]:
    """Return the dates that a question names, in order.

    A day, month or season without a year is the latest that has begun: ``12월``, asked in March, is last year's. What
    no calendar has (``2월 30일``, the year 0) is passed over, and so is how long something took (``3개월 동안``).

    Args:
        question: Normalised; see `rag_app.korean.normalise`.
        today: What relative expressions count from.
    """
    found: list[DateRange] = []
    position = 0
    while matches := [(match, read) for pattern, read in _READERS if (match := pattern.search(question, position))]:
        match, read = min(matches, key=lambda pair: (pair[0].start(), -pair[0].end()))
        position = match.end()
        try:
            found.append(DateRange(*read(match, today), match.group(), read in _YEARLESS and not _names_year(match)))
        except (ValueError, OverflowError):  # no day of the calendar
            continue
    return found


_Days = tuple[date, date]

_YEARS = {"재작년": -2, "작년": -1, "지난해": -1, "올해": 0, "금년": 0, "올": 0, "내년": 1}
_MONTHS = {"지지난달": -2, "지난달": -1, "저번달": -1, "이번달": 0, "이달": 0, "다음달": 1}
_WEEKS = {"지지난주": -2, "지난주": -1, "저번주": -1, "이번주": 0, "다음주": 1}
_DAYS = {"그끄저께": -3, "그저께": -2, "그제": -2, "어제": -1, "오늘": 0, "내일": 1}
_SEASONS = {"봄": 3, "여름": 6, "가을": 9, "겨울": 12}


def _one_of(words: Iterable[str]) -> str:
    """Return a pattern of any of these words; a space may stand before 달 and 주."""
    longest_first = sorted(words, key=len, reverse=True)
    return "|".join(re.sub("(?<=.)(달|주)$", r" ?\1", word) for word in longest_first)


def _day(match: re.Match[str], today: date) -> _Days:
    day = _latest(match, today, lambda year: date(year, int(match["month"]), int(match["day"])))
    return day, day


def _month(match: re.Match[str], today: date) -> _Days:
    return _months(_latest(match, today, lambda year: date(year, int(match["month"]), 1)), 1)


def _season(match: re.Match[str], today: date) -> _Days:
    return _months(_latest(match, today, lambda year: date(year, _SEASONS[match["season"]], 1)), 3)


def _half(match: re.Match[str], today: date) -> _Days:
    return _months(date(_year_of(match, today), 1 if match["half"] == "상" else 7, 1), 6)


def _quarter(match: re.Match[str], today: date) -> _Days:
    return _months(date(_year_of(match, today), 3 * int(match["quarter"]) - 2, 1), 3)


def _year(match: re.Match[str], today: date) -> _Days:
    return _months(date(_year_of(match, today), 1, 1), 12)


def _decade(match: re.Match[str], today: date) -> _Days:
    return _months(date(int(match["decade"]), 1, 1), 120)


def _relative_month(match: re.Match[str], today: date) -> _Days:
    return _months(_add_months(today.replace(day=1), _MONTHS[match.group().replace(" ", "")]), 1)


def _relative_week(match: re.Match[str], today: date) -> _Days:
    monday = today - timedelta(days=today.weekday()) + timedelta(weeks=_WEEKS[match.group().replace(" ", "")])
    return monday, monday + timedelta(days=6)


def _relative_day(match: re.Match[str], today: date) -> _Days:
    day = today + timedelta(days=_DAYS[match.group()])
    return day, day


def _recent(match: re.Match[str], today: date) -> _Days:
    return _back(match, today), today


def _ago(match: re.Match[str], today: date) -> _Days:
    day = _back(match, today)
    if match["unit"] == "년":
        return date(day.year, 1, 1), date(day.year, 12, 31)
    return _months(day.replace(day=1), 1) if match["unit"] in ("개월", "달") else (day, day)


def _back(match: re.Match[str], today: date) -> date:
    count, unit = int(match["count"]), match["unit"]
    if unit in ("개월", "달", "년"):
        return _add_months(today, -count * (12 if unit == "년" else 1))
    return today - timedelta(days=count * (1 if unit == "일" else 7))


def _names_year(match: re.Match[str]) -> bool:
    return bool(match["year"] or match["relative_year"])


def _year_of(match: re.Match[str], today: date) -> int:
    if match["year"]:
        return int(match["year"])
    return today.year + _YEARS[match["relative_year"]]


def _latest(match: re.Match[str], today: date, day_in: Callable[[int], date]) -> date:
    """Return the day in the year that is named or, without one, in the latest year in which it has come."""
    if _names_year(match):
        return day_in(_year_of(match, today))
    this_year = day_in(today.year)
    return this_year if this_year <= today else day_in(today.year - 1)


def _months(start: date, count: int) -> _Days:
    last = _add_months(start, count - 1)
    return start, last.replace(day=monthrange(last.year, last.month)[1])


def _add_months(day: date, count: int) -> date:
    """Return the same day some months on, or the last of a month that has fewer days."""
    year, month = divmod(day.year * 12 + day.month - 1 + count, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


_YEARLESS = (_day, _month, _season)
_SPAN = r"(?! ?(?:전|동안|간|만|째))"  # what follows a number of days, months or years that is no date
_AFTER = r"(?=$|[^가-힣]|(?:의|은|는|도|엔|에|자|쯤|경|까지|부터|에는)(?![가-힣]))"  # a particle at the most
_IN_YEAR = rf"(?:(?<!\d)(?P<year>\d{{4}})년|(?<![가-힣])(?P<relative_year>{_one_of(_YEARS)})) ?"
_READERS: list[tuple[re.Pattern[str], Callable[[re.Match[str], date], _Days]]] = [
    (re.compile(pattern), read)
    for pattern, read in (
        (r"(?<!\d)(?P<year>\d{4})[-./] ?(?P<month>\d{1,2})[-./] ?(?P<day>\d{1,2})(?!\d)(?P<relative_year>(?!))?", _day),
        (rf"(?:{_IN_YEAR})?(?<!\d)(?P<month>\d{{1,2}})월 ?(?P<day>\d{{1,2}})일{_SPAN}", _day),
        (rf"(?:{_IN_YEAR})?(?<!\d)(?P<month>\d{{1,2}})월", _month),
        (rf"(?:{_IN_YEAR}|지난 )(?P<season>{'|'.join(_SEASONS)})(?![가-힣]{{2}})", _season),
        (rf"{_IN_YEAR}(?P<half>[상하])반기", _half),
        (rf"{_IN_YEAR}(?P<quarter>[1-4]) ?(?:사)?분기", _quarter),
        (r"(?<!\d)(?P<decade>\d{3}0)년대", _decade),
        (rf"(?<!\d)(?P<year>\d{{4}})년{_SPAN}(?P<relative_year>(?!))?", _year),
        (rf"(?<![가-힣])(?P<relative_year>{_one_of(set(_YEARS) - {'올'})})(?P<year>(?!))?", _year),
        (rf"(?<![가-힣])(?:{_one_of(_MONTHS)})", _relative_month),
        (rf"(?<![가-힣])(?:{_one_of(_WEEKS)}){_AFTER}", _relative_week),
        (rf"(?<![가-힣])(?:{_one_of(_DAYS)}){_AFTER}", _relative_day),
        (r"(?<![가-힣])최근 ?(?P<count>\d{1,3}) ?(?P<unit>일|주일|주|개월|달|년)", _recent),
        (rf"(?<!\d)(?P<count>\d{{1,3}}) ?(?P<unit>일|주일|주|개월|달|년) ?전{_AFTER}", _ago),
    )
]
