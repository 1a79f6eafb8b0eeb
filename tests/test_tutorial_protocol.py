"""The tutorial protocol beside a plain loop written after the tutorial's description, on a file of KLUE-MRC's size."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import faiss
import numpy as np
import pytest
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray
from pydantic import Field

from eval.metrics import question_scores
from eval.protocols import Benchmark, tutorial
from eval.tutorial import FlatIndex, FlatRetriever, build_flat
from rag_app.compressors import LinearCompressor, RerankingCompressor, load_reranker
from rag_app.data import Question, RetrievalData, load_retrieval_data
from rag_app.documents import make_document
from rag_app.embeddings import load_embeddings
from rag_app.timing import stage_times

QUESTIONS = 5841
ODQA = Path(__file__).parents[2] / "shared/data/odqa_ko"
Rerank = Callable[[list[tuple[str, str]]], NDArray[np.float64]]


class SharedWords(RerankingCompressor):
    """Scores by how many words question and passage share, and remembers how many pairs each call had."""

    calls: list[int] = Field(default_factory=list)

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, progress: bool = False) -> NDArray[np.float64]:
        self.calls.append(len(pairs))
        return shared_words(pairs)


class Backwards(BaseDocumentCompressor):
    """A reranker that is not ours: turns the order round."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        return list(reversed(documents))


class Lengths(Embeddings):
    """Vectors that are not of length 1: how long a text is; questions come out as twice as long."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[float(len(text)), 1.0] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [2.0 * len(text), 1.0]


def shared_words(pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
    # No two passages that differ score alike, so that no order is left to chance.
    return np.array([len({*query.split()} & {*passage.split()}) / 10 + len(passage) / 1e5 for query, passage in pairs])


@pytest.fixture(scope="module")
def klue_sized(tmp_path_factory: pytest.TempPathFactory, sentences: tuple[str, ...]) -> Path:
    """A file of KLUE-MRC's layout and size: one to five questions on a context, every fifth one without an answer.

    Its words are made of the characters that the miniature models know; a question has some of its context's words,
    and those of other contexts too, so that the search sometimes fails.
    """
    random = np.random.default_rng(7)
    characters = sorted({character for sentence in sentences for character in sentence if character not in " ."})
    words = ["".join(random.choice(characters, size=int(random.integers(2, 5)))) for _ in range(400)]
    articles: list[dict[str, Any]] = []
    made = 0
    while made < QUESTIONS:
        chosen = random.choice(words, size=16).tolist()
        asked = min(int(random.integers(1, 6)), QUESTIONS - made)
        questions = []
        for number in range(made, made + asked):
            impossible = number % 5 == 0
            text = " ".join([*random.choice(chosen, size=5), *random.choice(words, size=3)])
            span = {"text": chosen[3], "answer_start": 0}
            questions.append(
                {
                    "question": f"{text}?",
                    "answers": [] if impossible else [span],
                    **({"plausible_answers": [span]} if impossible else {}),
                    "question_type": 3 if impossible else 1,
                    "is_impossible": impossible,
                    "guid": f"klue-mrc-v1_dev_{number:05}",
                }
            )
        context = f"{made}번 {' '.join(chosen)}."
        articles.append(
            {
                "title": f"국회 {made}",
                "news_category": "정치",
                "source": "acrofan",
                "paragraphs": [{"context": context, "qas": questions}],
            }
        )
        made += asked
    path = tmp_path_factory.mktemp("klue-sized") / "klue-mrc-v1.1_dev.json"
    path.write_text(json.dumps({"version": "klue-mrc-v1.1", "data": articles}, ensure_ascii=False), "utf-8")
    return path


@pytest.fixture(scope="module")
def drawn(klue_sized: Path) -> list[dict[str, Any]]:
    """The rows that the tutorial asks, drawn as it draws them, from the json file without our readers."""
    from datasets import Dataset

    rows = [
        {"guid": asked["guid"], "question": asked["question"], "context": paragraph["context"]}
        for article in json.loads(klue_sized.read_text("utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for asked in paragraph["qas"]
    ]
    assert len(rows) == QUESTIONS
    return list(Dataset.from_list(rows).train_test_split(test_size=1000, seed=42)["test"])


@pytest.fixture(scope="module")
def task(klue_sized: Path) -> Benchmark:
    return tutorial(load_retrieval_data(klue_sized))


@pytest.fixture(scope="module")
def index(task: Benchmark, tiny_static: Path) -> FlatIndex:
    return build_flat(task.corpus, load_embeddings(tiny_static))


def plain_hits(rows: Sequence[dict[str, Any]], model: Path, rerank: Rerank | None = None, k: int = 10) -> list[bool]:
    """Say of each question whether it is a hit, as the tutorial's description has it and with nothing of ours."""
    embeddings = load_embeddings(model)
    contexts = [row["context"] for row in rows]
    vectors = np.array(embeddings.embed_documents(contexts), dtype=np.float32)
    flat = faiss.IndexFlatL2(vectors.shape[1])
    flat.add(vectors)
    hits = []
    for row in rows:
        query = np.array([embeddings.embed_query(row["question"])], dtype=np.float32)
        found = flat.search(query, k if rerank is None else 30)[1][0]
        if rerank is not None:
            scores = rerank([(row["question"], contexts[place]) for place in found])
            found = found[np.argsort(-scores)][:k]
        hits.append(row["context"] in [contexts[place] for place in found])
    return hits


