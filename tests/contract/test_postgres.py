"""PostgreSQL behind the seam: what LangChain asks of a store, and where the scores, filters and writes could differ."""

import asyncio
import multiprocessing
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from rag_app.embeddings import load_embeddings
from rag_app.filters import matches
from rag_app.identity import describe_model
from rag_app.korean import analyzer, normalise_question
from rag_app.lexical import FIELDS, LexicalIndex, question_terms
from rag_app.server_index import new_manifest
from rag_app.stores.address import Address
from rag_app.stores.postgres import Store
from rag_app.stores.postgres_connections import Connections
from tests.postgres_server import USER, PostgresServer, postgres_server

TEXTS = (
    "누리호는 2023년 5월 25일 전남 고흥 나로우주센터에서 발사됐다.",
    "한국은행 금융통화위원회는 기준금리를 연 3.50%로 동결했다. 기준금리 동결은 세 번째다.",
    "프로야구 한국시리즈가 잠실구장에서 막을 올렸다.",
    "서울 아파트 매매 가격이 석 달째 올랐다고 한국부동산원이 밝혔다.",
    "기상청은 내일 전국에 비가 내리고 기온이 떨어진다고 예보했다. " * 12,
    "나로우주센터에서 누리호 4차 발사를 준비하고 있다. 누리호, 누리호!",
)
QUESTIONS = (
    "누리호는 언제 발사됐나요?",
    "기준금리가 동결됐나요?",
    "한국에서 무슨 일이 있었나?",
    "비가 오나요?",
    "없는말임",
)
VALUES: tuple[Any, ...] = (
    None,
    "",
    "경제",
    "사회",
    "a",
    "B",
    "가나다" * 100,
    "가나다" * 100 + "라",
    "'); DROP SCHEMA news CASCADE; --",
    "[경제]",
    0,
    1,
    2.5,
    -3,
    True,
    False,
    [],
    ["경제", 1],
    ["사회", None],
    {"a": 1},
)
WANTED: tuple[Any, ...] = (*VALUES, 1.0, "경제\0", float("nan"), float("inf"), "$1", "%s", "{}")
KEYS = ("section", "any")
"""One with an index, one without."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def store(server: PostgresServer) -> Iterator[Store]:
    store = Store(Address.parse(server.address("news")), load_embeddings("embedded"))
    yield store
    store.drop()


def passages(texts: tuple[str, ...] = TEXTS, **metadata: Any) -> list[Document]:
    return [Document(text, id=f"p{n}", metadata={"number": n, **metadata}) for n, text in enumerate(texts)]


def fill(store: Store, documents: list[Document], form: str = "exact") -> None:
    manifest = new_manifest(store.embeddings, passage_chars=1200, vectors=form, user_dictionary=None)
    draft = store.begin(manifest)
    draft.upsert(draft.rows(documents, store.embeddings.embed_documents([d.page_content for d in documents])))
    draft.publish()


def words(store: Store, question: str, **asked: Any) -> list[Any]:
    return store.search_units(question_terms(store.analyses, normalise_question(question), FIELDS), 10, **asked)


def same_scores(store: Store, texts: dict[str, str]) -> None:
    """Compare with an index of Tantivy's that was made of the same passages at once."""
    index = LexicalIndex.create(analyzer())
    index.add(texts, texts.values())
    index.commit()
    for question in QUESTIONS:
        wanted, found = index.search(question, 10), words(store, question)
        assert [hit.id for hit in found] == [hit.id for hit in wanted]
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in wanted], rel=1e-6)
        assert [hit.coverage for hit in found] == pytest.approx([hit.coverage for hit in wanted], rel=1e-6)


class TestStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, server: PostgresServer) -> Iterator[VectorStore]:
        store = Store(Address.parse(server.address("standard")), self.get_embeddings())
        store.begin({"model": describe_model(store.embeddings), "vectors": "auto"}).publish()
        yield store
        store.drop()


def test_scores_are_those_of_tantivy(store: Store) -> None:
    fill(store, passages())
    same_scores(store, {f"p{n}": text for n, text in enumerate(TEXTS)})


