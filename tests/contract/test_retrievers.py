from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests

from rag_app.index import Index, build_index
from rag_app.korean import analyzer
from rag_app.lexical import LexicalIndex, LexicalRetriever
from rag_app.retrieval import HybridRetriever

NEWS = [
    Document(page_content=f"{city} 지하철 {line}호선이 내년 봄에 개통한다.", id=f"{city}{line}")
    for line, city in enumerate(["서울", "부산", "대구", "광주", "인천"], start=1)
]


class TestLexicalRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return LexicalRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        index = LexicalIndex.create(analyzer())
        documents = {str(document.id): document for document in NEWS}
        index.add(documents, [document.page_content for document in NEWS])
        index.commit()
        return {"index": index, "documents": documents}

    @property
    def retriever_query_example(self) -> str:
        return "지하철은 언제 개통하나요?"


class TestHybridRetriever(RetrieversIntegrationTests):
    index: Index

    @pytest.fixture(autouse=True)
    def _build(self, tmp_path: Path) -> None:
        self.index = build_index(tmp_path / "index", NEWS, DeterministicFakeEmbedding(size=8))

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return HybridRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"index": self.index}

    @property
    def retriever_query_example(self) -> str:
        return "지하철은 언제 개통하나요?"
