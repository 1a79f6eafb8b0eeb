import json
from itertools import pairwise
from pathlib import Path

import pytest
from langchain_core.documents import Document

from eval.protocols import Benchmark, clean, corpus_sizes, needed_passages, shrink
from rag_app.data.questions import Question, RetrievalData, all_passages, load_retrieval_data
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
    benchmark = clean(DATA)
    assert [asked.id for asked in benchmark.questions] == ["q0", "q1", "q3", "q4"]
    assert len(benchmark.unanswerable) == 1
    assert benchmark.corpus == PASSAGES[:5]


def test_a_distractor_with_a_text_of_the_corpus_adds_nothing() -> None:
    again = make_document("0번째 기사입니다.", title="같은 글, 다른 제목")
    benchmark = clean(DATA, [again, PASSAGES[5], PASSAGES[5]])
    assert benchmark.corpus == PASSAGES
    assert len(DATA.passages) == 5


def test_qrels_name_the_passages_that_answer() -> None:
    qrels = clean(DATA).qrels()
    assert qrels["q1"] == {doc_id(PASSAGES[1])}
    assert set(qrels) == {"q0", "q1", "q3", "q4"}


def test_limit_draws_the_same_sample_for_the_same_seed_and_keeps_the_corpus() -> None:
    drawn = [clean(DATA, limit=2, seed=seed) for seed in range(8)]
    assert clean(DATA, limit=2, seed=3) == drawn[3]
    samples = [[asked.id for asked in benchmark.questions] for benchmark in drawn]
    assert len({tuple(sample) for sample in samples}) > 1
    assert all(len(sample) == 2 and sample == sorted(sample) for sample in samples)
    assert all(benchmark.corpus == PASSAGES[:5] for benchmark in drawn)
    assert all(len(benchmark.unanswerable) == 1 for benchmark in drawn)


def test_limit_leaves_as_large_a_share_of_the_unanswerable_questions() -> None:
    asked = [question(number % 5, impossible=number >= 40)._replace(id=f"q{number}") for number in range(60)]
    benchmark = clean(DATA._replace(questions=asked), limit=10)
    assert (len(benchmark.questions), len(benchmark.unanswerable)) == (10, 5)
    ids = [int(left.id[1:]) for left in benchmark.unanswerable]
    assert ids == sorted(set(ids))
    assert not any(left.relevant for left in benchmark.unanswerable)


def test_a_limit_above_the_number_of_questions_asks_all() -> None:
    assert clean(DATA, limit=100) == clean(DATA)


def test_data_without_an_answerable_question_are_refused() -> None:
    with pytest.raises(ValueError, match="None of the 1 questions has an answer"):
        clean(RetrievalData(DATA.passages, [question(2, impossible=True)]))


def test_a_context_of_several_questions_and_splits_stands_in_the_corpus_once(tmp_path: Path) -> None:
    shared, alone, trained = (PASSAGES[number].page_content for number in range(3))
    rows = {
        "validation": [(shared, "하나?", False), (shared, "둘?", False), (alone, "셋?", True)],
        "train": [(trained, "넷?", False), (shared, "다섯?", False)],
    }
    for split, asked in rows.items():
        lines = [{"context": text, "question": query, "is_impossible": no} for text, query, no in asked]
        path = tmp_path / f"{split}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    benchmark = clean(load_retrieval_data(tmp_path), all_passages(tmp_path))
    assert [document.page_content for document in benchmark.corpus] == [shared, alone, trained]
    assert [asked.text for asked in benchmark.questions] == ["하나?", "둘?"]
    assert [asked.text for asked in benchmark.unanswerable] == ["셋?"]
    assert set(benchmark.qrels().values()) == {frozenset({doc_id(PASSAGES[0])})}


@pytest.mark.parametrize(
    ("needed", "total", "points", "sizes"),
    [
        (200, 25_600, 4, [200, 1008, 5080, 25_600]),  # each 128 ** (1 / 3) = 5.04 times the one before
        (1, 1000, 4, [1, 10, 100, 1000]),
        (229, 2095, 2, [229, 2095]),
        (3, 4, 4, [3, 4]),
        (7, 7, 4, [7]),
    ],
)
def test_corpus_sizes_grow_by_a_factor(needed: int, total: int, points: int, sizes: list[int]) -> None:
    assert corpus_sizes(needed, total, points) == sizes


@pytest.mark.parametrize(("needed", "total", "points"), [(0, 5, 4), (6, 5, 4), (2, 5, 1)])
def test_impossible_corpus_sizes_are_refused(needed: int, total: int, points: int) -> None:
    with pytest.raises(ValueError, match=f"got {needed} and {points}"):
        corpus_sizes(needed, total, points)


@pytest.fixture(scope="module")
def large() -> Benchmark:
    corpus = [make_document(f"{n}번째 글") for n in range(200)]
    relevant = [frozenset({doc_id(corpus[5 * n])}) for n in range(20)]
    asked = [Question(f"q{n}", "?", ids, (), False, {}) for n, ids in enumerate(relevant)]
    gone = Question("gone", "?", frozenset({"not in the corpus"}), (), False, {})
    return Benchmark(corpus, [*asked, gone], [question(2, impossible=True)])


def test_what_the_questions_need_is_what_the_corpus_has_of_it(large: Benchmark) -> None:
    assert needed_passages(large) == {doc_id(document) for document in large.corpus[:100:5]}


@pytest.mark.parametrize("seed", [0, 1])
def test_a_smaller_corpus_is_part_of_every_larger_one_and_answers_all_questions(large: Benchmark, seed: int) -> None:
    sizes = corpus_sizes(len(needed_passages(large)), len(large.corpus))
    smaller = [shrink(large, size, seed=seed) for size in sizes]
    sets = [{doc_id(document) for document in benchmark.corpus} for benchmark in smaller]
    assert [len(ids) for ids in sets] == sizes
    assert sets[0] == needed_passages(large)
    assert all(small < big for small, big in pairwise(sets))
    assert smaller[-1] == large
    for benchmark in smaller:
        assert benchmark.corpus == [document for document in large.corpus if document in benchmark.corpus]
        assert benchmark[1:] == large[1:]


def test_the_seed_chooses_the_other_passages(large: Benchmark) -> None:
    assert shrink(large, 50, seed=1) == shrink(large, 50, seed=1) != shrink(large, 50, seed=2)


def test_the_other_passages_come_from_everywhere(large: Benchmark) -> None:
    kept = shrink(large, 110, seed=0)  # half of those that nothing is asked about
    places = [place for place, document in enumerate(large.corpus) if document in kept.corpus]
    assert 35 < sum(place >= 100 for place in places) < 65


@pytest.mark.parametrize("passages", [19, 201])
def test_a_corpus_that_is_too_small_or_too_large_is_refused(large: Benchmark, passages: int) -> None:
    with pytest.raises(ValueError, match=f"Cannot keep {passages} passages: the questions need 20 and there are 200"):
        shrink(large, passages)
