"""Measuring a reranker while it is trained, as it will be used."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sentence_transformers.base.evaluation import BaseEvaluator

from finetune.gate import reciprocal_ranks
from finetune.reranking import Candidates
from rag_app.compressors import CrossEncoderCompressor

METRIC = "mrr@10"


class RankingEvaluator(BaseEvaluator):
    """Gives MRR@10 of passages over what a search returned; a question whose answer it did not return counts 0.

    Scores come from `rag_app.compressors.CrossEncoderCompressor`, in whose order ties stay as they came.
    CrossEncoderRerankingEvaluator ranks by float32 sigmoids, of which many are equal in a sure model, and puts the last
    of equals first.

    Args:
        found: What the search returned, at least one passage.
    """

    def __init__(self, found: Sequence[Candidates]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.primary_metric = METRIC
        self._found = found

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """Return the metric of a model."""
        pairs = [(query, passage) for query, passages, _ in self._found for passage in passages]
        scores = CrossEncoderCompressor(model=model, name="(in training)").score_pairs(pairs)
        ends = np.cumsum([len(candidates.passages) for candidates in self._found])[:-1]
        rankings = [
            [candidates.passages[place] for place in np.argsort(-own, kind="stable")]
            for candidates, own in zip(self._found, np.split(scores, ends), strict=True)
        ]
        ranks = reciprocal_ranks(rankings, [candidates.relevant for candidates in self._found])
        return {METRIC: float(np.mean(ranks))}
