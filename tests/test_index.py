import multiprocessing
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from rag_app.check import check_index
from rag_app.documents import document_id, make_document
from rag_app.embeddings import load_embeddings
from rag_app.folder_index import FolderIndex
from rag_app.generations import writing
from rag_app.index import Changes, build_index, open_index
from rag_app.retrieval import build_retriever
from rag_app.vector_spool import VectorSpool

EMBEDDINGS = DeterministicFakeEmbedding(size=8)
RICE = make_document("올해 쌀 수확량이 4.2% 줄었다.", title="쌀 수확량 감소", path="a.csv", date="2025-01-02")
SHIP = make_document("가온호가 남해를 조사했다.", title="가온호 출항", path="a.csv")
BANK = make_document("은행이 금리를 내렸다.", title="금리 인하", path="b.csv")
LONG = make_document(
    "\n\n".join(f"{n}번째 문장은 여기에서 끝난다. 그리고 이어진다." for n in range(200)), title="긴 글"
)


@pytest.fixture
def index(tmp_path: Path) -> FolderIndex:
    return build_index(tmp_path / "index", [RICE, SHIP], EMBEDDINGS)


def _texts(index: FolderIndex) -> set[str]:
    return {passage.page_content for passage in index.snapshot.store.documents.values()}


def _found(index: FolderIndex, question: str) -> list[str]:
    return [hit.id for hit in index.snapshot.lexical.search(question, 10)]


def test_a_built_index_opens_and_is_sound(index: FolderIndex) -> None:
    opened = open_index(index.path, EMBEDDINGS)
    assert _texts(opened) == {RICE.page_content, SHIP.page_content}
    assert _found(opened, "쌀 수확량") == [RICE.id]
    assert check_index(index.path) == []
    manifest = opened.snapshot.manifest
    assert (manifest["documents"], manifest["passages"], manifest["model"]["dimension"]) == (2, 2, 8)


def test_any_langchain_document_gets_its_content_hash(tmp_path: Path) -> None:
    text = "ＫＢＳ 뉴스\u200b입니다."
    index = build_index(tmp_path, [Document(page_content=text, metadata={"title": "뉴스"})], EMBEDDINGS)
    assert index.document_ids() == {document_id("KBS 뉴스입니다.")}


def test_adding_twice_changes_nothing(index: FolderIndex) -> None:
    before = (index.path / "manifest.json").read_bytes()
    assert index.add([RICE, SHIP, RICE]) == Changes(added=0, skipped=3)
    assert (index.path / "manifest.json").read_bytes() == before


def test_added_documents_are_found_and_kept(index: FolderIndex) -> None:
    assert index.add([BANK, SHIP, BANK]) == Changes(added=1, skipped=2)
    for current in (index, open_index(index.path, EMBEDDINGS)):
        assert len(current) == 3
        assert _found(current, "금리") == [BANK.id]
    assert check_index(index.path) == []


def test_deleting_removes_every_passage(index: FolderIndex) -> None:
    index.add([LONG])
    assert len(index) > 5
    assert index.delete([LONG.metadata["doc_id"], "unknown"]) == Changes(removed=1)
    assert _texts(index) == {RICE.page_content, SHIP.page_content}
    assert _found(index, "번째 문장") == []
    assert check_index(index.path) == []


def test_updating_follows_a_file(index: FolderIndex) -> None:
    index.add([BANK])
    corrected = make_document("올해 쌀 수확량이 5.1% 줄었다.", title="쌀 수확량 감소", path="a.csv")
    renamed = make_document(SHIP.page_content, title="가온호, 남해로", path="a.csv")
    assert index.update([corrected, renamed]) == Changes(added=2, removed=2)
    assert _texts(index) == {corrected.page_content, SHIP.page_content, BANK.page_content}
    [ship] = [p for p in index.snapshot.store.documents.values() if p.page_content == SHIP.page_content]
    assert ship.metadata["title"] == "가온호, 남해로"
    assert index.update([corrected, renamed]) == Changes(skipped=2)
    assert check_index(index.path) == []


def test_long_documents_are_split_with_their_offsets(tmp_path: Path) -> None:
    index = build_index(tmp_path, [LONG, RICE], EMBEDDINGS, passage_chars=300)
    passages = [p for p in index.snapshot.store.documents.values() if p.metadata["title"] == "긴 글"]
    assert len(passages) > 10
    for passage in passages:
        start, end = passage.metadata["start"], passage.metadata["end"]
        assert LONG.page_content[start:end] == passage.page_content
        assert len(passage.page_content) <= 300