def test_statistics_stay_exact_when_passages_are_replaced_and_deleted(store: Store) -> None:
    fill(store, passages())
    other = [Document("누리호 이야기가 아니다. 기준금리 기준금리.", id="p0"), Document("새 글: 한국시리즈", id="p9")]
    store.add_vectors(other, store.embeddings.embed_documents([d.page_content for d in other]))
    store.delete(["p1", "p4", "unknown"])
    texts = {"p0": other[0].page_content, "p2": TEXTS[2], "p3": TEXTS[3], "p5": TEXTS[5], "p9": other[1].page_content}
    same_scores(store, texts)
    assert len(store) == 5
    store.delete(sorted(texts))
    left = store._do(lambda c: c.execute("SELECT count(*) FROM news.postings").fetchone())
    assert (len(store), left) == (0, (0,))
    assert words(store, QUESTIONS[0]) == []


def test_named_passages_have_the_scores_of_all(store: Store) -> None:
    fill(store, passages())
    for question in QUESTIONS:
        every = {hit.id: hit for hit in words(store, question)}
        some = words(store, question, ids=["p0", "p1", "p4", "unknown"])
        assert some == [hit for hit in every.values() if hit.id in {"p0", "p1", "p4"}]


@pytest.mark.parametrize("key", KEYS)
def test_filters_keep_what_they_keep_in_python(store: Store, key: str) -> None:
    documents = [Document("글", id=f"v{n}", metadata={key: value}) for n, value in enumerate(VALUES)]
    documents.append(Document("글", id="missing"))
    fill(store, documents)
    tried = 0
    for operator in ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin"):
        for wanted in WANTED:
            value = [wanted, "사회"] if operator in ("$in", "$nin") else wanted
            filter = {key: {operator: value}}
            try:
                kept = {passage.id for passage in store.scan(filter)}
            except ValueError:  # lists, and a text that no passage can have, are put in no order
                assert operator[:2] in ("$g", "$l")
                assert isinstance(wanted, list) or "\0" in wanted
                continue
            expected = {d.id for d in documents if matches(d.metadata, filter)}
            assert (kept, store.count(filter)) == (expected, len(expected)), filter
            tried += 1
    assert tried > 150


def test_a_key_of_a_filter_is_a_parameter_too(store: Store) -> None:
    key = "x' = 'x' OR TRUE); DROP SCHEMA news CASCADE; --"
    fill(store, [*passages()[:2], Document("글", id="odd", metadata={key: "{where} %s"})])
    assert [p.id for p in store.scan({key: "{where} %s"})] == ["odd"]
    assert store.count({key: {"$ne": "x"}}) == 3
    assert store.values(key) == ["{where} %s"]


@pytest.mark.parametrize("form", ["exact", "auto"])
def test_searches_hand_a_filter_on(store: Store, form: str) -> None:
    fill(store, [*passages(), Document("누리호", id="far", metadata={"section": ["과학", "우주"]})], form)
    query = store.embeddings.embed_query("누리호")
    scope = store.documents.matching({"section": {"$in": ["우주"]}})  # type: ignore[attr-defined]
    assert [id_ for id_, _ in store.search_vector(query, 5, ids=scope)] == ["far"]
    assert [id_ for id_, _ in store.search_vector(query, 5, filter={"number": {"$gt": 3}}, ids=["p0", "p5"])] == ["p5"]
    assert [hit.id for hit in words(store, "누리호", ids=scope)] == ["far"]
    assert {hit.id for hit in words(store, "누리호")} == {"far", "p0", "p5"}


@pytest.mark.parametrize("form", ["exact", "auto"])
def test_equal_cosines_are_put_in_order_by_id(store: Store, form: str) -> None:
    fill(store, [Document("다른 글", id="-")], form)
    for some in (("나", "b"), ("B", "가"), (*"zyx",)):  # one write puts its own in order
        documents = [Document("같은 글", id=id_) for id_ in some]
        store.add_vectors(documents, store.embeddings.embed_documents(["같은 글"] * len(some)))
    found = store.search_vector(store.embeddings.embed_query("같은 글"), 6)
    assert [id_ for id_, _ in found] == ["B", "b", "x", "y", "z", "가"]


