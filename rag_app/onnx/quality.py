"""How well a quantised model keeps the order of the one it was made from, on questions about the bundled news."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_app.data.questions import load_retrieval_data
from rag_app.documents import searchable_text
from rag_app.embeddings import ModelEmbeddings, load_embeddings

Pair = tuple[str, str]
Scores = Callable[[Sequence[Pair]], NDArray[np.floating]]

_CHARACTERS = 200  # of a passage, with its title: what it costs to read more buys nothing here
_QUESTIONS, _CANDIDATES = 8, 30  # pairs of a reranker take much longer than passages of a bi-encoder


@dataclass(frozen=True)
class Quality:
    """How much of the order of float32 is left.

    Attributes:
        spearman: Rank correlation of the scores of a question's passages, mean over the questions.
        overlap: Share of a question's first ten passages that stay among the first ten, mean over the questions.
    """

    spearman: float
    overlap: float

    @property
    def is_enough(self) -> bool:
        """Whether the quantised model can stand in for the other."""
        return self.spearman >= WANTED.spearman and self.overlap >= WANTED.overlap


WANTED = Quality(spearman=0.95, overlap=0.8)
"""What a model has to reach; see `finetune/LOG.md` for what trained and untrained ones do."""


def embedding_quality(exact: ModelEmbeddings, quantised: ModelEmbeddings) -> Quality:
    """Compare two embedding models by how they rank the bundled articles for the questions about them.

    An index may hold vectors of either, so the worse of two cases counts: all quantised, or the questions' only.
    """
    questions, passages = _sample()
    [q, p], [quantised_q, quantised_p] = (
        [model.encode(questions, query=True), model.encode(passages)] for model in (exact, quantised)
    )
    both, mixed = (_compare(q @ p.T, quantised_q @ other.T) for other in (quantised_p, p))
    return Quality(min(both.spearman, mixed.spearman), min(both.overlap, mixed.overlap))


def reranker_quality(exact: Scores, quantised: Scores) -> Quality:
    """Compare two rerankers by how they rank what the embedded model finds for some of the questions."""
    questions, passages = _sample()
    questions = questions[:: len(questions) // _QUESTIONS][:_QUESTIONS]
    first = load_embeddings()
    found = np.argsort(-first.encode(questions, query=True) @ first.encode(passages).T, axis=1)[:, :_CANDIDATES]
    pairs = [(question, passages[i]) for question, row in zip(questions, found, strict=True) for i in row]
    return _compare(*(np.asarray(scores(pairs)).reshape(found.shape) for scores in (exact, quantised)))


def _compare(exact: NDArray[np.floating], other: NDArray[np.floating]) -> Quality:
    """Return how well each row of scores, ``(questions, passages)``, has the order of the exact ones."""
    ranks = [np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1) for scores in (exact, other)]
    correlations = [np.corrcoef(*rows)[0, 1] for rows in zip(*ranks, strict=True)]
    both = (ranks[0] < 10) & (ranks[1] < 10)
    return Quality(float(np.mean(correlations)), float(both.sum(axis=1).mean() / min(10, exact.shape[1])))


def _sample() -> tuple[list[str], list[str]]:
    data = load_retrieval_data("sample")
    passages = [searchable_text(passage)[:_CHARACTERS] for passage in data.passages.values()]
    return [question.text for question in data.questions], passages
