from pathlib import Path

import pytest
from langchain_core.documents import Document

from eval.health import questions as health
from eval.health.questions import (
    check_answers,
    check_duplicates,
    check_lexical,
    question_key,
    sample,
    text,
    word_overlap,
)
from eval.protocols import Benchmark, tutorial
from eval.results import Finding
from rag_app.data.questions import Question, RetrievalData, load_passages, load_retrieval_data
from rag_app.documents import make_document

ODQA = Path(__file__).parents[2] / "shared/data/odqa_ko"
WIRE = "기상청은 오늘 오후부터 전국에 비가 내리고 밤에는 바람이 강하게 불겠다고 예보했다"
TEXTS = (
    WIRE,
    f"{WIRE} 서울",
    "국회는 내년 예산안을 의결하고 여당과 야당은 민생 법안도 함께 처리하기로 했다",
    "프로야구 개막전이 토요일 잠실에서 열리고 입장권은 이미 모두 팔렸다고 한다",
)
PASSAGES = [make_document(content) for content in TEXTS]


def doc_id(document: Document) -> str:
    return str(document.metadata["doc_id"])


def question(number: int, *relevant: Document, asks: str = "", answers: tuple[str, ...] = ()) -> Question:
    ids = frozenset(map(doc_id, relevant))
    return Question(f"q{number}", asks or f"{number}번째 질문", ids, answers, impossible=False, metadata={})


def benchmark(*questions: Question, corpus: list[Document] = PASSAGES) -> Benchmark:
    return Benchmark(corpus, list(questions), [])


# Duplicates


def test_a_near_duplicate_counts_and_so_do_the_questions_that_it_makes_wrong() -> None:
    corpus, questions = check_duplicates(benchmark(question(1, PASSAGES[0]), question(2, PASSAGES[2])))
    assert corpus == Finding(
        "duplicates",
        "corpus",
        "of 4 passages 0 repeat another word for word; of 4 texts 2 (50.0%) say nearly the same as another (1 pairs)",
        0.5,
        warning=False,
    )
    assert (questions.share, questions.warning) == (0.5, True)
    assert questions.text.startswith("of 2 questions 1 (50.0%) have a right passage that counts as wrong")


def test_near_duplicates_that_the_qrels_name_make_nothing_wrong() -> None:
    _, questions = check_duplicates(benchmark(question(1, PASSAGES[0], PASSAGES[1]), question(2, PASSAGES[3])))
    assert (questions.share, questions.warning) == (0.0, False)


def test_a_corpus_that_repeats_nothing_gives_no_warning() -> None:
    corpus, questions = check_duplicates(benchmark(question(1, PASSAGES[2]), corpus=PASSAGES[1:]))
    assert (corpus.share, corpus.warning, questions.share, questions.warning) == (0.0, False, 0.0, False)
    assert corpus.text.startswith("of 3 passages 0 repeat another word for word; of 3 texts 0 say nearly the same")


def test_equal_texts_under_several_ids_are_counted_and_are_wrong_unless_they_are_relevant() -> None:
    again = Document(page_content=TEXTS[3], metadata={"doc_id": "again"})
    both = [*PASSAGES[1:], again]
    corpus, questions = check_duplicates(benchmark(question(1, PASSAGES[3]), corpus=both))
    assert corpus.text.startswith("of 4 passages 1 (25.0%) repeat another word for word; of 3 texts 0 say")
    assert (corpus.share, questions.share, questions.warning) == (0.25, 1.0, True)
    _, questions = check_duplicates(benchmark(question(1, PASSAGES[3], again), corpus=both))
    assert questions.share == 0.0


def test_the_tutorials_duplicates_are_counted_and_are_hits() -> None:
    asked = [question(n, PASSAGES[2])._replace(context_id=doc_id(PASSAGES[2])) for n in range(3)]
    corpus, questions = check_duplicates(tutorial(RetrievalData({doc_id(PASSAGES[2]): PASSAGES[2]}, asked)))
    assert corpus.text.startswith("of 3 passages 2 (66.7%) repeat another word for word")
    assert questions.share == 0.0


def test_questions_asked_twice_are_counted_by_what_answers_them() -> None:
    asked = [
        question(1, PASSAGES[0], PASSAGES[1], asks="비는 언제 오나요?"),
        question(2, PASSAGES[0], PASSAGES[1], asks="비는 언제 오나요"),
        question(3, PASSAGES[2], asks="누가 이겼나?"),
        question(4, PASSAGES[3], asks="누가  이겼나 ?"),
        question(5, PASSAGES[3], asks="어디서 열리나?"),
    ]
    _, questions = check_duplicates(benchmark(*asked))
    assert questions.text.endswith("2 are asked more than once, 1 of these of different passages")


def test_one_question_in_a_hundred_may_have_a_repeated_passage() -> None:
    asked = [question(0, PASSAGES[0]), *(question(n, PASSAGES[3]) for n in range(1, 100))]
    assert not check_duplicates(benchmark(*asked))[1].warning
    assert check_duplicates(benchmark(*asked[:-1]))[1].warning


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("비는 언제 오나요?", "비는언제 오나요??", True),
        ("LG는 어디?", "lg는 어디", True),
        ("\u1107\u1175\u1102\u1173\u11ab?", "비는?", True),
        ("비는 언제 오나요?", "눈은 언제 오나요?", False),
        ("3.1절은 언제?", "31절은 언제?", False),
    ],
)
def test_case_white_space_and_the_end_make_no_other_question(first: str, second: str, same: bool) -> None:
    assert (question_key(first) == question_key(second)) is same