def recorded_plans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the plan of each comparison of vectors from now on."""
    plans: list[str] = []
    execute = Store._execute

    def explaining(store: Store, connection: Any, statement: str, *rest: Any) -> Any:
        if "<#>" in statement:
            explained = execute(store, connection, f"EXPLAIN {statement}", *rest)
            plans.append("\n".join(line for (line,) in explained.fetchall()))
        return execute(store, connection, statement, *rest)

    monkeypatch.setattr(Store, "_execute", explaining)
    return plans


def test_the_index_finds_what_a_comparison_finds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(20, 256))
    vectors = centres[rng.integers(20, size=2000)] + 0.6 * rng.normal(size=(2000, 256))
    manifest = new_manifest(store.embeddings, passage_chars=1200, vectors="auto", user_dictionary=None)
    draft = store.begin(manifest)
    documents = [Document(f"글 {n}", id=f"{n:04}", metadata={"third": n % 3, "part": n % 40}) for n in range(2000)]
    for start in (0, 1000):
        draft.upsert(draft.rows(documents[start : start + 1000], vectors[start : start + 1000]))
    draft.publish()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    kept: list[tuple[dict[str, Any] | None, Any]] = [
        (None, np.arange(2000)),
        ({"third": 1}, np.arange(1, 2000, 3)),
        ({"part": 7}, np.arange(7, 2000, 40)),
    ]
    for filter, among in kept:
        hits = 0
        for query in vectors[:50]:
            nearest = among[np.argsort(-(unit[among] @ query))[:10]]
            found = store.search_vector(query, 10, filter=filter)
            assert len(found) == 10
            hits += len({f"{n:04}" for n in nearest} & {id_ for id_, _ in found})
        assert hits >= 0.98 * 500
    plans = recorded_plans(monkeypatch)
    for k in (1, 10, 30, 100, 200, 1000):
        assert len({id_ for id_, _ in store.search_vector(vectors[0], k)}) == k
    assert ["Index Scan using nearest" in plan for plan in plans] == [True] * 6
    plans.clear()
    for filter in ({"third": 1}, {"part": 7}):  # the one keeps enough for the index, the other does not
        assert len(store.search_vector(vectors[0], 10, filter=filter)) == 10
    assert ["Index Scan using nearest" in plan for plan in plans] == [True, False]
    assert len({id_ for id_, _ in store.search_vector(vectors[0], 1500)}) == 1500
    few = [f"{n:04}" for n in range(0, 2000, 20)]
    assert {id_ for id_, _ in store.search_vector(vectors[0], 100, ids=few)} == set(few)
    assert [id_ for id_, _ in store.search_vector(vectors[0], 3, filter={"third": 0}, ids=["0001", "0003"])] == ["0003"]


def test_what_a_filter_keeps_far_from_a_question_is_found(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where too few of the nearest are kept, all are compared; an index that goes on does not find the nearest."""
    rng = np.random.default_rng(5)
    near, far = (centre + 0.1 * rng.normal(size=(500, 16)) for centre in np.eye(16)[:2])
    store = Store(store.address, DeterministicFakeEmbedding(size=16))
    fill(store, passages()[:1], "auto")
    for name, some in (("near", near), ("far", far)):
        store.add_vectors([Document("글", id=f"{name}{n}", metadata={"part": name}) for n in range(500)], some)
    plans = recorded_plans(monkeypatch)
    for name, some, uses in (("near", near, [True]), ("far", far, [True, False])):
        nearest = np.argsort(-(some / np.linalg.norm(some, axis=1, keepdims=True))[:, 0])[:10]
        found = store.search_vector(np.eye(16)[0], 10, filter={"part": name})
        assert {id_ for id_, _ in found} == {f"{name}{n}" for n in nearest}
        assert ["Index Scan using nearest" in plan for plan in plans] == uses
        plans.clear()


def test_what_was_begun_is_unseen_gone_on_with_and_published_in_one_step(store: Store) -> None:
    store = Store(store.address, DeterministicFakeEmbedding(size=8))
    fill(store, passages()[:2])
    manifest = {**store.manifest(), "passage_chars": 600}
    rows = store.rows(passages(), store.embeddings.embed_documents(list(TEXTS)))
    store.begin(manifest).upsert(rows[:4])
    assert len(store) == 2
    draft = pickle.loads(pickle.dumps(store.begin(manifest)))
    assert draft.known([f"p{n}" for n in range(6)]) == {"p0", "p1", "p2", "p3"}
    assert len(store.begin({**manifest, "passage_chars": 700})) == 0, "another manifest begins anew"
    draft = store.begin(manifest)
    assert len(draft) == 0
    draft.upsert(rows)
    draft.publish()
    assert (len(store), store.manifest(), len(draft)) == (6, manifest, 6)


