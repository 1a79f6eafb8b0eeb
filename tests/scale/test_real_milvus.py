"""The real Milvus 2.3.5, a server that searches by vectors alone; only with ``--torture``, as it takes minutes."""

from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from numpy.typing import NDArray
from pyarrow import parquet
from pymilvus import connections, utility
from pymilvus.client.cache import CollectionTsCache, GlobalCache

from rag_app.bulk.shards import Shards, begin_import, publish_import
from rag_app.documents import make_document
from rag_app.embeddings import load_embeddings
from rag_app.filters import matches, matching_ids
from rag_app.index import Index, open_index
from rag_app.server_index import new_manifest
from rag_app.stores.address import Address
from rag_app.stores.milvus import Store
from rag_app.stores.milvus_rows import import_table
from rag_app.stores.server import ServerStore
from tests.contract.test_index_places import FILTERS, IndexContract, Place, StoreContract
from tests.real_milvus import RealMilvus, real_milvus

pytestmark = pytest.mark.filterwarnings("ignore")  # pymilvus warns of the only call by which 2.3.5 imports
_WORDS = ("bigrams", "morphemes")  # the columns that 2.3.5 has no use for
_DIMENSION = 64
_NAMES = count()


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealMilvus]:
    if not request.config.getoption("--torture"):
        pytest.skip("takes minutes: only with --torture")
    with real_milvus(tmp_path_factory.mktemp("real-milvus")) as running, pytest.MonkeyPatch.context() as patch:
        patch.setattr("rag_app.retrieval.WEIGHTS", {"lexical": 0.0, "dense": 1.0})
        patch.setattr("tests.contract.test_index_places._passages", _passages)  # article by article takes minutes
        yield running


def _passages(index: Index) -> dict[str, Document]:
    store = index.snapshot.store
    found = store.scan() if isinstance(store, ServerStore) else store.documents.values()
    return {str(passage.id): passage for passage in found}


def _address(server: RealMilvus) -> Address:
    return Address.parse(server.address(f"news{next(_NAMES)}"))


class TestRealMilvus(IndexContract):
    """By vectors, it does what every place has to do."""

    scheme = "real"

    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, server: RealMilvus) -> Place:
        return Place(cls.scheme, lambda: _address(server))

    def test_words_find_what_they_find_in_a_folder(self, index: Index, folder: Index, questions: list[str]) -> None:
        with pytest.raises(ValueError, match=r"Milvus 2\.3\.5, which has no BM25"):
            index.snapshot.lexical.search(questions[0], 10)

    def test_what_each_unit_of_a_question_adds_sums_up_to_the_score(self, index: Index, questions: list[str]) -> None:
        """There are no words to score."""

    def test_nothing_is_found_among_nothing(self, index: Index) -> None:
        vector = load_embeddings().embed_query("쌀")
        for k, ids in ((0, None), (5, []), (5, ["unknown"])):
            assert index.snapshot.store.search_vector(vector, k, ids=ids) == []

    def test_filters_keep_exactly_what_matches(self, index: Index) -> None:
        store, passages = index.snapshot.store, _passages(index)
        for filter in FILTERS[::3]:
            wanted = {id_ for id_, passage in passages.items() if matches(passage.metadata, filter)}
            allowed = matching_ids(store.documents, filter)
            assert set(allowed) == wanted, filter
            assert len(allowed) == len(wanted), filter
            found = store.search_vector(load_embeddings().embed_query("기사"), len(passages), ids=allowed)
            assert {id_ for id_, _ in found} == wanted, filter


class TestStoreInRealMilvus(StoreContract):
    scheme = "real"

    @property
    def has_async(self) -> bool:
        """Asynchronous calls are the same in threads, and tested with Lite."""
        return False

    @pytest.fixture(scope="class")
    @classmethod
    def made(cls, server: RealMilvus) -> Store:
        store = Store(_address(server), cls.get_embeddings())
        store.begin({"model": {"dimension": 6}, "vectors": "exact"}).publish()
        return store

    @pytest.fixture
    def vectorstore(self, made: Store) -> Iterator[Store]:
        yield made
        made.delete()


def _vectors(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, _DIMENSION)).astype(np.float32)


def _store(server: RealMilvus) -> Store:
    store = Store(_address(server), DeterministicFakeEmbedding(size=_DIMENSION))
    store.begin({"model": {"dimension": _DIMENSION}, "vectors": "auto"}).publish()
    return store


