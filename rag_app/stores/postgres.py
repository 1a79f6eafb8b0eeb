"""An index in PostgreSQL: ``postgresql://[USER[:PASSWORD]@]HOST[:5432]/DATABASE/NAME[?sslmode=require]``.

NAME is a schema of the database, with these tables in it:

- ``passages``: texts, vectors and metadata. langchain-postgres creates it (`PGEngine`), in the layout of its
  `PGVectorStore`, and the HNSW index over its vectors (`HNSWIndex`).
- ``postings``: for each unit that the analyses find, in which passages it is, some hundred to a row; see
  `rag_app.stores.postings`. PostgreSQL has no BM25, and its text search wants all words of a question.
- ``state``: the manifest, and what BM25 has to know of all passages.

All else is SQL of our own, through psycopg: a passage, its words and the statistics must change in one transaction,
filters must mean what they mean elsewhere, and `PGVectorStore` keeps one connection and writes one row at a time.

``vectors="exact"`` compares all vectors; ``"auto"`` asks an HNSW index, which takes at most 2,000 dimensions.
"""

import asyncio
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any, NamedTuple, Self, TypeVar
from uuid import uuid4

import numpy as np
import psycopg
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_postgres import Column, PGEngine
from langchain_postgres.v2.async_vectorstore import AsyncPGVectorStore
from langchain_postgres.v2.indexes import DistanceStrategy, HNSWIndex
from numpy.typing import ArrayLike, NDArray
from psycopg import sql
from psycopg.types.json import Jsonb
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from rag_app.filters import Filter
from rag_app.lexical import LexicalHit
from rag_app.stores.address import Address
from rag_app.stores.cosines import NoEmbeddings
from rag_app.stores.postgres_connections import Connection, Connections
from rag_app.stores.postgres_filters import INDEXED, TRUE, Condition, index_expression, sql_filter
from rag_app.stores.postings import (
    POSTING,
    Statistics,
    Term,
    highest_score,
    pack_postings,
    score_postings,
    stored_term,
    unpack_postings,
)
from rag_app.stores.server import Row, Scope, ServerStore
from rag_app.vectors import unit_rows

T = TypeVar("T")
_HNSW = HNSWIndex(m=24, ef_construction=200, distance_strategy=DistanceStrategy.INNER_PRODUCT)  # finds zero vectors too
_MOST_DIMENSIONS = 2000  # of an HNSW index
_EF_SEARCH = 400
_MOST_EF_SEARCH = 1000
_KEEPS_FEW = 0.3
"""A filter that keeps a smaller share of the passages is not for the index."""
_SAMPLED = 2000
"""Of about so many passages that share is estimated."""
_PAGE = 1000
_DEEP = 4000  # candidates whose metadata is looked at before that of all is


class _Old(NamedTuple):
    """A passage that goes.

    Attributes:
        key: Its number.
        batch: The write that it came with.
        units: By analysis, joined by spaces.
        first: Whether it is the first of an article.
    """

    key: int
    batch: int
    units: dict[str, str]
    first: bool


