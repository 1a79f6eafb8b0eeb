"""The bundled news keep what the documentation says of them."""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import combinations
from statistics import mean
from typing import Any

import pytest
from langchain_core.documents import Document

from rag_app.data import load_retrieval_data, sample_documents, sources
from rag_app.korean import analyzer, normalise

SPLITS = ("train", "validation")
COLUMNS = {
    "title",
    "context",
    "question",
    "answers",
    "is_impossible",
    "question_type",
    "guid",
    "news_category",
    "source",
}

LIGHT = frozenset(
    (
        *"하되있없않것수때이그저몇왜나가오보주받알말일곳",
        *("누구", "무엇", "어디", "언제", "어느", "어떤", "어떻", "얼마", "사람", "이번", "이날", "경우"),
    )
)
"""Morphemes that any question may share with any article: they say nothing of what it is about."""


@pytest.fixture(scope="module")
def articles() -> list[Document]:
    return sample_documents()


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict[str, Any]]]:
    return {split: [row.values for row in sources.sample_rows(split)] for split in SPLITS}


@pytest.fixture(scope="module")
def questions(rows: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [row for split in SPLITS for row in rows[split]]


def test_there_are_enough_articles_of_enough_sections_and_no_two_alike(articles: list[Document]) -> None:
    assert len(articles) >= 160
    assert len({article.metadata["section"] for article in articles}) >= 8
    assert len({article.metadata["title"] for article in articles}) == len(articles)
    assert len({article.page_content for article in articles}) == len(articles)


def test_every_article_has_its_fields_and_is_labelled_as_fiction(articles: list[Document]) -> None:
    for article in articles:
        assert 300 <= len(article.page_content) <= 1200
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", article.metadata["date"])
        assert article.metadata["source"]
        assert article.metadata["event"]
        assert article.metadata["fictional"] is True


def test_no_article_is_made_from_the_template_of_another(articles: list[Document]) -> None:
    grams = {article.metadata["title"]: four_grams(article.page_content) for article in articles}
    shares = {(a, b): len(grams[a] & grams[b]) / min(len(grams[a]), len(grams[b])) for a, b in combinations(grams, 2)}
    assert {pair: share for pair, share in shares.items() if share > 0.05} == {}


def four_grams(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return set(zip(words, words[1:], words[2:], words[3:], strict=False))


def test_questions_have_the_columns_of_klue_and_ids_of_their_own(questions: list[dict[str, Any]]) -> None:
    assert len(questions) >= 480
    assert all(row.keys() >= COLUMNS for row in questions)
    assert len({row["guid"] for row in questions}) == len(questions)
    assert len({row["question"] for row in questions}) == len(questions)


def test_every_context_is_an_article(articles: list[Document], questions: list[dict[str, Any]]) -> None:
    by_text = {article.page_content: article.metadata for article in articles}
    for row in questions:
        article = by_text[normalise(row["context"])]
        assert (normalise(row["title"]), row["news_category"], row["source"]) == (
            article["title"], article["section"], article["source"]
        )  # fmt: skip


def test_answers_stand_where_they_are_said_to(questions: list[dict[str, Any]]) -> None:
    for row in questions:
        starts, texts = row["answers"]["answer_start"], row["answers"]["text"]
        assert len(starts) == len(texts)
        assert bool(texts) != row["is_impossible"]
        for start, text in zip(starts, texts, strict=True):
            assert text
            assert row["context"][start : start + len(text)] == text


def test_styles_come_in_thirds_and_one_question_in_eight_is_impossible(questions: list[dict[str, Any]]) -> None:
    styles = Counter(row["style"] for row in questions)
    assert set(styles) == {"close", "paraphrase", "detail"}
    assert all(count / len(questions) == pytest.approx(1 / 3, abs=0.02) for count in styles.values())
    impossible = sum(row["is_impossible"] for row in questions)
    assert impossible / len(questions) == pytest.approx(1 / 8, abs=0.01)


def test_paraphrases_hardly_share_a_word_with_their_article_and_close_questions_most(
    questions: list[dict[str, Any]],
) -> None:
    contents = content_morphemes(f"{row['title']}\n{row['context']}" for row in questions)
    asked = content_morphemes(row["question"] for row in questions)
    shares: dict[str, list[float]] = {"close": [], "paraphrase": [], "detail": []}
    for row, content, words in zip(questions, contents, asked, strict=True):
        if not row["is_impossible"]:
            shares[row["style"]].append(len(words & content) / max(1, len(words)))
    assert mean(shares["paraphrase"]) <= 0.2
    assert mean(shares["close"]) >= 0.7


def content_morphemes(texts: Iterable[str]) -> list[frozenset[str]]:
    return [frozenset(morphemes) - LIGHT for morphemes in analyzer().morphemes_batch(list(texts))]


def test_training_and_validation_share_no_article_and_no_event(
    articles: list[Document], rows: dict[str, list[dict[str, Any]]]
) -> None:
    events = {article.page_content: article.metadata["event"] for article in articles}
    train, validation = ({normalise(row["context"]) for row in rows[split]} for split in SPLITS)
    assert train
    assert validation
    assert not train & validation
    assert not {events[context] for context in train} & {events[context] for context in validation}


@pytest.mark.parametrize("split", SPLITS)
def test_the_sample_loads_like_any_data_set(split: str, articles: list[Document]) -> None:
    data = load_retrieval_data("sample", split=split)
    assert {article.id for article in articles} >= data.passages.keys()
    assert all(question.relevant <= data.passages.keys() for question in data.questions)
    assert all(question.impossible == (not question.relevant) for question in data.questions)
    assert all(question.impossible == (not question.answers) for question in data.questions)


def test_the_sample_has_no_other_split() -> None:
    with pytest.raises(ValueError, match="no split 'test'"):
        load_retrieval_data("sample", split="test")
