import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from eval.metrics import question_scores
from finetune.gate import hits, judge, rank_documents, reciprocal_ranks
from rag_app.data import Question


class Found(BaseRetriever):
    """Returns the passages of a table for each question: letters stand for documents, with their scores."""

    table: dict[str, list[tuple[str, float]]]

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [
            Document(page_content="글", metadata={"doc_id": doc_id, "score": score})
            for doc_id, score in self.table.get(query, [])
        ]


def asked(*texts: str, relevant: str = "a") -> list[Question]:
    return [Question(text, text, frozenset(relevant), (), impossible=False, metadata={}) for text in texts]


def placed(ranks: list[int]) -> Found:
    """Return a retriever that finds ``a``, the right document, at these ranks, one for each question."""
    others = "bcdefghijklmnop"
    return Found(
        table={
            f"q{n}": [(doc_id, -float(at)) for at, doc_id in enumerate((*others[: rank - 1], "a", *others[rank - 1 :]))]
            for n, rank in enumerate(ranks)
        }
    )


def test_ranks_are_those_of_the_benchmark() -> None:
    table = {
        "첫째": [("b", 3.0), ("a", 2.0), ("b", 1.0), ("c", 1.0)],
        "둘째": [("c", 1.0), ("b", 1.0), ("a", 1.0)],  # equal scores rank by doc_id
        "셋째": [("b", 1.0), ("c", 0.5)],
        "넷째": [],
        "다섯째": [(letter, -float(rank)) for rank, letter in enumerate("bcdefghijka")],
    }
    questions = asked(*table)
    rankings = rank_documents(Found(table=table), questions)
    assert rankings[:2] == [["b", "a", "c"], ["a", "b", "c"]]
    qrels = {question.id: question.relevant for question in questions}
    run = {id_: dict(reversed(found)) for id_, found in table.items()}
    expected = question_scores(qrels, run)
    assert reciprocal_ranks(rankings, qrels.values()) == list(expected["mrr@10"].values()) == [0.5, 1, 0, 0, 0]
    assert hits(rankings, qrels.values()) == list(expected["hit_rate@1"].values())


def test_what_ranks_significantly_better_is_accepted() -> None:
    verdict = judge(placed([2, 3, 2, 4, 2, 1]), placed([1, 1, 1, 2, 1, 1]), asked(*(f"q{n}" for n in range(6))))
    assert verdict.accepted
    assert (verdict.hits.wins, verdict.reciprocal_ranks.wins, verdict.reciprocal_ranks.p) == (4, 5, 1 / 32)
    assert verdict.record()["hit@1"] == {
        "before": 1 / 6, "after": 5 / 6, "wins": 4, "losses": 0, "ties": 2, "p": 1 / 16
    }  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]),
        ([2, 2, 2, 2, 1, 1], [1, 1, 1, 1, 1, 1]),  # a gain, but p is 1/16
        ([1, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2]),
        ([1] + [9] * 20, [2] + [3] * 20),  # MRR@10 rises in 20 questions and hit@1 falls in one
    ],
    ids=["the same", "no more than chance", "worse", "fewer hits"],
)
def test_anything_else_is_rejected(before: list[int], after: list[int]) -> None:
    assert not judge(placed(before), placed(after), asked(*(f"q{n}" for n in range(len(before))))).accepted
