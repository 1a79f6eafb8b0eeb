from collections.abc import Callable, Mapping, Sequence
from datetime import date

import pytest
from langchain_core.documents import Document

from rag_app.news import NewsSense, infer_filter

SENSE = NewsSense(today=date(2025, 6, 15), date_boost=0.5)


def articles(*days: str | None) -> dict[str, Document]:
    return {day or "none": Document(page_content="본문", metadata={"date": day} if day else {}, id=day) for day in days}


def fetching(documents: Mapping[str, Document]) -> Callable[[Sequence[str]], list[Document]]:
    return lambda ids: [documents[id_].model_copy(update={"id": id_}) for id_ in ids if id_ in documents]


@pytest.mark.parametrize(
    ("question", "timely"),
    [
        ("지난달 물가는?", ["2025-05-24", "2025-05-31", "2025-06-07"]),
        ("2025년 6월 1일에 열린 행사는?", ["2025-06-07"]),
        ("5월 31일 경기 결과는?", ["2024-06-01", "2025-05-31", "2025-06-07"]),
        ("2025년의 물가는?", []),  # too long a time to tell when the article appeared
        ("물가는?", []),
    ],
)
def test_articles_of_the_time_that_is_named_gain(question: str, timely: list[str]) -> None:
    documents = articles("2024-06-01", "2025-05-24", "2025-05-31", "2025-06-07", "2025-06-09", None)

    assert SENSE.gains(question, documents, fetching(documents)) == dict.fromkeys(timely, 0.5)


@pytest.mark.fault(2, "A search for what a question dates ended with KeyError in an index forged to lack a passage.")
def test_a_candidate_that_there_is_not_gains_nothing() -> None:
    documents = articles("2025-05-24")
    assert SENSE.gains("지난달 물가는?", ["unbekannt", *documents], fetching(documents)) == {"2025-05-24": 0.5}


def test_recency_halves_with_age_and_nothing_is_newer_than_today() -> None:
    sense = NewsSense(today=date(2025, 6, 15), recency=0.4, half_life=10)

    documents = articles("2025-06-20", "2025-06-15", "2025-06-05", "2025-05-26", None)

    gains = sense.gains("물가는?", documents, fetching(documents))

    assert gains == pytest.approx({"2025-06-20": 0.4, "2025-06-15": 0.4, "2025-06-05": 0.2, "2025-05-26": 0.1})


def test_without_boost_and_recency_dates_are_not_looked_at() -> None:
    assert NewsSense(date_boost=0).gains("지난달 물가는?", ["a"], fetching({})) == {}


def test_a_date_that_is_none_gains_nothing() -> None:
    documents = {"a": Document(page_content="본문", metadata={"date": "어느 봄날"})}

    assert SENSE.gains("지난달 물가는?", documents, fetching(documents)) == {}


def test_the_end_of_the_calendar_is_a_date_like_others() -> None:
    documents = articles("9999-12-31")

    assert SENSE.gains("9999년 12월 물가는?", documents, fetching(documents)) == {"9999-12-31": 0.5}


def test_only_outlets_that_stand_in_the_question_cost_a_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[str] = []
    monkeypatch.setattr("rag_app.news.re.search", lambda pattern, _: searched.append(pattern))

    infer_filter("나라일보 3 기사는?", [], [f"나라일보 {number}" for number in range(1, 1000)])

    assert len(searched) == 1


@pytest.mark.parametrize(
    ("question", "filter"),
    [
        ("경제 뉴스에서 금리는?", {"section": {"$in": ["경제"]}}),
        ("경제면에 실린 금리 소식은?", {"section": {"$in": ["경제"]}}),
        ("한빛일보에 따르면 금리는?", {"source": {"$in": ["한빛일보"]}}),
        ("한빛일보가 보도한 스포츠 기사는?", {"section": {"$in": ["스포츠"]}, "source": {"$in": ["한빛일보"]}}),
        ("경제가 나빠진 까닭은?", {}),
        ("한빛일보의 창간일은?", {}),
        ("국제경제 기사를 찾아 줘", {}),  # another word that ends so
    ],
)
def test_a_section_or_outlet_counts_only_when_named_as_one(question: str, filter: dict[str, object]) -> None:
    assert infer_filter(question, ["경제", "스포츠"], ["한빛일보", ""]) == filter
