"""Where a question is searched: sections, outlets and days, remembered for each index."""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any, NamedTuple

import streamlit as st

from rag_app.corpus.catalogue import count_articles
from rag_app.filters import Filter
from rag_app.index import Index
from rag_app.page.resources import Facets, version
from rag_app.page.servers import ask_beside
from rag_app.page.waiting import when_told
from rag_app.page.words import say
from rag_app.server_index import ServerIndex

_PRESETS = (7, 30)  # days up to the newest article


class Scope(NamedTuple):
    """Which articles are searched; all of an empty choice.

    Attributes:
        sections: Any of these.
        outlets: Any of these.
        dates: First and last day; None for any, also for articles without a date.
    """

    sections: Sequence[str] = ()
    outlets: Sequence[str] = ()
    dates: tuple[date, date] | None = None

    def __bool__(self) -> bool:
        return any(self)

    @property
    def words(self) -> str:
        """The choice in words, empty for all."""
        words = [", ".join(names) for names in (self.sections, self.outlets) if names]
        words += [" ~ ".join(day.isoformat() for day in self.dates)] if self.dates else []
        return " · ".join(words)

    @property
    def filter(self) -> Filter | None:
        """The choice as `rag_app.filters` takes it."""
        conditions: dict[str, dict[str, Any]] = {
            "section": {"$in": list(self.sections)} if self.sections else {},
            "source": {"$in": list(self.outlets)} if self.outlets else {},
            "date": {"$gte": self.dates[0].isoformat(), "$lte": self.dates[1].isoformat()} if self.dates else {},
        }
        return {key: condition for key, condition in conditions.items() if condition} or None


def choose_scope(index: Index, facets: Facets) -> Scope:
    """Let the visitor choose among the sections, outlets and days that an index has."""
    place = index.path.name  # not its path, since keys go to the browser
    keys = [f"{name} {place}" for name in ("sections", "outlets")]
    sections = _choose_names(say("분야", "Sections"), facets.sections, say("모든 분야", "All sections"), keys[0])
    outlets = _choose_names(say("매체", "Outlets"), facets.outlets, say("모든 매체", "All outlets"), keys[1])
    dates = None
    if facets.dates:
        every = (facets.dates[0], facets.dates[-1])
        keys.append(f"dates {place} {every}")  # bounds of its own: a day outside them would be an error
        dates = _choose_dates(every, keys[2])
    scope = Scope(sections, outlets, dates)
    if scope:
        _show_left(index, scope, keys)
    return scope


def _choose_names(label: str, names: Sequence[str], every: str, key: str) -> list[str]:
    if not names:
        return []
    return st.multiselect(label, names, placeholder=every, key=key, persist_state="session")


def _choose_dates(every: tuple[date, date], key: str) -> tuple[date, date] | None:
    """Ask for the first and last day; None while all days are wanted."""
    st.session_state.setdefault(key, every)
    chosen = st.date_input(
        say("날짜", "Dates"),
        min_value=every[0],
        max_value=every[1],
        format="YYYY-MM-DD",
        key=key,
        persist_state="session",
    )
    # While only the first day has been clicked there is no last one yet.
    first, last = (*chosen, every[1])[:2] if isinstance(chosen, tuple) and chosen else every
    if (every[1] - every[0]).days > max(_PRESETS):
        _offer_presets(every, key)
    return None if (first, last) == every else (first, last)


def _offer_presets(every: tuple[date, date], key: str) -> None:
    """Offer the days up to the newest article, and its year."""
    newest = every[1]
    presets = {
        say(f"최근 {days}일", f"Last {days} days"): max(every[0], newest - timedelta(days - 1)) for days in _PRESETS
    }
    presets[say(f"{newest.year}년", str(newest.year))] = max(every[0], date(newest.year, 1, 1))
    with st.container(horizontal=True, gap="small"):
        for label, first in presets.items():
            st.button(label, key=f"{label} {key}", type="tertiary", on_click=_set, args=(key, (first, newest)))


def _set(key: str, value: Any) -> None:
    st.session_state[key] = value


def _show_left(index: Index, scope: Scope, keys: Sequence[str]) -> None:
    left = when_told(partial(_left, index, scope), say("기사를 세는 중입니다…", "Counting the articles…"))
    if left is None:
        pass
    elif left:
        st.caption(say(f"이 범위의 기사 {left:,}건에서 찾습니다.", f"{left:,} articles are searched."))
    else:
        st.warning(say("이 범위에는 기사가 없습니다. 범위를 넓혀 보세요.", "No article is left. Widen the range."))
    st.button(
        say("범위 지우기", "Search everything"),
        key=f"everything {index.path.name}",
        on_click=_reset,
        args=(list(keys),),
    )


def _left(index: Index, scope: Scope) -> int:
    if isinstance(index, ServerIndex):
        return ask_beside(index, f"count {scope.filter}", partial(_find_left, scope=scope))
    return _count(str(index.path), version(index), scope, index)


@st.cache_data(show_spinner=False, max_entries=200)
def _count(path: str, version: str, scope: Scope, _index: Index) -> int:
    return _find_left(_index, scope)


def _find_left(index: Index, scope: Scope) -> int:
    return count_articles(index.snapshot.store, scope.filter or {})


def _reset(keys: Sequence[str]) -> None:
    for key in keys:
        st.session_state.pop(key, None)
