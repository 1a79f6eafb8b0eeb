import json
import threading
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from rag_app.stores.faiss import FaissStore

EMBEDDING = DeterministicFakeEmbedding(size=4)
AXES: dict[str, list[float]] = {"x": [3.0, 0, 0, 0], "y": [0, 1, 0, 0], "xy": [1, 1, 0, 0], "-x": [-2, 0, 0, 0]}


def _store(vectors: dict[str, list[float]] = AXES) -> FaissStore:
    store = FaissStore(EMBEDDING)
    documents = [Document(page_content=id_, metadata={"n": n}, id=id_) for n, id_ in enumerate(vectors)]
    store.add_vectors(documents, list(vectors.values()))
    return store


def test_scores_are_cosines_whatever_the_length() -> None:
    hits = _store().search_vector([10, 0, 0, 0], k=4)
    assert [id_ for id_, _ in hits] == ["x", "xy", "y", "-x"]
    assert [score for _, score in hits] == pytest.approx([1, 0.5**0.5, 0, -1], abs=1e-3)


def test_relevance_scores_lie_between_0_and_1() -> None:
    store = FaissStore.from_texts([f"글 {n}" for n in range(50)], EMBEDDING)
    scores = [score for _, score in store.similarity_search_with_relevance_scores("글 7", k=50)]
    assert scores[0] == pytest.approx(1, abs=1e-3)
    assert all(0 <= score <= 1 for score in scores)
    assert scores == sorted(scores, reverse=True)


def test_a_filter_never_under_returns() -> None:
    texts = [f"글 {n}" for n in range(500)]
    store = FaissStore.from_texts(texts, EMBEDDING, [{"n": n} for n in range(500)])
    found = store.similarity_search("글 3", k=5, filter={"n": {"$gte": 495}})
    assert sorted(document.metadata["n"] for document in found) == [495, 496, 497, 498, 499]
    assert store.similarity_search("글 3", k=5, filter=lambda metadata: metadata["n"] > 900) == []
    retriever = store.as_retriever(search_kwargs={"k": 2, "filter": {"n": {"$in": [8, 9]}}})
    assert {document.metadata["n"] for document in retriever.invoke("글 3")} == {8, 9}


def test_an_unknown_filter_operator_is_named() -> None:
    with pytest.raises(ValueError, match=r"\$like"):
        _store().similarity_search("글", filter={"n": {"$like": 3}})


def test_the_texts_of_a_key_follow_what_is_stored() -> None:
    store = FaissStore(DeterministicFakeEmbedding(size=4))
    assert store.values("section") == []
    metadatas: list[dict[str, Any]] = [{"section": "정치"}, {"section": ["경제", "정치"]}, {"section": 3}, {}]
    store.add_texts(["하나", "둘", "셋", "넷"], metadatas, ids=["a", "b", "c", "d"])
    assert store.values("section") == ["경제", "정치"]
    store.values("section").clear()
    assert store.values("section") == ["경제", "정치"]
    store.delete(["b"])
    assert store.values("section") == ["정치"]


def test_adding_under_the_same_id_replaces() -> None:
    store = _store()
    new = Document(page_content="새 글", id="x")
    store.add_vectors([new, new], [[0, 0, 0, 1], [0, 0, 1, 0]])
    assert len(store) == 4
    [(id_, score)] = store.search_vector([0, 0, 1, 0], k=1)
    assert id_ == "x"
    assert score == pytest.approx(1, abs=1e-3)
    assert store.get_by_ids(["x", "missing"]) == [new]


def test_deleting_removes_from_every_search() -> None:
    store = _store()
    store.delete(["x", "missing"])
    assert [id_ for id_, _ in store.search_vector([1, 0, 0, 0], k=10)] == ["xy", "y", "-x"]
    store.delete()
    assert len(store) == 0
    assert store.similarity_search("글") == []


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1.0, float("nan"), 0, 0]], "NaN"),
        ([[1.0, 2.0]], "4 dimensions but got 2"),
        ([[1.0, 0, 0, 0], [1.0, 0, 0, 0]], "2 vectors for 1 documents"),
        ([1.0, 0, 0, 0], "shape"),
    ],
)
def test_wrong_vectors_are_refused_and_change_nothing(vectors: Any, message: str) -> None:
    store = _store()
    with pytest.raises(ValueError, match=message):
        store.add_vectors([Document(page_content="틀린 글", id="wrong")], vectors)
    assert len(store) == 4
    assert len(store.search_vector([1, 0, 0, 0], k=10)) == 4


