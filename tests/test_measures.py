"""What is measured of an embedding model, on answers that can be checked by hand."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document

from finetune.embedding import load_trainable
from finetune.measures import Measure, retrieval_measure, separation_measure
from finetune.search_evaluator import SearchEvaluator
from rag_app.data import Question, RetrievalData
from rag_app.documents import make_document

RAIN = "기상청은 주말에 비가 온다고 예보했다."
VOTE = "국회는 내년 예산안을 의결했다."
GAME = "프로야구 개막전이 잠실에서 열렸다."


@pytest.fixture(scope="module")
def model(tiny_static: Path) -> Any:
    return load_trainable(tiny_static, Namespace(device="cpu", max_length=None))


def data(**answers: str) -> RetrievalData:
    """Return the three passages and questions, by their text, each with the passage that answers it."""
    passages = {
        str(passage.id): passage for passage in (make_document(text, title=text[:2]) for text in (RAIN, VOTE, GAME))
    }
    ids = {passage.page_content: doc_id for doc_id, passage in passages.items()}
    questions = [
        Question(name, text, frozenset({ids[answer]}), (), impossible=False, metadata={}, context_id=ids[answer])
        for name, text, answer in ((name, *pair.split("|")) for name, pair in answers.items())
    ]
    return RetrievalData(passages, questions)


def whole(text: str) -> bool:
    return True


def search(asked: RetrievalData, **options: Any) -> Measure:
    return retrieval_measure(asked.questions, list(asked.passages.values()), **{"fits": whole, **options})


def test_search_is_measured_by_rank(model: Any) -> None:
    right = search(data(one=f"{RAIN}|{RAIN}", two=f"{VOTE}|{VOTE}"))
    assert right.scores(model) == {"hit_rate@1": 1, "hit_rate@10": 1, "mrr@10": 1}
    assert (right.main, right.names[right.main]) == ("mrr@10", "MRR@10")
    assert right.data == "2 test questions, 3 passages"
    half = search(data(one=f"{RAIN}|{RAIN}", two=f"{GAME} {VOTE[:8]}|{VOTE}"), what="held-out")
    scores = half.scores(model)
    assert (scores["hit_rate@1"], scores["hit_rate@10"]) == (0.5, 1)
    assert scores["mrr@10"] in (0.75, pytest.approx((1 + 1 / 3) / 2))
    assert half.data == "2 held-out questions, 3 passages"


def test_questions_without_an_answer_among_the_passages_do_not_count(model: Any) -> None:
    asked = data(one=f"{RAIN}|{RAIN}", two=f"{GAME}|{VOTE}")
    asked.questions[1] = asked.questions[1]._replace(relevant=frozenset())
    assert search(asked).scores(model)["hit_rate@1"] == 1
    asked.questions[1] = asked.questions[1]._replace(relevant=frozenset({"gone"}))
    assert search(asked).data == "1 test questions, 3 passages"
    with pytest.raises(ValueError, match=r"None of the 1 test questions has an answer among the 3 passages"):
        search(asked._replace(questions=asked.questions[1:]))


def test_a_long_passage_counts_by_its_best_window(model: Any) -> None:
    filler = "한국어를 씁니다. " * 30
    article = make_document(f"{filler}{VOTE} {filler}", title="글")
    others = [make_document(RAIN), make_document(GAME)]
    question = Question("q", f"글\n{VOTE}", frozenset({str(article.id)}), (), False, {}, str(article.id))
    cut = retrieval_measure([question], [article, *others], fits=lambda text: len(text) <= 120)
    uncut = retrieval_measure([question], [article, *others], fits=whole)
    assert cut.data == "1 test questions, 3 passages"
    evaluator: Any = cut.evaluator
    assert len(evaluator.texts) > 4
    assert cut.scores(model)["hit_rate@1"] == 1
    assert len(getattr(uncut.evaluator, "texts")) == 3  # noqa: B009 - the base class has none


class Numbers:
    """A model whose texts are the numbers they embed as: the cosine falls with the distance of two angles."""

    def encode_query(self, texts: list[str], **options: Any) -> Any:
        angles = np.array([float(text.split()[0]) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    encode_document = encode_query


def test_windows_of_one_wrong_document_take_one_rank_and_ties_go_by_id() -> None:
    def window(doc_id: str, angle: float) -> Document:
        return Document(page_content=str(angle), metadata={"doc_id": doc_id})

    windows = [window("b", 0.1), *(window("c", 0.01 * n) for n in range(12)), window("a", 0.1), window("d", 0.3)]
    questions = [Question(name, "0", frozenset({name}), (), False, {}, name) for name in ("a", "b", "c", "d")]
    scores = SearchEvaluator(questions, windows)(Numbers())
    assert scores == {"hit_rate@1": 0.25, "hit_rate@10": 1, "mrr@10": pytest.approx((1 / 2 + 1 / 3 + 1 + 1 / 4) / 4)}
    both = SearchEvaluator([questions[0]._replace(relevant=frozenset({"d", "b"}))], windows)(Numbers())
    assert both["mrr@10"] == pytest.approx(1 / 3), "the first of two right documents counts"


def test_a_model_that_diverged_ranks_last_and_not_first() -> None:
    class Diverged:
        def encode_query(self, texts: list[str], **options: Any) -> Any:
            return np.full((len(texts), 2), np.nan, np.float32)

        encode_document = encode_query

    windows = [Document(page_content=name, metadata={"doc_id": name}) for name in ("a", "b")]
    questions = [Question("a", "0", frozenset({"a"}), (), False, {}, "a")]
    assert SearchEvaluator(questions, windows)(Diverged())["hit_rate@1"] == 0


def test_the_tutorials_measure_tells_pairs_from_random_ones(model: Any) -> None:
    measure = separation_measure(data(one=f"{RAIN}|{RAIN}", two=f"{VOTE}|{VOTE}", three=f"{GAME}|{GAME}"), seed=1)
    assert measure.data == "6 pairs, half of them random"
    scores = measure.scores(model)
    assert scores["spearman_cosine"] == pytest.approx(0.878, abs=0.03), "the best there is with so many ties"
    assert scores["pearson_cosine"] > 0.9
    wrong = separation_measure(data(one=f"{RAIN}|{VOTE}", two=f"{VOTE}|{RAIN}", three=f"{GAME}|{GAME}"), seed=1)
    assert wrong.scores(model)["spearman_cosine"] < 0.5


def test_an_evaluator_that_returns_one_number_is_refused(model: Any) -> None:
    evaluator: Any = lambda model: 0.5  # noqa: E731
    with pytest.raises(TypeError, match=r"returned 0\.5, wanted its metrics by name"):
        Measure(evaluator, {"a": "A"}, "a", "nothing").scores(model)
