from collections.abc import Sequence
from pathlib import Path

import pytest
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ValidationError

from rag_app.compressors import load_reranker
from rag_app.embeddings import load_embeddings
from rag_app.index import build_index
from rag_app.retrieval import build_retriever
from rag_app.source_cap import SourceCap, places_within, source_of


def told(source: str, number: int = 0) -> Document:
    return Document(f"{source} {number}", metadata={"source": source})


def texts(documents: Sequence[Document]) -> list[str]:
    return [document.page_content for document in documents]


class Backwards(BaseDocumentCompressor):
    """A reranker that likes the last best."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        return list(reversed(documents))


@pytest.mark.parametrize(
    ("metadata", "source"),
    [
        ({"source": "가람일보", "path": "a.txt", "doc_id": "1"}, ("source", "가람일보")),
        ({"source": "", "path": "a.txt", "doc_id": "1"}, ("path", "a.txt")),
        ({"doc_id": "1", "title": "제목"}, ("doc_id", "1")),
        ({}, None),
    ],
)
def test_a_source_is_the_outlet_else_the_file_else_the_article(metadata: dict[str, str], source: object) -> None:
    assert source_of(Document("글", metadata=metadata)) == source


def test_the_first_of_each_source_stay_and_what_has_none_does() -> None:
    found = [told("가", 1), told("가", 2), told("나", 1), told("가", 3), Document("?"), Document("?"), told("나", 2)]
    assert places_within(found, 1) == [0, 2, 4, 5]
    assert places_within(found, 2) == [0, 1, 2, 4, 5, 6]


def test_the_next_best_take_the_place_of_what_is_left_out() -> None:
    found = [*(told("가", number) for number in range(8)), told("나"), told("다"), told("라")]
    cap = SourceCap(max_per_source=2, top_n=4, k=4)
    assert texts(cap.compress_documents(found, "?")) == ["가 0", "가 1", "나 0", "다 0"]


def test_a_reranker_reads_k_documents_and_those_that_will_fill_the_list_are_among_them() -> None:
    read: list[str] = []

    class Reading(Backwards):
        def compress_documents(
            self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
        ) -> list[Document]:
            read.extend(texts(documents))
            return super().compress_documents(documents, query, callbacks)

    found = [*(told("가", number) for number in range(8)), told("나"), told("다"), told("라")]
    cap = SourceCap(max_per_source=2, top_n=4, k=6, compressor=Reading())
    kept = cap.compress_documents(found, "?")
    assert read == ["가 0", "가 1", "가 2", "가 3", "나 0", "다 0"]
    assert texts(kept) == ["다 0", "나 0", "가 3", "가 2"]


def test_options_are_checked() -> None:
    with pytest.raises(ValidationError):
        SourceCap(max_per_source=0)


@pytest.mark.parametrize("reranked", [False, True])
@pytest.mark.fault(10, "One outlet or upload could fill all results of a question, and nothing limited it.")
def test_a_flood_of_one_outlet_does_not_fill_the_results(tmp_path: Path, reranked: bool) -> None:
    flood = [
        Document(f"가온호수의 깊이는 {number}미터라고 한다.", metadata={"source": "새소식"}) for number in range(60)
    ]
    others = [Document(f"{name}호수의 물이 맑다.", metadata={"source": name}) for name in "나다라마바사아자차카타파"]
    right = Document("가온호수는 깊이가 열두 미터다.", metadata={"source": "가온군"})
    index = build_index(tmp_path / "index", [*flood, *others, right], load_embeddings())
    compressor = load_reranker(top_n=10) if reranked else None
    question = "가온호수의 깊이는 몇 미터인가?"
    free = build_retriever(index, compressor=compressor).invoke(question)
    assert {document.metadata["source"] for document in free} <= {"새소식", "가온군"}
    for collapse in (False, True):
        capped = build_retriever(index, compressor=compressor, collapse=collapse, max_per_source=3).invoke(question)
        sources = [document.metadata["source"] for document in capped]
        assert len(capped) == 10
        assert sources.count("새소식") == (3 if not collapse else min(3, sources.count("새소식")))
        assert "가온군" in sources
