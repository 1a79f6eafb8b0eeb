import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune.linear_candidates import QUESTIONS, Found, find_candidates, group_folds, question_weights
from finetune.search_data import load_search_data
from rag_app.data.questions import Question
from rag_app.reranking.matching import FEATURES, Matcher, count_documents
from rag_app.token_vectors import read_token_vectors

CAPITAL = "대한민국의 수도는 서울이고 국민은 한국어를 씁니다."
RAIN = "기상청은 주말에 비가 온다고 예보했다."
BUDGET = "국회는 내년 예산안을 의결했다."
OPENING = "프로야구 개막전이 잠실에서 열렸다."


def write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


def asks(question: str, context: str, **more: Any) -> dict[str, Any]:
    return {"question": question, "context": context, "title": context[:3], **more}


@pytest.fixture
def sources(tmp_path: Path) -> list[str]:
    """Two files of questions, the first with paraphrases, and articles that nothing is asked about."""
    return [
        write(
            tmp_path / "first.jsonl",
            asks("수도는?", CAPITAL, other="서울은 무엇?"),
            asks("예보는?", RAIN, is_impossible=True),
        ),
        write(tmp_path / "second.jsonl", asks("국회는?", BUDGET), asks("개막전은?", OPENING, other="")),
        write(tmp_path / "articles.jsonl", {"title": "주말", "text": "주말에 서울에서 프로야구 개막전이 열렸다."}),
    ]


def settings(sources: list[str], retriever: Path, **more: Any) -> Namespace:
    chosen = {"train": sources, "validation": None, "validation_share": 0.0, "seed": 1, "limit": None, "candidates": 30}
    return Namespace(**{**chosen, "retriever": str(retriever), "device": None, "also_ask": ["other"], **more})


def found_with(given: Namespace, model: Path) -> list[Found]:
    vectors = read_token_vectors(model)
    return find_candidates(given, load_search_data(given), Matcher(vectors, count_documents([CAPITAL], vectors)))


def test_every_question_is_searched_for_in_its_own_source(sources: list[str], tiny_static: Path) -> None:
    given = settings(sources, tiny_static, validation=sources[:1])
    found = found_with(given, tiny_static)
    assert [(Path(one.source).name, one.column, one.question.text) for one in found] == [
        ("first.jsonl", QUESTIONS, "수도는?"),
        ("first.jsonl", QUESTIONS, "예보는?"),
        ("first.jsonl", "other", "서울은 무엇?"),
        ("second.jsonl", QUESTIONS, "국회는?"),
        ("second.jsonl", QUESTIONS, "개막전은?"),
    ]
    data = load_search_data(given)
    titles = [[data.passages[doc_id].metadata["title"] for doc_id in sorted(one.doc_ids)] for one in found]
    assert [sorted(own) for own in titles] == [["기상청", "대한민"]] * 3 + [["국회는", "프로야"]] * 2
    assert [sum(one.relevant) for one in found] == [1, 0, 1, 1, 1]  # the second cannot be answered


def test_features_are_those_of_serving_with_the_score_of_the_search_behind_them(
    sources: list[str], tiny_static: Path
) -> None:
    first, *_ = found_with(settings(sources, tiny_static, validation=sources[:1]), tiny_static)
    assert first.features.shape == (2, len(FEATURES) + 1)
    assert first.relevant == [True, False]
    column = FEATURES.index("bigrams_passage")
    assert first.features[0, column] > first.features[1, column] == 0
    assert first.features[0, -1] > first.features[1, -1]


def test_what_is_held_out_is_neither_asked_nor_found(sources: list[str], tiny_static: Path) -> None:
    given = settings(sources[:2], tiny_static, validation_share=0.5)
    data = load_search_data(given)
    assert data.held_out.questions
    found = found_with(given, tiny_static)
    assert {one.question.text for one in found}.isdisjoint(question.text for question in data.held_out.questions)
    assert {doc_id for one in found for doc_id in one.doc_ids}.isdisjoint(data.held_out.passages)


def test_a_limit_draws_from_all_questions_and_takes_their_other_wordings_along(
    sources: list[str], tiny_static: Path
) -> None:
    given = settings(sources, tiny_static, validation=sources[:1])
    kept = {
        tuple(
            one.question.text for one in found_with(Namespace(**{**vars(given), "limit": 1, "seed": seed}), tiny_static)
        )
        for seed in range(12)
    }
    assert kept == {("수도는?", "서울은 무엇?"), ("예보는?",), ("국회는?",), ("개막전은?",)}


def test_articles_alone_give_nothing_to_learn_from(sources: list[str], tiny_static: Path) -> None:
    with pytest.raises(ValueError, match="no question to learn from, and titles alone are not enough"):
        found_with(settings(sources[2:], tiny_static, validation=sources[:1]), tiny_static)


@pytest.mark.parametrize(
    ("balance", "expected"),
    [
        (0.0, [1, 1, 1, 1, 1]),
        (1.0, [0.625, 0.625, 0.625, 0.625, 2.5]),
        (0.5, [5 / 6, 5 / 6, 5 / 6, 5 / 6, 5 / 3]),  # sources count as 4 ** 0.5 to 1, and the mean is 1
    ],
)
def test_the_balance_shares_between_questions_and_sources(balance: float, expected: list[float]) -> None:
    np.testing.assert_allclose(question_weights(["a", "a", "a", "a", "b"], balance), expected)


def ask(*about: str, context: str = "") -> Question:
    return Question("1", "?", frozenset(about), (), impossible=not about, metadata={}, context_id=context)


def test_questions_about_one_group_are_in_one_fold_and_folds_are_as_large_as_groups_allow() -> None:
    groups = {f"p{number}": number // 2 for number in range(20)}
    questions = [ask(f"p{number}") for number in range(20)] + [ask(context="p3"), ask("p3", "elsewhere")]
    folds = group_folds(questions, groups, 5, seed=1)
    assert (folds[:20:2] == folds[1:20:2]).all()
    assert folds[20] == folds[21] == folds[3]
    assert np.bincount(folds[:20]).tolist() == [4] * 5
    assert (folds != group_folds(questions, groups, 5, seed=2)).any()


def test_more_folds_than_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="about 1 groups of passages, too few for 2 folds"):
        group_folds([ask("p1"), ask("p2")], {"p1": 0, "p2": 0}, 2, seed=1)