def hits(benchmark: Benchmark, results: Sequence[Sequence[Document]]) -> list[bool]:
    run = {
        question.id: {found.metadata["doc_id"]: found.metadata["score"] for found in documents}
        for question, documents in zip(benchmark.questions, results, strict=True)
    }
    return [score == 1 for score in question_scores(benchmark.qrels(), run)["hit_rate@10"].values()]


def texts(documents: Sequence[Document]) -> list[str]:
    return [document.page_content for document in documents]


def test_it_draws_the_rows_that_the_datasets_library_draws_in_its_order(
    task: Benchmark, drawn: list[dict[str, Any]]
) -> None:
    assert len(drawn) == 1000
    assert [question.id for question in task.questions] == [row["guid"] for row in drawn]
    assert [question.text for question in task.questions] == [row["question"] for row in drawn]
    assert texts(task.corpus) == [row["context"] for row in drawn]


def test_the_corpus_keeps_duplicates_and_every_row_of_equal_text_is_a_hit(task: Benchmark) -> None:
    ids = [document.metadata["doc_id"] for document in task.corpus]
    assert len(set(ids)) == 1000
    counts = Counter(texts(task.corpus))
    assert max(counts.values()) > 1
    for question, context in zip(task.questions, task.corpus, strict=True):
        assert question.context_id == context.metadata["doc_id"]
        relevant = [id_ for id_, row in zip(ids, task.corpus, strict=True) if id_ in question.relevant]
        assert len(relevant) == counts[context.page_content]
        assert question.context_id in relevant


def test_no_title_stands_before_the_text(task: Benchmark) -> None:
    assert {key for document in task.corpus for key in document.metadata} == {"doc_id"}


def test_questions_without_an_answer_are_asked_too(task: Benchmark) -> None:
    impossible = [question for question in task.questions if question.impossible]
    assert 150 < len(impossible) < 250
    assert all(question.relevant for question in impossible)
    assert not task.unanswerable


def test_hits_are_those_of_a_plain_loop(
    task: Benchmark, index: FlatIndex, drawn: list[dict[str, Any]], tiny_static: Path
) -> None:
    plain = plain_hits(drawn, tiny_static)
    assert 0.1 < np.mean(plain) < 0.9  # or equality would say little
    retriever = FlatRetriever(index=index)
    asked = [question.text for question in task.questions]
    assert hits(task, [retriever.invoke(question) for question in asked]) == plain
    assert hits(task, retriever.batch(asked, k=10)) == plain


