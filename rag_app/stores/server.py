"""What a vector database has to offer for an index to live in it, and what LangChain asks of a store, made of that."""

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import ArrayLike, NDArray

from rag_app.documents import searchable_text
from rag_app.filters import Filter, check_filter
from rag_app.identity import describe_model
from rag_app.korean import analyzer, normalise_question
from rag_app.lexical import FIELDS, Analysis, LexicalHit, analysis, joined_units, korean_analyses, question_terms
from rag_app.stores.address import Address
from rag_app.stores.cosines import CosineStore, diverse
from rag_app.vectors import unit_rows

WRITTEN = 1000
"""How many passages are written at once at most."""
_AT_ONCE = 16  # twice as many questions a second as 4, 20 ms away; 32 would take as many connections


class Row(NamedTuple):
    """A passage as it is stored.

    Attributes:
        passage: With its id.
        vector: ``(dim,)`` float32, of length 1.
        units: What each analysis makes of it, joined by spaces.
    """

    passage: Document
    vector: NDArray[np.float32]
    units: Mapping[str, str]


def stored_rows(passages: Sequence[Document], vectors: ArrayLike, analyses: Mapping[str, Analysis]) -> list[Row]:
    """Return passages as they are stored; see `ServerStore.rows`."""
    texts = [searchable_text(passage) for passage in passages]
    units = zip(*(joined_units(analyse, texts) for analyse in analyses.values()), strict=True)
    found = (dict(zip(analyses, joined, strict=True)) for joined in units)
    return [Row(*row) for row in zip(passages, unit_rows(vectors), found, strict=True)]


class Scope(Collection[str]):
    """The passages that a filter keeps, which only the server knows: searches hand it the filter instead of ids."""

    def __init__(self, store: "ServerStore", filter: Mapping[str, Any]) -> None:
        self._store = store
        self.filter = filter

    def __len__(self) -> int:
        return self._store.count(self.filter)

    def __iter__(self) -> Iterator[str]:
        return (str(passage.id) for passage in self._store.scan(self.filter))

    def __contains__(self, id_: object) -> bool:
        return any(passage.id == id_ for passage in self._store.scan(self.filter))


class ServerDocuments(Mapping[str, Document]):
    """The passages on a server by id, fetched when they are asked for."""

    def __init__(self, store: "ServerStore") -> None:
        self._store = store

    def __len__(self) -> int:
        return self._store.count()

    def __getitem__(self, id_: str) -> Document:
        if found := self._store.get_by_ids([id_]):
            return found[0]
        raise KeyError(id_)

    def __iter__(self) -> Iterator[str]:
        return (str(passage.id) for passage in self._store.scan())

    def matching(self, filter: Filter) -> Scope:
        """Return the passages whose metadata matches; the server looks when it searches.

        Raises:
            ValueError: The filter is a function of the metadata, which the server cannot run, or names an unknown
                operator.
        """
        check_filter(filter)
        if callable(filter):
            raise ValueError(
                'A server cannot run a function as a filter. Give conditions, such as {"section": "경제", "date": '
                '{"$gte": "2025-01-01"}}'
            )
        return Scope(self._store, filter)


