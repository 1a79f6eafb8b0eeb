"""Filters as Milvus writes them: boolean expressions over a JSON field."""

from collections.abc import Collection, Iterable, Mapping
from itertools import groupby
from math import isfinite
from typing import Any, cast

from rag_app.filters import plain_filter

NOTHING = 'id == ""'
"""What no passage satisfies: none is without an id."""

_COMPARE = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def filter_expression(filter: Mapping[str, Any]) -> str:
    """Return the expression that holds where a filter does; see `rag_app.filters.matches`. Empty for an empty filter.

    Raises:
        ValueError: It compares with what is neither text nor a number, truth value or list of these.
    """
    plain = cast("Mapping[str, Mapping[str, Any]]", plain_filter(filter))
    return all_of(_clause(key, op, wanted) for key, condition in plain.items() for op, wanted in condition.items())


def all_of(clauses: Iterable[str]) -> str:
    """Return the expression that holds where all of some do; empty ones always do."""
    return " and ".join(f"({clause})" for clause in clauses if clause)


def among(field: str, values: Collection[str]) -> str:
    """Return the expression that holds where a text field of the collection has one of some values."""
    return f"{field} in [{', '.join(map(literal, values))}]" if values else NOTHING


def none_of(field: str, values: Collection[str]) -> str:
    """Return the expression that holds where a value that is there is none of some; a list is none."""
    return f"not ({_either(field, values, lists=False)})" if values else ""


def literal(value: Any) -> str:
    """Return text, a number or a truth value as Milvus reads it.

    Raises:
        ValueError: It is of another kind, or no finite number.
    """
    if isinstance(value, str):
        return f'"{value.translate(_ESCAPES)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
        return repr(value)
    raise ValueError(f"Milvus cannot compare metadata with {value!r}. Give text, a number, true or false.")


def _clause(key: str, operator: str, wanted: Any) -> str:
    """Return the expression of one condition; empty if it always holds."""
    if column := _in_column(key, operator, wanted):
        return column
    field = f"metadata[{literal(key)}]"
    if operator in ("$in", "$nin", "in either spelling", "in neither spelling"):
        if isinstance(wanted, str) or not isinstance(wanted, Collection):
            raise ValueError(f"{operator} of the filter on {key!r} wants a list, got {wanted!r}.")
        holds = _either(field, [item for item in wanted if item is not None], lists=operator in ("$in", "$nin"))
        return _without(field, holds) if operator in ("$nin", "in neither spelling") else holds or NOTHING
    if operator in ("$eq", "$ne"):
        holds = "" if wanted is None else _equal(field, wanted)
        return _without(field, holds) if operator == "$ne" else holds or NOTHING
    if wanted is None or isinstance(wanted, list | set):
        return NOTHING
    return f"{field} {_COMPARE[operator]} {literal(wanted)}"


def _in_column(key: str, operator: str, wanted: Any) -> str:
    """Return the expression over a column that `rag_app.stores.milvus_rows` keeps for a key; empty if there is none."""
    values = [wanted] if operator == "$eq" else wanted
    if operator not in ("$eq", "$in") or not isinstance(values, list | set) or not values:
        return ""
    if key == "doc_id" and all(isinstance(value, str) and value for value in values):
        return among(key, values)
    if key == "start" and all(type(value) is int and value >= 0 for value in values):
        return f"{key} in [{', '.join(map(literal, values))}]"
    return ""


def _equal(field: str, wanted: Any) -> str:
    """Return the expression that holds for a value; a list is compared item by item, as Lite reads it."""
    if not isinstance(wanted, list):
        return f"{field} == {literal(wanted)}"
    if not wanted:
        raise ValueError("Milvus cannot look for an empty list. Give one with something in it.")
    items = [f"{field}[{place}] == {literal(item)}" for place, item in enumerate(wanted)]
    return all_of([*items, f"not (exists {field}[{len(wanted)}])"])


def _without(field: str, holds: str) -> str:
    """Return the expression that holds where another does not, or where the key is missing; empty for always."""
    return f"not (exists {field}) or not ({holds})" if holds else ""


def _either(field: str, wanted: Collection[Any], *, lists: bool) -> str:
    """Return the expression that holds for one of some values, or for a list with one; empty for never.

    A list of Milvus holds values of one kind.
    """
    kinds = groupby(sorted(wanted, key=_kind), key=_kind)
    clauses = []
    for _, items in kinds:
        values = list(map(literal, items))
        clauses += [f"{field} == {value}" for value in values]  # Lite knows ``in`` for whole fields alone
        if lists:
            clauses.append(f"json_contains_any({field}, [{', '.join(values)}])")
    return " or ".join(clauses)


def _kind(value: Any) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
