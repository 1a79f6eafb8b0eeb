"""Whether an index in a vector database is sound: every passage once, whole articles, vectors and words that find."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Any

import numpy as np
from langchain_core.documents import Document

from rag_app.documents import searchable_text
from rag_app.korean import normalise_question
from rag_app.lexical import FIELDS, question_terms
from rag_app.server_index import check_server_manifest
from rag_app.stores.address import Address
from rag_app.stores.server import WRITTEN, ServerStore, ServerWords
from rag_app.stores.servers import server_store
from rag_app.whole_article import is_whole

_log = logging.getLogger(__name__)
_NAMED = 5
"""How many of those with one thing wrong are named."""
_SAMPLED = 50
"""How many passages are asked for at most."""
_BEST = 10
_WORDS = 200  # characters


def check_server_index(address: Address) -> list[str]:
    """Return everything that is wrong with an index in a vector database, one sentence each; see `check_index`.

    Reads every passage and vector: that each passage is there once and each article whole, that vectors are of the
    model's dimension and of length 1 (or 0, of texts in which there is nothing to embed), that lexical search finds 25
    to 50 passages by their own words, and that this version can search it. What is written meanwhile may look broken.
    Where the database searches no words, such as Milvus before 2.5, that is logged as a warning and nothing wrong.

    Raises:
        FileNotFoundError: There is no index.
        ConnectionError: The database does not answer.
    """
    store = server_store(address)
    manifest = store.manifest()
    try:
        check_server_manifest(address, manifest)
    except ValueError as error:
        return [str(error)]
    found = _Found()
    articles = groupby(store.scan(), key=lambda passage: str(passage.metadata.get("doc_id")))
    for some in _some((list(passages) for _, passages in articles), WRITTEN):
        _check_articles(some, found)
        _check_vectors(store, [passage for passages in some for passage in passages], manifest, found)
    if (counted := store.count()) != found.passages:
        found.others.append(f"The database counts {counted} passages, and lists {found.passages}.")
    if store.has_words:
        _check_words(store, found)
    else:
        _log.warning("%s was not checked by words, which its database cannot search; it finds by vectors only", address)
    return found.problems()


class _Found:
    """What was found so far."""

    def __init__(self) -> None:
        self.passages = 0
        self._every = 1
        self.twice: list[str] = []
        self.broken: list[str] = []
        self.long: list[str] = []
        self.silent: list[str] = []
        self.others: list[str] = []
        self.sample: list[Document] = []

    def note(self, passage: Document) -> None:
        """Count a passage, and keep some from everywhere as a sample."""
        if self.passages % self._every == 0:
            self.sample.append(passage)
        if len(self.sample) > _SAMPLED:
            self.sample = self.sample[::2]
            self._every *= 2
        self.passages += 1

    def problems(self) -> list[str]:
        told = [
            (self.twice, "passages are there more than once. Delete their articles and add them again"),
            (self.broken, "articles are not whole. Add them again: what is missing is written"),
            (
                self.long,
                "vectors are missing, not normalised or of another dimension. Delete their articles and add them again",
            ),
            (self.silent, "passages are not found by their own words. Delete their articles and add them again"),
        ]
        return [f"{len(ids)} {what}: {_names(ids)}" for ids, what in told if ids] + self.others


def _check_articles(articles: Iterable[list[Document]], found: _Found) -> None:
    for passages in articles:
        counts = Counter(str(passage.id) for passage in passages)
        found.twice += [id_ for id_, count in counts.items() if count > 1]
        if not is_whole(passages):
            found.broken.append(str(passages[0].metadata.get("doc_id")))
        for passage in passages:
            found.note(passage)


def _check_vectors(store: ServerStore, passages: Sequence[Document], manifest: dict[str, Any], found: _Found) -> None:
    for some in _some(dict.fromkeys(str(passage.id) for passage in passages), WRITTEN):
        try:
            vectors = store.vectors(some)
        except KeyError as error:
            found.others.append(f"The passage {error} has no vector.")
            continue
        lengths = np.linalg.norm(vectors, axis=1)
        sound = (np.abs(lengths - 1) < 0.01) | (lengths == 0)
        sound &= vectors.shape[1] == manifest["model"]["dimension"]
        found.long += [some[place] for place in np.flatnonzero(~sound)]


def _check_words(store: ServerStore, found: _Found) -> None:
    """Ask for passages by how they begin: each is found, and is among the best ten if its score says so."""
    words = ServerWords(store)
    for passage in found.sample:
        question, id_ = searchable_text(passage)[:_WORDS], str(passage.id)
        if not question_terms(words.analyses, normalise_question(question), FIELDS):
            continue
        alone, best = words.search(question, 1, ids=[id_]), words.search(question, _BEST)
        listed = any(hit.id == id_ for hit in best)
        beaten = len(best) == _BEST and alone and alone[0].score <= 1.001 * best[-1].score
        if not alone or not (listed or beaten):
            found.silent.append(id_)


def _names(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_NAMED]) + (", ..." if len(ids) > _NAMED else "")


def _some(items: Iterable[Any], count: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while some := list(islice(rest, count)):
        yield some