def test_maximal_marginal_relevance_prefers_the_different() -> None:
    store = _store({"a": [1, 0, 0, 0], "a2": [1, 0.01, 0, 0], "b": [0.7, 0.7, 0, 0]})
    found = store.max_marginal_relevance_search_by_vector([1, 0.1, 0, 0], k=2, lambda_mult=0.3)
    assert {document.id for document in found} == {"a2", "b"}


@pytest.mark.fault(3, "A search for diverse results failed once a text in which there is nothing to embed was stored.")
def test_diverse_results_can_be_had_of_texts_with_the_zero_vector() -> None:
    store = _store({"a": [1, 0, 0, 0], "nothing": [0, 0, 0, 0], "a2": [1, 0, 0, 0]})
    found = store.max_marginal_relevance_search_by_vector([1, 0, 0, 0], k=2, lambda_mult=0.4)
    assert [document.id for document in found] == ["a", "nothing"]
    nearest = store.max_marginal_relevance_search_by_vector([1, 0, 0, 0], k=3, lambda_mult=1.0)
    assert len({document.id for document in nearest}) == 3
    assert len(store.max_marginal_relevance_search_by_vector([0, 0, 0, 0], k=5)) == 3


@pytest.mark.fault(3, "Whoever changed a document that a search had returned changed the one in the store.")
def test_what_a_search_returned_is_the_callers_own() -> None:
    store = FaissStore(EMBEDDING)
    given = Document(page_content="글", metadata={"tags": ["하나"]}, id="1")
    store.add_documents([given])
    given.metadata["tags"].append("나중")
    for found in (
        store.similarity_search("글", 1),
        store.similarity_search_by_vector([1, 0, 0, 0], 1),
        store.max_marginal_relevance_search("글", 1),
        store.get_by_ids(["1"]),
    ):
        found[0].metadata["tags"].append("둘")
        found[0].metadata["more"] = 1
        found[0].page_content = "다른 글"
        assert store.documents["1"] == Document(page_content="글", metadata={"tags": ["하나"]}, id="1")


def test_saved_and_loaded_stores_answer_alike(tmp_path: Path) -> None:
    store = _store()
    store.delete(["y"])
    store.save(tmp_path)
    store.save(tmp_path)
    loaded = FaissStore.load(tmp_path, EMBEDDING)
    assert loaded.search_vector([1, 1, 0, 0], k=4) == store.search_vector([1, 1, 0, 0], k=4)
    assert dict(loaded.documents) == dict(store.documents)
    loaded.add_vectors([Document(page_content="더", id="more")], [[0, 0, 0, 1]])
    assert loaded.search_vector([0, 0, 0, 1], k=1)[0][0] == "more"


def test_metadata_that_json_cannot_hold_leaves_the_saved_store_alone(tmp_path: Path) -> None:
    store = _store()
    store.save(tmp_path)
    store.add_vectors([Document(page_content="글", metadata={"bad": object()}, id="bad")], [[1, 0, 0, 0]])
    with pytest.raises(TypeError):
        store.save(tmp_path)
    assert len(FaissStore.load(tmp_path, EMBEDDING)) == 4


def test_nothing_saved_is_pickled(tmp_path: Path) -> None:
    _store().save(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert {path.suffix for path in files} == {".json", ".jsonl", ".faiss"}
    for path in files:
        if path.suffix != ".faiss":
            for line in (
                path.read_text(encoding="utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text()]
            ):
                json.loads(line)


def test_searches_see_one_version_while_another_thread_writes() -> None:
    store = FaissStore(EMBEDDING)

    def write() -> None:
        for round_ in range(400):
            angle = round_ / 400  # every round turns all vectors, so a score tells which round it came from
            vector = [np.cos(angle), np.sin(angle), 0, 0]
            documents = [Document(page_content=str(n), metadata={"angle": angle}, id=str(n)) for n in range(3)]
            store.add_vectors(documents, [vector] * 3)
            store.delete(["0"])

    writer = threading.Thread(target=write)
    writer.start()
    searches = 0
    while writer.is_alive():
        for document, score in store.similarity_search_with_score_by_vector([1, 0, 0, 0], k=3):
            assert score == pytest.approx(np.cos(document.metadata["angle"]), abs=2e-3)
        assert len(store.max_marginal_relevance_search_by_vector([1, 0, 0, 0], k=3)) in {0, 2, 3}
        searches += 1
    writer.join()
    assert searches > 50


def test_a_search_leaves_the_number_of_threads_as_it_was() -> None:
    before = faiss.omp_get_max_threads()
    _store().search_vector([1, 0, 0, 0])
    assert faiss.omp_get_max_threads() == before
