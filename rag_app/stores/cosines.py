"""What LangChain's vector stores have in common where scores are cosines."""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Self
from uuid import uuid4

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from numpy.typing import ArrayLike, NDArray

from rag_app.filters import Filter


class CosineStore(VectorStore):
    """A store that keeps normalised vectors and filters by `rag_app.filters`.

    Args:
        embedding: Embeds texts and questions.
    """

    def __init__(self, embedding: Embeddings) -> None:
        self._embedding = embedding

    @property
    def embeddings(self) -> Embeddings:
        """The embeddings the store was made with."""
        return self._embedding

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Embed texts and add them; see `add_vectors`."""
        contents = list(texts)
        metadatas = [{} for _ in contents] if metadatas is None else metadatas
        ids = [str(uuid4()) for _ in contents] if ids is None else [id_ or str(uuid4()) for id_ in ids]
        documents = [
            Document(page_content=text, metadata=deepcopy(metadata), id=id_)  # the caller may change theirs
            for text, metadata, id_ in zip(contents, metadatas, ids, strict=True)
        ]
        return self.add_vectors(documents, self._embedding.embed_documents(contents)) if documents else []

    @property
    @abstractmethod
    def documents(self) -> Mapping[str, Document]:
        """The documents by id; `rag_app.filters.matching_ids` finds those that a filter keeps."""

    @property
    @abstractmethod
    def dimension(self) -> int | None:
        """The number of dimensions, None until there is a first vector."""

    @property
    @abstractmethod
    def at_once(self) -> int:
        """How many threads that search side by side are faster than fewer."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def values(self, key: str) -> list[str]:
        """Return the different texts that documents have under a key of their metadata, in order."""

    @abstractmethod
    def vectors(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the unit vectors of known ids, ``(n, dim)``.

        Raises:
            KeyError: An id is not in the store.
        """

    @abstractmethod
    def search_vector(
        self, vector: ArrayLike, k: int = 4, *, filter: Filter | None = None, ids: Collection[str] | None = None
    ) -> list[tuple[str, float]]:
        """Return ids and cosines of the k nearest documents, nearest first, equal cosines by id."""

    @abstractmethod
    def add_vectors(self, documents: Sequence[Document], vectors: ArrayLike) -> list[str]:
        """Add documents whose vectors are known, replacing those of the same ids; return the ids.

        Args:
            documents: Each with an id.
            vectors: ``(n, dim)``, of any length.

        Raises:
            ValueError: A document has no id, a vector is not finite, or the shape does not fit.
        """

    @abstractmethod
    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the k nearest documents with their cosines, nearest first."""

    @abstractmethod
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
        """Return k of the fetch_k nearest documents, near to the vector and far from each other."""

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the k nearest documents with their cosines, -1 to 1; higher is nearer."""
        return self.similarity_search_with_score_by_vector(self._embedding.embed_query(query), k, filter=filter)

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filter | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return the k documents nearest to a vector."""
        return [document for document, _ in self.similarity_search_with_score_by_vector(embedding, k, filter=filter)]

    def similarity_search(
        self, query: str, k: int = 4, *, filter: Filter | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return the k documents nearest to a question."""
        return [document for document, _ in self.similarity_search_with_score(query, k, filter=filter)]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return k of the fetch_k documents nearest to a question, far from each other."""
        vector = self._embedding.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, filter=filter)

    def _select_relevance_score_fn(self) -> Any:
        return lambda cosine: min(1.0, max(0.0, (1.0 + cosine) / 2.0))

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Return a new store holding the texts."""
        store = cls(embedding)
        store.add_texts(texts, metadatas, ids=ids)
        return store


class NoEmbeddings(Embeddings):
    """Stands in where only stored vectors are looked at."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Refuse."""
        raise NotImplementedError

    def embed_query(self, text: str) -> list[float]:
        """Refuse."""
        raise NotImplementedError


def diverse(query: NDArray[np.float32], vectors: NDArray[np.float32], share: float, k: int) -> list[int]:
    """Return the places of k vectors, chosen one by one for being near to the query and far from those chosen.

    Carbonell and Goldstein, "The Use of MMR", SIGIR 1998. LangChain's function takes no zero vectors, which texts have
    in which there is nothing to embed.

    Args:
        query: ``(dim,)``, of length 1 or 0.
        vectors: ``(n, dim)``, likewise; not empty.
        share: How much nearness counts, 0 to 1.
        k: At most this many.
    """
    near, between = vectors @ query, vectors @ vectors.T
    chosen = [int(near.argmax())] if k > 0 else []
    while 0 < len(chosen) < min(k, len(vectors)):
        gains = share * near - (1 - share) * between[chosen].max(axis=0)
        gains[chosen] = -np.inf
        chosen.append(int(gains.argmax()))
    return chosen
