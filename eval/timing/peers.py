"""What LangChain's documentation assembles from langchain_community, and ours for the same purpose, as indexes.

Both get the same passages, whose text has the title before it, and the same models.
"""

import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from eval.timing.loop import CANDIDATES
from eval.timing.variants import DENSE
from rag_app.compressors import RerankingCompressor, TopN, load_reranker
from rag_app.documents import searchable_text
from rag_app.embeddings import ModelEmbeddings
from rag_app.index import Index, build_index, open_index
from rag_app.korean import analyzer
from rag_app.retrieval import build_retriever


class Peer(Protocol):
    """An index that is built, opened, searched and changed; what is changed is on disk when the call returns."""

    def build(self, folder: Path, passages: Sequence[Document]) -> None:
        """Index passages."""

    def open(self, folder: Path) -> None:
        """Open what was built."""

    def delete(self, passage: Document) -> None:
        """Delete one passage."""

    def retriever(self) -> BaseRetriever:
        """Return what searches it, for 30 passages."""


class _Ours:
    """An index of ours; see `Peer`.

    Args:
        embeddings: The model.
        rerank: Whether the embedded reranker reorders what was found.
        settings: Further ones of `rag_app.retrieval.build_retriever`.
    """

    def __init__(self, embeddings: ModelEmbeddings, *, rerank: bool = False, **settings: Any) -> None:
        self._embeddings = embeddings
        self._settings = settings
        self._compressor = load_reranker(top_n=CANDIDATES) if rerank else TopN(top_n=CANDIDATES)
        self._index: Index

    def build(self, folder: Path, passages: Sequence[Document]) -> None:
        self._index = build_index(folder, passages, self._embeddings)

    def open(self, folder: Path) -> None:
        self._index = open_index(folder, self._embeddings)

    def delete(self, passage: Document) -> None:
        self._index.delete([passage.metadata["doc_id"]])

    def retriever(self) -> BaseRetriever:
        return build_retriever(self._index, compressor=self._compressor, k=CANDIDATES, **self._settings)


class _Community:
    """FAISS of langchain_community, alone or in an EnsembleRetriever with BM25Retriever; see `Peer`.

    BM25Retriever cannot be saved or changed: its index is made anew from the passages that FAISS has saved.

    Args:
        embeddings: The model.
        preprocess: How BM25Retriever takes a text apart; None leaves it out.
        rerank: Whether a CrossEncoderReranker reorders what was found, with the embedded reranker.
    """

    def __init__(
        self, embeddings: ModelEmbeddings, preprocess: Callable[[str], list[str]] | None = None, *, rerank: bool = False
    ) -> None:
        self._embeddings = embeddings
        self._preprocess = preprocess
        self._rerank = rerank
        self._folder: Path
        self._faiss: Any = None
        self._bm25: Any = None

    def build(self, folder: Path, passages: Sequence[Document]) -> None:
        self._folder = folder
        texts = [_with_title(passage) for passage in passages]
        self._faiss = _community("vectorstores").FAISS.from_documents(
            texts, self._embeddings, ids=[text.id for text in texts]
        )
        self._faiss.save_local(str(folder))
        self._build_bm25()

    def open(self, folder: Path) -> None:
        self._folder = folder
        self._faiss = _community("vectorstores").FAISS.load_local(
            str(folder), self._embeddings, allow_dangerous_deserialization=True
        )
        self._build_bm25()

    def delete(self, passage: Document) -> None:
        self._faiss.delete([passage.id])
        self._faiss.save_local(str(self._folder))
        self._build_bm25()

    def retriever(self) -> BaseRetriever:
        from langchain_classic.retrievers import ContextualCompressionRetriever, EnsembleRetriever
        from langchain_classic.retrievers.document_compressors import CrossEncoderReranker

        found: BaseRetriever = self._faiss.as_retriever(search_kwargs={"k": CANDIDATES})
        if self._bm25 is not None:
            found = EnsembleRetriever(retrievers=[self._bm25, found], weights=[0.5, 0.5])
        if not self._rerank:
            return found
        reranker = CrossEncoderReranker(model=PairScores(load_reranker()), top_n=CANDIDATES)
        return ContextualCompressionRetriever(base_retriever=found, base_compressor=reranker)

    def _build_bm25(self) -> None:
        if self._preprocess is not None:
            passages = list(self._faiss.docstore._dict.values())
            bm25 = _community("retrievers").BM25Retriever
            self._bm25 = bm25.from_documents(passages, preprocess_func=self._preprocess, k=CANDIDATES)


class PairScores(BaseCrossEncoder):
    """A reranker of ours as CrossEncoderReranker takes it.

    Args:
        reranker: Scores pairs.
    """

    def __init__(self, reranker: RerankingCompressor) -> None:
        self._reranker = reranker

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        """Return the score of each (question, passage) pair."""
        scores: list[float] = self._reranker.score_pairs(text_pairs).tolist()
        return scores


class Row(NamedTuple):
    """Something to compare.

    Attributes:
        make: From the embedding model.
        against: The row of ours that does the same; empty for ours.
        differs: What it does otherwise by its construction. How much that matters is not measured apart.
    """

    make: Callable[[ModelEmbeddings], Peer]
    against: str = ""
    differs: str = ""


_IN_MEMORY = "BM25 is kept in memory only, is built anew on opening and on every change, and scores every passage"
ROWS: dict[str, Row] = {
    "ours: dense": Row(lambda model: _Ours(model, **DENSE)),
    "ours: hybrid": Row(_Ours),
    "ours: hybrid + rerank": Row(lambda model: _Ours(model, rerank=True)),
    "FAISS": Row(_Community, "ours: dense", "there is no lexical index to build and to open"),
    "Ensemble(BM25 of words, FAISS)": Row(
        lambda model: _Community(model, str.split), "ours: hybrid", f"texts are split at spaces only; {_IN_MEMORY}"
    ),
    "Ensemble(BM25 of morphemes, FAISS)": Row(lambda model: _Community(model, _morphemes), "ours: hybrid", _IN_MEMORY),
    "Ensemble(BM25 of morphemes, FAISS) + CrossEncoderReranker": Row(
        lambda model: _Community(model, _morphemes, rerank=True), "ours: hybrid + rerank", _IN_MEMORY
    ),
}
"""By name."""


def _morphemes(text: str) -> list[str]:
    return analyzer().morphemes(text)


def _with_title(passage: Document) -> Document:
    return Document(page_content=searchable_text(passage), metadata=dict(passage.metadata), id=passage.id)


def _community(module: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces its own end when it is imported
        return import_module(f"langchain_community.{module}")