def test_what_is_written_is_read_at_once(server: RealMilvus, monkeypatch: pytest.MonkeyPatch) -> None:
    """By searches of this process, and by all that decides what is written, of whatever process."""
    store, vectors = _store(server), _vectors(8)
    for n, vector in enumerate(vectors):
        passage = Document(id=f"{n:02}", page_content=f"{n}", metadata={"start": 0})
        store.upsert(store.rows([passage], vector[np.newaxis]))
        assert store.search_vector(vector, 1)[0][0] == passage.id
        assert store.get_by_ids([f"{n:02}"]) == [passage]
    store.delete(["00"])
    assert store.get_by_ids(["00"]) == []
    assert store.search_vector(vectors[0], 1)[0][0] != "00"
    store.upsert(store.rows([Document(id="00", page_content="0", metadata={"start": 0})], vectors[:1]))
    with monkeypatch.context() as elsewhere:
        ids = [f"{n:02}" for n in range(40)]
        asked = (store.count, store.count_articles, lambda: len(list(store.scan())), lambda: len(store.known(ids)))
        for n, vector in enumerate(vectors, len(vectors)):
            passage = Document(id=f"{n:02}", page_content=f"{n}", metadata={"start": 0})
            store.upsert(store.rows([passage], vector[np.newaxis]))
            elsewhere.setattr(GlobalCache, "collection_ts", CollectionTsCache())  # another process knows of no write
            assert asked[n % 4]() == n + 1
            elsewhere.undo()


def test_a_passage_is_kept_once_however_often_it_is_written(server: RealMilvus) -> None:
    store = _store(server)
    rows = store.rows([Document(id="하나", page_content="하나")], _vectors(1))
    store.upsert([*rows, *rows])
    store.upsert(rows)
    assert store.copies(["하나"]) == store.count() == len(list(store.scan())) == 1


def test_others_search_what_is_written_within_a_moment(server: RealMilvus, monkeypatch: pytest.MonkeyPatch) -> None:
    store, vectors, waited = _store(server), _vectors(10), []
    for n, vector in enumerate(vectors):
        store.upsert(store.rows([Document(id=f"{n}", page_content=f"{n}")], vector[np.newaxis]))
        written = monotonic()
        monkeypatch.setattr(GlobalCache, "collection_ts", CollectionTsCache())  # another process knows of no write
        while not store.get_by_ids([f"{n}"]):
            assert monotonic() < written + 10
        waited.append(monotonic() - written)
        assert store.search_vector(vector, 1)[0][0] == f"{n}"
    assert float(np.median(waited)) < 1


