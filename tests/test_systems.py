from collections.abc import Sequence
from pathlib import Path

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun, Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.retrievers import BaseRetriever
from pydantic import Field

from eval.systems import SYSTEMS, ask, build_indexes, build_system, document_scores, system_names
from rag_app.data.questions import Question
from rag_app.documents import make_document
from rag_app.index import Index
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


class Listed(BaseRetriever):
    """Finds a fixed list of passages and notes how many it was asked for."""

    passages: list[Document]
    asked: list[int] = Field(default_factory=list)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int = 10
    ) -> list[Document]:
        self.asked.append(k)
        return self.passages[:k]


def passages_of(*doc_ids: str) -> list[Document]:
    return [Document("글", metadata={"doc_id": doc_id, "score": -float(rank)}) for rank, doc_id in enumerate(doc_ids)]


def questions(*texts: str) -> list[Question]:
    return [Question(f"q{n}", text, frozenset({"x"}), (), False, {}) for n, text in enumerate(texts)]


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
    [best, *_] = build_system(name, indexes, Backwards()).invoke("국회는 무엇을 의결했나?")
    assert set(best.metadata["stages"]) == stages


def test_the_base_and_the_tuned_system_search_their_own_index(tmp_path: Path) -> None:
    models = {"base": DeterministicFakeEmbedding(size=8), "tuned": Topics()}
    indexes = build_indexes(CORPUS, models, tmp_path)
    assert build_system("tuned", indexes).invoke("금리를 알려 줘")[0].page_content == TOPICS[3]
    assert indexes["base"].embeddings is models["base"]
    assert indexes["tuned"].embeddings is models["tuned"]


def test_models_with_the_same_weights_share_an_index(tmp_path: Path) -> None:
    same = build_indexes(CORPUS, {"base": Topics("a"), "tuned": Topics("a")}, tmp_path / "same")
    assert same["base"] is same["tuned"]
    other = build_indexes(CORPUS, {"base": Topics("a"), "tuned": Topics("b")}, tmp_path / "other")
    assert other["base"] is not other["tuned"]


def test_names_come_in_the_order_of_the_table_with_reranking_last() -> None:
    assert system_names(["base"], rerank=False) == ["lexical", "base", "hybrid"]
    assert system_names(["base", "tuned"], rerank=False) == list(SYSTEMS)
    assert system_names(["base"], rerank=True)[3:] == ["lexical+rerank", "base+rerank", "hybrid+rerank"]


def test_reranking_without_a_reranker_is_refused(indexes: dict[str, Index]) -> None:
    with pytest.raises(ValueError, match="--reranker"):
        build_system("base+rerank", indexes)


def test_a_reranker_decides_the_order(indexes: dict[str, Index]) -> None:
    asked = questions("국회는 무엇을 의결했나?")
    plain = ask(build_system("base", indexes), asked).run["q0"]
    reranked = ask(build_system("base+rerank", indexes, Backwards()), asked).run["q0"]
    assert max(plain, key=plain.__getitem__) == CORPUS[0].id
    assert min(reranked, key=reranked.__getitem__) == CORPUS[0].id


def test_every_question_is_answered_and_timed_also_when_nothing_is_found() -> None:
    answers = ask(Listed(passages=[]), questions("하나", "둘"))
    assert answers.run == {"q0": {}, "q1": {}}
    assert set(answers.seconds) == {"q0", "q1"}
    assert all(seconds > 0 for seconds in answers.seconds.values())


def test_a_document_of_several_passages_counts_once_at_its_best_rank() -> None:
    scores = document_scores(passages_of("a", "b", "a", "c", "b"))
    assert sorted(scores, key=scores.__getitem__, reverse=True) == ["a", "b", "c"]
    assert scores["c"] < scores["b"] < scores["a"]


def test_neighbours_with_the_same_score_stay_tied() -> None:
    found = [
        Document("글", metadata={"doc_id": doc_id, "score": score}) for doc_id, score in [("b", 1), ("a", 1), ("c", 0)]
    ]
    scores = document_scores(found)
    assert scores["a"] == scores["b"] > scores["c"]


def test_the_order_served_counts_even_against_the_scores() -> None:
    found = [Document("글", metadata={"doc_id": doc_id, "score": score}) for doc_id, score in [("a", 0.1), ("b", 0.9)]]
    scores = document_scores(found)
    assert scores["a"] > scores["b"]


def test_more_passages_are_fetched_until_they_come_from_k_documents() -> None:
    long = ["long"] * 70
    retriever = Listed(passages=passages_of(*long, *(f"d{n}" for n in range(50))))
    answers = ask(retriever, questions("질문"), k=10)
    assert len(answers.run["q0"]) >= 10
    assert retriever.asked[1:] == [30, 60, 120]  # the first call warms up


def test_fetching_stops_when_there_are_no_more_documents() -> None:
    retriever = Listed(passages=passages_of(*["long"] * 60))
    assert len(ask(retriever, questions("질문"), k=10).run["q0"]) == 1
    assert retriever.asked[1:] == [30, 60, 120]


def test_long_documents_still_bring_k_distinct_ones(tmp_path: Path) -> None:
    long = make_document(" ".join(f"국회는 {n}번째 예산안을 의결했다." for n in range(2500)))
    short = [make_document(f"국회는 {n}월에 쉰다.") for n in range(12)]
    indexes = build_indexes([long, *short], {"base": Topics()}, tmp_path)
    lexical, question = build_system("lexical", indexes), "국회는 예산안을 의결했나?"
    assert {passage.metadata["doc_id"] for passage in lexical.invoke(question)} == {long.id}
    assert len(ask(lexical, questions(question)).run["q0"]) >= 10
