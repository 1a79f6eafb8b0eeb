"""Metadata filters as LangChain's stores write them: ``{"section": "경제", "date": {"$gte": "2025-01-01"}}``."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Protocol, runtime_checkable

from langchain_core.documents import Document

from rag_app.korean import normalise

Filter = Mapping[str, Any] | Callable[[dict[str, Any]], bool]
"""Either conditions by metadata key, all of which must hold, or a function of the metadata."""


def _either(value: Any, wanted: Any) -> bool:
    return any(item in wanted for item in value) if isinstance(value, list) else value in wanted


def _neither(value: Any, wanted: Any) -> bool:
    return not _either(value, wanted)


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": eq,
    "$ne": ne,
    "$gt": gt,
    "$gte": ge,
    "$lt": lt,
    "$lte": le,
    "$in": _either,
    "$nin": _neither,
}
_IN_EITHER = {"$eq": "in either spelling", "$ne": "in neither spelling"}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    **OPERATORS,
    "in either spelling": lambda value, wanted: value in wanted,
    "in neither spelling": lambda value, wanted: value not in wanted,
}
_HOLD_WHEN_MISSING = {"$ne", "$nin", "in neither spelling"}


def article_filter(sections: Sequence[str] = (), since: str | None = None, until: str | None = None) -> Filter | None:
    """Return the filter that keeps articles of some sections and dates; None if all are wanted.

    Args:
        sections: Any of these; all if empty.
        since: The first day, ``YYYY-MM-DD``.
        until: The last day.
    """
    dates = {operator: day for operator, day in (("$gte", since), ("$lte", until)) if day}
    conditions = {"section": {"$in": list(sections)} if sections else {}, "date": dates}
    return {key: condition for key, condition in conditions.items() if condition} or None


def check_filter(filter: Filter) -> None:
    """Raise ValueError if a filter names an operator that does not exist."""
    if callable(filter):
        return
    for key, condition in filter.items():
        if key.startswith("$"):
            raise ValueError(
                f"{key} cannot stand in the place of a metadata key. Give a function of the metadata instead."
            )
        if isinstance(condition, Mapping) and (unknown := set(condition) - set(OPERATORS)):
            raise ValueError(
                f"Unknown operator {sorted(unknown)} in the filter on {key!r}. Use one of {', '.join(OPERATORS)}."
            )


def matches(metadata: dict[str, Any], filter: Filter) -> bool:
    """Whether metadata satisfies a filter; a missing key satisfies only ``$ne`` and ``$nin``.

    ``$in`` and ``$nin`` look at each item of a list. Dates may be given as such. A value that cannot be compared with
    the wanted one (text with a number) does not match.
    """
    return satisfies(metadata, plain_filter(filter))


def plain_filter(filter: Filter) -> Filter:
    """Return a filter that says the same in values such as metadata holds: days as text, arrays and tuples as lists.

    A text is looked for as it is, as the path of a file is kept, and in the spelling of `rag_app.korean.normalise`.
    """
    if callable(filter):
        return filter
    conditions = ((key, c if isinstance(c, Mapping) else {"$eq": c}) for key, c in filter.items())
    return {key: dict(_spelt(operator, _plain(wanted)) for operator, wanted in c.items()) for key, c in conditions}


def _plain(wanted: Any) -> Any:
    if callable(listed := getattr(wanted, "tolist", None)):
        wanted = listed()
    if isinstance(wanted, date):
        return wanted.isoformat()  # which compares as days do
    if isinstance(wanted, list | tuple):
        return [_plain(item) for item in wanted]
    return {_plain(item) for item in wanted} if isinstance(wanted, set | frozenset) else wanted


def _spelt(operator: str, wanted: Any) -> tuple[str, Any]:
    """Return a condition that holds for what is wanted in its own spelling, which a path has, and in ours."""
    if isinstance(wanted, str) and (spelt := normalise(wanted)) != wanted:
        return (_IN_EITHER[operator], [wanted, spelt]) if operator in _IN_EITHER else (operator, spelt)
    if isinstance(wanted, list | set) and operator in ("$in", "$nin"):
        texts = {item for item in wanted if isinstance(item, str)}  # beside them may stand what cannot be hashed
        ours = {normalise(text) for text in texts} - texts
        return operator, type(wanted)([*wanted, *sorted(ours)])
    return operator, wanted


def satisfies(metadata: dict[str, Any], filter: Filter) -> bool:
    """As `matches`, for one document of many: the filter is from `plain_filter`."""
    if callable(filter):
        return bool(filter(metadata))
    return all(holds(metadata.get(key), condition) for key, condition in filter.items())


@runtime_checkable
class Filterable(Protocol):
    """Documents that know faster than by looking at each which of them a filter keeps."""

    def matching(self, filter: Filter) -> Collection[str]:
        """Return the ids of the documents whose metadata matches."""


def matching_ids(documents: Mapping[str, Document], filter: Filter) -> Collection[str]:
    """Return the ids of the documents whose metadata matches, each once.

    Raises:
        ValueError: The filter names an unknown operator.
    """
    if isinstance(documents, Filterable):
        return documents.matching(filter)
    check_filter(filter)
    filter = plain_filter(filter)
    return [id_ for id_, document in documents.items() if satisfies(document.metadata, filter)]


def texts_of(value: Any) -> set[str]:
    """Return the texts among a value of metadata: itself, or items of a list, as ``$in`` finds them."""
    return {text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)}


def holds(value: Any, condition: Any) -> bool:
    """Whether one value of metadata, None where it is missing, satisfies the condition of a `plain_filter` on it."""
    conditions = condition if isinstance(condition, Mapping) else {"$eq": condition}
    return all(_compare(value, operator, wanted) for operator, wanted in conditions.items())


def _compare(value: Any, operator: str, wanted: Any) -> bool:
    if value is None:
        return operator in _HOLD_WHEN_MISSING
    try:
        return _COMPARE[operator](value, wanted)
    except TypeError:
        return False
