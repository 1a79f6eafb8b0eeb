"""What `tests/contract/test_index_places.py` does not ask of Milvus: the life of an index, limits, errors."""

import asyncio
import multiprocessing
import pickle
import socket
from collections.abc import Iterator
from math import log
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any

import numpy as np
import psutil
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from rag_app.stores import milvus
from rag_app.stores.address import Address
from rag_app.stores.bm25_bound import Frequencies
from rag_app.stores.milvus import Store, _common, _questions, _version
from rag_app.stores.milvus_filters import filter_expression
from tests.milvus_server import MilvusServer, milvus_server

DIMENSION = 8
MODEL = {"name": "fake", "fingerprint": None, "dimension": DIMENSION}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    with milvus_server(tmp_path_factory.mktemp("milvus")) as running:
        yield running


def _manifest(**more: Any) -> dict[str, Any]:
    return {"model": MODEL, "vectors": "exact", **more}


def _embeddings() -> Embeddings:
    return DeterministicFakeEmbedding(size=DIMENSION)


def _store(server: MilvusServer, name: str) -> Store:
    return Store(Address.parse(server.address(name)), _embeddings())


def _write(store: Store, *texts: str, **metadata: Any) -> None:
    passages = [Document(id=text, page_content=text, metadata=metadata) for text in texts]
    store.upsert(store.rows(passages, _embeddings().embed_documents(list(texts))))


def _collections(store: Store) -> list[str]:
    return sorted(store._ask(lambda client: client.list_collections()))


def test_a_draft_is_gone_on_with_and_seen_when_it_is_published(server: MilvusServer) -> None:
    store = _store(server, "drafts")
    _write(store.begin(_manifest()), "하나")
    with pytest.raises(FileNotFoundError, match="Build one: rag-app index"):
        store.manifest()
    draft = store.begin(_manifest())
    assert [passage.id for passage in draft.scan()] == ["하나"]
    assert store.begin(_manifest(passage_chars=5)).count() == 0
    draft.publish()
    draft.publish()
    assert store.manifest() == _manifest()
    assert store.count() == 1

    again = store.begin(_manifest())
    assert again.count() == 0
    _write(again, "둘")
    assert [passage.id for passage in store.scan()] == ["하나"]
    again.publish()
    assert [passage.id for passage in store.scan()] == ["둘"]
    assert len([name for name in _collections(store) if name.startswith("drafts_")]) == 2  # and the other draft
    store.drop()
    store.drop()
    assert not [name for name in _collections(store) if name.startswith("drafts")]


