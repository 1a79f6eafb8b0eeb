from datetime import date
from typing import Any

import pytest

from rag_app.filters import Filter, article_filter, check_filter, matches

ARTICLE = {"section": "경제", "date": "2025-03-14", "views": 12, "tags": ["쌀", "물가"]}


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({}, True),
        ({"section": "경제"}, True),
        ({"section": "정치"}, False),
        ({"section": {"$in": ["정치", "경제"]}}, True),
        ({"section": {"$nin": ["정치", "경제"]}}, False),
        ({"date": {"$gte": "2025-03-14", "$lt": "2025-03-15"}}, True),
        ({"date": {"$gt": "2025-03-14"}}, False),
        ({"date": {"$lte": "2025-03-13"}}, False),
        ({"section": "경제", "views": {"$ne": 12}}, False),
        ({"outlet": "가람일보"}, False),
        ({"outlet": {"$ne": "가람일보"}}, True),
        ({"outlet": {"$nin": ["가람일보"]}}, True),
        ({"views": {"$gt": "많이"}}, False),
        ({"tags": {"$in": ["쌀", "배"]}}, True),
        ({"tags": {"$nin": ["쌀"]}}, False),
        ({"date": {"$gte": date(2025, 3, 14)}}, True),
        ({"date": {"$gt": date(2025, 3, 14)}}, False),
        (lambda metadata: metadata["views"] > 10, True),
    ],
)
def test_filters(filter: Filter, expected: bool) -> None:
    assert matches(ARTICLE, filter) is expected


@pytest.mark.parametrize("condition", [{"$like": "경"}, {"$gte": 1, "gte": 2}])
def test_unknown_operators_are_named(condition: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Unknown operator .*\$eq, \$ne"):
        check_filter({"section": condition})


def test_a_logical_operator_in_the_place_of_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\$and cannot stand"):
        check_filter({"$and": [{"section": "경제"}]})


def test_sections_and_days_make_a_filter() -> None:
    assert article_filter() is None
    assert article_filter(["경제"]) == {"section": {"$in": ["경제"]}}
    assert article_filter(since="2025-03-14", until="2025-03-20") == {
        "date": {"$gte": "2025-03-14", "$lte": "2025-03-20"}
    }
    assert article_filter(["날씨"], until="2025-03-20") == {
        "section": {"$in": ["날씨"]},
        "date": {"$lte": "2025-03-20"},
    }