def test_the_model_reads_every_passage_to_its_end(
    tiny_transformer: Path, sentences: tuple[str, ...], tmp_path: Path
) -> None:
    embeddings = load_embeddings(tiny_transformer, device="cpu")
    title = sentences[1]
    last = "프로야구 개막전이 서울에서 열렸다고 국회는 한국어를 쓰고 수도는 주말에 비가 온다고 예보했다."
    long = make_document(" ".join([*sentences * 9, last]), title=title)
    assert len(long.page_content) < 1200
    assert not embeddings.fits(f"{title}\n{long.page_content}")
    short = make_document(sentences[2], title="짧은 글")
    index = build_index(tmp_path, [short], embeddings)
    index.add([long])
    passages = index.snapshot.store.documents
    assert passages[str(short.id)].page_content == short.page_content  # what fits stays whole
    parts = [p for p in passages.values() if p.metadata["doc_id"] == long.id]
    assert len(parts) > 1
    assert all(embeddings.fits(f"{title}\n{part.page_content}") for part in parts)
    assert len(build_index(tmp_path / "other", [long], EMBEDDINGS)) == 1  # another's model is not asked

    text = next(f"{title}\n{part.page_content}" for part in parts if last in part.page_content)
    [best] = build_retriever(index, weights={"lexical": 0, "dense": 1}, top_n=1).invoke(text)
    assert (best.metadata["doc_id"], last in best.page_content) == (long.id, True)
    assert best.metadata["score"] == pytest.approx(1, abs=1e-4)


def test_an_existing_index_is_only_replaced_on_request(index: FolderIndex) -> None:
    with pytest.raises(FileExistsError, match="replace"):
        build_index(index.path, [BANK], EMBEDDINGS)
    assert _texts(open_index(index.path, EMBEDDINGS)) == {RICE.page_content, SHIP.page_content}
    build_index(index.path, [BANK], EMBEDDINGS, replace=True)
    assert _texts(open_index(index.path, EMBEDDINGS)) == {BANK.page_content}