def test_a_graph_finds_nearly_all_of_the_nearest(server: RealMilvus) -> None:
    """As it is built and searched here; with the least effort it finds too little, so it is a graph that is asked."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(200, _DIMENSION))
    vectors = (centres[rng.integers(200, size=12_000)] + 0.7 * rng.normal(size=(12_000, _DIMENSION))).astype(np.float32)
    store = Store(_address(server), DeterministicFakeEmbedding(size=_DIMENSION))
    draft = store.begin({"model": {"dimension": _DIMENSION}, "vectors": "auto"})
    for start in range(0, len(vectors), 1000):
        passages = [
            Document(id=f"{n:05}", page_content=f"{n}", metadata={"part": n % 10}) for n in range(start, start + 1000)
        ]
        draft.upsert(draft.rows(passages, vectors[start : start + 1000]))
    draft.publish()
    _wait_for_graph(server, draft, len(vectors))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = centres[rng.integers(200, size=60)] + 0.7 * rng.normal(size=(60, _DIMENSION))
    parts = np.arange(len(vectors)) % 10
    found = {"all": 0, "part": 0, "least": 0}
    for query in (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32):
        near = np.argsort(-(units @ query))
        wanted = {f"{n:05}" for n in near[:10]}
        found["all"] += len(wanted & {id_ for id_, _ in store.search_vector(query, 10)})
        least = {"metric_type": "IP", "params": {"ef": 10}}
        found["least"] += len(wanted & store._search("vector", query.tolist(), 10, "", least).keys())
        wanted = {f"{n:05}" for n in near[parts[near] == 3][:10]}
        found["part"] += len(wanted & {id_ for id_, _ in store.search_vector(query, 10, filter={"part": 3})})
    assert found["all"] / 600 >= 0.98
    assert found["part"] / 600 >= 0.98
    assert found["least"] / 600 < 0.98


def _wait_for_graph(server: RealMilvus, store: Store, count: int) -> None:
    """Wait until the server has built the graphs of all it has, and searches by them."""
    connections.connect(str(server.port), uri=f"http://127.0.0.1:{server.port}")
    deadline = monotonic() + 60
    while True:
        segments = utility.get_query_segment_info(store.collection, using=str(server.port))
        if sum(segment.num_rows for segment in segments if segment.index_name) >= count:
            return
        assert monotonic() < deadline, segments
        sleep(0.2)


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(
    server: RealMilvus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "patience", 60)
    store, vectors = _store(server), _vectors(20)
    acknowledged: list[str] = []
    problems: list[BaseException] = []
    stop = Event()

    def write() -> None:
        try:
            while not stop.is_set():
                begun = len(acknowledged)
                passages = [Document(id=f"{n:06}", page_content=f"{n}") for n in range(begun, begun + 20)]
                store.upsert(store.rows(passages, vectors))
                acknowledged.extend(str(passage.id) for passage in passages)
        except BaseException as error:
            problems.append(error)

    writer = Thread(target=write)
    writer.start()
    try:
        _wait_for(acknowledged, 400, writer)
        server.kill()
        server.start()
        _wait_for(acknowledged, len(acknowledged) + 100, writer)
    finally:
        stop.set()
        writer.join()
    assert not problems
    found = Counter(str(passage.id) for passage in store.scan())
    assert found == Counter(acknowledged)
    assert store.count() == len(acknowledged)


def _wait_for(acknowledged: list[str], count: int, writer: Thread) -> None:
    deadline = monotonic() + 120
    while len(acknowledged) < count and writer.is_alive():
        assert monotonic() < deadline
        sleep(0.05)


def test_parquet_shards_are_imported_in_bulk(server: RealMilvus, tmp_path: Path) -> None:
    embeddings = load_embeddings()
    articles = [make_document(f"{n}번째 소식이다.", title=f"제목 {n}", section="경제") for n in range(100)]
    passages = [
        a.model_copy(update={"metadata": {**a.metadata, "start": 0, "end": len(a.page_content)}}) for a in articles
    ]
    store = Store(Address.parse("milvus://127.0.0.1/none"), embeddings)
    rows = store.rows(passages, embeddings.embed_documents([p.page_content for p in passages]))
    files = {"shard-00000.parquet": 50, "shard-00001.parquet": 50}
    place = server.folder / "shards"
    place.mkdir()
    for name, part in zip(files, (rows[:50], rows[50:]), strict=True):
        table = import_table(part).drop_columns(list(_WORDS))
        with parquet.ParquetWriter(place / name, table.schema) as writer:
            writer.write_table(table[:30])  # several row groups, as merged shards have
            writer.write_table(table[30:])
    manifest = new_manifest(embeddings, passage_chars=1200, vectors="auto", user_dictionary=None)
    shards = Shards(str(place), files, 100, manifest, [])
    address = _address(server)

    connections.connect(str(server.port), uri=f"http://127.0.0.1:{server.port}")
    collection = begin_import(shards, address)
    _import(server, collection, place / "shard-00000.parquet")
    with pytest.raises(ValueError, match="has 50 passages of 100"):
        publish_import(shards, address)
    _import(server, collection, place / "shard-00000.parquet")  # as many as there should be
    with pytest.raises(ValueError, match=r"of 50 passages of shard-00000\.parquet it has 100"):
        publish_import(shards, address)
    _import(server, collection, place / "shard-00001.parquet")
    with pytest.raises(ValueError, match="has 150 passages of 100"):
        publish_import(shards, address)
    assert begin_import(shards, address) == collection
    for name in files:
        _import(server, collection, place / name)
    publish_import(shards, address)
    index = open_index(address)
    assert (len(index), index.snapshot.manifest["documents"]) == (100, 100)
    assert index.snapshot.store.search_vector(rows[70].vector, 1)[0][0] == articles[70].id
    assert index.article(str(articles[3].id)).metadata["section"] == "경제"
    index.add([articles[3]])
    assert len(index) == 100


def _import(server: RealMilvus, collection: str, file: Path) -> None:
    task = utility.do_bulk_insert(collection, [str(file)], using=str(server.port))
    deadline = monotonic() + 60
    while (state := utility.get_bulk_insert_state(task, using=str(server.port))).state_name != "Completed":
        assert "Failed" not in state.state_name, state.failed_reason
        assert monotonic() < deadline
        sleep(0.1)
