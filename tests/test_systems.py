from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun, Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.retrievers import BaseRetriever

from eval.asking import ask
from eval.systems import Stock, build_indexes, build_system, needed_models, system_names, usual_systems
from rag_app.data.questions import Question
from rag_app.documents import make_document
from rag_app.index import Index
from rag_app.lexical import FIELDS
from rag_app.stages import with_stage

TOPICS = ("국회는 예산안을 의결했다.", "주말에 비가 온다.", "개막전이 잠실에서 열렸다.", "금리를 동결했다.")
CORPUS = [make_document(text) for text in TOPICS]


class Topics(Embeddings):
    """Knows the four topics and nothing else."""

    def __init__(self, fingerprint: str | None = None) -> None:
        self.fingerprint = fingerprint
        self.dimension = len(TOPICS)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[float(topic[:4] in text) for topic in TOPICS] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class Backwards(BaseDocumentCompressor):
    """A reranker that turns the order round."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        return [with_stage(document, "rerank", rank, -rank) for rank, document in enumerate(reversed(documents), 1)]


class Fixed(BaseRetriever):
    """Finds the same documents for every question."""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int = 10
    ) -> list[Document]:
        return [with_stage(document, "dense", rank, -rank) for rank, document in enumerate(CORPUS[:k], 1)]


def questions(*texts: str) -> list[Question]:
    return [Question(f"q{n}", text, frozenset({"x"}), (), False, {}) for n, text in enumerate(texts)]


def stock(indexes: Mapping[str, Index], reranker: BaseDocumentCompressor | None = None, **others: Any) -> Stock:
    return Stock(indexes, **{"served": {}, "foreign": {}, **others}, passages=len(CORPUS), reranker=reranker)


def retriever(
    name: str, indexes: Mapping[str, Index], reranker: BaseDocumentCompressor | None = None, **others: Any
) -> BaseRetriever:
    return build_system(name, stock(indexes, reranker, **others)).retriever


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Index]:
    return build_indexes(CORPUS, {"base": Topics(), "tuned": Topics()}, tmp_path_factory.mktemp("indexes"))


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("lexical", {"lexical", "fusion"}),
        ("base", {"dense", "fusion"}),
        ("hybrid", {"lexical", "dense", "fusion"}),
        ("tuned", {"dense", "fusion"}),
        ("tuned+hybrid", {"lexical", "dense", "fusion"}),
        ("hybrid+rerank", {"dense", "fusion", "rerank"}),  # backwards, its best shares no word with the question
    ],
)
def test_each_system_searches_with_what_its_name_says(indexes: dict[str, Index], name: str, stages: set[str]) -> None:
    [best, *_] = retriever(name, indexes, Backwards()).invoke("국회는 무엇을 의결했나?")
    assert set(best.metadata["stages"]) == stages


def test_the_base_and_the_tuned_system_search_their_own_index(tmp_path: Path) -> None:
    models = {"base": DeterministicFakeEmbedding(size=8), "tuned": Topics()}
    indexes = build_indexes(CORPUS, models, tmp_path)
    assert retriever("tuned", indexes).invoke("금리를 알려 줘")[0].page_content == TOPICS[3]
    assert indexes["base"].embeddings is models["base"]
    assert indexes["tuned"].embeddings is models["tuned"]


def test_models_with_the_same_weights_share_an_index(tmp_path: Path) -> None:
    same = build_indexes(CORPUS, {"base": Topics("a"), "tuned": Topics("a")}, tmp_path / "same")
    assert same["base"] is same["tuned"]
    other = build_indexes(CORPUS, {"base": Topics("a"), "tuned": Topics("b")}, tmp_path / "other")
    assert other["base"] is not other["tuned"]


def test_names_come_in_the_order_of_the_table_with_reranking_last() -> None:
    halves = ["bigrams", "morphemes"]
    assert system_names(["base"], rerank=False) == [*halves, "lexical", "base", "hybrid"]
    assert system_names(["base", "tuned"], ["news"], ["mine"], rerank=False)[5:] == [
        "tuned",
        "tuned+hybrid",
        "news",
        "mine",
    ]
    with_reranking = system_names(["base"], rerank=True)
    assert with_reranking[5:8] == ["bigrams+rerank", "morphemes+rerank", "lexical+rerank"]
    assert usual_systems(with_reranking)[5:] == ["lexical+rerank", "base+rerank", "hybrid+rerank"]


def test_only_models_that_a_system_searches_with_are_needed() -> None:
    models = {"base": 1, "tuned": 2, "other": 3}
    assert needed_models(["lexical", "hybrid+rerank"], models) == {"base": 1}
    assert needed_models(["tuned+rerank", "other+hybrid"], models) == models
    assert needed_models(["bigrams", "other+hybrid+rerank"], models) == {"base": 1, "other": 3}


def test_reranking_without_a_reranker_is_refused(indexes: dict[str, Index]) -> None:
    with pytest.raises(ValueError, match="--reranker"):
        retriever("base+rerank", indexes)


def test_a_reranker_decides_the_order(indexes: dict[str, Index]) -> None:
    asked = questions("국회는 무엇을 의결했나?")
    plain = ask(retriever("base", indexes), asked)["q0"].found
    reranked = ask(retriever("base+rerank", indexes, Backwards()), asked)["q0"].found
    assert next(iter(plain)) == CORPUS[0].id
    assert list(reranked)[-1] == CORPUS[0].id


def test_each_analysis_of_words_can_search_alone(indexes: dict[str, Index]) -> None:
    found = {name: retriever(name, indexes).invoke("예산안")[0] for name in ("bigrams", "morphemes", "lexical")}
    scores = {name: passage.metadata["stages"]["lexical"]["score"] for name, passage in found.items()}
    assert sum(weight * scores[name] for name, weight in FIELDS.items()) == pytest.approx(scores["lexical"], rel=1e-5)


def test_a_served_index_is_searched_as_served_in_its_own_corpus(indexes: dict[str, Index], tmp_path: Path) -> None:
    served = build_indexes(CORPUS[:2], {"news": Topics()}, tmp_path)
    system = build_system("news", stock(indexes, served=served))
    assert system.passages == 2
    [best, *_] = system.retriever.invoke("국회는 무엇을 의결했나?")
    assert set(best.metadata["stages"]) == {"lexical", "dense", "fusion"}


def test_a_foreign_retriever_can_be_reranked(indexes: dict[str, Index]) -> None:
    system = build_system("mine+rerank", stock(indexes, Backwards(), foreign={"mine": Fixed()}))
    assert system.index_bytes is None
    found = system.retriever.invoke("질문", k=3)
    assert [passage.id for passage in found] == [document.id for document in reversed(CORPUS[:3])]
    assert build_system("mine", stock(indexes, foreign={"mine": Fixed()})).retriever.invoke("질문", k=1)[0].id == (
        CORPUS[0].id
    )


def test_a_system_counts_the_parts_of_the_index_that_it_needs(indexes: dict[str, Index]) -> None:
    sizes = {name: build_system(name, stock(indexes)).index_bytes or 0 for name in ("lexical", "base", "hybrid")}
    documents = sizes["lexical"] + sizes["base"] - sizes["hybrid"]
    assert 0 < documents < sizes["base"] < sizes["lexical"] < sizes["hybrid"]
    vectors = sizes["base"] - documents
    assert vectors >= 4 * len(CORPUS) * len(TOPICS)


def test_the_vectors_of_a_large_index_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = build_indexes(CORPUS, {"base": Topics()}, tmp_path / "small")
    monkeypatch.setattr("rag_app.generation_writer.EXACT_MOST", 1)
    large = build_indexes(CORPUS, {"base": Topics()}, tmp_path / "large")
    for name in ("lexical", "base", "hybrid"):
        before, after = (build_system(name, stock(indexes)).index_bytes or 0 for indexes in (small, large))
        assert after == before if name == "lexical" else after > before + 2 * len(CORPUS) * len(TOPICS)


def test_long_documents_still_bring_k_distinct_ones(tmp_path: Path) -> None:
    long = make_document(" ".join(f"국회는 {n}번째 예산안을 의결했다." for n in range(2500)))
    short = [make_document(f"국회는 {n}월에 쉰다.") for n in range(12)]
    indexes = build_indexes([long, *short], {"base": Topics()}, tmp_path)
    lexical, question = retriever("lexical", indexes), "국회는 예산안을 의결했나?"
    assert {passage.metadata["doc_id"] for passage in lexical.invoke(question)} == {long.id}
    assert len(ask(lexical, questions(question))["q0"].found) >= 10
