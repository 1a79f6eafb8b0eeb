"""The search of the tutorial as it is written there: one question at a time, through its libraries' defaults."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from rag_app.models import load_cross_encoder, load_sentence_transformer

CANDIDATES = 30
"""Passages that the cross-encoder reads for each question."""


class Hit(NamedTuple):
    """A passage that was found.

    Attributes:
        id: The passage's.
        score: By which it was ranked: the cosine, or what the cross-encoder gave it; None where it has none that could
            be compared.
    """

    id: str
    score: float | None


class TutorialLoop:
    """Encodes one question, searches flat by L2 distance, and lets the cross-encoder read 30 pairs, in float32.

    Vectors have length 1, as in ours, so that both search for the same passages.

    Args:
        embedding: Folder or name of a sentence-transformers model.
        reranker: Of a cross-encoder.
    """

    def __init__(self, embedding: str | Path, reranker: str | Path | None) -> None:
        self._model = load_sentence_transformer(embedding)
        self._reranker = None if reranker is None else load_cross_encoder(reranker)
        self._ids: Sequence[str] = []
        self._texts: Sequence[str] = []
        self._index: Any = None

    def index(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        """Encode passages and keep them."""
        self._ids, self._texts = ids, texts
        vectors = self._encode(list(texts), progress=True)
        self._index = faiss.IndexFlatL2(vectors.shape[1])
        self._index.add(vectors)

    def tokens(self) -> float:
        """Return how many tokens a passage has in the mean, as far as the model reads it."""
        return float(np.mean([len(self._model.tokenizer(text, truncation=True)["input_ids"]) for text in self._texts]))

    def encode(self, question: str) -> NDArray[np.float32]:
        """Return a question's vector, ``(1, dimension)``."""
        return self._encode([question])

    def search(self, question: str, k: int = 10) -> list[Hit]:
        """Return the k nearest passages with their cosines."""
        distances, rows = self._index.search(self.encode(question), min(k, len(self._ids)))
        cosines = 1 - distances[0] / 2  # the distance is squared
        return [Hit(self._ids[row], cosine) for row, cosine in zip(rows[0].tolist(), cosines.tolist(), strict=True)]

    def rerank(self, question: str, k: int = 10) -> list[Hit]:
        """Return the k best of the 30 nearest passages, each of which the cross-encoder has read."""
        if self._reranker is None:
            raise ValueError("There is no cross-encoder to rerank with.")
        texts = dict(zip(self._ids, self._texts, strict=True))
        ids = [one.id for one in self.search(question, CANDIDATES)]
        scores = self._reranker.predict([(question, texts[id_]) for id_ in ids])
        ranking = np.argsort(-scores, kind="stable")[:k].tolist()
        return [Hit(ids[place], float(scores[place])) for place in ranking]

    def _encode(self, texts: list[str], *, progress: bool = False) -> NDArray[np.float32]:
        vectors = self._model.encode(texts, normalize_embeddings=True, show_progress_bar=progress)
        return np.asarray(vectors, dtype=np.float32)
