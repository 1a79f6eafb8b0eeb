"""Metadata filters as conditions of SQL over a JSONB column; values are parameters, never part of the statement."""

import json
from collections.abc import Callable, Iterable, Mapping
from math import isfinite, isnan
from typing import Any, NamedTuple, cast

from rag_app.filters import check_filter, plain_filter

INDEXED = ("doc_id", "date", "path", "section", "source")
"""The keys of metadata that have an index of their own."""

_PREFIX = 200
"""As many characters of a text are in the index, which takes no long ones."""

_VALUE = "(metadata -> %s::text)"
_ANY = f"({_VALUE} = ANY(%s::jsonb[]))"
_ITEM = (
    f"EXISTS (SELECT FROM jsonb_array_elements(CASE jsonb_typeof{_VALUE} WHEN 'array' THEN {_VALUE} ELSE '[]' END) "
    "AS item WHERE item = ANY(%s::jsonb[]))"
)
_NUMBER = (
    f"(CASE jsonb_typeof{_VALUE} WHEN 'number' THEN {_VALUE}::numeric "
    f"WHEN 'boolean' THEN {_VALUE}::boolean::int::numeric END)"
)
_TEXT = f"((CASE jsonb_typeof{_VALUE} WHEN 'string' THEN metadata ->> %s::text END) COLLATE \"C\")"
_SIGNS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


class Condition(NamedTuple):
    """A condition of SQL.

    Attributes:
        sql: With ``%s`` for each parameter.
        parameters: In order.
    """

    sql: str
    parameters: list[Any]


TRUE, FALSE = Condition("TRUE", []), Condition("FALSE", [])


def index_expression(key: str) -> str:
    """Return what the index on a key of `INDEXED` is over."""
    return f"left(metadata ->> '{key}', {_PREFIX}) COLLATE \"C\""


def sql_filter(filter: Mapping[str, Any] | None) -> Condition:
    """Return the condition under which `rag_app.filters.matches`.

    Raises:
        ValueError: The filter names an unknown operator, or wants what SQL has no order for.
    """
    if filter is None:
        return TRUE
    check_filter(filter)
    plain = cast(Mapping[str, Any], plain_filter(filter))
    return _all(
        _CONDITIONS[operator](key, operator, wanted)
        for key, condition in plain.items()
        for operator, wanted in condition.items()
    )


def _all(conditions: Iterable[Condition]) -> Condition:
    parts = list(conditions)
    return Condition(
        " AND ".join(["TRUE", *(f"({part.sql})" for part in parts)]), [p for part in parts for p in part.parameters]
    )


def _not(condition: Condition) -> Condition:
    return Condition(f"NOT COALESCE({condition.sql}, FALSE)", condition.parameters)


def _equals(key: str, operator: str, wanted: Any) -> Condition:
    return _is_any(key, [wanted])


def _is_any(key: str, wanted: Iterable[Any]) -> Condition:
    """Return the condition that a value is one of some."""
    values = _json(wanted)
    return _all([Condition(_ANY, [key, values]), *_prefixes(key, wanted)]) if values else FALSE


def _spelt(key: str, operator: str, wanted: Any) -> Condition:
    return _is_any(key, wanted)


def _either(key: str, operator: str, wanted: Any) -> Condition:
    """Return the condition that a value, or an item of it where it is a list, is one of some."""
    if isinstance(wanted, str | Mapping) or not isinstance(wanted, list | set):
        raise ValueError(f"{operator} on {key!r} wants a list of values, got {wanted!r}")
    if not (values := _json(wanted, items=True)):
        return FALSE
    one = Condition(f"jsonb_typeof{_VALUE} <> 'array'", [key])
    item = Condition(_ITEM, [key, key, values])
    if key in INDEXED:  # a list as text begins so
        item = _all([Condition(f"{index_expression(key)} >= '[' AND {index_expression(key)} < '\\'", []), item])
    single = _all([_is_any(key, wanted), one])
    return Condition(f"({single.sql}) OR ({item.sql})", [*single.parameters, *item.parameters])


def _ordered(key: str, operator: str, wanted: Any) -> Condition:
    sign = _SIGNS[operator]
    if isinstance(wanted, str):
        if not _is_storable(wanted):
            raise ValueError(f"{operator} on {key!r} wants a text that PostgreSQL cannot hold: {wanted!r}")
        near = [Condition(f"{index_expression(key)} {sign[0]}= %s", [wanted[:_PREFIX]])] if key in INDEXED else []
        return _all([Condition(f"{_TEXT} {sign} %s", [key, key, wanted]), *near])
    if isinstance(wanted, int | float):
        if isnan(wanted):
            return FALSE
        return Condition(
            f"{_NUMBER} {sign} %s::numeric", [key] * 3 + [str(float(wanted) if wanted in (True, False) else wanted)]
        )
    if isinstance(wanted, list):
        raise ValueError(
            f"{operator} on {key!r}: PostgreSQL does not put lists in order. Compare with a text or number"
        )
    return FALSE


def _json(wanted: Iterable[Any], *, items: bool = False) -> list[str]:
    """Return values as JSON, those left out that no value of metadata equals, with what Python takes for the same."""
    values: list[str] = []
    for value in wanted:
        if value is None and not items:
            continue
        if isinstance(value, bool | int | float) and value in (0, 1):  # True == 1
            values += ["true", "1"] if value else ["false", "0"]
        elif (told := _told(value)) is not None:
            values.append(told)
    return values


def _told(value: Any) -> str | None:
    if isinstance(value, float) and not isfinite(value):
        return None
    try:
        told = json.dumps(value, ensure_ascii=False, allow_nan=False)
        return told if _is_storable(told) and "\\u0000" not in told else None
    except (TypeError, ValueError):
        return None


def _is_storable(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _prefixes(key: str, wanted: Iterable[Any]) -> list[Condition]:
    """Return a condition that the index answers, which holds for all that equals what is wanted, if that is texts."""
    texts = [value for value in wanted if isinstance(value, str) and _is_storable(value)]
    if key not in INDEXED or len(texts) != len(list(wanted)):
        return []
    return [Condition(f"{index_expression(key)} = ANY(%s)", [[text[:_PREFIX] for text in texts]])]


def _never(condition: Callable[[str, str, Any], Condition]) -> Callable[[str, str, Any], Condition]:
    return lambda key, operator, wanted: _not(condition(key, operator, wanted))


_CONDITIONS: dict[str, Callable[[str, str, Any], Condition]] = {
    "$eq": _equals,
    "$ne": _never(_equals),
    "$gt": _ordered,
    "$gte": _ordered,
    "$lt": _ordered,
    "$lte": _ordered,
    "$in": _either,
    "$nin": _never(_either),
    "in either spelling": _spelt,
    "in neither spelling": _never(_spelt),
}
