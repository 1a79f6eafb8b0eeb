"""Dates as they are written -> dates that compare."""

import re
from datetime import date

_TIME = r"(?:T|\s)\s*(?:\(.\)\s*)?(?:오전|오후|[AaPp][Mm])?\s*\d{1,2}\s*[:시].*"
_DATES = (
    re.compile(rf"(\d{{4}})\s*[-./년]\s*(\d{{1,2}})\s*[-./월]\s*(\d{{1,2}})\s*[.일]?\s*(?:\([^)]*\))?(?:{_TIME})?"),
    re.compile(r"(\d{4})(\d\d)(\d\d)(?:T?\d{4,6}.*)?"),
)


def iso_day(value: str) -> date | None:
    """Return the day that ``YYYY-MM-DD`` means; None if it is something else."""
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


def iso_date(value: str) -> str:
    """Return a date as ``YYYY-MM-DD``: ``2025.3.14``, ``20250314``, ``2025년 3월 14일``, with a time of day or without.

    The day is the one written; a time zone does not move it. What is no such date comes back as it is.
    """
    for pattern in _DATES:
        if match := pattern.fullmatch(value.strip()):
            try:
                return date(*map(int, match.groups())).isoformat()
            except ValueError:  # the 31st of February: keep what is written
                return value
    return value