def test_another_schema_is_left_alone(server: PostgresServer) -> None:
    store = Store(Address.parse(server.address("public")), load_embeddings("embedded"))
    with pytest.raises(FileExistsError, match="something else"):
        fill(store, passages())
    with pytest.raises(FileExistsError, match="something else"):
        store.drop()


def test_names_that_begin_alike_are_not_confused(server: PostgresServer) -> None:
    stores = [Store(Address.parse(server.address("n" * 62 + end)), load_embeddings("embedded")) for end in "ab"]
    fill(stores[0], passages())
    fill(stores[1], passages()[:1])
    assert [len(store) for store in stores] == [6, 1]
    for store in stores:
        store.drop()
        with pytest.raises(FileNotFoundError, match="Build it"):
            store.manifest()


def test_writers_at_the_same_passages_lose_and_double_nothing(store: Store) -> None:
    fill(store, passages()[:1])
    rows = store.rows(passages(), store.embeddings.embed_documents(list(TEXTS)))
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: store.upsert(rows[n % 2 :] if n % 3 else rows[::-1]), range(18)))
    assert [p.id for p in store.scan()] == [f"p{n}" for n in range(6)]
    same_scores(store, {f"p{n}": text for n, text in enumerate(TEXTS)})


def test_a_passage_that_is_given_twice_is_written_once(store: Store) -> None:
    fill(store, passages()[:1])
    first, last = (store.rows([Document(text, id="p0")], np.ones((1, 256)))[0] for text in (TEXTS[0], TEXTS[1]))
    store.upsert([first, last])
    assert [(p.id, p.page_content) for p in store.scan()] == [("p0", TEXTS[1])]
    same_scores(store, {"p0": TEXTS[1]})


def test_articles_are_counted_as_they_come_and_go(store: Store) -> None:
    def counted() -> tuple[int, int]:
        return store.count_articles(), store.count({"start": 0})

    starts = (0, 0, 700, 0.0, None, "0")
    documents = [
        Document(text, id=f"p{n}", metadata={"start": start})
        for n, (text, start) in enumerate(zip(TEXTS, starts, strict=True))
    ]
    fill(store, documents)
    assert counted() == (3, 3)
    changed = [Document("글", id="p0", metadata={"start": 9}), Document("글", id="p2", metadata={"start": 0})]
    store.add_vectors([*changed, Document("글", id="p9", metadata={"start": 0})], np.ones((3, 256)))
    assert counted() == (4, 4)
    store.delete(["p1", "p5", "unknown"])
    assert counted() == (3, 3)
    store.delete()
    assert counted() == (0, 0)


def test_what_was_done_before_the_answer_was_lost_is_not_done_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(store.address, DeterministicFakeEmbedding(size=8))
    vectors = np.ones((6, 8))
    real, asked, lost = Connections._connection, 0, 0

    @contextmanager
    def losing(self: Connections) -> Iterator[Any]:
        nonlocal asked
        with real(self) as connection:
            yield connection  # and what was done is committed
        asked += 1
        if asked == lost:
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    def live() -> list[Any]:
        draft = store.begin(new_manifest(store.embeddings, passage_chars=9, vectors="auto", user_dictionary=None))
        draft.upsert(draft.rows(passages(), vectors))
        draft.publish()
        store.upsert(store.rows(passages()[:3], vectors[:3]))
        store.delete(["p5"])
        seen = [len(store), [p.id for p in store.scan()], words(store, QUESTIONS[0])]
        store.drop()
        with pytest.raises(FileNotFoundError):
            store.manifest()
        return seen

    wanted = live()
    assert wanted[:2] == [5, [f"p{n}" for n in range(5)]]
    monkeypatch.setattr(Connections, "_connection", losing)
    while asked >= lost:  # the n-th answer is lost, until there are not so many
        asked, lost = 0, lost + 1
        assert live() == wanted
    assert lost > 15


