"""The gate of a reranker: it is accepted only if it beats the order that it was given, on questions it never saw."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from numpy.typing import NDArray
from tqdm import tqdm

from rag_app.data.questions import Question

LEVEL = 0.05
"""The chance that a reranker without merit may have to get through, at most."""
DEPTH = 10
"""Where the reciprocal rank is cut off."""

Ranking = Sequence[str]
"""The doc_ids that were found, best first."""


class Comparison(NamedTuple):
    """How the scores of the same questions changed.

    Attributes:
        before: Their mean.
        after: Likewise.
        wins: How many questions score higher after.
        losses: How many score lower.
        ties: How many score the same.
        p: One-sided: how often a gain as large would come about if before and after differed by chance alone.
    """

    before: float
    after: float
    wins: int
    losses: int
    ties: int
    p: float

    def __str__(self) -> str:
        return (
            f"{self.before:.3f} to {self.after:.3f}: {self.wins:,} questions better, {self.losses:,} worse, "
            f"{self.ties:,} the same (p = {self.p:.2g})"
        )


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


def hits(rankings: Iterable[Ranking], relevant: Iterable[Collection[str]], *, k: int = 1) -> list[float]:
    """Return 1 for each question with a relevant document among the first k, else 0; its mean is the hit rate@k."""
    return [float(rank > 0) for rank in reciprocal_ranks(rankings, relevant, k=k)]


def reciprocal_ranks(
    rankings: Iterable[Ranking], relevant: Iterable[Collection[str]], *, k: int = DEPTH
) -> list[float]:
    """Return 1 / rank of each question's first relevant document, 0 if it is beyond k; its mean is MRR@k."""
    return [
        next((1 / rank for rank, doc_id in enumerate(ranking[:k], 1) if doc_id in right), 0.0)
        for ranking, right in zip(rankings, relevant, strict=True)
    ]


def compare(before: Sequence[float], after: Sequence[float], *, rounds: int = 10_000, seed: int = 0) -> Comparison:
    """Compare the scores of the same questions by a paired randomisation test.

    If before and after differed by chance alone, every difference could as well have the other sign: p is the share of
    all ways to sign them that gain as much (Smucker, Allan and Carterette, "A comparison of statistical significance
    tests for information retrieval evaluation", CIKM 2007). It is exact where there are at most ``rounds`` ways, and
    else estimated from so many random ones, and then never 0.

    Raises:
        ValueError: There is no question, or not the same number before and after.
    """
    if not before or len(before) != len(after):
        raise ValueError(f"Want a score of each question before and after, got {len(before)} and {len(after)}")
    differences = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    changed = differences[differences != 0]
    wins = int((changed > 0).sum())
    return Comparison(
        before=float(np.mean(before)),
        after=float(np.mean(after)),
        wins=wins,
        losses=len(changed) - wins,
        ties=len(differences) - len(changed),
        p=_p(changed, rounds, seed),
    )


def _p(changed: NDArray[np.float64], rounds: int, seed: int) -> float:
    gain = changed.sum() - 1e-9  # sums of the same numbers differ in the last digits
    if 2.0 ** len(changed) <= rounds:
        signs = np.arange(2 ** len(changed))[:, None] >> np.arange(len(changed)) & 1
        return float(((2 * signs - 1) @ np.abs(changed) >= gain).mean())
    # Reciprocal ranks take few values: how many of each have a plus is binomial, whatever the number of questions.
    sizes, counts = np.unique(np.abs(changed), return_counts=True)
    positive = np.random.default_rng(seed).binomial(counts, 0.5, size=(rounds, len(sizes)))
    as_large = (2 * positive - counts) @ sizes >= gain
    return float((as_large.sum() + 1) / (rounds + 1))


def _documents(passages: Iterable[Document]) -> Ranking:
    scores: dict[str, float] = {}
    for passage in passages:
        scores.setdefault(passage.metadata["doc_id"], passage.metadata["score"])
    return sorted(scores, key=lambda doc_id: (-scores[doc_id], doc_id))