class Store(ServerStore):
    """Passages in PostgreSQL; see the module."""

    def __init__(self, address: Address, embedding: Embeddings) -> None:
        super().__init__(address, embedding)
        self._schema = address.name
        self._do = Connections(address)
        self._values: dict[str, tuple[tuple[str, int], list[str]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**{name: value for name, value in vars(self).items() if name != "analyses"}, "_values": {}}

    @property
    def patience(self) -> float:
        """For how many seconds a server that does not answer is asked again."""
        return self._do.patience

    @patience.setter
    def patience(self, seconds: float) -> None:
        self._do.patience = seconds

    # The life of an index

    def manifest(self) -> dict[str, Any]:
        """Return what the index was begun with."""
        return dict(json.loads(self._do(lambda c: self._row(c, "SELECT manifest FROM {}.state"))[0]))

    def begin(self, manifest: Mapping[str, Any]) -> Self:
        """Return a new, empty index that nobody sees under the address, or the one that was begun with the same."""
        if manifest["vectors"] not in ("auto", "exact"):
            raise ValueError(f"PostgreSQL has no vectors of the form {manifest['vectors']!r}. Take auto or exact.")
        dimension = int(manifest["model"]["dimension"])
        if manifest["vectors"] == "auto" and dimension > _MOST_DIMENSIONS:
            raise ValueError(
                f"pgvector has no HNSW index over {dimension} dimensions, at most {_MOST_DIMENSIONS}. "
                "Take vectors='exact', or a model with fewer."
            )
        self._do(self._check_ours)
        draft = type(self)(self.address, self._embedding)
        draft._schema = _aside(self.address.name)

        def begin(connection: Connection) -> None:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_number(draft._schema)])  # who begins it is alone
            if not draft._is_begun_with(manifest):
                draft._create(dimension)
                draft._create_beside(connection, manifest)

        self._do(begin)
        return draft

    def _is_begun_with(self, manifest: Mapping[str, Any]) -> bool:
        """Whether there is one already; asked in a transaction of its own, so that it can be dropped then."""
        try:
            return bool(self.manifest() == json.loads(json.dumps(manifest)))
        except FileNotFoundError:
            return False

    def _create(self, dimension: int) -> None:
        """Make the schema anew, and the table of langchain-postgres in it."""

        def empty(connection: Connection) -> None:
            self._execute(connection, "DROP SCHEMA IF EXISTS {} CASCADE")
            self._execute(connection, "CREATE SCHEMA {}")

        self._do(empty)

        async def create(engine: PGEngine) -> None:
            await engine.ainit_vectorstore_table(
                "passages",
                dimension,
                schema_name=self._schema,
                id_column=Column("id", 'TEXT COLLATE "C"', nullable=False),
                content_column="content",
                embedding_column="embedding",
                metadata_columns=[
                    Column("metadata", "JSONB", nullable=False),
                    Column("key", "BIGINT GENERATED ALWAYS AS IDENTITY UNIQUE", nullable=False),
                    Column("batch", "BIGINT", nullable=False),
                    Column("units", "TEXT", nullable=False),
                ],
                store_metadata=False,
                overwrite_existing=True,  # it may be there, and the answer lost
            )

        self._with_engine(create)

    def _create_beside(self, connection: Connection, manifest: Mapping[str, Any]) -> None:
        for statement in (
            'CREATE TABLE {}.postings (analysis TEXT COLLATE "C", unit TEXT COLLATE "C", batch BIGINT, postings BYTEA '
            "NOT NULL, PRIMARY KEY (analysis, unit, batch))",
            "ALTER TABLE {}.postings ALTER COLUMN postings SET STORAGE EXTERNAL",
            # In the row: comparing all is three times as fast as with vectors beside it, and its cost is known.
            "ALTER TABLE {}.passages ALTER embedding SET STORAGE MAIN, ALTER metadata SET STORAGE MAIN",
            "CREATE TABLE {}.state (manifest TEXT, build TEXT, passages BIGINT, articles BIGINT, lengths JSONB, "
            "changes BIGINT)",
            "CREATE SEQUENCE {}.batches",
            *(f"CREATE INDEX ON {{}}.passages (({index_expression(key)}))" for key in INDEXED),
        ):
            self._execute(connection, statement)
        state = [json.dumps(manifest), uuid4().hex]
        self._execute(connection, "INSERT INTO {}.state VALUES (%s, %s, 0, 0, '{{}}', 0)", state)

    def publish(self) -> None:
        """Let what was begun take the place, in one step, of the index that has the address, which goes."""
        name, draft = self.address.name, self._schema
        if draft == name:
            raise FileNotFoundError(f"{self.address} was not begun. Begin it, then publish what begin returned.")
        manifest, build = self._do(lambda c: self._row(c, "SELECT manifest, build FROM {}.state"))
        if json.loads(manifest)["vectors"] == "auto":
            self._with_engine(self._index_vectors)
        self._do(self._analyze)

        def swap(connection: Connection) -> None:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_number(draft)])
            if not _exists(connection, draft):
                published = type(self)(self.address, NoEmbeddings())
                if published._row(connection, "SELECT build FROM {}.state")[0] == build:
                    return  # by an earlier try of this call
            self._check_ours(connection)
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))
            names = sql.Identifier(draft), sql.Identifier(name)
            connection.execute(sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(*names))

        self._do(swap)
        self._schema = name

    def drop(self) -> None:
        """Delete the index of the address, and what was begun and not published; nothing if there is none."""

        def drop(connection: Connection) -> None:
            self._check_ours(connection)
            for name in (self.address.name, _aside(self.address.name)):
                connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))

        self._do(drop)

    def _check_ours(self, connection: Connection) -> None:
        name = self.address.name
        there = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [name]).fetchone()
        if there and not _exists(connection, name):
            raise FileExistsError(f"{self.address} is a schema with something else in it. Choose another name.")

    def _has_index(self) -> bool:
        asked = "SELECT EXISTS (SELECT FROM pg_indexes WHERE schemaname = %s AND indexname = 'nearest')"
        return bool(self._do(lambda c: _first(c.execute(asked, [self._schema])))[0])

    async def _index_vectors(self, engine: PGEngine) -> None:
        if self._has_index():
            return
        store = await AsyncPGVectorStore.create(
            engine,
            self._embedding,
            "passages",
            schema_name=self._schema,
            content_column="content",
            embedding_column="embedding",
            id_column="id",
        )
        await store.aapply_vector_index(_HNSW, "nearest")

    def _analyze(self, connection: Connection) -> None:
        for table in ("passages", "postings"):
            self._execute(connection, f"ANALYZE {{}}.{table}")

    def _with_engine(self, work: Callable[[PGEngine], Any]) -> None:
        """Let langchain-postgres do something, in an event loop of its own that ends with it."""
        parameters = self._do.parameters(timeout=0)
        parameters["options"] += " -c maintenance_work_mem=512MB"
        names = {"username": "user", "password": "password", "host": "host", "port": "port", "database": "dbname"}
        url = URL.create("postgresql+psycopg", **{ours: parameters.pop(theirs, None) for ours, theirs in names.items()})

        async def run() -> None:
            engine = create_async_engine(url, poolclass=NullPool, connect_args=parameters)
            try:
                await work(PGEngine.from_engine(engine))
            finally:
                await engine.dispose()

        def attempt(connection: Connection) -> None:
            try:
                with ThreadPoolExecutor(1) as pool:  # the caller's thread may have a loop that runs
                    pool.submit(asyncio.run, run()).result()
            except DBAPIError as error:
                raise error.orig or error from None

        self._do(attempt)

    # Writing

    def upsert(self, rows: Sequence[Row]) -> None:
        """Write passages, replacing those of the same ids; of rows with the same id, the last is written."""
        rows = [row for _, row in sorted({str(row.passage.id): row for row in rows}.items())]
        stored = [
            (
                row.passage.id,
                row.passage.page_content,
                row.vector,
                Jsonb(_told(row.passage), str),
                json.dumps(dict(row.units), ensure_ascii=False),
            )
            for row in rows
        ]

        def write(connection: Connection) -> None:
            old = self._remove(connection, [str(row.passage.id) for row in rows])
            batch = int(self._row(connection, "SELECT nextval('{}.batches')")[0])
            names = sql.Identifier(self._schema)
            copied = sql.SQL(
                "COPY {}.passages (id, content, embedding, metadata, units, batch) FROM STDIN (FORMAT BINARY)"
            )
            with connection.cursor() as cursor:
                with cursor.copy(copied.format(names)) as copy:
                    copy.set_types(["text", "text", "vector", "jsonb", "text", "int8"])
                    for row in stored:
                        copy.write_row((*row, batch))
                keys = dict(self._rows(connection, "SELECT id, key FROM {}.passages WHERE batch = %s", [batch]))
                postings = pack_postings((keys[str(row.passage.id)], row.units) for row in rows)
                copied = sql.SQL("COPY {}.postings FROM STDIN (FORMAT BINARY)")
                with cursor.copy(copied.format(names)) as copy:
                    copy.set_types(["text", "text", "int8", "bytea"])
                    for (analysis, unit), packed in sorted(postings.items()):
                        copy.write_row((analysis, unit, batch, packed))
            self._count(connection, [(row.units, _is_first(row.passage.metadata)) for row in rows], old)

        if rows:
            self._do(write)

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete passages by id, or all when ids is None; unknown ids change nothing."""

        def remove(connection: Connection) -> None:
            if ids is not None:
                self._count(connection, [], self._remove(connection, sorted(set(ids))))
                return
            self._execute(connection, "TRUNCATE {0}.passages, {0}.postings")
            self._execute(
                connection, "UPDATE {}.state SET passages = 0, articles = 0, lengths = '{{}}', changes = changes + 1"
            )

        self._do(remove)
        return True

    def _remove(self, connection: Connection, ids: Sequence[str]) -> list[_Old]:
        """Delete passages and their postings, and return what there was."""
        asked = "SELECT key, batch, units, metadata FROM {}.passages WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
        old = [
            _Old(key, batch, json.loads(units), _is_first(metadata))
            for key, batch, units, metadata in self._rows(connection, asked, [ids])
        ]
        if not old:
            return old
        keys = np.array([one.key for one in old])
        self._execute(connection, "DELETE FROM {}.passages WHERE key = ANY(%s)", [keys.tolist()])
        where = {
            (*stored_term((name, unit)), one.batch)
            for one in old
            for name, joined in one.units.items()
            for unit in joined.split()
        }
        found = self._rows(
            connection,
            "SELECT p.analysis, p.unit, p.batch, p.postings FROM unnest(%s::text[], %s::text[], %s::bigint[]) "
            "AS gone (analysis, unit, batch) JOIN {}.postings p USING (analysis, unit, batch) "
            "ORDER BY p.analysis, p.unit, p.batch FOR UPDATE OF p",
            _columns(sorted(where)),
        )
        left: list[tuple[Any, ...]] = []
        every = unpack_postings(b"".join(row[3] for row in found))
        stays, end = ~np.isin(every["key"], keys), 0  # all at once: one by one takes 10 times as long
        for analysis, unit, batch, packed in found:
            begin, end = end, end + len(packed) // POSTING.itemsize
            left.append((analysis, unit, batch, every[begin:end][stays[begin:end]].tobytes()))
        some = _columns([row for row in left if row[3]], 4)
        self._execute(
            connection,
            "UPDATE {}.postings p SET postings = gone.postings FROM unnest(%s::text[], %s::text[], %s::bigint[], "
            "%s::bytea[]) AS gone (analysis, unit, batch, postings) WHERE p.analysis = gone.analysis AND "
            "p.unit = gone.unit AND p.batch = gone.batch",
            some,
        )
        self._execute(
            connection,
            "DELETE FROM {}.postings p USING unnest(%s::text[], %s::text[], %s::bigint[]) "
            "AS gone (analysis, unit, batch) WHERE p.analysis = gone.analysis AND p.unit = gone.unit "
            "AND p.batch = gone.batch",
            _columns([row[:3] for row in left if not row[3]]),
        )
        return old

    def _count(
        self, connection: Connection, new: Sequence[tuple[Mapping[str, str], bool]], old: Sequence[_Old]
    ) -> None:
        """Bring the statistics in line; last in a transaction, as other writers wait for it from here on.

        Args:
            connection: In a transaction.
            new: The units of each passage that came, and whether it is the first of an article.
            old: The passages that went.
        """
        asked = "SELECT passages, articles, lengths FROM {}.state FOR UPDATE"
        passages, articles, lengths = self._row(connection, asked)
        for sign, some in ((1, new), (-1, [(one.units, one.first) for one in old])):
            passages += sign * len(some)
            for units, first in some:
                articles += sign * first
                for name, joined in units.items():
                    lengths[name] = lengths.get(name, 0) + sign * len(joined.split())
        self._execute(
            connection,
            "UPDATE {}.state SET passages = %s, articles = %s, lengths = %s::jsonb, changes = changes + 1",
            [passages, articles, json.dumps(lengths)],
        )

    # Reading

    def count(self, filter: Mapping[str, Any] | None = None) -> int:
        """Return how many passages there are, or how many a filter keeps."""
        if filter is None:
            return int(self._do(lambda c: self._row(c, "SELECT passages FROM {}.state"))[0])
        keeps = sql_filter(filter)
        return int(self._read("SELECT count(*) FROM {}.passages WHERE {where}", keeps.parameters, keeps)[0][0])

    def count_articles(self) -> int:
        """Return how many articles there are."""
        return int(self._do(lambda c: self._row(c, "SELECT articles FROM {}.state"))[0])

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the passages with these ids in the order asked, leaving out unknown ids."""
        asked = "SELECT id, content, metadata FROM {}.passages WHERE id = ANY(%s)"
        found = {row[0]: row for row in self._read(asked, [_storable(ids)])}
        return [_document(found[id_]) for id_ in ids if id_ in found]

    def known(self, ids: Collection[str]) -> set[str]:
        """Return which of these ids there are."""
        return {row[0] for row in self._read("SELECT id FROM {}.passages WHERE id = ANY(%s)", [_storable(ids)])}

    def scan(self, filter: Mapping[str, Any] | None = None) -> Iterator[Document]:
        """Yield all passages, or those that a filter keeps, some at a time, in the order of their ids."""
        keeps, last = sql_filter(filter), ""
        asked = "SELECT id, content, metadata FROM {}.passages WHERE id > %s AND {where} ORDER BY id LIMIT %s"
        while found := self._read(asked, [last, *keeps.parameters, _PAGE], keeps):
            yield from map(_document, found)
            last = found[-1][0]

    def values(self, key: str) -> list[str]:
        """Return the different texts that passages have under a key of their metadata, in order."""
        state = self._read("SELECT build, changes FROM {}.state", [])[0]
        if key not in self._values or self._values[key][0] != state:
            asked = (
                'SELECT DISTINCT told COLLATE "C" FROM (SELECT metadata -> %s::text AS value FROM {}.passages) AS p, '
                "LATERAL (SELECT value #>> '{{}}' WHERE jsonb_typeof(value) = 'string' UNION ALL "
                "SELECT item #>> '{{}}' FROM jsonb_array_elements(CASE jsonb_typeof(value) WHEN 'array' THEN value "
                "ELSE '[]' END) AS item WHERE jsonb_typeof(item) = 'string') AS texts (told) ORDER BY 1"
            )
            self._values[key] = state, [row[0] for row in self._read(asked, [key])]
        return list(self._values[key][1])

    def vectors(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the unit vectors of known ids, ``(n, dim)``."""
        asked = "SELECT id, embedding FROM {}.passages WHERE id = ANY(%s)"
        found = dict(self._read(asked, [_storable(ids)]))
        if missing := [id_ for id_ in ids if id_ not in found]:
            raise KeyError(f"{self.address} holds no passage {missing[0]}")
        return np.array([found[id_] for id_ in ids], np.float32).reshape(len(ids), -1)

    def search_vector(
        self, vector: ArrayLike, k: int = 4, *, filter: Filter | None = None, ids: Collection[str] | None = None
    ) -> list[tuple[str, float]]:
        """Return ids and cosines of the k nearest passages, nearest first, equal cosines by id."""
        if k < 1 or (ids is not None and not isinstance(ids, Scope) and not ids):
            return []
        query = unit_rows(np.asarray(vector, np.float32)[np.newaxis])[0]
        keeps = _scope(filter, ids)
        exact = (
            "SELECT id, -(embedding <#> %s::vector) AS cosine FROM {}.passages WHERE {where} "
            "ORDER BY cosine DESC, id LIMIT %s"
        )  # no order that the index has, so that it is not taken
        with_index = (
            "SELECT id, -distance FROM (SELECT id, embedding <#> %s::vector AS distance FROM {}.passages WHERE {where} "
            "ORDER BY distance FETCH FIRST %s ROWS WITH TIES) AS near ORDER BY distance, id LIMIT %s"
        )

        def search(connection: Connection) -> list[tuple[str, float]]:
            if (ids is None or isinstance(ids, Scope)) and (wide := self._width(connection, k, keeps)):
                connection.execute(f"SET LOCAL hnsw.ef_search = {wide}")
                connection.execute("SET LOCAL enable_seqscan = off")  # it is taken for cheaper, and is not
                connection.execute("SET LOCAL enable_bitmapscan = off")
                found = self._rows(connection, with_index, [query, *keeps.parameters, k, k], keeps)
                if len(found) == k:
                    return found  # else a filter kept too few of the nearest
                connection.execute("SET LOCAL enable_seqscan = on")
                connection.execute("SET LOCAL enable_bitmapscan = on")
            return self._rows(connection, exact, [query, *keeps.parameters, k], keeps)

        return [(id_, float(cosine)) for id_, cosine in self._do(search)]

    def _width(self, connection: Connection, k: int, keeps: Condition) -> int:
        """Return how many passages the index should look at; 0 if all are to be compared.

        All are compared where there is no index, where more are wanted than it gives, and where a filter keeps few, as
        it finds too few of those: of a hundredth of 100,000 passages, 92% of the nearest ten.
        """
        if k > _MOST_EF_SEARCH:
            return 0
        manifest, passages = self._row(connection, "SELECT manifest, passages FROM {}.state")
        if json.loads(manifest)["vectors"] != "auto":
            return 0
        if keeps.parameters:
            asked = "SELECT count(*), count(*) FILTER (WHERE {where}) FROM {}.passages TABLESAMPLE SYSTEM (%s)"
            share = min(100.0, 100 * _SAMPLED / max(1, passages))
            (seen, kept), *_ = self._rows(connection, asked, [*keeps.parameters, share], keeps)
            if kept <= _KEEPS_FEW * seen:
                return 0
        return max(_EF_SEARCH, min(8 * k, _MOST_EF_SEARCH))

    def search_units(
        self, terms: Mapping[Term, float], k: int, *, ids: Collection[str] | None = None
    ) -> list[LexicalHit]:
        """Return the k passages with the highest BM25 scores, best first, equal scores by id."""
        if k < 1 or (ids is not None and not isinstance(ids, Scope) and not ids):
            return []
        among = _scope(None, ids)

        def search(connection: Connection) -> list[LexicalHit]:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            statistics = Statistics(*self._row(connection, "SELECT passages, lengths FROM {}.state"))
            if ids is None or isinstance(ids, Scope):
                found, bound = self._score_all(connection, terms, statistics)
            else:
                found, bound = self._score_named(connection, terms, statistics, _storable(ids))
            keys, scores = found
            for keep in (max(_DEEP, 4 * k), len(keys)):
                places = _best(scores, keep if among.parameters else k)
                names = self._named(
                    connection, keys[places], among, few=len(places) < len(keys) or not among.parameters
                )
                hits = [
                    (names[key], float(score))
                    for key, score in zip(keys[places].tolist(), scores[places], strict=True)
                    if key in names
                ]
                if len(hits) >= k or len(places) == len(keys):
                    break
            hits.sort(key=lambda hit: (-hit[1], hit[0]))
            return [LexicalHit(id_, score, min(1.0, score / bound)) for id_, score in hits[:k]]

        return self._do(search)

    def score_units(self, terms: Mapping[Term, float], id_: str) -> dict[Term, float]:
        """Return what each unit of a question adds to a passage's BM25 score; 0 if the passage lacks it."""

        def score(connection: Connection) -> dict[Term, float]:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            statistics = Statistics(*self._row(connection, "SELECT passages, lengths FROM {}.state"))
            frequencies = self._frequencies(connection, terms)
            postings = self._postings_of(connection, terms, _storable([id_]))
            alone = ({term: weight} for term, weight in terms.items())
            found = (score_postings(postings, term, frequencies, statistics)[1] for term in alone)
            return {term: float(scores.sum()) for term, scores in zip(terms, found, strict=True)}

        return self._do(score)

    def _score_all(
        self, connection: Connection, terms: Mapping[Term, float], statistics: Statistics
    ) -> tuple[tuple[NDArray[np.int64], NDArray[np.float32]], float]:
        """Return keys and scores of all passages with a unit of the question, and the highest score it could reach."""
        found = self._rows(
            connection,
            "SELECT analysis, unit, string_agg(postings, '') FROM unnest(%s::text[], %s::text[]) "
            "AS asked (analysis, unit) JOIN {}.postings USING (analysis, unit) GROUP BY analysis, unit",
            _columns(sorted({stored_term(term) for term in terms}), 2),
        )
        postings = {(analysis, unit): unpack_postings(packed) for analysis, unit, packed in found}
        frequencies = {term: len(some) for term, some in postings.items()}
        bound = highest_score(terms, frequencies, statistics.passages)
        return score_postings(postings, terms, frequencies, statistics), bound

    def _score_named(
        self, connection: Connection, terms: Mapping[Term, float], statistics: Statistics, ids: Sequence[str]
    ) -> tuple[tuple[NDArray[np.int64], NDArray[np.float32]], float]:
        """Likewise for a few passages, whose units are counted anew rather than looked for among all."""
        frequencies = self._frequencies(connection, terms)
        postings = self._postings_of(connection, terms, ids)
        bound = highest_score(terms, frequencies, statistics.passages)
        return score_postings(postings, terms, frequencies, statistics), bound

    def _frequencies(self, connection: Connection, terms: Mapping[Term, float]) -> dict[Term, int]:
        """Return in how many passages units are."""
        counted = self._rows(
            connection,
            "SELECT analysis, unit, sum(octet_length(postings)) FROM unnest(%s::text[], %s::text[]) "
            "AS asked (analysis, unit) JOIN {}.postings USING (analysis, unit) GROUP BY analysis, unit",
            _columns(sorted({stored_term(term) for term in terms}), 2),
        )
        return {(analysis, unit): int(size) // POSTING.itemsize for analysis, unit, size in counted}

    def _postings_of(
        self, connection: Connection, terms: Mapping[Term, float], ids: Sequence[str]
    ) -> dict[Term, NDArray[np.void]]:
        """Return the postings of units in a few passages."""
        rows = self._rows(connection, "SELECT key, units FROM {}.passages WHERE id = ANY(%s)", [ids])
        packed = pack_postings(((key, json.loads(units)) for key, units in rows), terms.keys())
        return {term: unpack_postings(some) for term, some in packed.items()}

    def _named(self, connection: Connection, keys: NDArray[np.int64], among: Condition, *, few: bool) -> dict[int, str]:
        """Return the ids of passages by key, those left out that a condition does not keep."""
        if few:
            asked = "SELECT key, id FROM {}.passages WHERE key = ANY(%s) AND {where}"
            return dict(self._rows(connection, asked, [keys.tolist(), *among.parameters], among))
        return dict(self._rows(connection, "SELECT key, id FROM {}.passages WHERE {where}", among.parameters, among))

    # Statements: {} is the schema, {where} a condition

    def _read(self, statement: str, parameters: Sequence[Any], where: Condition = TRUE) -> list[tuple[Any, ...]]:
        return self._do(lambda connection: self._rows(connection, statement, parameters, where))

    def _rows(
        self, connection: Connection, statement: str, parameters: Sequence[Any] = (), where: Condition = TRUE
    ) -> list[tuple[Any, ...]]:
        return self._execute(connection, statement, parameters, where).fetchall()

    def _row(self, connection: Connection, statement: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
        return _first(self._execute(connection, statement, parameters))

    def _execute(
        self, connection: Connection, statement: str, parameters: Sequence[Any] = (), where: Condition = TRUE
    ) -> psycopg.Cursor[tuple[Any, ...]]:
        query = sql.SQL(statement).format(sql.Identifier(self._schema), where=sql.SQL(f"({where.sql})"))
        return connection.cursor(binary=True).execute(query, parameters or None)


def _first(cursor: psycopg.Cursor[tuple[Any, ...]]) -> tuple[Any, ...]:
    row = cursor.fetchone()
    if row is None:
        raise psycopg.errors.UndefinedTable("It has no state.")
    return row


def _exists(connection: Connection, schema: str) -> bool:
    """Whether a schema holds an index."""
    asked = "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = %s AND tablename = 'state')"
    return bool(_first(connection.execute(asked, [schema]))[0])


def _aside(name: str) -> str:
    """Return where an index is begun: a name that no address can have, and that PostgreSQL does not cut."""
    return f"{name[:40]}~{sha256(name.encode()).hexdigest()[:16]}"


def _number(name: str) -> int:
    return int.from_bytes(sha256(name.encode()).digest()[:8], signed=True)


def _scope(filter: Filter | None, ids: Collection[str] | None) -> Condition:
    """Return the condition of a filter and of ids."""
    if callable(filter):
        raise ValueError("PostgreSQL cannot run a function as a filter. Give conditions, such as {'section': '경제'}")
    conditions = [sql_filter(filter)] if filter else []
    if isinstance(ids, Scope):
        conditions.append(sql_filter(ids.filter))
    elif ids is not None:
        conditions.append(Condition("id = ANY(%s)", [_storable(ids)]))
    told = " AND ".join(f"({condition.sql})" for condition in conditions) or "TRUE"
    return Condition(told, [parameter for condition in conditions for parameter in condition.parameters])


def _best(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the places of the k highest scores, and of all that equal the lowest of them."""
    if k >= len(scores):
        return np.arange(len(scores))
    return np.flatnonzero(scores >= np.partition(scores, -k)[-k])


def _columns(rows: Sequence[Sequence[Any]], width: int = 3) -> list[list[Any]]:
    return [[row[place] for row in rows] for place in range(width)]


def _is_first(metadata: Mapping[str, Any]) -> bool:
    return bool(metadata.get("start") == 0)


def _storable(ids: Collection[str]) -> list[str]:
    """Return ids without those that PostgreSQL could not hold."""
    return [id_ for id_ in ids if "\0" not in id_]


def _told(passage: Document) -> str:
    try:
        return json.dumps(passage.metadata, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The metadata of {passage.id} cannot be stored as JSON: {error}") from None


def _document(row: Sequence[Any]) -> Document:
    id_, content, metadata = row
    return Document(page_content=content, metadata=metadata, id=id_)