class ServerStore(CosineStore):
    """Passages on a server under one name, with their vectors and the units of their words.

    A subclass is one vector database. What is written is there for whoever reads afterwards; in other processes than
    the one that wrote it, searches and `get_by_ids` may take a moment longer to see it than counts, `known` and `scan`,
    which decide what is written. Every write can be done again without doing it twice: a passage is kept under its own
    id. A connection is made when it is first needed, and a store may be used from several threads; a process that forks
    makes connections of its own, as does a copy that was pickled.

    Reading and writing raise FileNotFoundError where there is no index of the name, ConnectionError where the server
    does not answer, after trying for some seconds, TimeoutError where it does not answer in time, and PermissionError
    where it lets nobody in. All of these say what to do. What else a server refuses may be another OSError.

    Attributes:
        address: Where the index lives.
        patience: For how many seconds a server that does not answer is asked again.
    """

    patience = 10.0

    def __init__(self, address: Address, embedding: Embeddings) -> None:
        super().__init__(embedding)
        self.address = address

    @cached_property
    def analyses(self) -> Mapping[str, Analysis]:
        """What takes passages and questions apart."""
        return korean_analyses(analyzer())

    def embedding_with(self, embedding: Embeddings) -> Self:
        """Return the same store with other embeddings; it makes connections of its own."""
        store = copy(self)
        store._embedding = embedding
        return store

    # The life of an index

    @abstractmethod
    def manifest(self) -> dict[str, Any]:
        """Return what the index was begun with: a JSON object."""

    @abstractmethod
    def begin(self, manifest: Mapping[str, Any]) -> Self:
        """Return a new, empty index that nobody sees under the address before it is published.

        One that was begun with the same manifest and not published, as after a kill, is gone on with.

        Args:
            manifest: A JSON object with ``model`` as of `rag_app.identity.describe_model`, and ``vectors``:
                ``"exact"`` or ``"auto"``.

        Raises:
            ValueError: There is no such form of vectors here.
        """

    @abstractmethod
    def publish(self) -> None:
        """Let what was begun take the place, in one step, of the index that has the address, which goes."""

    @abstractmethod
    def drop(self) -> None:
        """Delete the index of the address, and what was begun and not published; nothing if there is none."""

    # Writing

    @abstractmethod
    def upsert(self, rows: Sequence[Row]) -> None:
        """Write passages, replacing those of the same ids.

        Args:
            rows: At most `WRITTEN`, with different ids.
        """

    @abstractmethod
    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete passages by id, or all when ids is None; unknown ids change nothing."""

    def rows(self, passages: Sequence[Document], vectors: ArrayLike) -> list[Row]:
        """Return passages as they are stored.

        Args:
            passages: Normalised, each with an id.
            vectors: ``(n, dim)``, of any length.
        """
        return stored_rows(passages, vectors, self.analyses)

    def add_vectors(self, documents: Sequence[Document], vectors: ArrayLike) -> list[str]:
        """Add documents whose vectors are known, replacing those of the same ids, and return the ids.

        Where there is no index yet, one is made.
        """
        if any(not document.id for document in documents):
            raise ValueError("A document has no id. Give each one, or use add_documents.")
        matrix = unit_rows(vectors)
        if len(matrix) != len(documents):
            raise ValueError(f"Got {len(matrix)} vectors for {len(documents)} documents; give one for each document.")
        try:
            self.manifest()
        except FileNotFoundError:
            model = describe_model(self._embedding)
            self.begin({"model": model, "analysis": analysis(), "vectors": "auto"}).publish()
        last = {str(document.id): place for place, document in enumerate(documents)}
        places = list(last.values())
        for start in range(0, len(places), WRITTEN):
            some = places[start : start + WRITTEN]
            self.upsert(self.rows([documents[place] for place in some], matrix[some]))
        return [str(document.id) for document in documents]

    # Reading

    def forget(self) -> None:
        """Forget what is kept here of the passages, such as `values`, as others have written."""

    @property
    def documents(self) -> Mapping[str, Document]:
        """The passages by id, fetched when they are asked for."""
        return ServerDocuments(self)

    @property
    def has_words(self) -> bool:
        """Whether words can be searched; otherwise `search_units` is a ValueError."""
        return True

    @property
    def at_once(self) -> int:
        """How many threads that search side by side are faster than fewer: more than cores, as they wait."""
        return _AT_ONCE

    @property
    def dimension(self) -> int | None:
        """The number of dimensions of a vector."""
        return int(self.manifest()["model"]["dimension"])

    def __len__(self) -> int:
        return self.count()

    @abstractmethod
    def count(self, filter: Mapping[str, Any] | None = None) -> int:
        """Return how many passages there are, or how many a filter keeps."""

    def count_articles(self) -> int:
        """Return how many articles there are: each has one passage that begins where its text does."""
        return self.count({"start": 0})

    @abstractmethod
    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the passages with these ids in the order asked, leaving out unknown ids."""

    @abstractmethod
    def known(self, ids: Collection[str]) -> set[str]:
        """Return which of these ids there are."""

    @abstractmethod
    def scan(self, filter: Mapping[str, Any] | None = None) -> Iterator[Document]:
        """Yield all passages, or those that a filter keeps, some at a time, in the order of their ids."""

    @abstractmethod
    def values(self, key: str) -> list[str]:
        """Return the different texts that passages have under a key of their metadata, in order."""

    @abstractmethod
    def vectors(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the unit vectors of known ids, ``(n, dim)``.

        Raises:
            KeyError: An id is not there.
        """

    @abstractmethod
    def search_vector(
        self, vector: ArrayLike, k: int = 4, *, filter: Filter | None = None, ids: Collection[str] | None = None
    ) -> list[tuple[str, float]]:
        """Return ids and cosines of the k nearest passages, nearest first, equal cosines by id.

        Args:
            vector: ``(dim,)``, of any length.
            k: At most this many.
            filter: Only passages whose metadata matches.
            ids: Only these: a few hundred ids, which are compared exactly, or a `Scope`, whose filter is handed on.
        """

    @abstractmethod
    def search_units(
        self, terms: Mapping[tuple[str, str], float], k: int, *, ids: Collection[str] | None = None
    ) -> list[LexicalHit]:
        """Return the k passages with the highest BM25 scores, best first, equal scores by id.

        Args:
            terms: The weight of each unit of the question, by analysis and unit; at least one.
            k: At most this many; those without a unit of the question are not returned.
            ids: As for `search_vector`.
        """

    @abstractmethod
    def score_units(self, terms: Mapping[tuple[str, str], float], id_: str) -> dict[tuple[str, str], float]:
        """Return what each unit of a question adds to a passage's BM25 score; 0 if the passage lacks it.

        Args:
            terms: As for `search_units`.
            id_: The passage's.
        """

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the k nearest documents with their cosines; see `search_vector`."""
        found = dict(self.search_vector(embedding, k, filter=filter))
        return [(document, found[str(document.id)]) for document in self.get_by_ids(list(found))]

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
        candidates = [id_ for id_, _ in self.search_vector(embedding, max(k, fetch_k), filter=filter)]
        if not candidates:
            return []
        query = unit_rows(np.asarray(embedding)[np.newaxis])[0]
        chosen = diverse(query, self.vectors(candidates), lambda_mult, k)
        return self.get_by_ids([candidates[place] for place in chosen])

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        address: str = "",
        **kwargs: Any,
    ) -> Self:
        """Add texts to the index of an address, which is made if there is none."""
        store = cls(Address.parse(address), embedding)
        store.add_texts(texts, metadatas, ids=ids)
        return store


class ServerWords:
    """Lexical search over a server's passages: `rag_app.lexical.LexicalIndex`, as far as searching needs it."""

    def __init__(self, store: ServerStore) -> None:
        self._store = store

    @property
    def analyses(self) -> Mapping[str, Analysis]:
        """What takes passages and questions apart, by name."""
        return self._store.analyses

    def __len__(self) -> int:
        return len(self._store)

    def search(
        self, query: str, k: int, *, ids: Collection[str] | None = None, weights: Mapping[str, float] | None = None
    ) -> list[LexicalHit]:
        """Return the k passages with the highest BM25 scores, best first, equal scores by id."""
        terms = question_terms(self.analyses, normalise_question(query), FIELDS if weights is None else weights)
        return self._store.search_units(terms, k, ids=ids) if k > 0 and terms else []

    def unit_scores(
        self, query: str, id_: str, *, weights: Mapping[str, float] = FIELDS
    ) -> dict[tuple[str, str], float]:
        """Return what each unit of a question adds to a passage's BM25 score; 0 if the passage lacks it."""
        terms = question_terms(self.analyses, normalise_question(query), weights)
        return self._store.score_units(terms, id_) if terms else {}
