"""Metadata as terms of the lexical index, by which it finds what a filter keeps without being named every passage."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, runtime_checkable

from rag_app.disk.id_hashes import hash_id
from rag_app.disk.metadata_columns import NOT_KEPT, SCALARS
from rag_app.filters import holds


class TermCondition(NamedTuple):
    """What a filter asks of the value of one key.

    Attributes:
        terms: Of some values, as `metadata_terms` gives them.
        wanted: Whether a passage must have one of them, or none.
    """

    terms: list[int]
    wanted: bool


@runtime_checkable
class TermFilter(Protocol):
    """Ids of passages that are told by their metadata.

    Attributes:
        conditions: All must hold; None if they cannot be told so.
    """

    conditions: Sequence[TermCondition] | None


def metadata_terms(metadata: Mapping[str, Any]) -> list[int]:
    """Return a number for each value of metadata that can have a column; see `rag_app.disk.metadata_columns`."""
    return [
        _term(key, type(value).__name__, value)
        for key, value in metadata.items()
        if key not in NOT_KEPT and isinstance(value, SCALARS)
    ]


def term_condition(key: str, values: Iterable[Any], condition: Any) -> TermCondition:
    """Return what a filter's condition on a key asks.

    Args:
        key: The key.
        values: All values that documents have under it.
        condition: See `rag_app.filters`.
    """
    wanted = not holds(None, condition)
    terms = [_term(key, type(value).__name__, value) for value in values if holds(value, condition) == wanted]
    return TermCondition(terms, wanted)


@lru_cache(maxsize=65_536)
def _term(key: str, kind: str, value: Any) -> int:  # the kind tells 1, 1.0 and True apart, which are equal
    return hash_id(f"{key}\0{json.dumps(value)}")
