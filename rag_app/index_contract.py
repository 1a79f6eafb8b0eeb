"""What an index offers, wherever it lives: in a folder or in a vector database."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from rag_app.lexical import Analysis, LexicalHit
from rag_app.stores.address import Address
from rag_app.stores.cosines import CosineStore
from rag_app.whole_article import join_passages


class Changes(NamedTuple):
    """What a write did, in documents (not passages)."""

    added: int = 0
    skipped: int = 0
    removed: int = 0


class PassageWords(Protocol):
    """Lexical search over the same passages; see `rag_app.lexical.LexicalIndex`."""

    @property
    def analyses(self) -> Mapping[str, Analysis]:
        """What takes passages and questions apart, by name."""

    def __len__(self) -> int: ...

    def search(
        self, query: str, k: int, *, ids: Collection[str] | None = None, weights: Mapping[str, float] | None = None
    ) -> list[LexicalHit]:
        """Return the k passages with the highest BM25 scores, best first."""

    def unit_scores(self, query: str, id_: str, *, weights: Mapping[str, float] = ...) -> dict[tuple[str, str], float]:
        """Return what each unit of a question adds to a passage's BM25 score; 0 if the passage lacks it."""


class Snapshot(Protocol):
    """One version of an index; what it holds does not change while it is searched, as far as its store can do that."""

    @property
    def manifest(self) -> dict[str, Any]:
        """What it was built with: ``model``, ``analysis``, ``passage_chars``; and ``documents`` and ``passages``."""

    @property
    def store(self) -> CosineStore:
        """The passages and their vectors."""

    @property
    def lexical(self) -> PassageWords:
        """The words of the passages."""


class Index(ABC):
    """An open index. Make one with `rag_app.index.build_index` or `rag_app.index.open_index`.

    Attributes:
        path: The index's folder, or its address in a vector database.
        embeddings: What embeds questions and new documents.
        snapshot: The version this object reads; `refresh` replaces it.
    """

    path: Path | Address
    embeddings: Embeddings
    snapshot: Snapshot

    def __len__(self) -> int:
        """The number of passages."""
        return len(self.snapshot.store)

    def article(self, doc_id: str) -> Document:
        """Return a whole article, put together of its passages; see `rag_app.whole_article.join_passages`.

        Raises:
            KeyError: It is not in the index.
        """
        passages = self.passages(doc_id)
        if not passages:
            raise KeyError(f"{self.path} holds no document {doc_id}")
        return join_passages(passages)

    @abstractmethod
    def embedding_with(self, embeddings: Embeddings) -> Self:
        """Return the same index, opened with another object of the same model."""

    @abstractmethod
    def document_ids(self) -> set[str]:
        """Return the ids of all documents; a document has one or more passages."""

    @abstractmethod
    def passages(self, doc_id: str) -> list[Document]:
        """Return the passages of a document, in no particular order; none if it is not in the index."""

    @abstractmethod
    def refresh(self) -> bool:
        """Read the newest committed version; return whether it is another than before.

        Raises:
            ValueError: It is damaged, or was built with another embedding model.
        """

    @abstractmethod
    def add(self, documents: Iterable[Document], *, progress: bool = False) -> Changes:
        """Add documents; those whose text is in the index already are skipped.

        Raises:
            BlockingIOError: Another process is writing.
            ValueError: A document is empty, or its metadata cannot be stored.
        """

    @abstractmethod
    def update(self, documents: Iterable[Document], *, progress: bool = False) -> Changes:
        """Bring the index in line with new versions of files: what they no longer hold goes, what is new comes.

        Every document from a ``path`` that one of the given documents names, and that is not among them, is removed;
        one whose text is the same but whose metadata changed is replaced.
        """

    @abstractmethod
    def delete(self, doc_ids: Iterable[str]) -> Changes:
        """Delete documents with all their passages; unknown ids change nothing."""
