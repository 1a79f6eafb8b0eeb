from typing import Any

from eval.protocols import Benchmark
from eval.slices.properties import FEWEST, slice_questions
from rag_app.data import load_retrieval_data, sample_documents
from rag_app.data.questions import Question
from rag_app.documents import make_document


def passage(text: str, **metadata: Any) -> Any:
    return make_document(text, **metadata)


def question(number: int, document: Any = None, text: str = "그것은 무엇인가요?", **metadata: Any) -> Question:
    relevant = frozenset[str]() if document is None else frozenset({str(document.metadata["doc_id"])})
    return Question(f"q{number}", text, relevant, (), False, metadata)


def slices(benchmark: Benchmark, kind: str) -> dict[str, list[str]]:
    return {name: ids for found, name, ids in slice_questions(benchmark) if found == kind}


ONE = passage("하나뿐인 글입니다.")


def test_question_types_of_klue_have_readable_names_and_others_their_own() -> None:
    cells: list[Any] = [1, "1", 2, "2", "factoid"]
    questions = [question(5 * n + k, ONE, question_type=cell) for n in range(FEWEST) for k, cell in enumerate(cells)]
    found = slices(Benchmark([ONE], questions, []), "question type")
    assert {name: len(ids) for name, ids in found.items()} == {
        "paraphrased": 2 * FEWEST,
        "several sentences": 2 * FEWEST,
        "factoid": FEWEST,
    }
    assert found["factoid"] == [f"q{5 * n + 4}" for n in range(FEWEST)]


def test_a_section_is_the_questions_own_or_that_of_its_passage() -> None:
    politics, none = passage("국회가 열렸다.", section="정치"), passage("글입니다.")
    questions = [
        *(question(n, politics, News_Category="경제") for n in range(FEWEST)),
        *(question(n, politics) for n in range(FEWEST, 2 * FEWEST)),
        *(question(n, none) for n in range(2 * FEWEST, 3 * FEWEST)),
    ]
    found = slices(Benchmark([politics, none], questions, []), "section")
    assert list(found) == ["경제", "정치"]
    assert found["정치"] == [f"q{n}" for n in range(FEWEST, 2 * FEWEST)]


def test_small_slices_are_left_out_and_kinds_with_a_single_one_too() -> None:
    styles = ["close"] * FEWEST + ["detail"] * (FEWEST - 1)
    questions = [question(n, ONE, style=style) for n, style in enumerate(styles)]
    assert slice_questions(Benchmark([ONE], questions, [])) == []
    questions.append(question(99, ONE, style="detail"))
    assert {name: len(ids) for name, ids in slices(Benchmark([ONE], questions, []), "style").items()} == {
        "close": FEWEST,
        "detail": FEWEST,
    }


def test_lengths_are_cut_into_quarters_named_by_their_bounds() -> None:
    passages = [passage("가" * (n + 1)) for n in range(4 * FEWEST)]
    benchmark = Benchmark(passages, [question(n, one) for n, one in enumerate(passages)], [])
    found = slices(benchmark, "passage length")
    assert {name: (len(ids), ids[0], ids[-1]) for name, ids in found.items()} == {
        "up to 10 characters": (10, "q0", "q9"),
        "11 to 20 characters": (10, "q10", "q19"),
        "21 to 30 characters": (10, "q20", "q29"),
        "over 30 characters": (10, "q30", "q39"),
    }


def test_equal_lengths_are_not_cut_apart() -> None:
    lengths = [5] * (3 * FEWEST) + [9] * FEWEST
    questions = [question(n, ONE, text="가" * length) for n, length in enumerate(lengths)]
    found = slices(Benchmark([ONE], questions, []), "question length")
    assert found == {
        "up to 5 characters": [f"q{n}" for n in range(3 * FEWEST)],
        "over 5 characters": [f"q{n}" for n in range(3 * FEWEST, 4 * FEWEST)],
    }


def test_shared_words_are_content_words_in_the_passage_or_its_title() -> None:
    telescope = passage("정하늘이 고흥에서 망원경을 만들었다.", title="천문대")
    texts = {
        "four fifths or more": "언제 천문대에서 망원경을 만들었나요?",  # 언제 asks and is not looked for
        "half to four fifths": "고흥에서 현미경을 만들었나요?",  # two of three
        "under half": "그 소년은 무엇을 발명했나요?",
    }
    questions = [question(3 * n + k, telescope, text) for n in range(FEWEST) for k, text in enumerate(texts.values())]
    found = slices(Benchmark([telescope], questions, []), "words shared with the passage")
    assert found == {
        "under half": [f"q{3 * n + 2}" for n in range(FEWEST)],
        "half to four fifths": [f"q{3 * n + 1}" for n in range(FEWEST)],
        "four fifths or more": [f"q{3 * n}" for n in range(FEWEST)],
    }


def test_a_passage_that_the_corpus_lacks_is_in_no_slice_of_passages() -> None:
    other, missing = passage("다른 글이 길게 이어집니다."), passage("없는 글입니다.")
    half = [question(n, ONE if n % 2 else other) for n in range(4 * FEWEST)]
    questions = [*half, *(question(n, missing) for n in range(50, 50 + 2 * FEWEST))]
    found = slices(Benchmark([ONE, other], questions, []), "passage length")
    assert sum(map(len, found.values())) == len(half)


def test_every_question_is_in_one_slice_of_a_kind_at_most() -> None:
    data = load_retrieval_data("sample")
    benchmark = Benchmark(sample_documents(), [one for one in data.questions if one.relevant], [])
    found = slice_questions(benchmark)
    kinds = list(dict.fromkeys(kind for kind, *_ in found))
    assert kinds == [
        "style",
        "section",
        "asked for",
        "words shared with the passage",
        "passage length",
        "question length",
    ]
    for kind in kinds:
        ids = [id_ for other, _, members in found if other == kind for id_ in members]
        assert len(ids) == len(set(ids))
        assert set(ids) <= {one.id for one in benchmark.questions}
    assert all(len(ids) >= FEWEST for *_, ids in found)


def test_close_questions_share_words_with_their_passages_and_paraphrases_do_not() -> None:
    data = load_retrieval_data("sample")
    benchmark = Benchmark(sample_documents(), [one for one in data.questions if one.relevant], [])
    styles = {one.id: one.metadata["style"] for one in benchmark.questions}
    found = slices(benchmark, "words shared with the passage")
    assert not any(styles[id_] == "close" for id_ in found["under half"])
    assert not any(styles[id_] == "paraphrase" for id_ in found["four fifths or more"])
