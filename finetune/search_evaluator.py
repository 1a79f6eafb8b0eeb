"""Measuring an embedding model while it is trained, as the benchmark will measure it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray
from sentence_transformers.base.evaluation import BaseEvaluator

from rag_app.data.questions import Question
from rag_app.documents import searchable_text

METRICS = {"hit_rate@1": "hit@1", "hit_rate@10": "hit@10", "mrr@10": "MRR@10"}
"""What is measured, and what it is called."""
_AT_ONCE = 500  # questions scored against all windows in one matrix


class SearchEvaluator(BaseEvaluator):
    """Gives hit rates and MRR@10 over documents, each ranked by its best window; equal scores rank by doc_id.

    InformationRetrievalEvaluator ranks the windows themselves, so that several of one wrong document push the right one
    down.

    Args:
        questions: Each answered by one of the documents at least.
        windows: Passages that the model reads whole, with ``doc_id``.
    """

    def __init__(self, questions: Sequence[Question], windows: Sequence[Document]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.primary_metric = "mrr@10"
        windows = sorted(windows, key=lambda window: str(window.metadata["doc_id"]))
        doc_ids, self._first = np.unique([window.metadata["doc_id"] for window in windows], return_index=True)
        places = {doc_id: place for place, doc_id in enumerate(doc_ids.tolist())}
        self._queries = [question.text for question in questions]
        self._relevant = [sorted(places[id_] for id_ in q.relevant if id_ in places) for q in questions]
        self.texts = [searchable_text(window) for window in windows]

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """Return the metrics of a model."""
        options = {"batch_size": 64, "normalize_embeddings": True, "show_progress_bar": False}
        queries, passages = model.encode_query(self._queries, **options), model.encode_document(self.texts, **options)
        ranks = np.concatenate(
            [
                self._ranks(queries[start : start + _AT_ONCE] @ passages.T, self._relevant[start : start + _AT_ONCE])
                for start in range(0, len(queries), _AT_ONCE)
            ]
        )
        return {
            "hit_rate@1": float(np.mean(ranks <= 1)),
            "hit_rate@10": float(np.mean(ranks <= 10)),
            "mrr@10": float(np.mean(np.where(ranks <= 10, 1 / ranks, 0))),
        }

    def _ranks(self, cosines: NDArray[np.float32], relevant: Sequence[Sequence[int]]) -> NDArray[np.int64]:
        """Return the rank from 1 of the first document that answers each question, from cosines ``(n, windows)``."""
        scores = np.maximum.reduceat(cosines, self._first, axis=1)
        # Not ">": a model that diverged has only NaN, above which nothing would stand, and rank last is what it earns.
        return np.array(
            [
                min(1 + np.sum(~(row <= row[place])) + np.sum(row[:place] == row[place]) for place in places)
                for row, places in zip(scores, relevant, strict=True)
            ]
        )
