from typing import Any

import pytest

from rag_app.disk.metadata_terms import metadata_terms, term_condition
from rag_app.filters import holds

VALUES: list[Any] = ["경제", "1", 1, 1.0, True, 2, ""]


@pytest.mark.parametrize(
    "condition",
    ["경제", 1, "1", {"$ne": 1}, {"$gte": 1}, {"$in": ["경제", 2]}, {"$nin": ["경제"]}, {"$gt": "", "$ne": "1"}, {}],
)
def test_terms_tell_which_metadata_satisfies_a_condition(condition: Any) -> None:
    terms, wanted = term_condition("key", VALUES, condition)
    for metadata in ({"key": value} for value in VALUES):
        has_one = not set(terms).isdisjoint(metadata_terms({**metadata, "other": "경제"}))
        assert (has_one == wanted) == holds(metadata["key"], condition)
    assert (not wanted) == holds(None, condition)


def test_values_of_another_key_or_kind_are_other_terms() -> None:
    terms = [term for key in "ab" for value in VALUES for term in metadata_terms({key: value})]
    assert len(set(terms)) == len(terms) == 2 * len(VALUES)


def test_what_has_no_column_has_no_term() -> None:
    assert metadata_terms({"title": "제목", "tags": ["쌀"], "doc_id": "a", "missing": None}) == []
