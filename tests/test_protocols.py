import pytest
from langchain_core.documents import Document

from eval.protocols import passage_retrieval
from rag_app.data.questions import Question, RetrievalData
from rag_app.documents import make_document

PASSAGES = [make_document(f"{n}번째 기사입니다.", title=f"기사 {n}") for n in range(6)]


def question(number: int, *, impossible: bool = False) -> Question:
    relevant = frozenset[str]() if impossible else frozenset({doc_id(PASSAGES[number])})
    return Question(f"q{number}", f"{number}번째 질문", relevant, (), impossible, {})


def doc_id(document: Document) -> str:
    return str(document.metadata["doc_id"])


DATA = RetrievalData(
    {doc_id(passage): passage for passage in PASSAGES[:5]},
    [question(0), question(1), question(2, impossible=True), question(3), question(4)],
)


def test_unanswerable_questions_are_set_aside_and_counted_and_their_passages_stay() -> None:
    benchmark = passage_retrieval(DATA)
    assert [asked.id for asked in benchmark.questions] == ["q0", "q1", "q3", "q4"]
    assert len(benchmark.unanswerable) == 1
    assert benchmark.corpus == PASSAGES[:5]


def test_a_distractor_with_a_text_of_the_corpus_adds_nothing() -> None:
    again = make_document("0번째 기사입니다.", title="같은 글, 다른 제목")
    benchmark = passage_retrieval(DATA, [again, PASSAGES[5], PASSAGES[5]])
    assert benchmark.corpus == PASSAGES
    assert len(DATA.passages) == 5


def test_qrels_name_the_passages_that_answer() -> None:
    qrels = passage_retrieval(DATA).qrels()
    assert qrels["q1"] == {doc_id(PASSAGES[1])}
    assert set(qrels) == {"q0", "q1", "q3", "q4"}


def test_limit_draws_the_same_sample_for_the_same_seed_and_keeps_the_corpus() -> None:
    drawn = [passage_retrieval(DATA, limit=2, seed=seed) for seed in range(8)]
    assert passage_retrieval(DATA, limit=2, seed=3) == drawn[3]
    samples = [[asked.id for asked in benchmark.questions] for benchmark in drawn]
    assert len({tuple(sample) for sample in samples}) > 1
    assert all(len(sample) == 2 and sample == sorted(sample) for sample in samples)
    assert all(benchmark.corpus == PASSAGES[:5] for benchmark in drawn)
    assert all(len(benchmark.unanswerable) == 1 for benchmark in drawn)


def test_a_limit_above_the_number_of_questions_asks_all() -> None:
    assert passage_retrieval(DATA, limit=100) == passage_retrieval(DATA)


def test_data_without_an_answerable_question_are_refused() -> None:
    with pytest.raises(ValueError, match="None of the 1 questions has an answer"):
        passage_retrieval(RetrievalData(DATA.passages, [question(2, impossible=True)]))