def test_reranked_hits_are_those_of_a_plain_loop(
    task: Benchmark, index: FlatIndex, drawn: list[dict[str, Any]], tiny_static: Path
) -> None:
    plain = plain_hits(drawn, tiny_static, shared_words)
    assert np.mean(plain_hits(drawn, tiny_static)) < np.mean(plain) < 0.95
    retriever = FlatRetriever(index=index, compressor=SharedWords(model=None, name="words", top_n=None))
    asked = [question.text for question in task.questions]
    assert hits(task, [retriever.invoke(question) for question in asked]) == plain
    assert hits(task, retriever.batch(asked)) == plain


def test_a_cross_encoder_reranks_as_in_a_plain_loop(
    klue_sized: Path, drawn: list[dict[str, Any]], tiny_static: Path, tiny_cross_encoder: Path
) -> None:
    compressor = load_reranker(tiny_cross_encoder, top_n=None)
    benchmark = tutorial(load_retrieval_data(klue_sized), limit=60)
    assert [question.id for question in benchmark.questions] == [row["guid"] for row in drawn[:60]]
    plain = plain_hits(drawn[:60], tiny_static, partial(compressor.model.predict, show_progress_bar=False))
    assert plain != plain_hits(drawn[:60], tiny_static)
    retriever = FlatRetriever(index=build_flat(benchmark.corpus, load_embeddings(tiny_static)), compressor=compressor)
    asked = [question.text for question in benchmark.questions]
    assert hits(benchmark, [retriever.invoke(question) for question in asked]) == plain
    assert hits(benchmark, retriever.batch(asked)) == plain


def test_a_batch_reranks_all_questions_in_one_call(index: FlatIndex) -> None:
    compressor = SharedWords(model=None, name="words", top_n=None)
    FlatRetriever(index=index, compressor=compressor).batch(["국회", "서울", "국회"])
    assert compressor.calls == [60]  # a question asked twice is scored once


@pytest.fixture
def small(tiny_static: Path) -> FlatIndex:
    words = ["국회", "주말에", "서울", "예산안을", "국회는 주말에", "서울이고"]
    corpus = [Document(word, metadata={"doc_id": f"{word}#{row}"}) for row, word in enumerate(words)]
    return build_flat(corpus, load_embeddings(tiny_static))


def test_the_same_questions_get_the_same_from_a_linear_reranker_alone_and_in_a_batch(
    small: FlatIndex, tiny_linear_reranker: Path
) -> None:
    compressor = load_reranker(tiny_linear_reranker, top_n=None)
    assert isinstance(compressor, LinearCompressor)
    retriever = FlatRetriever(index=small, compressor=compressor, candidates=4, k=3)
    asked = ["국회 주말에", "서울", "국회 주말에"]
    assert retriever.batch(asked) == [retriever.invoke(question) for question in asked]
    stage = retriever.invoke("서울")[0].metadata["stages"]["rerank"]
    assert stage["calibrated"] is False


def test_what_the_reranker_leaves_out_is_left_out(small: FlatIndex) -> None:
    compressor = SharedWords(model=None, name="words", top_n=2, threshold=0.05)
    retriever = FlatRetriever(index=small, compressor=compressor)
    assert [texts(found) for found in retriever.batch(["국회 주말에", "예산안을", "비"])] == [
        ["국회는 주말에", "주말에"],
        ["예산안을"],
        [],
    ]


def test_a_foreign_compressor_reranks_one_question_after_another(small: FlatIndex) -> None:
    first = FlatRetriever(index=small, k=4).invoke("서울")
    retriever = FlatRetriever(index=small, compressor=Backwards(), candidates=4, k=2)
    assert [texts(found) for found in retriever.batch(["서울", "국회"])] == [
        texts(retriever.invoke("서울")),
        texts(retriever.invoke("국회")),
    ]
    assert texts(retriever.invoke("서울")) == texts(first)[:1:-1]


