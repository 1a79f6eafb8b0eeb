"""The gate of a reranker: it is accepted only if it beats the order that it was given, on questions it never saw."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from tqdm import tqdm

from rag_app.data.questions import Question
from rag_app.significance import Comparison, compare

LEVEL = 0.05
"""The chance that a reranker without merit may have to get through, at most."""
DEPTH = 10
"""Where the reciprocal rank is cut off."""

Ranking = Sequence[str]
"""The doc_ids that were found, best first."""


class Verdict(NamedTuple):
    """What the gate found.

    Attributes:
        hits: Of hit@1.
        reciprocal_ranks: Of the reciprocal rank of the first right document among the first ten, whose mean is MRR@10.
    """

    hits: Comparison
    reciprocal_ranks: Comparison

    @property
    def unharmed(self) -> bool:
        """Whether neither measure fell."""
        return all(comparison.after >= comparison.before for comparison in self)

    @property
    def accepted(self) -> bool:
        """Whether neither measure fell and MRR@10 rose by more than chance explains.

        MRR@10 alone is tested: it moves with every rank, and of two tests at the same level one passes more often.
        """
        return self.unharmed and self.reciprocal_ranks.p < LEVEL

    @property
    def names(self) -> dict[str, Comparison]:
        """The comparisons by what they are called."""
        return {"hit@1": self.hits, f"MRR@{DEPTH}": self.reciprocal_ranks}

    def record(self) -> dict[str, Any]:
        """Return what ``run.json`` keeps."""
        return {"accepted": self.accepted} | {name: comparison._asdict() for name, comparison in self.names.items()}


def judge(before: BaseRetriever, after: BaseRetriever, questions: Sequence[Question]) -> Verdict:
    """Ask two retrievers the same questions, and compare where the first right document stands.

    Args:
        before: Without the reranker; its passages tell their ``doc_id`` and ``score``.
        after: With it.
        questions: Each with an answer among the documents that are searched.

    Raises:
        ValueError: There is no question.
    """
    rankings = [rank_documents(retriever, questions) for retriever in (before, after)]
    right = [question.relevant for question in questions]
    return Verdict(
        compare(*(hits(ranking, right) for ranking in rankings)),
        compare(*(reciprocal_ranks(ranking, right) for ranking in rankings)),
    )


def rank_documents(retriever: BaseRetriever, questions: Iterable[Question]) -> list[Ranking]:
    """Return what a retriever finds for each question: documents by their best passage, equal scores by doc_id."""
    return [
        _documents(retriever.invoke(question.text)) for question in tqdm(list(questions), desc="gate", unit="question")
    ]


def hits(rankings: Iterable[Ranking], relevant: Iterable[Collection[str]]) -> list[float]:
    """Return 1 for each question whose first document is relevant, else 0; its mean is the hit rate@1."""
    return [float(rank == 1) for rank in reciprocal_ranks(rankings, relevant)]


def reciprocal_ranks(rankings: Iterable[Ranking], relevant: Iterable[Collection[str]]) -> list[float]:
    """Return 1 / rank of each question's first relevant document, 0 if it is beyond `DEPTH`; its mean is MRR@10."""
    return [
        next((1 / rank for rank, doc_id in enumerate(ranking[:DEPTH], 1) if doc_id in right), 0.0)
        for ranking, right in zip(rankings, relevant, strict=True)
    ]


def _documents(passages: Iterable[Document]) -> Ranking:
    scores: dict[str, float] = {}
    for passage in passages:
        scores.setdefault(passage.metadata["doc_id"], passage.metadata["score"])
    return sorted(scores, key=lambda doc_id: (-scores[doc_id], doc_id))
