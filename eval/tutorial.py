"""The search of the tutorial protocol: flat L2 search over whole contexts, and reranking of the first 30.

    benchmark = tutorial(load_retrieval_data("klue"))
    index = build_flat(benchmark.corpus, load_embeddings("models/mrc"))
    FlatRetriever(index=index).invoke("...", k=10)
    FlatRetriever(index=index, compressor=load_reranker("models/reranker", top_n=None)).batch([...], k=10)

Vectors are searched as the model gives them, not scaled to length 1, as LangChain's FAISS store does by itself: a long
vector is far from everything, so that the order differs from that of the cosines.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import faiss
import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, SkipValidation

from rag_app.compressors import RerankingCompressor
from rag_app.documents import searchable_text
from rag_app.embeddings import ModelEmbeddings
from rag_app.stages import with_stage
from rag_app.timing import timed


class FlatIndex(NamedTuple):
    """Documents and their vectors.

    Attributes:
        corpus: One document for each row of the index; equal ones stay apart.
        embeddings: What made the vectors.
        vectors: A ``faiss.IndexFlatL2``.
    """

    corpus: Sequence[Document]
    embeddings: Embeddings
    vectors: Any

    @property
    def size_bytes(self) -> int:
        """What the vectors take, in memory as on disk."""
        return 4 * int(self.vectors.ntotal) * int(self.vectors.d)

    def search(self, questions: Sequence[str], k: int) -> list[list[Document]]:
        """Return copies of the k nearest documents for each question, nearest first, all questions in one search.

        Their ``metadata["score"]`` is the squared distance, negative.
        """
        with timed("encode"):
            queries = _query_vectors(self.embeddings, questions)
        with timed("dense"):
            distances, rows = self.vectors.search(queries, min(k, len(self.corpus)))
        return [
            [_scored(self.corpus[row], -distance) for row, distance in zip(*found, strict=True)]
            for found in zip(rows.tolist(), distances.tolist(), strict=True)
        ]


def build_flat(corpus: Sequence[Document], embeddings: Embeddings) -> FlatIndex:
    """Return the index of a corpus, each document encoded whole and as often as it is there.

    Args:
        corpus: At least one document; see `eval.protocols.tutorial`.
        embeddings: Any model.
    """
    texts = [searchable_text(document) for document in corpus]
    if isinstance(embeddings, ModelEmbeddings):
        matrix = embeddings.encode(texts, progress=True, unit_length=False)
    else:
        matrix = np.array(embeddings.embed_documents(texts), dtype=np.float32)
    vectors = faiss.IndexFlatL2(matrix.shape[1])
    vectors.add(matrix)
    return FlatIndex(corpus, embeddings, vectors)


class FlatRetriever(BaseRetriever):
    """Finds the nearest documents of a `FlatIndex`, and reranks them where there is a compressor.

    `batch` encodes, searches and reranks all questions together, as far as the compressor can; it calls no callbacks.
    It finds the same texts, but documents of equal text may change places: faiss computes the distances of many
    questions in another way, in which equal vectors are not quite equally near.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: SkipValidation[FlatIndex]
    k: int = Field(default=10, ge=1)
    """How many documents to return, unless asked for another number when invoked."""
    compressor: BaseDocumentCompressor | None = None
    candidates: int = Field(default=30, ge=1)
    """How many documents the compressor sees, at least k."""

    def batch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[list[Document]]:
        """Return what `invoke` returns for each question; ``k`` may be given, the other options do nothing."""
        return self._find(inputs, kwargs.get("k"))

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return self._find([query], k)[0]

    def _find(self, questions: Sequence[str], k: int | None) -> list[list[Document]]:
        if not questions:
            return []
        k = k or self.k
        if self.compressor is None:
            return self.index.search(questions, k)
        found = self.index.search(questions, max(k, self.candidates))
        return [ranking[:k] for ranking in _rerank(self.compressor, questions, found)]


def _rerank(
    compressor: BaseDocumentCompressor, questions: Sequence[str], found: Sequence[Sequence[Document]]
) -> list[list[Document]]:
    """Return what the compressor makes of each question's documents; a reranker of ours scores all in one call."""
    if not isinstance(compressor, RerankingCompressor):
        with timed("rerank"):
            return [
                list(compressor.compress_documents(documents, question))
                for question, documents in zip(questions, found, strict=True)
            ]
    # A question asked twice is scored once: a linear reranker compares all passages that one question is paired with.
    documents_of = dict(zip(questions, found, strict=True))
    pairs = [(query, searchable_text(document)) for query, documents in documents_of.items() for document in documents]
    with timed("rerank"):
        scores = compressor.score_pairs(pairs)
    ends = np.cumsum([len(documents) for documents in documents_of.values()])
    scores_of = dict(zip(documents_of, np.split(scores, ends[:-1]), strict=True))
    return [_ranked(compressor, documents_of[question], scores_of[question]) for question in questions]


def _ranked(
    compressor: RerankingCompressor, documents: Sequence[Document], scores: NDArray[np.float64]
) -> list[Document]:
    """Return the documents in order of falling score, as `RerankingCompressor.compress_documents` keeps them."""
    details = {} if compressor.calibrated else {"calibrated": False}
    ranking = np.argsort(-scores, kind="stable")[: compressor.top_n].tolist()
    return [
        with_stage(documents[place], "rerank", rank, scores[place], **details)
        for rank, place in enumerate(ranking, 1)
        if compressor.threshold is None or scores[place] >= compressor.threshold
    ]


def _query_vectors(embeddings: Embeddings, questions: Sequence[str]) -> NDArray[np.float32]:
    if isinstance(embeddings, ModelEmbeddings):
        return embeddings.encode(questions, query=True, unit_length=False)
    return np.array([embeddings.embed_query(question) for question in questions], dtype=np.float32)


def _scored(document: Document, score: float) -> Document:
    return document.model_copy(update={"metadata": {**document.metadata, "score": score}})
