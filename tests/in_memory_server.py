"""A vector database in memory: what every server store has to do, in its plainest form, and made to fail at will."""

import copy
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from math import log
from typing import Any, Self

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import ArrayLike, NDArray

from rag_app.filters import Filter, matches, matching_ids, texts_of
from rag_app.lexical import K1, LexicalHit
from rag_app.stores import address as addresses
from rag_app.stores import servers
from rag_app.stores.address import Address
from rag_app.stores.server import WRITTEN, Row, Scope, ServerStore
from rag_app.vectors import unit_rows

_B = 0.75


@cache
def _counts(units: str) -> Counter[str]:
    return Counter(units.split())


class Table:
    """One index on a server: its manifest, and its rows by id."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self.manifest = json.dumps(manifest)
        self.rows: dict[str, Row] = {}


class Server:
    """What survives the processes that use it.

    Attributes:
        tables: The published indexes by name.
        drafts: Those that were begun.
        calls: What was asked of it, in order.
        fail: Called before each call is done, with its name; raises what is to go wrong.
        fail_after: Likewise once it is done: the answer is lost.
    """

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.drafts: dict[str, Table] = {}
        self.calls: list[str] = []
        self.fail: Callable[[str], None] = lambda call: None
        self.fail_after: Callable[[str], None] = lambda call: None


SERVERS: dict[str, Server] = {}


@pytest.fixture
def memory_server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """A new server at ``memory://here/NAME``."""
    return begin(monkeypatch)


def begin(monkeypatch: pytest.MonkeyPatch) -> Server:
    """Begin a server at ``memory://here/NAME``, for as long as what was patched stays."""
    monkeypatch.setitem(servers.STORES, "memory", servers.Server(__name__, "memory", ()))
    monkeypatch.setitem(addresses.EXAMPLES, "memory", "memory://here/NAME")
    monkeypatch.setitem(SERVERS, "here", server := Server())
    return server


