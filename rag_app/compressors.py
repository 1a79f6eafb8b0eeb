"""Document compressors for a `ContextualCompressionRetriever`: the cross-encoder, and keeping the first few."""

import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from rag_app.documents import searchable_text
from rag_app.korean import normalise
from rag_app.models import ResolvedModel, load_cross_encoder, model_fingerprint, resolve_model
from rag_app.stages import with_stage

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder


class TopN(BaseDocumentCompressor):
    """Keeps the first ``top_n`` documents as they are: what a retriever compresses with when it has no reranker."""

    model_config = ConfigDict(extra="forbid")

    top_n: int = Field(default=10, ge=1)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return the first ``top_n`` documents."""
        return list(documents[: self.top_n])


class CrossEncoderCompressor(BaseDocumentCompressor):
    """Reranks documents with a cross-encoder, which reads question and passage together.

    What comes back are copies in order of falling score, equal scores in the order they came in. Their metadata holds
    the score, between 0 and 1, as ``relevance_score`` and ``score``, and with the rank, from 1, in
    ``stages["rerank"]``. A passage's title is read before its text. `acompress_documents` scores in a thread. Safe to
    share between threads.

    Attributes:
        model: A sentence-transformers cross-encoder with one label; see `rag_app.models.load_cross_encoder`.
        name: The name the model was asked for by.
        top_n: How many documents to keep at most; None for all.
        threshold: Score a document needs in order to be kept; None for any.
        batch_size: Pairs in one forward pass; they are sorted by length first.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    model: Any = Field(exclude=True, repr=False)
    name: str
    top_n: int | None = Field(default=10, ge=1)
    threshold: float | None = Field(default=None, ge=0, le=1)
    batch_size: int = Field(default=32, ge=1)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return copies of the best documents with their scores, best first."""
        scores = self.score_pairs([(query, searchable_text(document)) for document in documents]).tolist()
        ranking = sorted(range(len(scores)), key=lambda i: -scores[i])  # stable: ties stay in order
        return [
            _with_score(documents[i], rank, scores[i])
            for rank, i in enumerate(ranking[: self.top_n], 1)
            if self.threshold is None or scores[i] >= self.threshold
        ]

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, progress: bool = False) -> NDArray[np.float64]:
        """Return the score of each (question, passage text) pair, ``(n,)`` float64 between 0 and 1.

        Pairs of several questions can be scored in one call, which fills the batches better than one call each.
        """
        from torch.nn import Identity

        texts = [(normalise(query), normalise(passage)) for query, passage in pairs]
        # The sigmoid that a cross-encoder with one label ends in, whatever its configuration says, and in float64:
        # in float32 all logits above 17 would tie.
        logits = self.model.predict(
            texts, batch_size=self.batch_size, activation_fn=Identity(), show_progress_bar=progress
        )
        scores: NDArray[np.float64] = 1 / (1 + np.exp(-np.asarray(logits, dtype=np.float64)))
        return scores


def load_reranker(
    name: str | Path,
    *,
    top_n: int | None = 10,
    threshold: float | None = None,
    batch_size: int = 32,
    device: str | None = None,
) -> CrossEncoderCompressor:
    """Load a cross-encoder by name, once per process and device, as a document compressor.

    Args:
        name: A folder or a Hub id with optional ``@revision``; see `rag_app.models.resolve_model`.
        top_n: See `CrossEncoderCompressor`, as for the following.
        threshold: Score a document needs in order to be kept.
        batch_size: Pairs in one forward pass.
        device: For example "cpu" or "cuda"; sentence-transformers chooses if None.

    Raises:
        ImportError: PyTorch is not installed.
        ValueError: The model is not a reranker, or not safe to load.
        FileNotFoundError: See `rag_app.models.resolve_model`.
        ConnectionError: See `rag_app.models.resolve_model`.
    """
    resolved = resolve_model(name)
    with _lock:
        model = _load(resolved, model_fingerprint(resolved), device)
    return CrossEncoderCompressor(
        model=model, name=resolved.name, top_n=top_n, threshold=threshold, batch_size=batch_size
    )


_lock = threading.Lock()


@lru_cache(maxsize=2)
def _load(resolved: ResolvedModel, fingerprint: str, device: str | None) -> "CrossEncoder":
    return load_cross_encoder(resolved, device=device)


def _with_score(document: Document, rank: int, score: float) -> Document:
    document = with_stage(document, "rerank", rank, score)
    return document.model_copy(update={"metadata": {**document.metadata, "relevance_score": score}})
