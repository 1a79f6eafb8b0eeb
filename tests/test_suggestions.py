"""Questions made from articles: grammatical, standing alone, about different things."""

import pytest
from langchain_core.documents import Document

from rag_app.conversations.suggestions import recent_articles, suggest, suggestion
from rag_app.documents import make_document
from rag_app.embeddings import load_embeddings
from rag_app.index import build_index
from rag_app.korean import analyzer


def _article(text: str, **metadata: str) -> Document:
    return Document(text, metadata=metadata)


@pytest.mark.parametrize(
    ("sentence", "question"),
    [
        (
            "위키미디어 재단은 3일(현지 시각) 일부 사용자의 개인정보가 누출되었음을 발표했다.",
            "위키미디어 재단은 언제 일부 사용자의 개인정보가 누출되었음을 발표했나요?",
        ),
        (
            "3일 위키미디어 재단은 일부 사용자의 개인정보가 누출되었음을 발표했다.",
            "위키미디어 재단은 언제 일부 사용자의 개인정보가 누출되었음을 발표했나요?",
        ),
        (
            "2021년 4월 2일 오전 8시 41분께 부산 해운대에서 화재가 발생했다.",
            "부산 해운대에서 화재가 언제 발생했나요?",
        ),
        (
            "부산 해운대의 공사장에서 무너진 벽에 4명이 숨졌다.",
            "부산 해운대의 공사장에서 무너진 벽에 몇 명이 숨졌나요?",
        ),
    ],
)
def test_a_sentence_that_tells_a_time_or_a_number_is_asked_for_it(sentence: str, question: str) -> None:
    made = suggestion(_article(f"{sentence} 이어서 다른 이야기를 했다.", title="제목"), analyzer())
    assert made is not None
    assert (made.text, made.is_question) == (question, True)


@pytest.mark.parametrize(
    "sentence",
    [
        "그는 3일 서울에서 개인정보가 누출되었음을 발표했다.",  # who?
        "이날 오후 서울 시장은 3일 안에 답하겠다고 밝혔다.",  # which day? and no date
        "서울 시장은 5일 “3일 만에 다리를 고쳤다”고 밝혔다.",  # a quotation
        "서울 시장은 3일 다리를 고치고 5일 도로를 열었다.",  # two dates
        "서울 시장은 3일 열린 토론회에서 다리 이야기를 꺼냈다.",  # the date is the debate's
        "토요일인 3일 서울에서 헬기가 충돌하는 사고가 일어났다.",
        "서울 시장은 3일 다리를 고치지 않았다.",
        "서울 시장은 3일 다리를 고친다.",
        "서울시는 22일간 이어온 파업이 끝났음을 알렸다.",
        "3일 다리를 고쳤다.",
    ],
)
def test_a_sentence_that_makes_no_question_that_stands_alone_is_passed_over(sentence: str) -> None:
    made = suggestion(_article(sentence, title="[속보] 서울 시장, 다리 고쳐"), analyzer())
    assert made is not None
    assert (made.text, made.is_question) == ("서울 시장, 다리 고쳐", False)


def test_an_article_that_says_nothing_is_not_suggested() -> None:
    assert suggestion(_article("짧다.", title="사진"), analyzer()) is None


def test_questions_come_before_headlines_and_each_is_about_something_else() -> None:
    articles = [
        _article("글", title="부산에 첫눈이 내렸다", section="날씨"),
        _article("부산 시장은 3일 새 다리를 열었다고 밝혔다.", title="부산의 다리", section="사회"),
        _article("부산 시장은 5일 새 도로를 열었다고 밝혔다.", title="부산의 도로", section="경제"),
        _article("대구 시장은 7일 새 공항을 열었다고 밝혔다.", title="대구의 공항", section="사회"),
        _article("광주 시장은 9일 새 극장을 열었다고 밝혔다.", title="광주의 극장", section="문화"),
    ]
    assert suggest(articles, analyzer(), 2) == [
        "부산 시장은 언제 새 다리를 열었다고 밝혔나요?",
        "광주 시장은 언제 새 극장을 열었다고 밝혔나요?",
    ]
    assert suggest(articles, analyzer(), 4)[2:] == ["대구 시장은 언제 새 공항을 열었다고 밝혔나요?"]


def test_the_newest_articles_are_chosen_from_and_each_is_read_from_its_beginning(tmp_path: object) -> None:
    days = [f"2025-{month:02}-01" for month in range(1, 13)]
    documents = [make_document(f"{day}의 기사입니다. " + "긴 글 " * 60, date=day) for day in days]
    undated = [make_document("날짜가 없는 기사입니다.")]
    store = build_index(f"{tmp_path}/dated", [*documents, *undated], load_embeddings(), passage_chars=80).snapshot.store
    read = list(recent_articles(store))
    assert [article.metadata["date"] for article in read] == days[::-1]
    assert all(article.page_content.startswith(article.metadata["date"]) for article in read)
    plain = build_index(f"{tmp_path}/plain", undated, load_embeddings()).snapshot.store
    assert [article.page_content for article in recent_articles(plain)] == ["날짜가 없는 기사입니다."]