class Store(ServerStore):
    """An index on a `Server`."""

    def __init__(self, address: Address, embedding: Embeddings, draft: Table | None = None) -> None:
        super().__init__(address, embedding)
        self._draft = draft

    @property
    def _server(self) -> Server:
        return SERVERS[self.address.host]

    def _call(self, name: str) -> Table:
        self._told(name)
        table = self._draft or self._server.tables.get(self.address.name)
        if table is None:
            raise FileNotFoundError(f"There is no index at {self.address}.")
        return table

    def _told(self, name: str) -> None:
        self._server.calls.append(name)
        self._server.fail(name)

    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads(self._call("manifest").manifest)
        return manifest

    def begin(self, manifest: Mapping[str, Any]) -> Self:
        self._told("begin")
        drafts, name = self._server.drafts, self.address.name
        if name not in drafts or drafts[name].manifest != json.dumps(manifest):
            drafts[name] = Table(manifest)
        return type(self)(self.address, self._embedding, drafts[name])

    def publish(self) -> None:
        self._told("publish")
        if self._draft is not None:
            self._server.tables[self.address.name] = self._draft
            self._server.drafts.pop(self.address.name, None)

    def drop(self) -> None:
        self._told("drop")
        self._server.tables.pop(self.address.name, None)
        self._server.drafts.pop(self.address.name, None)

    def upsert(self, rows: Sequence[Row]) -> None:
        table = self._call("upsert")
        assert len({row.passage.id for row in rows}) == len(rows) <= WRITTEN
        table.rows |= {str(row.passage.id): copy.deepcopy(row) for row in rows}
        self._server.fail_after("upsert")

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        table = self._call("delete")
        for id_ in list(table.rows) if ids is None else ids:
            table.rows.pop(id_, None)
        self._server.fail_after("delete")
        return True

    def count(self, filter: Mapping[str, Any] | None = None) -> int:
        return len(self._kept(self._call("count"), filter))

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        rows = self._call("get_by_ids").rows
        return [copy.deepcopy(rows[id_].passage) for id_ in ids if id_ in rows]

    def known(self, ids: Collection[str]) -> set[str]:
        return set(ids) & self._call("known").rows.keys()

    def scan(self, filter: Mapping[str, Any] | None = None) -> Iterator[Document]:
        kept = self._kept(self._call("scan"), filter)
        return (copy.deepcopy(kept[id_].passage) for id_ in sorted(kept))

    def values(self, key: str) -> list[str]:
        rows = self._call("values").rows.values()
        return sorted({text for row in rows for text in texts_of(row.passage.metadata.get(key))})

    def vectors(self, ids: Sequence[str]) -> NDArray[np.float32]:
        rows = self._call("vectors").rows
        return np.array([rows[id_].vector for id_ in ids], np.float32)

    def search_vector(
        self, vector: ArrayLike, k: int = 4, *, filter: Filter | None = None, ids: Collection[str] | None = None
    ) -> list[tuple[str, float]]:
        if filter is not None:
            ids = matching_ids(self.documents, filter)
        if k < 1 or (ids is not None and not isinstance(ids, Scope) and not ids):
            return []
        query = unit_rows(np.asarray(vector)[np.newaxis])[0]
        kept = self._among(self._call("search_vector"), ids)
        found = {id_: float(row.vector @ query) for id_, row in kept.items()}
        return sorted(found.items(), key=lambda hit: (-hit[1], hit[0]))[:k]

    def search_units(
        self, terms: Mapping[tuple[str, str], float], k: int, *, ids: Collection[str] | None = None
    ) -> list[LexicalHit]:
        if k < 1 or (ids is not None and not isinstance(ids, Scope) and not ids):
            return []
        scores, bound = self._score(self._call("search_units"), terms, ids)
        best = sorted(scores.items(), key=lambda hit: (-hit[1], hit[0]))[:k]
        return [LexicalHit(id_, score, min(1.0, score / bound)) for id_, score in best]

    def _score(
        self, table: Table, terms: Mapping[tuple[str, str], float], ids: Collection[str] | None
    ) -> tuple[dict[str, float], float]:
        """Return the scores of passages with a unit of the question, and the highest that it could reach."""
        counts = {id_: {name: _counts(units) for name, units in row.units.items()} for id_, row in table.rows.items()}
        lengths = {name: [found[name].total() for found in counts.values()] for name in self.analyses}
        scores: defaultdict[str, float] = defaultdict(float)
        bound = 0.0
        among = self._among(table, ids)
        for (name, unit), weight in terms.items():
            having = [id_ for id_, found in counts.items() if found[name][unit]]
            idf = log(1 + (len(counts) - len(having) + 0.5) / (len(having) + 0.5))
            bound += weight * (K1 + 1) * idf
            mean = sum(lengths[name]) / len(counts)
            for id_ in among.keys() & having:
                n, length = counts[id_][name][unit], counts[id_][name].total()
                scores[id_] += weight * idf * n * (K1 + 1) / (n + K1 * (1 - _B + _B * length / mean))
        return scores, bound

    def score_units(self, terms: Mapping[tuple[str, str], float], id_: str) -> dict[tuple[str, str], float]:
        table = self._call("score_units")
        alone = {term: self._score(table, {term: weight}, [id_])[0] for term, weight in terms.items()}
        return {term: scores.get(id_, 0.0) for term, scores in alone.items()}

    def _among(self, table: Table, ids: Collection[str] | None) -> dict[str, Row]:
        if ids is None or isinstance(ids, Scope):
            return self._kept(table, None if ids is None else ids.filter)
        return {id_: table.rows[id_] for id_ in ids if id_ in table.rows}

    @staticmethod
    def _kept(table: Table, filter: Mapping[str, Any] | None) -> dict[str, Row]:
        return {id_: row for id_, row in table.rows.items() if matches(row.passage.metadata, filter or {})}
