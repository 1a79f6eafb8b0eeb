import unicodedata
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
        ({"views": {"$in": [{"views": 12}, ["쌀"], 12]}}, True),
        ({"views": {"$nin": [{"views": 12}, "쌀"]}}, True),
        (lambda metadata: metadata["views"] > 10, True),
    ],
)
def test_filters(filter: Filter, expected: bool) -> None:
    assert matches(ARTICLE, filter) is expected


@pytest.mark.fault(3, "Days in the list of a filter's $in or $nin were never found, though metadata had them.")
@pytest.mark.parametrize("days", [[date(2025, 3, 14)], (date(2025, 3, 14), 7), {"2025-03-15", date(2025, 3, 14)}])
def test_days_can_be_listed(days: Any) -> None:
    assert matches(ARTICLE, {"date": {"$in": days}})
    assert not matches(ARTICLE, {"date": {"$nin": days}})


@pytest.mark.fault(6, "A filter in decomposed Hangul, as macOS writes names, or with full-width digits found nothing.")
@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"section": unicodedata.normalize("NFD", "경제")}, True),
        ({"section": {"$ne": unicodedata.normalize("NFD", "경제")}}, False),
        ({"section": {"$in": ["정치", "경\u200b제"]}}, True),
        ({"tags": {"$nin": (unicodedata.normalize("NFD", "물가"),)}}, False),
        ({"date": {"$gte": "２０２５-03-14", "$lte": "２０２５-03-14"}}, True),
        ({"outlet": {"$ne": unicodedata.normalize("NFD", "가람일보")}}, True),
        ({"tags": unicodedata.normalize("NFD", "쌀")}, False),
    ],
)
def test_a_filter_may_be_spelt_in_another_way_than_the_metadata(filter: Filter, expected: bool) -> None:
    assert matches(ARTICLE, filter) is expected


def test_a_path_is_found_as_it_is_kept_and_spelt() -> None:
    path = unicodedata.normalize("NFD", "/기사/경제.txt")
    assert matches({"path": path}, {"path": path})
    assert matches({"path": path}, {"path": {"$in": [path]}})
    assert not matches({"path": path}, {"path": {"$ne": path}})


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
