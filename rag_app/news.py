"""What a question says about the time, section and outlet of the articles it wants, beyond its words."""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Any

from langchain_core.documents import Document
from pydantic import BaseModel, ConfigDict, Field

from rag_app.question_dates import DateRange, find_dates

RECENCY = 0.3
"""What an article of today gains where recency is asked for and nothing else is said; as much as `DATE_BOOST`."""

DATE_BOOST = 0.3
"""What an article gains by appearing at the time that is asked for; see ``finetune/LOG.md``."""


class NewsSense(BaseModel):
    """How much the dates of articles count in a search, and whether a question may choose among articles by itself.

    Attributes:
        date_boost: What an article gains, as a share of the best fused score, when it appeared at a time that the
            question names, or soon after: news tells of what has just been. 0 for none. It pays on the train questions
            of the sample; see ``finetune/LOG.md``. Articles without a date gain nothing and lose nothing.
        days_after: How long after the time that is named an article still counts as of that time.
        recency: What an article of today gains, as a share of the best fused score; 0 for none.
        half_life: After how many days half of that gain is left.
        infer_filters: Whether a section or outlet that the question names as such (``경제 기사``, ``한빛일보 보도``)
            restricts the search to it.
        today: What ``지난달`` and the age of articles count from; None for the day of the search.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    date_boost: float = Field(default=DATE_BOOST, ge=0)
    days_after: int = Field(default=7, ge=0)
    recency: float = Field(default=0.0, ge=0)
    half_life: float = Field(default=30.0, gt=0)
    infer_filters: bool = False
    today: date | None = None

    def gains(
        self, question: str, candidates: Iterable[str], fetch: Callable[[Sequence[str]], Iterable[Document]]
    ) -> dict[str, float]:
        """Return by id what each candidate gains, as a share of the best fused score; without those that gain nothing.

        Args:
            question: Normalised.
            candidates: Ids of documents.
            fetch: Returns documents by their ids; called only where dates matter. Those without ``date``
                (``YYYY-MM-DD``) gain nothing.
        """
        today = self.today or date.today()
        named = find_dates(question, today) if self.date_boost else []
        if not named and not self.recency:
            return {}
        found = fetch(list(candidates))  # there may be none of an id in an index of a stranger's
        days = {str(one.id): day for one in found if (day := _day(one.metadata.get("date")))}
        timely = {day: self._is_timely(day, question, named) for day in set(days.values())}
        gains = {
            id_: self.date_boost * timely[day] + self.recency * 0.5 ** (max(0, (today - day).days) / self.half_life)
            for id_, day in days.items()
        }
        return {id_: gain for id_, gain in gains.items() if gain}

    def _is_timely(self, day: date, question: str, named: Iterable[DateRange]) -> bool:
        """Return whether a day belongs to a time that was named; one without a year is that of the article's own."""
        if any(found.yearless for found in named):
            named = [found for found in named if not found.yearless]
            named += [found for found in find_dates(question, day) if found.yearless]
        return any(
            found.start <= day and (day - found.end).days <= self.days_after
            for found in named
            if (found.end - found.start).days <= _LONGEST
        )


_LONGEST = 100  # days: a year or decade that a question names is seldom when the article appeared
_NAMES_IT = r" ?(?:면|섹션|분야|기사|뉴스|소식|보도)"


def infer_filter(question: str, sections: Iterable[str], sources: Iterable[str]) -> dict[str, Any]:
    """Return the filter that a question asks for in so many words; empty if for none.

    A section or outlet counts as asked for only where the question says that it is one: ``경제 뉴스``,
    ``한빛일보 기사``, ``한빛일보에 따르면``. "경제가 나빠졌나" asks for no section.

    Args:
        question: Normalised.
        sections: Those that the index has.
        sources: Likewise the outlets.
    """
    filter = {
        "section": _named(question, sections, _NAMES_IT),
        "source": _named(question, sources, rf"(?:{_NAMES_IT}|에 따르면|[이가은는] (?:보도|전한|전했|쓴))"),
    }
    return {key: {"$in": names} for key, names in filter.items() if names}


def _named(question: str, names: Iterable[str], said: str) -> list[str]:
    found = (name for name in names if name and name in question)  # a pattern for each of thousands takes seconds
    return [name for name in found if re.search(rf"(?<![0-9A-Za-z가-힣]){re.escape(name)}{said}", question)]


def _day(value: Any) -> date | None:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        return None
