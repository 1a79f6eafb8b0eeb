import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document

from rag_app.compressors import TopN, load_reranker
from rag_app.embeddings import load_embeddings
from rag_app.index import build_index
from rag_app.stores.community import import_community_index
from rag_app.stores.pickled_documents import load_pickled

NEWS = [
    Document(page_content="올해 쌀 수확량이 지난해보다 줄었다.", metadata={"title": "쌀"}, id="rice"),
    Document(page_content="조사선이 남해의 해저 지형을 살핀다.", metadata={"title": "배"}, id="ship"),
    Document(page_content="은행이 대출 금리를 내렸다.", metadata={"title": "은행"}, id="bank"),
]


@pytest.fixture
def community() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # langchain-community announces its own end when it is imported
        vectorstores = pytest.importorskip("langchain_community.vectorstores")
        return vectorstores.FAISS.from_documents(NEWS, load_embeddings())


def test_our_embeddings_and_compressors_work_with_its_store(community: Any, tiny_cross_encoder: Path) -> None:
    base = community.as_retriever(search_kwargs={"k": 3})
    plain = ContextualCompressionRetriever(base_retriever=base, base_compressor=TopN(top_n=1))
    [best] = plain.invoke("벼농사 수확은 얼마나 줄었나?")
    assert best.id == "rice"
    reranker = load_reranker(tiny_cross_encoder, top_n=2)
    reranked = ContextualCompressionRetriever(base_retriever=base, base_compressor=reranker).invoke("금리")
    assert len(reranked) == 2
    assert all(0 <= document.metadata["relevance_score"] <= 1 for document in reranked)


def test_a_saved_index_is_imported_and_answers_alike(community: Any, tmp_path: Path) -> None:
    community.save_local(str(tmp_path))
    store = import_community_index(tmp_path, load_embeddings())
    assert list(store.documents.values()) == NEWS
    question = "배가 바다를 조사했다"
    theirs = [document.id for document in community.similarity_search(question, k=3)]
    assert [document.id for document in store.similarity_search(question, k=3)] == theirs
    index = build_index(tmp_path / "index", store.documents.values(), load_embeddings())
    assert len(index) == 3


def test_a_planted_pickle_runs_nothing(community: Any, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "executed",)

    community.save_local(str(tmp_path))
    (tmp_path / "index.pkl").write_bytes(pickle.dumps((Payload(), {})))
    with pytest.raises(ValueError, match="was not loaded"):
        import_community_index(tmp_path, load_embeddings())
    assert not (tmp_path / "executed").exists()


def test_missing_and_foreign_files_are_named(community: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"index\.faiss"):
        import_community_index(tmp_path, load_embeddings())
    community.save_local(str(tmp_path))
    (tmp_path / "index.pkl").write_bytes(pickle.dumps(["something else", 3]))
    with pytest.raises(ValueError, match="no documents saved by save_local"):
        import_community_index(tmp_path, load_embeddings())
    (tmp_path / "index.pkl").write_bytes(b"no pickle")
    with pytest.raises(ValueError, match="no documents saved by save_local"):
        import_community_index(tmp_path, load_embeddings())


@pytest.mark.fault(7, "A pickle saved by langchain-community could crash the process by a key of nested tuples.")
def test_a_key_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="too many tuples"):
        load_pickled(b"\x80\x04}N" + b"\x85" * 300_000 + b"Ns.")


@pytest.mark.fault(7, "A pickle of a few bytes could reserve gigabytes before anything in it was looked at.")
@pytest.mark.parametrize("content", [b"Nr\xff\xff\xff\x7f.", b"\x8e\0\0\0\0\0\1\0\0."])
def test_no_more_is_reserved_than_there_is(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"numbers 2147483647 of its parts|bytes8"):
        load_pickled(b"\x80\x04" + content)