def test_what_was_replaced_but_not_dropped_is_no_draft(server: MilvusServer, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _store(server, "replaced")
    first = store.begin(_manifest())
    _write(first, "옛것")
    first.publish()
    second = store.begin(_manifest(other=1))
    _write(second, "새것")
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_drop", lambda *_: None)  # as if it had been killed
        second.publish()
    assert store.begin(_manifest()).count() == 0


def test_a_collection_of_others_is_left_alone(server: MilvusServer) -> None:
    store = _store(server, "theirs")
    store._ask(lambda client: client.create_collection("theirs", dimension=2))
    for use in (store.manifest, lambda: store.begin(_manifest()), store.drop):
        with pytest.raises(ValueError, match="others made"):
            use()


def test_writing_again_keeps_one_and_threads_may_write_at_once(
    server: MilvusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _store(server, "twice")
    store.begin(_manifest()).publish()
    threads = [Thread(target=_write, args=(store, "하나", f"{n}번")) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.count() == 5
    assert len(list(store.scan())) == 5
    _write(store, "두 번", "두 번")
    assert store.copies(["두 번"]) == 1
    assert store.count() == 6
    asked = []
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_asked", lambda _, call, data: asked.append((call, [row["id"] for row in data])))
        _write(store, "세 번", "세 번")
    assert asked == [("upsert", ["세 번"])]  # Lite keeps one whatever is asked, a server may keep both
    assert store.delete() is True
    assert store.count() == 0


def test_what_is_too_long_is_told(server: MilvusServer) -> None:
    store = _store(server, "long")
    store.begin(_manifest()).publish()
    vectors = np.ones((1, DIMENSION))
    store.upsert(store.rows([Document(id="가", page_content="가" * 9000)], vectors))
    for text, metadata in (("나" * 22_000, {}), ("나" * 10_000, {}), ("다", {"note": "라" * 22_000})):
        with pytest.raises(ValueError, match="too long for Milvus"):
            store.upsert(store.rows([Document(id="x", page_content=text, metadata=metadata)], vectors))
    with pytest.raises(ValueError, match="more than 512 bytes"):
        store.upsert(store.rows([Document(id="x" * 600, page_content="마")], vectors))
    assert store.count() == 1


def test_values_and_scans_go_past_a_page(server: MilvusServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milvus, "_PAGE", 3)
    store = _store(server, "pages")
    store.begin(_manifest()).publish()
    for n in range(8):
        _write(store, f"기사 {n}", section=f"분야 {n % 5}" if n % 2 else [f"가 {n}", "나"])
    assert [passage.id for passage in store.scan()] == [f"기사 {n}" for n in range(8)]
    assert store.values("section") == sorted(
        {*(f"가 {n}" for n in (0, 2, 4, 6)), "나", *(f"분야 {n}" for n in (0, 1, 2, 3))}
    )
    assert store.known([f"기사 {n}" for n in range(5, 10)]) == {"기사 5", "기사 6", "기사 7"}


def test_values_are_kept_until_something_is_written_or_forgotten(
    server: MilvusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = _store(server, "values"), _store(server, "values")
    store.begin(_manifest()).publish()
    _write(store, "하나", section="경제")
    assert store.values("section") == ["경제"]
    _write(other, "하나", section="날씨")
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_ask", None)  # nothing is asked
        assert store.values("section") == ["경제"]
    store.forget()
    assert store.values("section") == ["날씨"]
    _write(store, "하나", section="문화")
    assert store.values("section") == ["문화"]
    _write(other, "하나", section="과학")
    monkeypatch.setattr(milvus, "_YOUNG", 0)
    assert store.values("section") == ["과학"]


def test_values_that_were_read_before_a_write_ended_are_not_kept(
    server: MilvusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, query = _store(server, "meanwhile"), Store._query
    store.begin(_manifest()).publish()
    _write(store, "하나", section="경제")

    def late(self: Store, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        rows = query(self, *args, **kwargs)
        _write(store, "하나", section="날씨")
        return rows

    with monkeypatch.context() as patch:
        patch.setattr(Store, "_query", late)
        assert store.values("section") == ["경제"]
    assert store.values("section") == ["날씨"]


def test_how_frequent_units_are_is_read_again_when_there_is_a_tenth_more(
    server: MilvusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, sampled, read = _store(server, "frequent"), Store._sampled, 0
    store.begin(_manifest()).publish()

    def noted(self: Store) -> Iterator[dict[str, str]]:
        nonlocal read
        read += 1
        return sampled(self)

    def search() -> float:
        [hit] = store.search_units({("bigrams", "하나"): 1.0}, 1)
        return hit.coverage

    monkeypatch.setattr(Store, "_sampled", noted)
    _write(store, "하나", *(f"{n}번" for n in range(19)))
    first = search()
    assert store._upper_bound({("bigrams", "^하"): 1.0}) == pytest.approx(2.2 * log(1 + 19.5 / 1.5))
    _write(store, "더")
    assert search() == pytest.approx(first, abs=0.05)
    assert read == 1
    _write(store, *(f"하나 {n}" for n in range(10)))
    search()
    assert read == 2
    monkeypatch.setattr(milvus, "_YOUNG", 0)
    search()
    assert read == 3


def test_what_the_server_refuses_is_told(server: MilvusServer) -> None:
    store = _store(server, "refused")
    store.begin(_manifest()).publish()
    with pytest.raises(OSError, match=r"milvus://.*/refused refuses: ."):
        store._asked("query", filter="((")


def test_on_lite_the_form_auto_is_exact(server: MilvusServer) -> None:
    store = _store(server, "auto")
    draft = store.begin(_manifest(vectors="auto"))
    vectors = np.random.default_rng(0).normal(size=(2000, DIMENSION)).astype(np.float32)
    passages = [Document(id=f"{n:04}", page_content=f"{n}") for n in range(2000)]
    for start in (0, 1000):
        draft.upsert(draft.rows(passages[start : start + 1000], vectors[start : start + 1000]))
    draft.publish()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = 0
    for query in unit[:50]:
        wanted = {f"{n:04}" for n in np.argsort(-(unit @ query))[:10]}
        found += len(wanted & {id_ for id_, _ in store.search_vector(query, 10)})
    assert found == 500


def test_a_copy_that_was_pickled_and_a_process_that_forked_connect_anew(server: MilvusServer) -> None:
    store = _store(server, "copied")
    store.begin(_manifest()).publish()
    _write(store, "하나")
    assert pickle.loads(pickle.dumps(store)).count() == 1
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()
    child = context.Process(target=lambda: told.put(store.count()))
    child.start()
    child.join(30)
    if child.is_alive():
        child.kill()
    assert child.exitcode == 0
    assert told.get() == 1
    assert store.count() == 1


async def test_asking_asynchronously_leaves_the_loop_free(server: MilvusServer) -> None:
    store = _store(server, "beside")
    store.begin(_manifest()).publish()
    await store.aadd_documents([Document(id="하나", page_content="하나")])
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count_turns())
    found = await asyncio.gather(*(store.asimilarity_search("하나", k=1) for _ in range(5)))
    counting.cancel()
    assert [[document.id for document in some] for some in found] == [["하나"]] * 5
    assert turns > 10


def test_a_server_that_comes_back_is_asked_again_and_one_that_does_not_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with milvus_server(tmp_path / "lost") as server:
        store = _store(server, "lost")
        store.begin(_manifest()).publish()
        _write(store, "하나", "둘")
        server.kill()
        back = Thread(target=server.start)
        back.start()
        try:
            _write(store, "둘", "셋")
        finally:
            back.join()
        assert [passage.id for passage in store.scan()] == ["둘", "셋", "하나"]
        server.kill()
        monkeypatch.setattr(Store, "patience", 1)
        with pytest.raises(ConnectionError, match="does not answer"):
            store.count()


def test_where_nobody_listens_the_error_says_what_to_do_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "patience", 1)
    monkeypatch.setattr(milvus, "_CONNECTING", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        store = Store(Address.parse(f"milvus://user:geheim@127.0.0.1:{port}/news"), _embeddings())
        before = monotonic()
        with pytest.raises(ConnectionError, match="Look whether Milvus runs there") as told:
            store.manifest()
        assert monotonic() - before < 10
    error: BaseException | None = told.value
    while error is not None:
        assert "geheim" not in f"{error!r} {error}"
        error = None if error.__cause__ is error else error.__cause__
    assert "geheim" not in repr(store.address)


def test_a_server_that_does_not_answer_in_time_is_told(server: MilvusServer, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _store(server, "slow")
    store.begin(_manifest()).publish()
    assert server.pid
    process = psutil.Process(server.pid)
    monkeypatch.setattr(milvus, "_ANSWERING", 1)
    process.suspend()
    tasks = Path(f"/proc/{process.pid}").glob("task/*")
    try:
        for task in tasks:  # a thread that is on its way may answer still
            while (task / "stat").read_text().rpartition(")")[2].split()[0] != "T":
                sleep(0.01)
        with pytest.raises(TimeoutError, match="did not answer within"):
            store.count()
    finally:
        process.resume()


def test_options_and_forms_that_do_not_exist_are_refused(server: MilvusServer) -> None:
    with pytest.raises(ValueError, match="unknown options: fast"):
        Store(Address.parse("milvus://127.0.0.1/news?fast=1"), _embeddings())
    with pytest.raises(ValueError, match="no vectors of the form 'ivf'"):
        _store(server, "forms").begin(_manifest(vectors="ivf"))


def test_a_server_without_bm25_says_so() -> None:
    store = Store(Address.parse("milvus://127.0.0.1/old"), _embeddings())
    store._version = (2, 3, 5)
    assert not store.has_words
    with pytest.raises(ValueError, match=r"Milvus 2\.3\.5, which has no BM25"):
        store.search_units({("bigrams", "하나"): 1.0}, 1)


def test_the_version_tells_lite_from_a_server() -> None:
    assert [_version(text) for text in ("milvus_lite-3.2.2", "v2.3.5-lite", "2.6.1")] == [
        (0, 3, 2, 2),
        (2, 3, 5),  # as the package from PyPI calls it, which is a whole server
        (2, 6, 1),
    ]


def test_filters_become_expressions() -> None:
    assert filter_expression({}) == ""
    assert filter_expression({"section": '" or id != "'}) == '(metadata["section"] == "\\" or id != \\"")'
    assert filter_expression({"doc_id": "a", "start": 0}) == '(doc_id in ["a"]) and (start in [0])'
    assert filter_expression({"doc_id": {"$ne": "a"}}).startswith('(not (exists metadata["doc_id"])')
    assert filter_expression({'a"]\\': 1}) == '(metadata["a\\"]\\\\"] == 1)'
    assert filter_expression({"n": {"$gte": 1, "$lt": 2.5}}) == '(metadata["n"] >= 1) and (metadata["n"] < 2.5)'
    wrongs: list[dict[str, Any]] = [{"n": {"$gt": float("nan")}}, {"n": object()}, {"n": {"$in": "text"}}, {"n": []}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"Milvus cannot|wants a list"):
            filter_expression(wrong)


def test_units_of_a_question_are_repeated_as_often_as_they_count() -> None:
    terms = {("bigrams", "^국"): 3.0, ("bigrams", "국회"): 1.5, ("morphemes", "a.b"): 1.0}
    assert _questions(terms) == {"bigrams": ("ˆ국 ˆ국 국회", 1.5), "morphemes": ("a_2e_b", 1.0)}
    assert _common([3.0, 2.0]) == 1.0


def test_the_bound_is_exact_where_all_passages_were_looked_at() -> None:
    frequencies = Frequencies.of([{"m": "a b b"}, {"m": "a"}, {"m": "c"}])
    assert frequencies.units == {("m", "a"): 2, ("m", "b"): 1, ("m", "c"): 1}
    terms = {("m", "a"): 1.5, ("m", "unknown"): 1.0}
    wanted = 1.5 * 2.2 * log(1 + 1.5 / 2.5) + 2.2 * log(1 + 3.5 / 0.5)
    assert frequencies.upper_bound(terms, 3) == pytest.approx(wanted)
    wanted = 1.5 * 2.2 * log(1 + 100.5 / 200.5) + 2.2 * log(1 + 250.5 / 50.5)
    assert frequencies.upper_bound(terms, 300) == pytest.approx(wanted)
