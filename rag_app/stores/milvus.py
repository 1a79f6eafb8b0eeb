"""An index in Milvus: ``milvus://[USER:PASSWORD@]HOST[:19530]/[DATABASE/]COLLECTION[?tls=1]``."""

import json
import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from time import monotonic, sleep
from typing import Any, Self, TypeVar

import grpc
import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_milvus import BM25BuiltInFunction
from numpy.typing import ArrayLike, NDArray
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import ErrorCode, MilvusException

from rag_app.filters import Filter, check_filter, texts_of
from rag_app.forking import Lock, survives_fork
from rag_app.lexical import FIELDS, K1, LexicalHit
from rag_app.stores.address import Address
from rag_app.stores.bm25_bound import SAMPLE, Frequencies
from rag_app.stores.milvus_filters import all_of, among, filter_expression, literal, none_of
from rag_app.stores.milvus_rows import BYTES, ID_BYTES, document_of, metadata_of, record, spelt
from rag_app.stores.server import Row, Scope, ServerStore
from rag_app.vectors import unit_rows

_B = 0.75  # with `K1`, what BM25 of `rag_app.lexical` has
_KEPT = "korean_rag"  # the property with the manifest
_RETIRED = "korean_rag_retired"  # the property of what has been replaced and not been dropped yet
_PAGE = 1000  # rows that are asked for at once
_NAMED = 200  # texts that are named in an expression beside others
_MOST = 16_384  # hits that Milvus returns at most
_DEEPER = 50  # hits of each analysis beyond twice those that are wanted
_SENT = 16_000_000  # bytes that are written at once, about
_CONNECTING = 5  # seconds
_ANSWERING = 120  # seconds for one request
_YOUNG = 300  # seconds for which what others may have changed is kept: values, and how frequent units are
_COUNTED = 10  # seconds for which the number of passages is believed
_ALL, _OWN = "Strong", "Session"  # what a read sees at once: what anybody wrote, or what this process did
_NOT_LOADED = 101
_GRAPH = {"M": 32, "efConstruction": 200}
_EFFORT = (256, 512)  # ``ef`` at least, and with a filter: of one that keeps a tenth it finds 0.996 instead of 0.99
_LEXICAL = (2, 5)  # the first version that has BM25
T = TypeVar("T")