def test_nothing_to_index_says_so_and_leaves_no_index(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no document"):
        build_index(tmp_path, [], EMBEDDINGS)
    with pytest.raises(FileNotFoundError, match="rag-app index"):
        open_index(tmp_path, EMBEDDINGS)


def test_another_model_is_refused_with_the_remedy(index: FolderIndex) -> None:
    with pytest.raises(ValueError, match=r"8 dimensions.*5 dimensions.*rag-app index"):
        open_index(index.path, DeterministicFakeEmbedding(size=5))


def test_a_failing_document_stream_leaves_the_index_as_it_was(index: FolderIndex) -> None:
    def broken() -> Iterator[Document]:
        yield BANK
        raise OSError("disk is gone")

    with pytest.raises(OSError, match="gone"):
        index.add(broken())
    assert _texts(open_index(index.path, EMBEDDINGS)) == {RICE.page_content, SHIP.page_content}


def test_a_failing_model_leaves_the_index_as_it_was(index: FolderIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, texts: list[str]) -> list[list[float]]:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(DeterministicFakeEmbedding, "embed_documents", fail)
    with pytest.raises(RuntimeError):
        index.add([BANK])
    assert _found(index, "금리") == []
    assert check_index(index.path) == []


def test_a_second_process_cannot_write_meanwhile(index: FolderIndex) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool, writing(index.path):
        error = pool.apply(_try_to_add, (index.path,))
    assert "another process" in error


def _try_to_add(path: Path) -> str:
    try:
        open_index(path, EMBEDDINGS).add([BANK])
    except BlockingIOError as error:
        return str(error)
    return "no error"


def test_an_open_index_keeps_its_version_until_refreshed(index: FolderIndex) -> None:
    reader = open_index(index.path, EMBEDDINGS)
    index.delete([str(RICE.id)])
    assert _found(reader, "쌀 수확량") == [RICE.id]
    assert reader.refresh() is True
    assert _found(reader, "쌀 수확량") == []
    assert reader.refresh() is False


def test_an_index_deleted_and_built_again_is_noticed(index: FolderIndex) -> None:
    reader = open_index(index.path, EMBEDDINGS)
    shutil.rmtree(index.path)
    build_index(index.path, [BANK], EMBEDDINGS)
    assert reader.refresh() is True
    assert _texts(reader) == {BANK.page_content}


def test_a_user_dictionary_travels_with_the_index(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("가온누리호\tNNP\t10\n", encoding="utf-8")
    index = build_index(tmp_path / "index", [SHIP], EMBEDDINGS, user_dictionary=words)
    words.unlink()
    index.add([make_document("가온누리호가 떠났다.")])
    opened = open_index(index.path, EMBEDDINGS)
    assert opened.snapshot.lexical.search("가온누리호", 1)[0].coverage > 0.3
    assert check_index(index.path) == []


@pytest.mark.parametrize("part", ["documents.jsonl", "vectors.faiss", "lexical"])
def test_check_finds_a_part_of_another_version(index: FolderIndex, tmp_path: Path, part: str) -> None:
    other = build_index(tmp_path / "other", [BANK, SHIP, LONG], EMBEDDINGS)
    target, source = index.path / "generation-000001" / part, other.path / "generation-000001" / part
    if target.is_dir():
        shutil.rmtree(target)
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
    assert check_index(index.path)
    with pytest.raises(ValueError, match="Damaged"):
        open_index(index.path, EMBEDDINGS)


def test_check_says_when_this_version_cannot_search_the_index(
    index: FolderIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag_app.check.analysis", lambda: {"kiwipiepy": "9.9"})
    assert check_index(index.path) == [
        "It was built with another analysis of words than this version's. Build it anew."
    ]


def test_a_build_without_a_spool_removes_one_that_was_left(tmp_path: Path) -> None:
    with VectorSpool.open(tmp_path / "spool", "slow", 2) as spool:
        spool.add(["a"], np.ones((1, 2), np.float32))
    build_index(tmp_path, [RICE], load_embeddings())
    assert not (tmp_path / "spool").exists()


def test_a_failed_add_does_not_block_the_next(index: FolderIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, texts: list[str]) -> list[list[float]]:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(DeterministicFakeEmbedding, "embed_documents", fail)
        with pytest.raises(RuntimeError) as kept:  # as a notebook keeps the last exception and all its frames
            index.add([BANK])
    assert index.add([BANK]).added == 1
    assert kept.value.__traceback__ is not None


def test_readers_in_other_processes_always_see_one_whole_version(index: FolderIndex) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        readers = [pool.apply_async(_read_many, (index.path, 60)) for _ in range(2)]
        while not all(reader.ready() for reader in readers):
            index.add([BANK])
            index.delete([str(BANK.id)])
        for reader in readers:
            assert reader.get() == []


def _read_many(path: Path, times: int) -> list[str]:
    wrong = []
    for _ in range(times):
        snapshot = open_index(path, EMBEDDINGS).snapshot
        ids = sorted(snapshot.store.documents)
        if sorted(snapshot.lexical.ids()) != ids or len(ids) != snapshot.manifest["passages"]:
            wrong.append(f"{ids} {snapshot.lexical.ids()}")
        wrong += check_index(path)
    return wrong


def test_many_deletions_rebuild_the_lexical_index(tmp_path: Path) -> None:
    articles = [make_document(f"지진 소식 {n}번째") for n in range(20)]
    index = build_index(tmp_path / "index", articles, EMBEDDINGS)
    index.delete([str(article.id) for article in articles[3:]])
    assert index.snapshot.lexical.deleted == 0
    fresh = build_index(tmp_path / "fresh", articles[:3], EMBEDDINGS)
    question = "2번째 지진"
    assert index.snapshot.lexical.search(question, 3) == fresh.snapshot.lexical.search(question, 3)
    assert check_index(index.path) == []


def test_another_class_of_the_same_dimension_is_another_model(index: FolderIndex) -> None:
    class Other(DeterministicFakeEmbedding):
        pass

    with pytest.raises(ValueError, match=r"'DeterministicFakeEmbedding'.*'Other'"):
        open_index(index.path, Other(size=8))
    with pytest.raises(ValueError, match="Pass it: open_index"):
        open_index(index.path)


def test_ids_and_metadata_of_the_user_s_own_are_kept_under_another_name(tmp_path: Path) -> None:
    own = Document(
        page_content="바다에 고래가 나타났다.", metadata={"doc_id": "mine", "start": "2020", 3: "셋"}, id="my-1"
    )
    index = build_index(tmp_path, [own], EMBEDDINGS)
    [passage] = index.snapshot.store.documents.values()
    kept = {"source_doc_id": "mine", "source_start": "2020", "source_id": "my-1", "3": "셋"}
    assert kept.items() <= passage.metadata.items()
    found = build_retriever(index).invoke("고래")
    assert build_index(tmp_path / "again", found, EMBEDDINGS).document_ids() == index.document_ids()


def test_an_empty_document_is_named(index: FolderIndex) -> None:
    with pytest.raises(ValueError, match=r"Document 2 \(빈 글\) cannot be indexed"):
        index.add([BANK, Document(page_content=" \u200b", metadata={"title": "빈 글"})])