def test_k_is_taken_when_asked_and_the_reranker_sees_no_fewer(small: FlatIndex) -> None:
    compressor = SharedWords(model=None, name="words", top_n=None)
    retriever = FlatRetriever(index=small, compressor=compressor, candidates=3)
    assert [len(retriever.invoke("서울", k=k)) for k in (1, 3, 5, 50)] == [1, 3, 5, 6]
    assert compressor.calls == [3, 3, 5, 6]
    assert [len(found) for found in retriever.batch(["서울", "국회"], k=2)] == [2, 2]
    assert retriever.batch([]) == []


def test_what_is_found_has_its_score_and_the_corpus_stays_as_it_was(small: FlatIndex) -> None:
    best, *others = FlatRetriever(index=small).invoke("예산안을")
    assert (best.page_content, best.metadata) == ("예산안을", {"doc_id": "예산안을#3", "score": pytest.approx(0)})
    scores = [document.metadata["score"] for document in others]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] < 0
    assert all("score" not in document.metadata for document in small.corpus)


def test_vectors_of_another_model_are_searched_as_long_as_they_are() -> None:
    corpus = [Document("글" * length, metadata={"doc_id": str(length)}) for length in (1, 2, 4, 8)]
    retriever = FlatRetriever(index=build_flat(corpus, Lengths()), k=3)
    expected = [("4", 0), ("2", -4), ("1", -9)]
    for found in (retriever.invoke("질문"), retriever.batch(["질문"])[0]):
        assert [(document.metadata["doc_id"], document.metadata["score"]) for document in found] == expected


def test_each_stage_is_timed(small: FlatIndex) -> None:
    retriever = FlatRetriever(index=small, compressor=SharedWords(model=None, name="words"))
    for ask in (partial(retriever.invoke, "서울"), partial(retriever.batch, ["서울", "국회"])):
        with stage_times() as seconds:
            ask()
        assert set(seconds) == {"encode", "dense", "rerank"}


def test_the_size_is_that_of_the_vectors(small: FlatIndex) -> None:
    assert small.size_bytes == 6 * 16 * 4


def test_fewer_questions_than_drawn_are_all_asked() -> None:
    passage = make_document("국회는 예산안을 의결했다.")
    doc_id = str(passage.metadata["doc_id"])
    asked = [Question(f"q{n}", f"{n}?", frozenset({doc_id}), (), False, {}, doc_id) for n in range(5)]
    benchmark = tutorial(RetrievalData({doc_id: passage}, asked))
    assert sorted(question.id for question in benchmark.questions) == [f"q{n}" for n in range(5)]
    assert all(question.relevant == {f"{doc_id}#{row}" for row in range(5)} for question in benchmark.questions)
    assert len(tutorial(RetrievalData({doc_id: passage}, asked), limit=3).questions) == 3


def test_data_that_do_not_say_what_was_asked_of_which_passage_are_refused() -> None:
    passage = make_document("국회는 예산안을 의결했다.")
    question = Question("q7", "누가?", frozenset({str(passage.id)}), (), False, {})
    with pytest.raises(ValueError, match=r"1 of 1 questions, such as 'q7', do not say .* --protocol clean"):
        tutorial(RetrievalData({str(passage.id): passage}, [question]))


@pytest.mark.parametrize("source", ["sample", str(ODQA)])
def test_other_sources_are_asked_in_the_same_way(source: str) -> None:
    if source != "sample" and not ODQA.exists():
        pytest.skip("odqa_ko is not beside the checkout")
    benchmark = tutorial(load_retrieval_data(source), limit=100)
    retriever = FlatRetriever(index=build_flat(benchmark.corpus, load_embeddings()))
    found = retriever.batch([question.text for question in benchmark.questions])
    run = {
        question.id: {document.metadata["doc_id"]: document.metadata["score"] for document in documents}
        for question, documents in zip(benchmark.questions, found, strict=True)
    }
    assert 0.8 < fmean(question_scores(benchmark.qrels(), run)["hit_rate@10"].values()) <= 1