# Answers


def test_answers_that_stand_in_no_relevant_passage_are_counted() -> None:
    asked = [
        question(1, PASSAGES[3], answers=("부산", "잠실")),
        question(2, PASSAGES[3], answers=("개막 전이",)),  # but for white space
        question(3, PASSAGES[2], answers=("잠실",)),
        question(4, PASSAGES[2]),
    ]
    passages, answers = check_answers(benchmark(*asked))
    assert (passages.share, passages.warning) == (0.0, False)
    assert answers.text == "of 3 questions that name answers 1 (33.3%) have none in their passage"
    assert answers.share == pytest.approx(1 / 3)
    assert answers.warning
    assert not check_answers(benchmark(*asked[:2]))[1].warning


def test_an_answer_may_stand_in_the_title_and_in_one_of_several_passages() -> None:
    titled = make_document("그는 1397년에 태어났다.", title="세종대왕")
    asked = question(1, PASSAGES[0], titled, answers=("세종 대왕",))
    assert check_answers(benchmark(asked, corpus=[*PASSAGES, titled]))[1].share == 0.0


def test_a_source_without_answers_cannot_be_checked() -> None:
    _, answers = check_answers(benchmark(question(1, PASSAGES[0])))
    assert (answers.share, answers.warning) == (None, False)
    assert "cannot be checked" in answers.text


def test_a_question_without_a_passage_in_the_corpus_is_warned_about() -> None:
    stranger = make_document("모르는 글")
    passages, answers = check_answers(
        benchmark(question(1, stranger, answers=("글",)), question(2, PASSAGES[3], answers=("잠실",)))
    )
    assert (passages.share, passages.warning) == (0.5, True)
    assert answers.text.startswith("of 1 questions that name answers 0")


# Lexical search


def test_what_lexical_search_solves_is_told_and_a_question_without_a_score_is_not_solved() -> None:
    asked = [question(n, PASSAGES[0], asks="오늘 비가 오나요?") for n in range(4)]
    scores = {"hit_rate@1": {"q0": 1.0, "q1": 0.0}, "hit_rate@10": {"q0": 1.0, "q1": 1.0, "q2": 1.0}}
    finding = check_lexical(benchmark(*asked), scores)
    assert (finding.share, finding.warning) == (0.25, False)
    assert finding.text.startswith("lexical search alone finds 25.0% of 4 questions first and 75.0% within 10")
    scores = {"hit_rate@1": {f"q{n}": 1.0 for n in range(4)}, "hit_rate@5": {f"q{n}": 1.0 for n in range(4)}}
    finding = check_lexical(benchmark(*asked), scores, k=5)
    assert finding.warning
    assert "little is left" in finding.text


def test_word_overlap_is_the_share_of_content_morphemes_in_the_best_passage() -> None:
    rain = make_document("오늘 서울에 비가 온다.")
    snow = make_document("눈이 온다.", title="내일 부산")
    asked = [
        question(1, rain, asks="오늘 서울"),  # both
        question(2, rain, snow, asks="내일 부산 날씨"),  # two of three, in a title
        question(3, rain, asks="?!"),  # no content
        question(4, make_document("모르는 글"), asks="모르는 글"),  # not in the corpus
    ]
    assert word_overlap(benchmark(*asked, corpus=[rain, snow])) == pytest.approx((1 + 2 / 3) / 2)
    assert word_overlap(benchmark(*asked[2:], corpus=[rain, snow])) == 0.0


# What is shown


def test_findings_are_shown_in_columns_with_a_mark_before_warnings() -> None:
    findings = [
        Finding("truncation", "base", "reads all", 0.0, warning=False),
        Finding("leakage", "tuned+hybrid", "3 known", 0.1, warning=True),
    ]
    assert text(findings).split("\n") == [
        "   truncation  base          reads all",
        "!  leakage     tuned+hybrid  3 known",
    ]
    assert text([]) == ""


def test_a_sample_is_always_the_same_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "SAMPLE", 10)
    drawn = sample(range(100))
    assert drawn == sample(list(range(100)))
    assert drawn == sorted(set(drawn))
    assert len(drawn) == 10
    assert sample(range(10)) == list(range(10))
    assert len(sample(range(10), 3)) == 3


def test_word_overlap_of_many_questions_is_that_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "ANALYSED", 2)
    asked = benchmark(*(question(n, PASSAGES[0], asks="오늘 비") for n in range(5)))
    scores = {"hit_rate@1": dict[str, float](), "hit_rate@10": dict[str, float]()}
    assert check_lexical(asked, scores).text.endswith("stand in its passage (a sample of 2)")


def test_the_bundled_sample_is_sound() -> None:
    data = load_retrieval_data("sample")
    asked = Benchmark(load_passages("sample"), [q for q in data.questions if q.relevant], [])
    findings = [*check_duplicates(asked), *check_answers(asked)]
    assert [finding.share for finding in findings] == [0.0] * 4
    assert not any(finding.warning for finding in findings)


@pytest.mark.skipif(not ODQA.exists(), reason="odqa_ko is not beside the checkout")
def test_odqa_is_sound() -> None:
    data = load_retrieval_data(ODQA)
    asked = Benchmark(load_passages(ODQA), data.questions, [])
    assert len(asked.corpus) == 2095
    findings = [*check_duplicates(asked), *check_answers(asked)]
    assert [finding.share for finding in findings] == [0.0] * 4
