"""Large indexes: documents and vectors searched on disk."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from rag_app.check import check_index
from rag_app.disk.segmented import Selection
from rag_app.disk.segments import SegmentWriter
from rag_app.documents import make_document
from rag_app.filters import Filter, matching_ids
from rag_app.folder_index import FolderIndex
from rag_app.index import Changes, build_index, open_index

EMBEDDINGS = DeterministicFakeEmbedding(size=16)
FORMS = ["exact", "ivf", "rabitq"]


def article(number: int, **metadata: Any) -> Document:
    where = {"section": ("정치", "경제", "날씨")[number % 3], "date": f"2025-01-{number % 28 + 1:02}", "n": number}
    return make_document(f"{number}번째 소식이다. 지진이 있었다.", **{**where, **metadata})


ARTICLES = [article(number) for number in range(400)]


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag_app.generation_writer.EXACT_MOST", 100)


@pytest.fixture(params=FORMS)
def index(request: pytest.FixtureRequest, tmp_path: Path) -> FolderIndex:
    return build_index(tmp_path / "index", ARTICLES, EMBEDDINGS, vectors=request.param)


def contents(index: FolderIndex) -> dict[str, Document]:
    return dict(index.snapshot.store.documents.items())


def best(index: FolderIndex, document: Document) -> str:
    [hit] = index.snapshot.store.search_vector(EMBEDDINGS.embed_query(document.page_content), 1)
    return hit[0]


def test_documents_come_back_in_order_and_by_id(index: FolderIndex) -> None:
    for one in (index, open_index(index.path, EMBEDDINGS)):
        documents = one.snapshot.store.documents
        assert [document.metadata["n"] for document in documents.values()] == list(range(400))
        assert list(documents) == [document.id for document in documents.values()] == [str(a.id) for a in ARTICLES]
        assert documents[str(ARTICLES[7].id)].page_content == ARTICLES[7].page_content
        assert "unknown" not in documents
        with pytest.raises(KeyError, match="unknown"):
            documents["unknown"]
        assert one.document_ids() == {str(a.id) for a in ARTICLES}
    assert check_index(index.path) == []


def test_the_manifest_tells_the_form_and_the_recall(index: FolderIndex) -> None:
    details = index.snapshot.manifest["vectors"]
    assert details["asked"] == details["form"]
    assert details["recall"] >= 0.98
    assert index.snapshot.manifest["format"] == "korean-rag-2"


def test_search_finds_what_an_exact_scan_finds(index: FolderIndex) -> None:
    store = index.snapshot.store
    everything = store.vectors([str(a.id) for a in ARTICLES])
    shares = []
    for number in range(40):
        query = np.asarray(EMBEDDINGS.embed_query(f"질문 {number}"))
        cosines = everything @ (query / np.linalg.norm(query))
        wanted = {str(ARTICLES[row].id) for row in np.argsort(-cosines)[:10]}
        hits = store.search_vector(query, 10)
        assert [score for _, score in hits] == sorted((score for _, score in hits), reverse=True)
        assert dict(hits) == pytest.approx({id_: cosines[[str(a.id) for a in ARTICLES].index(id_)] for id_, _ in hits})
        shares.append(len(wanted & {id_ for id_, _ in hits}) / 10)
    assert np.mean(shares) >= 0.95


FILTERS: list[Filter] = [
    {"section": "경제"},
    {"n": {"$gte": 395}},
    {"n": 3, "section": "정치"},
    {"section": {"$in": ["경제", "날씨"]}, "date": {"$lt": "2025-01-10"}},
    {"section": {"$ne": "경제"}},
    {"title": "없는 제목"},
    {"missing": {"$nin": ["x"]}},
    {},
    {"section": "없음"},
    lambda metadata: metadata["n"] in range(0, 400, 50),
]


@pytest.mark.parametrize("filter", FILTERS)
def test_a_filter_keeps_what_it_keeps_in_memory_and_never_under_returns(
    index: FolderIndex, filter: Filter, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.delete([str(ARTICLES[0].id)])
    wanted = set(matching_ids({str(a.id): a for a in ARTICLES[1:]}, filter))
    selection = matching_ids(index.snapshot.store.documents, filter)
    assert isinstance(selection, Selection)
    assert set(selection) == wanted
    assert len(selection) == len(wanted)
    assert all(id_ in selection for id_ in wanted)
    assert str(ARTICLES[0].id) not in selection
    vector = EMBEDDINGS.embed_query("질문")
    hits = index.snapshot.store.search_vector(vector, 400, filter=filter)
    assert {id_ for id_, _ in hits} == wanted
    assert index.snapshot.store.search_vector(vector, 400, ids=selection) == hits
    named = index.snapshot.store.search_vector(vector, 400, ids=list(wanted))
    assert dict(named) == pytest.approx(dict(hits), abs=1e-6)


WAYS = {"ids": (1000, 0, 0), "terms": (0, 0, 1000), "depth": (0, 10**6, 0)}


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("way", WAYS)
def test_lexical_search_keeps_the_same_whichever_way_it_is_told(
    index: FolderIndex, way: str, filter: Filter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zip(("_NAMED", "_DEEP", "_TERMS"), WAYS[way], strict=True):
        monkeypatch.setattr(f"rag_app.lexical.{name}", value)
    index.delete([str(ARTICLES[0].id)])
    index.add([article(500, section="과학", n=True), article(501, n="1")])
    lexical = index.snapshot.lexical
    selection = matching_ids(index.snapshot.store.documents, filter)
    for question in ("지진", "3번째 소식과 지진이", "없는말"):
        kept = [hit for hit in lexical.search(question, 500) if hit.id in selection]
        assert len(kept) == (0 if question == "없는말" else len(selection))
        assert lexical.search(question, 500, ids=selection) == kept
        assert lexical.search(question, 500, ids=list(selection)) == kept
        assert [hit.score for hit in lexical.search(question, 3, ids=selection)] == [hit.score for hit in kept[:3]]


def test_a_filter_on_a_large_index_names_no_passage(index: FolderIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"_NAMED": 0, "_DEEP": 0, "_with_ids": None, "_search_deeper": None}.items():
        monkeypatch.setattr(f"rag_app.lexical.{name}", value)
    for filter in ({"n": 1}, {"section": {"$ne": "경제"}, "date": {"$lt": "2025-01-10"}}):
        selection = matching_ids(index.snapshot.store.documents, filter)
        assert {hit.id for hit in index.snapshot.lexical.search("지진", 400, ids=selection)} == set(selection)


@pytest.mark.parametrize("index", ["ivf"], indirect=True)
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("share", [0.005, 0.05, 0.1, 0.125, 0.25, 0.5, 0.9])
def test_a_filter_costs_no_recall(
    index: FolderIndex, share: float, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exact:
        monkeypatch.setattr("rag_app.disk.segmented.EXACT_KEPT", 0)
    selection = matching_ids(index.snapshot.store.documents, {"n": {"$lt": 400 * share}})
    vectors = index.snapshot.store.vectors(kept := sorted(selection))
    shares = []
    for number in range(100):
        query = np.asarray(EMBEDDINGS.embed_query(f"질문 {number}"))
        nearest = {kept[row] for row in np.argsort(-(vectors @ query))[:10]}
        found = {id_ for id_, _ in index.snapshot.store.search_vector(query, 10, ids=selection)}
        shares.append(len(found & nearest) / len(nearest))
    assert np.mean(shares) >= (1.0 if exact else 0.98)


def test_the_texts_of_a_key_are_told_whether_in_columns_or_not(
    index: FolderIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = index.snapshot.store
    assert store.values("section") == ["경제", "날씨", "정치"]
    assert store.values("doc_id") == sorted(str(a.id) for a in ARTICLES)
    assert store.values("n") == store.values("missing") == []
    index.add([article(400, section="과학", topics=["쌀", "밀"])])
    assert index.snapshot.store.values("section") == ["경제", "과학", "날씨", "정치"]
    assert index.snapshot.store.values("topics") == ["밀", "쌀"]
    index.delete([str(a.id) for a in ARTICLES if a.metadata["section"] == "날씨"])
    monkeypatch.setattr("rag_app.disk.segments.Segment.record", None)  # no document is read
    assert index.snapshot.store.values("section") == ["경제", "과학", "정치"]
    assert store.values("section") == ["경제", "날씨", "정치"]


def test_adding_and_deleting_are_seen_at_once_and_after_opening(index: FolderIndex) -> None:
    new = [article(number) for number in range(400, 460)]
    assert index.add([*new, ARTICLES[3]]) == Changes(added=60, skipped=1)
    assert index.delete([str(ARTICLES[5].id), str(new[2].id), "unknown"]) == Changes(removed=2)
    for one in (index, open_index(index.path, EMBEDDINGS)):
        assert [d.metadata["n"] for d in contents(one).values()] == [n for n in range(460) if n not in {5, 402}]
        assert best(one, new[7]) == new[7].id
        assert best(one, ARTICLES[5]) != ARTICLES[5].id
        assert len(one) == one.snapshot.manifest["documents"] == 458
        assert one.snapshot.store.get_by_ids([str(ARTICLES[5].id), str(new[0].id)])[0].metadata["n"] == 400
    assert check_index(index.path) == []


def test_what_was_deleted_can_come_back(index: FolderIndex) -> None:
    index.delete([str(ARTICLES[5].id)])
    assert index.add([ARTICLES[5]]).added == 1
    assert best(index, ARTICLES[5]) == ARTICLES[5].id
    assert [d.metadata["n"] for d in contents(index).values()][-1] == 5
    assert check_index(index.path) == []


@pytest.mark.fault(
    3,
    "In an index searched on disk, lexical search under a filter that keeps many documents missed one that had been "
    "deleted and added again.",
)
def test_what_came_back_is_found_under_a_filter(index: FolderIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag_app.lexical._NAMED", 0)
    index.delete([str(a.id) for a in ARTICLES[:200]])
    index.add(ARTICLES[:200])
    assert len(list((index.path / "generation-000003" / "segments").iterdir())) == 1  # which has them twice
    selection = matching_ids(index.snapshot.store.documents, {"n": {"$lt": 100}})
    hits = index.snapshot.lexical.search("지진", 400, ids=selection)
    assert {hit.id for hit in hits} == set(selection) == {str(a.id) for a in ARTICLES[:100]}


@pytest.mark.fault(3, "Of two filters with arrays of over a thousand values the second got the documents of the first.")
def test_a_filter_may_hold_an_array(index: FolderIndex) -> None:
    documents = index.snapshot.store.documents
    some, others = np.arange(2000), np.arange(2000)
    some[100:300], others[100:350] = -1, -1
    assert len(matching_ids(documents, {"n": {"$in": some}})) == 200
    assert len(matching_ids(documents, {"n": {"$in": others}})) == 150


def test_updating_follows_a_file(tmp_path: Path) -> None:
    articles = [article(n, path=f"{n % 2}.csv") for n in range(200)]
    index = build_index(tmp_path / "index", articles, EMBEDDINGS)
    kept = [article(n, path="0.csv") for n in range(0, 200, 4)]
    changed = article(1, path="0.csv", section="과학")
    assert index.update([*kept, changed]) == Changes(added=1, removed=51, skipped=50)
    assert {d.metadata["n"] for d in contents(index).values()} == {*range(1, 200, 2), *range(0, 200, 4)}
    assert check_index(index.path) == []


def test_an_index_changes_over_as_it_grows_and_back_when_little_is_left(tmp_path: Path) -> None:
    index = build_index(tmp_path / "index", ARTICLES[:90], EMBEDDINGS)
    assert index.snapshot.manifest["format"] == "korean-rag-1"
    index.add(ARTICLES[90:130])
    assert index.snapshot.manifest["vectors"]["form"] == "ivf"
    assert [d.metadata["n"] for d in contents(index).values()] == list(range(130))
    assert best(index, ARTICLES[100]) == ARTICLES[100].id
    index.delete([str(a.id) for a in ARTICLES[:90]])
    assert index.snapshot.manifest["vectors"]["form"] == "exact"
    assert [d.metadata["n"] for d in contents(index).values()] == list(range(90, 130))
    assert check_index(index.path) == []


def test_deleting_everything_leaves_an_empty_index(index: FolderIndex) -> None:
    index.delete([str(a.id) for a in ARTICLES])
    assert len(index) == 0
    assert index.snapshot.store.search_vector([1.0] * 16, 3) == []
    assert check_index(index.path) == []
    assert index.add(ARTICLES[:3]).added == 3
    assert best(index, ARTICLES[1]) == ARTICLES[1].id


def test_small_changes_share_the_files_of_the_generation_before(index: FolderIndex) -> None:
    first = index.path / "generation-000001" / "segments" / "000001"
    inodes = {path.name: path.stat().st_ino for path in first.iterdir()}
    index.add([article(1000)])
    second = index.path / "generation-000002" / "segments"
    assert {path.name: path.stat().st_ino for path in (second / "000001").iterdir()} == inodes
    for number in range(1001, 1040):
        index.add([article(number)])
    assert len(list((index.path / "generation-000041" / "segments").iterdir())) < 8
    assert [d.metadata["n"] for d in contents(index).values()] == [*range(400), *range(1000, 1040)]
    assert check_index(index.path) == []


def test_recall_is_measured_again_when_much_has_changed(tmp_path: Path) -> None:
    index = build_index(tmp_path / "index", ARTICLES, EMBEDDINGS, vectors="ivf")
    index.add([article(1000)])
    assert index.snapshot.manifest["vectors"]["changed"] == 1
    index.add([article(number) for number in range(1001, 1100)])
    details = index.snapshot.manifest["vectors"]
    assert (details["changed"], details["passages"]) == (0, 500)


def test_an_interrupted_change_leaves_the_index_as_it_was(index: FolderIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, texts: list[str]) -> list[list[float]]:
        raise RuntimeError("out of memory")

    before = contents(index)
    with monkeypatch.context() as patch:
        patch.setattr(DeterministicFakeEmbedding, "embed_documents", fail)
        with pytest.raises(RuntimeError):
            index.add([article(1000)])
    assert contents(open_index(index.path, EMBEDDINGS)) == before
    assert index.add([article(1000)]).added == 1
    assert check_index(index.path) == []


def test_a_changed_byte_of_any_file_is_found(index: FolderIndex) -> None:
    for path in sorted((index.path / "generation-000001").rglob("*")):
        if path.is_file() and path.suffix != ".lock":
            content = path.read_bytes()
            path.write_bytes(bytes([*content[:-1], content[-1] ^ 1]))
            with pytest.raises(ValueError, match="Damaged"):
                open_index(index.path, EMBEDDINGS)
            path.write_bytes(content)
    assert check_index(index.path) == []


def test_a_large_store_is_changed_through_its_index_only(index: FolderIndex) -> None:
    with pytest.raises(ValueError, match=r"Index\.add"):
        index.snapshot.store.delete([str(ARTICLES[0].id)])
    with pytest.raises(ValueError, match="16 dimensions but got 2"):
        index.snapshot.store.search_vector([1.0, 2.0], 1)


def test_an_unknown_form_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'hnsw'\. Give one of auto, exact, ivf, rabitq"):
        build_index(tmp_path, ARTICLES, EMBEDDINGS, vectors="hnsw")


def test_an_unchecked_index_opens_and_stays_unchecked(index: FolderIndex) -> None:
    path = index.path / "generation-000001" / "segments" / "000001" / "documents.jsonl"
    content = path.read_bytes()
    path.write_bytes(content.replace("날씨".encode(), "날싸".encode()))
    unchecked = open_index(index.path, EMBEDDINGS, check=False)
    assert len(unchecked) == 400
    with pytest.raises(ValueError, match="Damaged"):
        open_index(index.path, EMBEDDINGS)


@pytest.mark.fault(2, "Damaged tables and columns of a large index ended a search with IndexError or KeyError.")
@pytest.mark.parametrize("name", ["id_rows.npy", "columns.npy", "columns.json", "clusters.faiss"])
def test_an_unchecked_damaged_index_says_so(name: str, tmp_path: Path) -> None:
    index = build_index(tmp_path / "index", ARTICLES, EMBEDDINGS, vectors="ivf")
    [path] = index.path.rglob(name)
    content = path.read_bytes()
    path.write_bytes(
        b"{}" if name == "columns.json" else content[:128] + b"\xff\xff\xff\x7f" * ((len(content) - 128) // 4)
    )

    def search() -> None:
        opened = open_index(index.path, EMBEDDINGS, check=False)
        store = opened.snapshot.store
        store.search_vector(EMBEDDINGS.embed_query("지진"), 5, filter={"section": "정치"})
        store.get_by_ids([str(ARTICLES[0].id)])

    with pytest.raises(ValueError, match=r"[Rr]estore a copy or build the index anew"):
        search()


@pytest.mark.fault(
    5, "A model that gave too many or too few vectors for a large index was told of as damage, to be built anew."
)
@pytest.mark.parametrize("vectors", [np.full((2, 4), np.nan), np.ones((1, 4)), np.ones((3, 4)), np.ones(4)])
def test_a_segment_takes_one_vector_of_numbers_for_each_document(vectors: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Check the embedding model"), SegmentWriter(tmp_path / "segment") as writer:
        writer.add([article(1), article(2)], vectors)