def test_writers_whose_connections_are_killed_lose_and_double_nothing(store: Store, server: PostgresServer) -> None:
    texts = {f"p{n}": f"{n}번째 소식이다. {text}" for n, text in enumerate(TEXTS * 10)}
    documents = [Document(text, id=id_, metadata={"start": 0}) for id_, text in texts.items()]
    fill(store, documents[:1])
    rows = store.rows(documents, np.ones((60, 256)))
    kill = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE application_name = 'korean-rag' AND state <> 'idle'"
    )

    def write(begin: int) -> None:
        for start in range(begin, 7, 2):
            store.upsert(rows[start::7])

    def delete() -> None:
        for n in range(0, 60, 6):
            store.delete([f"p{n}", f"x{n}"])

    killed, there = 0, f"host=127.0.0.1 port={server.port} user={USER} dbname=postgres"
    with ThreadPoolExecutor(3) as pool, psycopg.connect(there, autocommit=True) as killer:
        work = [pool.submit(write, 0), pool.submit(write, 1), pool.submit(delete)]
        while killed < 10 and not all(one.done() for one in work):
            row = killer.execute(kill).fetchone()
            killed += row[0] if row else 0
        for one in work:
            one.result()
    assert killed
    store.upsert(rows)
    assert (len(store), store.count_articles(), {p.id for p in store.scan()}) == (60, 60, set(texts))
    same_scores(store, texts)


def test_a_reader_that_is_ended_to_break_a_deadlock_reads_again(store: Store, server: PostgresServer) -> None:
    """As one who reads in ``state`` and then in ``postings`` may be while another drops them."""
    fill(store, passages())
    there = f"host=127.0.0.1 port={server.port} user={USER} dbname=postgres"
    waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'korean-rag' AND wait_event_type = 'Lock'"
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(there) as dropping,
        psycopg.connect(there, autocommit=True) as watching,
    ):
        dropping.execute("SET deadlock_timeout = '60s'")  # so that it is the other who is ended
        dropping.execute("LOCK TABLE news.postings IN ACCESS EXCLUSIVE MODE")
        asked = pool.submit(words, store, QUESTIONS[0])
        while watching.execute(waits).fetchone() == (0,):
            assert not asked.done()
        dropping.execute("LOCK TABLE news.state IN ACCESS EXCLUSIVE MODE")
        dropping.rollback()
        assert asked.result()[0].id == "p0"


def test_it_goes_on_after_the_server_was_killed_and_started_again(store: Store, server: PostgresServer) -> None:
    fill(store, passages())
    server.kill()
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(words, store, QUESTIONS[0])
        server.start()
        assert found.result()[0].id == "p0"
    assert len(store) == 6


def test_what_cannot_be_stored_is_told_and_changes_nothing(store: Store) -> None:
    fill(store, passages())
    for bad in (Document("글\0", id="x"), Document("글", id="x", metadata={"a": object()})):
        with pytest.raises(ValueError, match="cannot"):
            store.upsert(store.rows([*passages(("새 글",)), bad], np.ones((2, 256))))
    same_scores(store, {f"p{n}": text for n, text in enumerate(TEXTS)})


def test_a_word_longer_than_an_index_takes_is_found(store: Store) -> None:
    long = "가나다라" * 5000
    fill(store, [*passages(), Document(long, id="long", metadata={"section": long})])
    [row] = store.rows([Document("", id="units")], np.ones((1, 256)))
    store.upsert([row._replace(units={"bigrams": long, "morphemes": ""})])
    assert [hit.id for hit in store.search_units({("bigrams", long): 1.0}, 3)] == ["units"]
    assert [passage.id for passage in store.scan({"section": long})] == ["long"]


def _count_in_child(store: Store, told: Any) -> None:
    told.put(len(store))


def test_a_forked_process_has_connections_of_its_own(store: Store) -> None:
    fill(store, passages())
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    child = context.Process(target=_count_in_child, args=(store, told))
    child.start()
    assert told.get(timeout=20) == 6
    child.join(20)
    assert (child.exitcode, len(store), words(store, QUESTIONS[0])[0].id) == (0, 6, "p0")


async def test_the_loop_runs_on_while_the_server_is_asked(store: Store, server: PostgresServer) -> None:
    fill(store, passages())
    with psycopg.connect(host="127.0.0.1", port=server.port, user=USER, dbname="postgres") as blocking:
        blocking.execute("LOCK TABLE news.passages IN ACCESS EXCLUSIVE MODE")
        asked = asyncio.ensure_future(store.asimilarity_search("누리호", k=2))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not asked.done()
        blocking.rollback()
        assert len(await asked) == 2