class Store(ServerStore):
    """Passages in a Milvus collection, with their vectors and the units of their words.

    **What comes from where.** Of langchain-milvus come the BM25 functions. Its vector store does not fit: it inserts
    where a row may be there already, which Milvus then keeps twice; it embeds what it upserts by itself; it lists no
    ids beside scores and gets no documents by id. Those calls go to the ``MilvusClient`` that it is made of, too.

    **How it is kept.** Each row has ``id``, ``text``, ``metadata`` (JSON, all of which can be filtered by), ``doc_id``
    and ``start`` (those of the metadata, in indexed columns, as articles are found and counted by them), ``vector``
    and, for each analysis, a text field with its units and a sparse field that Milvus makes of it. Vectors have length
    1 and are compared by inner product, which is their cosine. ``vectors`` of the manifest: ``"exact"`` compares all
    (``FLAT``); ``"auto"`` is ``HNSW`` (M 32) on a server, and ``FLAT`` on Milvus Lite, whose ``HNSW`` finds too little
    under a filter that few passages pass. A collection has the name of the index and a digest of its manifest; the name
    of the index itself is an alias, which `publish` moves in one step.

    **Consistency.** Counts, `known` and `scan`, by which is decided what to write, are ``Strong``: they see whatever
    anybody wrote before, for which Milvus waits until its next tick of time, 0.2 seconds. Searches and `get_by_ids` are
    ``Session``: they see at once what this process wrote, and what others wrote once a tick has passed.

    **BM25.** Milvus counts for itself: in how many passages a unit stands, how many there are and how long they are.
    Each analysis is a request; what only one of them proposed is scored by the other too, so that a score never depends
    on which proposed it. `rag_app.lexical.LexicalHit.coverage` divides by the highest score the question could reach,
    for which Milvus tells no frequencies: they are estimated from up to 5,000 passages, read once and kept for five
    minutes, or until there is a tenth more or less. Milvus before 2.5 has no BM25: there only vectors are searched, and
    asking for words is a ValueError. Milvus Lite counts in each of its segments for itself, so its scores are only
    nearly those of a server.

    **Limits.** A text, or its units, have at most 65,535 bytes, some 9,000 Korean characters; so has the metadata.
    """

    def __init__(self, address: Address, embedding: Embeddings) -> None:
        super().__init__(address, embedding)
        if unknown := {name for name, _ in address.options} - {"tls"}:
            raise ValueError(f"{address} has unknown options: {', '.join(sorted(unknown))}. There is tls=1.")
        self._name = address.name
        self._collection = ""
        self._client: MilvusClient | None = None
        self._version: tuple[int, ...] = ()
        self._values: dict[str, tuple[float, list[str]]] = {}
        self._total: tuple[float, int] | None = None
        self._frequencies: tuple[float, int, Frequencies] | None = None
        self._lock = Lock()
        survives_fork(self)

    def after_fork(self) -> None:
        """Forget the connection, which is the parent's."""
        self._client = None

    def __getstate__(self) -> dict[str, Any]:
        return {"address": self.address, "embedding": self._embedding, "name": self._name}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(state["address"], state["embedding"])  # type: ignore[misc]
        self._name = state["name"]

    # The life of an index

    def manifest(self) -> dict[str, Any]:
        """Return what the index was begun with: a JSON object."""
        name, manifest = self._described(self._name)
        if name != self._collection:  # another index has taken the place
            self.forget()
            self._frequencies = None
            self._collection = name
        return manifest

    def begin(self, manifest: Mapping[str, Any]) -> Self:
        """Return a new, empty index, or go on with one; see `rag_app.stores.server.ServerStore.begin`."""
        if manifest["vectors"] not in ("exact", "auto"):
            raise ValueError(f"Milvus has no vectors of the form {manifest['vectors']!r}. Take exact or auto.")
        kept = json.dumps(manifest, ensure_ascii=False, sort_keys=True)
        base = f"{self.address.name}_{sha256(kept.encode()).hexdigest()[:12]}"
        published = self._published()
        name = base if base != published else f"{base}b"
        properties = self._properties(name)
        if _RETIRED in properties:
            self._drop(name)
        if _KEPT not in properties or _RETIRED in properties:
            self._create(name, manifest, kept)
        self._load(name)  # also where a kill came between
        draft = type(self)(self.address, self._embedding)
        draft._name = name
        return draft

    def publish(self) -> None:
        """Let what was begun take the place, in one step, of the index that has the address, which goes."""
        name, alias, old = self._name, self.address.name, self._published()
        if old == name:
            return
        self._ask(lambda client: client.flush(name, timeout=_ANSWERING))
        if old is None:
            self._ask(lambda client: client.create_alias(name, alias, timeout=_ANSWERING))
            return
        # Should it not be dropped, `begin` would take it for a draft of its manifest.
        self._ask(lambda client: client.alter_collection_properties(old, {_RETIRED: "1"}, timeout=_ANSWERING))
        self._ask(lambda client: client.alter_alias(name, alias, timeout=_ANSWERING))
        self._drop(old)

    @property
    def collection(self) -> str:
        """The name of the collection, or its alias."""
        return self._name

    def emptied(self) -> Self:
        """Return what was begun, as new: whatever is in it goes, also what is being imported."""
        manifest = self.manifest()
        self._drop(self._name)
        return self.begin(manifest)

    def see_imported(self) -> None:
        """Let what was imported be seen, which Milvus loads with the collection."""
        self._ask(lambda client: client.release_collection(self._name, timeout=_ANSWERING))
        self._load(self._name)

    def drop(self) -> None:
        """Delete the index of the address, and what was begun and not published; nothing if there is none."""
        if self._published() is not None:
            self._ask(lambda client: client.drop_alias(self.address.name, timeout=_ANSWERING))
        ours = re.compile(f"{self.address.name}_[0-9a-f]{{12}}b?")
        for name in self._ask(lambda client: client.list_collections(timeout=_ANSWERING)):
            if ours.fullmatch(name) and _KEPT in self._properties(name):
                self._drop(name)

    def _published(self) -> str | None:
        """Return the name of the collection that has the address; None if there is none.

        Raises:
            ValueError: A collection has the name of the index, which is others'.
        """
        try:
            name, _ = self._described(self.address.name)
        except FileNotFoundError:
            return None
        if name == self.address.name:
            raise ValueError(f"{self.address} is a collection that others made. Choose another name.")
        return name

    def _described(self, name: str) -> tuple[str, dict[str, Any]]:
        """Return the name of a collection, which may go by an alias, and its manifest."""
        found = self._describe(name)
        kept = found["properties"].get(_KEPT)
        if kept is None:
            raise ValueError(f"{self.address} is a collection that others made. Choose another name.")
        return str(found["collection_name"]), json.loads(kept)

    def _properties(self, name: str) -> dict[str, Any]:
        try:
            return dict(self._describe(name)["properties"])
        except FileNotFoundError:
            return {}

    def _describe(self, name: str) -> dict[str, Any]:
        return dict(self._ask(lambda client: client.describe_collection(name, timeout=_ANSWERING)))

    def _create(self, name: str, manifest: Mapping[str, Any], kept: str) -> None:
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=ID_BYTES)
        schema.add_field("doc_id", DataType.VARCHAR, max_length=ID_BYTES)
        schema.add_field("start", DataType.INT64)
        schema.add_field("text", DataType.VARCHAR, max_length=BYTES)
        schema.add_field("metadata", DataType.JSON)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=manifest["model"]["dimension"])
        indexes = MilvusClient.prepare_index_params()
        words = self._word_fields()
        for field in ("doc_id", "start"):
            indexes.add_index(field, index_type="INVERTED" if words else "")  # before 2.4 there was one for each type
        if manifest["vectors"] == "exact" or self._is_lite():
            indexes.add_index("vector", index_type="FLAT", metric_type="IP")
        else:
            indexes.add_index("vector", index_type="HNSW", metric_type="IP", params=_GRAPH)
        for field in words:
            # Lite has no tokenizer for white space; of `spelt` units its own leaves what they are.
            tokenizer = {"tokenizer": "standard" if self._is_lite() else "whitespace"}
            bm25 = BM25BuiltInFunction(
                input_field_names=field,
                output_field_names=_sparse(field),
                analyzer_params=tokenizer,
                function_name=f"bm25_{field}",
            )
            schema.add_field(field, DataType.VARCHAR, max_length=BYTES, **bm25.get_input_field_schema_kwargs())
            schema.add_field(_sparse(field), DataType.SPARSE_FLOAT_VECTOR)
            schema.add_function(bm25.function)
            params = {"bm25_k1": K1, "bm25_b": _B}
            indexes.add_index(_sparse(field), index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", params=params)

        def create(client: MilvusClient) -> None:
            if not client.has_collection(name, timeout=_ANSWERING):
                properties = {_KEPT: kept}
                client.create_collection(
                    name,
                    schema=schema,
                    consistency_level="Strong",
                    properties=properties,
                    timeout=_ANSWERING,
                )
            client.create_index(name, indexes, timeout=_ANSWERING)

        self._ask(create)

    def _load(self, name: str) -> None:
        self._ask(lambda client: client.load_collection(name, timeout=_ANSWERING))

    def _drop(self, name: str) -> None:
        self._ask(lambda client: client.drop_collection(name, timeout=_ANSWERING))

    # Writing

    def upsert(self, rows: Sequence[Row]) -> None:
        """Write passages, replacing those of the same ids."""
        fields = self._word_fields()
        last = {str(row.passage.id): row for row in rows}  # in one request Milvus may keep both
        self._write([record(row, fields) for row in last.values()])
        self.forget()

    def _write(self, records: Sequence[dict[str, Any]]) -> None:
        """Write rows, as many at once as Milvus takes."""
        some: list[dict[str, Any]] = []
        size = 0
        for one in records:
            some.append(one)
            size += sum(len(v) * 4 for v in one.values() if isinstance(v, str | list))
            if size > _SENT or one is records[-1]:
                sent, some, size = some, [], 0
                self._asked("upsert", data=sent)

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete passages by id, or all when ids is None; unknown ids change nothing."""
        if ids is None:
            self._asked("delete", filter='id != ""')
        for some in _pages(ids or []):
            self._asked("delete", filter=among("id", some))
        self.count()  # waits: 2.3 tells no time of deletions, by which a ``Session`` would not see what is gone
        self.forget()
        return True

    # Reading

    @property
    def has_words(self) -> bool:
        """Whether words can be searched: by Milvus 2.5 or later."""
        return bool(self._word_fields())

    def count(self, filter: Mapping[str, Any] | None = None) -> int:
        """Return how many passages there are, or how many a filter keeps."""
        return self._counted(_filtered(filter))

    def copies(self, ids: Sequence[str]) -> int:
        """Return how many passages have one of some ids: more than there are ids if some were imported again."""
        return self._counted(among("id", ids))

    def _counted(self, where: str, level: str = _ALL) -> int:
        return int(self._query(where, ["count(*)"], level)[0]["count(*)"])

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the passages with these ids in the order asked, leaving out unknown ids."""
        found = {row["id"]: document_of(row) for row in self._rows(ids, ["text", "metadata"], _OWN)}
        return [found[id_] for id_ in ids if id_ in found]

    def known(self, ids: Collection[str]) -> set[str]:
        """Return which of these ids there are."""
        return {row["id"] for row in self._rows(list(ids), ["id"])}

    def scan(self, filter: Mapping[str, Any] | None = None) -> Iterator[Document]:
        """Yield all passages, or those that a filter keeps, some at a time, in the order of their ids."""
        return map(document_of, self._scan(_filtered(filter), ["text", "metadata"]))

    def values(self, key: str) -> list[str]:
        """Return the different texts that passages have under a key of their metadata, in order.

        Milvus lists none: pages of passages with other texts than those found so far are read until there is no more.
        What was found is kept until `forget`, as after a write of this store; otherwise for five minutes.
        """
        kept = self._values  # another one once something was written meanwhile
        known = kept.get(key)
        if known and monotonic() - known[0] < _YOUNG:
            return known[1]
        field, last, found = f"metadata[{literal(key)}]", "", set[str]()
        while True:
            unseen = none_of(field, sorted(found)[:_NAMED])
            where = all_of([f"exists {field}", unseen, f"id > {literal(last)}" if last else ""])
            rows = self._query(where, ["id", "metadata"], limit=_PAGE, iterator="True")
            for row in rows:
                found |= texts_of(metadata_of(row).get(key))
            if len(rows) < _PAGE:
                kept[key] = monotonic(), sorted(found)
                return kept[key][1]
            last = rows[-1]["id"]

    def vectors(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the unit vectors of known ids, ``(n, dim)``."""
        found = self._vectors(ids)
        return np.array([found[id_] for id_ in ids], dtype=np.float32)

    def search_vector(
        self, vector: ArrayLike, k: int = 4, *, filter: Filter | None = None, ids: Collection[str] | None = None
    ) -> list[tuple[str, float]]:
        """Return ids and cosines of the k nearest passages, nearest first, equal cosines by id."""
        query = unit_rows(np.asarray(vector, dtype=np.float32)[np.newaxis])[0]
        if k < 1 or (ids is not None and not isinstance(ids, Scope) and not ids):
            return []
        if ids is None or isinstance(ids, Scope):
            where = all_of([_filtered(_conditions(filter)), _filtered(ids.filter) if isinstance(ids, Scope) else ""])
            effort = max(2 * min(k, _MOST), _EFFORT[bool(where)])
            search = {"metric_type": "IP", "params": {"ef": effort}}
            hits = self._search("vector", query.tolist(), k, where, search)
        else:
            known = self._vectors(list(ids) if filter is None else self._kept(filter, ids))
            hits = {id_: float(np.dot(query, other)) for id_, other in known.items()}
        return sorted(hits.items(), key=lambda hit: (-hit[1], hit[0]))[:k]

    def search_units(
        self, terms: Mapping[tuple[str, str], float], k: int, *, ids: Collection[str] | None = None
    ) -> list[LexicalHit]:
        """Return the k passages with the highest BM25 scores, best first, equal scores by id."""
        if not self.has_words:
            version = ".".join(map(str, self._version))
            raise ValueError(
                f"{self.address} is Milvus {version}, which has no BM25. Search by vectors alone (weights lexical 0, "
                "dense 1), or take Milvus 2.5 or later."
            )
        if isinstance(ids, Scope):
            where = _filtered(ids.filter)
        elif ids is None:
            where = ""
        elif ids:
            where, k = among("id", ids), min(k, len(ids))
        else:
            return []
        questions = _questions(terms)
        deep = k if len(questions) == 1 else 2 * k + _DEEPER  # the best of the sum may be the best of neither
        found = {field: self._search_words(field, asked, deep, where) for field, (asked, _) in questions.items()}
        proposed = {id_ for hits in found.values() for id_ in hits}
        for field, (asked, _) in questions.items():
            if len(found[field]) >= deep and (others := sorted(proposed - found[field].keys())):
                found[field] |= self._search_words(field, asked, len(others), among("id", others))
        scores = {
            id_: sum(weight * found[field].get(id_, 0.0) for field, (_, weight) in questions.items())
            for id_ in proposed
        }
        best = sorted(scores.items(), key=lambda hit: (-hit[1], hit[0]))[:k]
        bound = self._upper_bound(terms) if best else 1.0
        return [LexicalHit(id_, score, min(1.0, score / bound)) for id_, score in best]

    def score_units(self, terms: Mapping[tuple[str, str], float], id_: str) -> dict[tuple[str, str], float]:
        """Return what each unit of a question adds to a passage's BM25 score; 0 if the passage lacks it."""
        scores = dict.fromkeys(terms, 0.0)
        params: dict[str, Any] = {"metric_type": "BM25", "params": {}}
        for field in self._word_fields():
            if units := [unit for name, unit in terms if name == field]:
                asked = [spelt(unit) for unit in units]  # each a question of its own, in one request
                found = self._search_each(_sparse(field), asked, 1, among("id", [id_]), params)
                for unit, hits in zip(units, found, strict=True):
                    scores[field, unit] = terms[field, unit] * abs(hits.get(id_, 0.0))
        return scores

    def _search_words(self, field: str, asked: str, k: int, where: str) -> dict[str, float]:
        found = self._search(_sparse(field), asked, k, where, {"metric_type": "BM25", "params": {}})
        return {id_: abs(score) for id_, score in found.items() if score}  # Lite tells them below 0, as distances

    def _search(self, field: str, asked: Any, k: int, where: str, params: Mapping[str, Any]) -> dict[str, float]:
        return self._search_each(field, [asked], k, where, params)[0]

    def _search_each(
        self, field: str, asked: Sequence[Any], k: int, where: str, params: Mapping[str, Any]
    ) -> list[dict[str, float]]:
        """Return the scores of the best hits of each question, by id."""
        found = self._asked(
            "search",
            consistency_level=_OWN,
            data=list(asked),
            anns_field=field,
            limit=min(k, _MOST),
            filter=where,
            search_params=params,
            output_fields=["id"],
        )
        return [{str(hit["id"]): float(hit["distance"]) for hit in hits} for hits in found]

    def _upper_bound(self, terms: Mapping[tuple[str, str], float]) -> float:
        now, counted = monotonic(), self._total
        if counted is None or now - counted[0] > _COUNTED:
            counted = self._total = now, self._counted("", _OWN)
        total = counted[1]
        known = self._frequencies
        if known is None or now - known[0] > _YOUNG or abs(total - known[1]) > 0.1 * known[1]:
            known = self._frequencies = now, total, Frequencies.of(self._sampled())
        units = {(field, spelt(unit)): weight for (field, unit), weight in terms.items()}
        return known[2].upper_bound(units, total)

    def _sampled(self) -> Iterator[dict[str, str]]:
        """Yield the units of some passages, by analysis: ids begin with a hash of the text, so the first are any."""
        fields = self._word_fields()
        for number, row in enumerate(self._scan("", fields)):
            if number == SAMPLE:
                return
            yield {field: row[field] for field in fields}

    def forget(self) -> None:
        """Forget what is kept here of the passages; not how frequent units are, which a few passages change little."""
        self._values, self._total = {}, None

    def _vectors(self, ids: Sequence[str]) -> dict[str, Any]:
        return {row["id"]: row["vector"] for row in self._rows(ids, ["vector"], _OWN)}

    def _kept(self, filter: Filter, ids: Collection[str]) -> list[str]:
        kept, asked = _filtered(_conditions(filter)), (among("id", some) for some in _pages(list(ids)))
        return [row["id"] for some in asked for row in self._query(all_of([kept, some]), ["id"], _OWN)]

    def _rows(self, ids: Sequence[str], fields: Sequence[str], level: str = _ALL) -> Iterator[dict[str, Any]]:
        for some in _pages(list(dict.fromkeys(ids))):
            yield from self._query(among("id", some), fields, level)

    def _scan(self, where: str, fields: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield rows in the order of their ids, a page at a time; what is written meanwhile may be among them."""
        last = ""
        while True:
            page = all_of([where, f"id > {literal(last)}"])
            rows = self._query(page, ["id", *fields], limit=_PAGE, iterator="True")
            yield from rows
            if len(rows) < _PAGE:
                return
            last = rows[-1]["id"]

    def _query(self, where: str, fields: Sequence[str], level: str = _ALL, **kwargs: Any) -> list[dict[str, Any]]:
        asked = {"filter": where, "output_fields": list(fields), "consistency_level": level}
        return list(self._asked("query", **asked, **kwargs))

    # The connection

    def _word_fields(self) -> list[str]:
        """Return the analyses that the server can search."""
        if not self._version:
            found = self._ask(lambda client: str(client.get_server_version(timeout=_ANSWERING)))
            self._version = _version(found)
        return list(FIELDS) if self._is_lite() or self._version >= _LEXICAL else []

    def _is_lite(self) -> bool:
        return self._version[:1] == (0,)

    def _asked(self, method: str, **kwargs: Any) -> Any:
        """Ask for something of the collection; loads it if it is not."""

        def ask(client: MilvusClient) -> Any:
            return getattr(client, method)(self._name, timeout=_ANSWERING, **kwargs)

        try:
            return self._ask(ask)
        except _NotLoadedError:  # as after a restart
            self._load(self._name)
            return self._ask(ask)

    def _ask(self, ask: Callable[[MilvusClient], T]) -> T:
        """Ask the server, again if it does not answer.

        Raises:
            OSError: See `rag_app.stores.server.ServerStore`.
        """
        wait, until = 0.1, 0.0
        while True:
            asked = monotonic()
            try:
                return ask(self._connected())
            except (MilvusException, grpc.RpcError, grpc.FutureTimeoutError) as error:
                problem = self._problem(error, monotonic() - asked)
                until = until or monotonic() + self.patience
                if not isinstance(problem, ConnectionError) or monotonic() + wait > until:
                    raise problem from error
                self._disconnect()
            sleep(wait)
            wait = min(2 * wait, 2.0)

    def _connected(self) -> MilvusClient:
        with self._lock:
            if self._client is None:
                address = self.address
                # What goes wrong is raised; there is no need to log it with a traceback besides.
                logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
                host = f"[{address.host}]" if ":" in address.host else address.host
                scheme = "https" if ("tls", "1") in address.options else "http"
                self._client = MilvusClient(
                    f"{scheme}://{host}:{address.port or 19530}",
                    token=f"{address.user}:{address.password}" if address.user else "",
                    db_name=address.database,
                    timeout=_CONNECTING,
                    dedicated=True,
                )
            return self._client

    def _disconnect(self) -> None:
        """Let the next call connect anew; whoever is using the old connection goes on."""
        with self._lock:
            self._client = None

    def _problem(self, error: Exception, seconds: float) -> Exception:
        """Return what to raise, after so many seconds: without the password, and with what to do."""
        status, code = _grpc_status(error), getattr(error, "code", None)
        said = error.message if isinstance(error, MilvusException) else ""
        if status in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED) or "auth check" in said:
            return PermissionError(
                f"{self.address} lets nobody in with this name and password. Give them in the address: "
                "milvus://USER:PASSWORD@HOST:19530/COLLECTION"
            )
        # One that is starting gives up sooner: it is asked again.
        if status is grpc.StatusCode.DEADLINE_EXCEEDED and seconds > 0.9 * _ANSWERING:
            return TimeoutError(
                f"{self.address} did not answer within {_ANSWERING} seconds. It may be overloaded; try again later."
            )
        if code == ErrorCode.COLLECTION_NOT_FOUND or "can't find collection" in said:
            return FileNotFoundError(
                f"There is no index in {self.address}. Build one: rag-app index PATH... --index {self.address}"
            )
        if code == _NOT_LOADED:
            return _NotLoadedError(said)
        if status is not None or "connecting to server" in said or "closed channel" in said:
            return ConnectionError(
                f"{self.address} does not answer. Look whether Milvus runs there, and whether the address is right."
            )
        return OSError(f"{self.address} refuses: {said or error}")


class _NotLoadedError(RuntimeError):
    """The collection is not in the server's memory."""


def _sparse(field: str) -> str:
    return f"{field}_sparse"


def _questions(terms: Mapping[tuple[str, str], float]) -> dict[str, tuple[str, float]]:
    """Return, by analysis, the units as often as each counts, and what one counts."""
    by_field: dict[str, dict[str, float]] = {}
    for (field, unit), weight in terms.items():
        by_field.setdefault(field, {})[spelt(unit)] = weight
    questions = {}
    for field, weights in by_field.items():
        one = _common(weights.values())
        questions[field] = " ".join(" ".join([unit] * round(weight / one)) for unit, weight in weights.items()), one
    return questions


def _common(weights: Collection[float]) -> float:
    """Return the largest number of which some numbers are multiples, nearly."""
    least = min(weights)
    parts = (least / part for part in range(1, 100))
    return next((one for one in parts if all(abs(w / one - round(w / one)) < 1e-6 for w in weights)), least / 100)


def _conditions(filter: Filter | None) -> Mapping[str, Any] | None:
    if filter is None:
        return None
    check_filter(filter)
    if callable(filter):
        raise ValueError("A server cannot run a function as a filter. Give conditions on the metadata.")
    return filter


def _filtered(filter: Mapping[str, Any] | None) -> str:
    return filter_expression(filter) if filter else ""


def _pages(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + _PAGE] for start in range(0, len(ids), _PAGE))


def _version(text: str) -> tuple[int, ...]:
    """Return the numbers of a server's version; 0 in front for Lite, which is numbered otherwise."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", text)[:3])
    return (0, *numbers) if text.startswith("milvus_lite") else numbers  # the package of 2.3.5 says 2.3.5-lite


def _grpc_status(error: BaseException | None) -> grpc.StatusCode | None:
    """Return why a call failed, from the first of an error and its causes that says it."""
    seen: list[BaseException] = []  # pymilvus raises errors from themselves
    while error is not None and error not in seen:
        code = getattr(error, "code", None)
        status = code() if callable(code) else code
        if isinstance(status, grpc.StatusCode):
            return status
        seen.append(error)
        error = error.__context__ if error.__cause__ in (None, error) else error.__cause__
    return None
