from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document

from rag_app import passages as passages_module
from rag_app.documents import make_document
from rag_app.korean import Sentence, analyzer, normalise
from rag_app.passages import split_documents

RAIN = "기상청은 주말에 전국에 비가 온다고 예보했다."
VOTE = "국회는 내년 예산안을 의결했다."


def test_a_short_article_comes_back_whole_without_loading_the_analyser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passages_module, "analyzer", fail("the analyser was loaded"))
    article = make_document(RAIN, title="비")
    (passage,) = split_documents([article], max_chars=len(RAIN))
    assert (passage.id, passage.page_content) == (article.id, RAIN)
    assert passage.metadata == {**article.metadata, "start": 0, "end": len(RAIN)}
    assert "start" not in article.metadata


def fail(message: str) -> Callable[[], None]:
    def call() -> None:
        pytest.fail(message)

    return call


def test_a_long_article_is_cut_between_sentences_with_one_repeated() -> None:
    article = make_document(f"{RAIN} {VOTE}\n{RAIN} {VOTE}", title="비")
    passages = list(split_documents([article], max_chars=50))
    assert [passage.page_content for passage in passages] == [f"{RAIN} {VOTE}", f"{VOTE}\n{RAIN}", f"{RAIN} {VOTE}"]
    assert passages[1].id == f"{article.id}:{len(RAIN) + 1}"
    assert passages[1].metadata["title"] == "비"
    without = split_documents([article], max_chars=50, overlap=0)
    assert [passage.page_content for passage in without] == [f"{RAIN} {VOTE}", f"{RAIN} {VOTE}"]
    assert list(split_documents(passages, max_chars=20)) == passages


def test_a_sentence_too_long_is_cut_at_white_space_or_else_anywhere() -> None:
    contents = [p.page_content for p in split_documents([make_document("가나다 " * 5 + "라" * 25)], max_chars=10)]
    assert contents == ["가나다 가나다", "가나다 가나다", "가나다", *["라" * 10] * 2, "라" * 5]


def test_a_document_of_another_loader_gets_its_id() -> None:
    (passage,) = split_documents([Document(page_content=f" {RAIN}\u200b", metadata={"date": "2025.3.14"})])
    assert passage.page_content == RAIN
    assert passage.id == make_document(RAIN).id
    assert passage.metadata["date"] == "2025-03-14"


def test_passages_are_shortened_until_each_fits_with_its_title() -> None:
    sentence = "가온시는 삼월 이일에 도서관 문을 열었다."  # 23 characters
    article = make_document(" ".join([sentence] * 20), title="도서관")
    whole = list(split_documents([article], max_chars=500, fits=lambda text: len(text) <= 500))
    assert [(passage.id, passage.page_content) for passage in whole] == [(article.id, article.page_content)]
    asked: list[str] = []

    def fits(text: str) -> bool:
        asked.append(text)
        return len(text) <= 310

    # 479 characters, then at most 383, then 306: 12 sentences and the title, and the last one comes again.
    passages = list(split_documents([article], max_chars=500, fits=fits))
    assert [len(passage.page_content) for passage in passages] == [12 * 24 - 1, 9 * 24 - 1]
    assert all(passage.page_content in article.page_content for passage in passages)
    assert {text.partition("\n")[0] for text in asked} == {"도서관"}
    assert passages == list(split_documents([article], max_chars=306))
    assert list(split_documents(passages, fits=lambda text: False)) == passages


def test_passages_are_not_shortened_below_a_floor() -> None:
    article = make_document("가나다라마바사아자 " * 100)
    passages = list(split_documents([article], fits=lambda text: len(text) < 50))
    assert max(len(passage.page_content) for passage in passages) == 99
    short = list(split_documents([article], max_chars=30, fits=lambda text: len(text) < 10))
    assert max(len(passage.page_content) for passage in short) == 29


def test_an_article_whose_title_alone_does_not_fit_is_left_as_it_is() -> None:
    article = make_document(f"{RAIN} " * 10, title="제목 " * 30)
    (passage,) = split_documents([article], fits=lambda text: len(text) < 50)
    assert passage.page_content == article.page_content


def test_articles_are_read_some_at_a_time() -> None:
    read: list[int] = []

    def articles() -> Iterator[Document]:
        for number in range(1000):
            read.append(number)
            yield make_document(f"{number}일째다. {RAIN} {VOTE}")

    passages = split_documents(articles(), max_chars=40)
    assert read == []
    first = [next(passages), next(passages)]
    assert [passage.page_content for passage in first] == [f"0일째다. {RAIN}", VOTE]
    assert 1 <= len(read) <= 128
    assert len(list(passages)) == 1998
    assert len(read) == 1000


def test_only_articles_to_cut_are_analysed_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    analysed: list[str] = []

    class Recorder:
        def sentences_batch(self, texts: Sequence[str]) -> Iterator[list[Sentence]]:
            analysed.extend(texts)
            return analyzer().sentences_batch(texts)

    monkeypatch.setattr(passages_module, "analyzer", Recorder)
    long = [make_document(f"{number}번 글이다. {RAIN} {VOTE} " * 5) for number in range(3)]
    short = [make_document(f"{RAIN} {number}") for number in range(3)]
    unreadable = make_document(f"{VOTE} " * 8, title="제목 " * 90)  # the title alone does not fit
    of_many_words = make_document("가 나 다 라 마 바 사. " * 10)
    articles = [short[0], long[0], unreadable, long[1], short[1], long[2], short[2], of_many_words, long[0]]

    def fits(text: str) -> bool:
        return len(text.split()) <= 60

    passages = list(split_documents(articles, max_chars=200, fits=fits))
    assert analysed == [article.page_content for article in (*long, of_many_words)]
    alone = [passage for article in articles for passage in split_documents([article], max_chars=200, fits=fits)]
    assert passages == alone
    assert len(analysed) == 4


@pytest.mark.parametrize("settings", [{"max_chars": 0}, {"overlap": -1}])
def test_impossible_sizes_of_passages_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Want max_chars of at least 1"):
        split_documents([], **settings)


WORDS = st.sampled_from([RAIN, VOTE, "했다.", "\n", " ", "(주)", "“네!”", "ㅋ" * 30, "a.b", "🙂", "ᄒᆞᆫ", "1.5%"])


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=30), st.integers(1, 80), st.integers(0, 3))
def test_passages_hold_every_character_at_its_place(words: list[str], max_chars: int, overlap: int) -> None:
    text = normalise(" ".join(words))
    if not text:
        return
    article = make_document(text)
    covered: set[int] = set()
    last = (-1, -1)
    for passage in split_documents([article], max_chars=max_chars, overlap=overlap):
        start, end = passage.metadata["start"], passage.metadata["end"]
        assert article.page_content[start:end] == passage.page_content
        assert len(passage.page_content) <= max_chars
        assert passage.page_content == passage.page_content.strip() != ""
        assert start > last[0]
        assert end > last[1]
        last = (start, end)
        covered.update(range(start, end))
    assert all(position in covered for position, character in enumerate(text) if not character.isspace())
