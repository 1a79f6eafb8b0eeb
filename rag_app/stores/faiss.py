"""A LangChain vector store on FAISS: exact inner product over normalised half-precision vectors."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import ArrayLike, NDArray

from rag_app.disk.damage import REMEDY
from rag_app.disk.segmented import SEGMENTS, SegmentedDocuments, SegmentedVectors, open_segmented
from rag_app.disk.segments import DOCUMENTS_FILE, VECTORS_FILE, document_line, parse_record
from rag_app.filters import Filter, matching_ids, texts_of
from rag_app.forking import Lock
from rag_app.generations import new_generation, open_generation, writing
from rag_app.stores.cosines import CosineStore, diverse
from rag_app.vectors import Vectors, unit_rows

FORMAT = "faiss-store-1"
_THREADS_FROM = 100_000
"""Of fewer passages, most time of a search goes into Python, of which only one thread runs at a time, and the others
would take it away from it again and again."""
_PLAIN = frozenset({str, int, float, bool, type(None)})


@dataclass(frozen=True)
class _State:
    """One version of the store, never changed: searches take it once and are untouched by later writes.

    Attributes:
        texts: What `FaissStore.values` has returned of it so far.
    """

    documents: Mapping[str, Document]
    vectors: Vectors | SegmentedVectors
    texts: dict[str, list[str]] = field(default_factory=dict)


class FaissStore(CosineStore):
    """Documents and their vectors in memory, saved to a folder without pickle.

    Vectors are normalised, so scores are cosines. A filter restricts what FAISS scans, so a filtered search returns k
    documents whenever k match. Adding a document under an existing id replaces it. Searching is safe from many threads
    while one writes: every search sees one version.

    Args:
        embedding: Embeds texts and questions.
    """

    def __init__(self, embedding: Embeddings) -> None:
        super().__init__(embedding)
        self._state = _State({}, Vectors())
        self._write_lock = Lock()

    @property
    def documents(self) -> Mapping[str, Document]:
        """All documents by id, in the order they were added; a snapshot that later writes leave alone."""
        documents = self._state.documents
        return documents if isinstance(documents, SegmentedDocuments) else MappingProxyType(documents)

    def values(self, key: str) -> list[str]:
        """Return the different texts that documents have under a key of their metadata, in order; computed once.

        They are those for which the filter ``{key: {"$in": [text]}}`` keeps a document.
        """
        state = self._state
        if key not in state.texts:
            documents = state.documents
            if isinstance(documents, SegmentedDocuments):
                found = documents.texts(key)
            else:
                found = set().union(*(texts_of(document.metadata.get(key)) for document in documents.values()))
            state.texts[key] = sorted(found)
        return list(state.texts[key])

    @property
    def at_once(self) -> int:
        """How many threads that search side by side are faster than fewer."""
        return (os.cpu_count() or 1) if len(self) >= _THREADS_FROM else 1

    @property
    def dimension(self) -> int | None:
        """The number of dimensions, None until there is a first vector."""
        return self._state.vectors.dimension

    def __len__(self) -> int:
        return len(self._state.documents)

    def copy(self) -> "FaissStore":
        """Return a store with the same content that changes independently."""
        other = FaissStore(self._embedding)
        other._state = self._state
        return other

    @property
    def is_whole(self) -> bool:
        """Whether approximate search can find every document, as far as can be told without searching."""
        vectors = self._state.vectors
        return not (isinstance(vectors, SegmentedVectors) and vectors.misses())

    # Writing

    def add_vectors(self, documents: Sequence[Document], vectors: ArrayLike) -> list[str]:
        """Add documents whose vectors are known, replacing those of the same ids; all or none are added.

        Args:
            documents: Each with an id; of several with one id the last counts. They are kept, not copied.
            vectors: ``(n, dim)``, of any length; they are normalised here.

        Returns:
            The ids.

        Raises:
            ValueError: A document has no id, a vector is not finite, or the shape does not fit.
        """
        ids = [_require_id(document) for document in documents]
        matrix = unit_rows(vectors)
        if len(matrix) != len(ids):
            raise ValueError(f"Got {len(matrix)} vectors for {len(ids)} documents; give one vector for each document.")
        last = {id_: position for position, id_ in enumerate(ids)}
        with self._write_lock:
            kept_documents, kept_vectors = _without(self._state, last)
            added = {id_: documents[position] for id_, position in last.items()}
            more = kept_vectors.adding(list(last), matrix[list(last.values())])
            self._state = _State({**kept_documents, **added}, more)
        return ids

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete documents by id, or everything when ids is None; unknown ids change nothing."""
        with self._write_lock:
            self._state = _State({}, Vectors()) if ids is None else _State(*_without(self._state, ids))
        return True

    # Reading

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents with these ids in the order asked, leaving out unknown ids."""
        found = map(self._state.documents.get, ids)
        return [_copy(document) for document in found if document is not None]

    def search_vector(
        self, vector: ArrayLike, k: int = 4, *, filter: Filter | None = None, ids: Collection[str] | None = None
    ) -> list[tuple[str, float]]:
        """Return ids and cosines of the k nearest documents, nearest first, equal cosines by id.

        Args:
            vector: ``(dim,)``, of any length.
            k: At most this many.
            filter: Only documents whose metadata matches are scanned.
            ids: Only these documents are scanned.

        Raises:
            ValueError: The vector has another dimension or is not finite, or the filter names an unknown operator.
        """
        return _search(self._state, vector, k, filter, ids)

    def vectors(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the stored unit vectors of known ids, ``(n, dim)`` float32.

        Raises:
            KeyError: An id is not in the store.
        """
        return self._state.vectors.get(ids)

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the k nearest documents with their cosines; see `search_vector`."""
        state = self._state
        with _there():
            return [(_copy(state.documents[id_]), score) for id_, score in _search(state, embedding, k, filter)]

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return k of the fetch_k nearest documents, near to the vector and far from each other.

        Args:
            embedding: ``(dim,)``.
            k: At most this many.
            fetch_k: How many to choose from.
            lambda_mult: 1 asks only for nearness, 0 only for diversity.
            filter: Only documents whose metadata matches are scanned.
            kwargs: Ignored.
        """
        state = self._state
        candidates = [id_ for id_, _ in _search(state, embedding, max(k, fetch_k), filter)]
        if not candidates:
            return []
        query = unit_rows(np.asarray(embedding)[np.newaxis])[0]
        with _there():
            chosen = diverse(query, state.vectors.get(candidates), lambda_mult, k)
            return [_copy(state.documents[candidates[position]]) for position in chosen]

    # Saving

    def save(self, folder: str | Path) -> None:
        """Save to a folder in one atomic step; what was saved there before stays whole until then.

        Raises:
            TypeError: A document's metadata cannot be written as JSON.
        """
        with writing(Path(folder)), new_generation(Path(folder), {"format": FORMAT}) as generation:
            self.write(generation)

    @classmethod
    def load(cls, folder: str | Path, embedding: Embeddings) -> Self:
        """Open a saved store, checking every byte against the checksums it was saved with.

        Raises:
            FileNotFoundError: There is none.
            ValueError: It is damaged or of another format.
        """
        return open_generation(Path(folder), lambda generation, _: cls.read(generation, embedding), format=FORMAT)

    def write(self, folder: Path) -> None:
        """Write the store's two files into an existing folder, without any atomicity of its own."""
        documents, vectors = _in_memory(self._state)
        vectors.write(folder / VECTORS_FILE)
        with (folder / DOCUMENTS_FILE).open("w", encoding="utf-8") as file:
            file.writelines(document_line(documents[id_]) for id_ in vectors.rows)

    @classmethod
    def read(cls, folder: Path, embedding: Embeddings, vectors: Mapping[str, Any] | None = None) -> Self:
        """Read what `write` wrote, or open the segments of a large index, which only `rag_app.index` writes.

        Args:
            folder: Where it is.
            embedding: The embedding model.
            vectors: What the manifest says of them; see `rag_app.disk.segmented.open_segmented`.

        Raises:
            ValueError: Documents and vectors do not fit together.
        """
        store = cls(embedding)
        if (folder / SEGMENTS).is_dir() and vectors is not None:
            store._state = _State(*open_segmented(folder, vectors))
            return store
        path = folder / DOCUMENTS_FILE
        with path.open("rb") as file:
            records = [parse_record(line, path) for line in file]
        documents = {r["id"]: Document(page_content=r["text"], metadata=r["metadata"], id=r["id"]) for r in records}
        store._state = _State(documents, Vectors.read(folder / VECTORS_FILE, list(documents)))
        return store


def _require_id(document: Document) -> str:
    if not document.id:
        raise ValueError(f"A document has no id: {document.page_content[:40]!r}. Give each one, or use add_documents.")
    return document.id


@contextmanager
def _there() -> Iterator[None]:
    """Raise ValueError where what a search has found is not there."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"The index is damaged: its tables lack {error}, which a search finds. {REMEDY}") from error


def _copy(document: Document) -> Document:
    """Return a document that whoever searched may change."""
    # To copy each text and number would take ten times as long as this does.
    metadata = {key: value if type(value) in _PLAIN else deepcopy(value) for key, value in document.metadata.items()}
    return document.model_copy(update={"metadata": metadata})


def _in_memory(state: _State) -> tuple[Mapping[str, Document], Vectors]:
    """Return documents and vectors that can be changed here."""
    if not isinstance(state.vectors, Vectors):
        raise ValueError("This store is part of a large index on disk. Change it with Index.add, update or delete.")
    return state.documents, state.vectors


def _search(
    state: _State, vector: ArrayLike, k: int, filter: Filter | None, ids: Collection[str] | None = None
) -> list[tuple[str, float]]:
    if filter is not None:
        among = state.documents if ids is None else {id_: state.documents[id_] for id_ in ids if id_ in state.documents}
        ids = matching_ids(among, filter)
    return state.vectors.search(vector, k, ids=ids)


def _without(state: _State, ids: Iterable[str]) -> tuple[Mapping[str, Document], Vectors]:
    documents, vectors = _in_memory(state)
    gone = set(ids)
    return {id_: document for id_, document in documents.items() if id_ not in gone}, vectors.removing(gone)
