import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

from eval.health.leakage import check_leakage, check_training, training_sources
from eval.protocols import Benchmark
from rag_app.data.questions import Question, RetrievalData, load_passages, load_retrieval_data
from rag_app.documents import make_document
from rag_app.models import resolve_model

ODQA = Path(__file__).parents[2] / "shared/data/odqa_ko"
WIRE = "기상청은 오늘 오후부터 전국에 비가 내리고 밤에는 바람이 강하게 불겠다고 예보했다"
TEXTS = (WIRE, "국회는 내년 예산안을 의결했다.", "개막전이 잠실에서 열렸다.", "달이 뜨고 해가 진다.")
PASSAGES = [make_document(content) for content in TEXTS]
QUESTIONS = ("비는 언제 오나요?", "국회는 무엇을 의결했나?", "개막전은 어디서 열렸나?", "무엇이 뜨나?")


def question(number: int, text: str, passage: Document) -> Question:
    return Question(f"q{number}", text, frozenset({str(passage.id)}), (), impossible=False, metadata={})


def data(*rows: tuple[str, str]) -> RetrievalData:
    passages = [make_document(passage) for _, passage in rows]
    questions = [question(number, text, passages[number]) for number, (text, _) in enumerate(rows)]
    return RetrievalData({str(passage.id): passage for passage in passages}, questions)


BENCHMARK = Benchmark(PASSAGES, [question(n, QUESTIONS[n], PASSAGES[n]) for n in range(4)], [])


def write_table(path: Path, *rows: tuple[str, str], **columns: str) -> Path:
    lines = [json.dumps({"question": asks, "context": text, **columns}, ensure_ascii=False) for asks, text in rows]
    path.write_text("\n".join(lines), "utf-8")
    return path


def write_run(folder: Path, program: str = "finetune.mrc", **arguments: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"program": program, "arguments": arguments}), "utf-8")
    return folder


def test_training_data_without_anything_in_common_do_not_leak() -> None:
    (finding,) = check_leakage(BENCHMARK, {"train": data(("아무 질문?", "아무 글이나 여기 있다."))})
    assert (finding.check, finding.subject, finding.share, finding.warning) == ("leakage", "train", 0.0, False)
    assert finding.text == ("of 4 questions 0 are asked there too; 0 have their passage there, 0 one nearly like it")


def test_equal_questions_equal_passages_and_near_ones_are_told_apart_and_warned_about() -> None:
    known = data(
        ("국회는 무엇을  의결했나", "딴 글"),  # the second question
        ("딴 질문?", TEXTS[2]),  # the third passage
        ("또 딴 질문?", f"{WIRE} 서울"),  # nearly the first passage
    )
    (finding,) = check_leakage(BENCHMARK, {"train": known})
    assert finding.text == (
        "of 4 questions 1 (25.0%) are asked there too; 1 (25.0%) have their passage there, 1 (25.0%) one nearly like it"
    )
    assert (finding.share, finding.warning) == (0.75, True)


def test_a_question_that_leaks_in_several_ways_counts_once() -> None:
    known = data((QUESTIONS[0], TEXTS[0]))
    (finding,) = check_leakage(BENCHMARK, {"train": known})
    assert (finding.share, finding.warning) == (0.25, True)


def test_passages_that_answer_nothing_may_be_trained_on() -> None:
    asked = BENCHMARK._replace(questions=BENCHMARK.questions[:1])
    (finding,) = check_leakage(asked, {"train": data(("딴 질문?", TEXTS[1]))})
    assert finding.share == 0.0


def test_each_source_has_its_finding() -> None:
    findings = check_leakage(BENCHMARK, {"a": data((QUESTIONS[0], "글")), "b": data(("딴 질문?", "글"))})
    assert [(finding.subject, finding.warning) for finding in findings] == [("a", True), ("b", False)]


def test_a_models_own_training_data_are_read_from_its_run(tmp_path: Path) -> None:
    table = write_table(tmp_path / "mine.jsonl", (QUESTIONS[0], "딴 글"), ("딴 질문?", TEXTS[1]))
    folder = write_run(tmp_path / "model", train=[str(table)], validation=None)
    (finding,) = check_training("tuned", folder, BENCHMARK)
    assert (finding.subject, finding.share, finding.warning) == ("tuned", 0.5, True)
    assert finding.text.startswith(f"trained on {table}: of 4 questions 1 (25.0%) are asked there too; 1 (25.0%)")


def test_data_that_are_gone_are_named_and_the_rest_is_checked(tmp_path: Path) -> None:
    write_table(tmp_path / "mine.jsonl", ("딴 질문?", "딴 글"))
    folder = write_run(tmp_path / "model", train=["gone.jsonl", "mine.jsonl"])
    (finding,) = check_training("tuned", folder, BENCHMARK)
    assert finding.text == (
        "trained on gone.jsonl, mine.jsonl, which cannot be read here: leakage could not be checked"
    )
    assert (finding.share, finding.warning) == (None, False)
    checked, gone = check_training("tuned", folder, BENCHMARK, places=[tmp_path])
    assert (checked.share, checked.text.split(":")[0]) == (0.0, "trained on mine.jsonl")
    assert "gone.jsonl, which cannot be read" in gone.text


def test_a_broken_table_is_no_data_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.jsonl").write_text("{", "utf-8")
    folder = write_run(tmp_path / "model", train=[str(tmp_path / "broken.jsonl")])
    (finding,) = check_training("tuned", folder, BENCHMARK)
    assert finding.share is None


def test_of_a_corpus_for_all_splits_only_what_was_asked_about_was_trained_on() -> None:
    corpus = {str(passage.id): passage for passage in PASSAGES}  # as of a BEIR folder
    (finding,) = check_leakage(BENCHMARK, {"train": RetrievalData(corpus, [question(9, "딴 질문?", PASSAGES[1])])})
    assert "1 (25.0%) have their passage there, 0 one nearly like it" in finding.text


def test_articles_without_questions_are_passages(tmp_path: Path) -> None:
    (tmp_path / "article.txt").write_text(TEXTS[3], "utf-8")
    for source in (tmp_path / "article.txt", tmp_path):
        folder = write_run(tmp_path.with_name("model"), train=[str(source)])
        (finding,) = check_training("tuned", folder, BENCHMARK)
        assert finding.text.endswith(
            "of 4 questions 0 are asked there too; 1 (25.0%) have their passage there, 0 one nearly like it"
        )


def test_columns_that_ask_the_same_otherwise_are_trained_on(tmp_path: Path) -> None:
    table = write_table(tmp_path / "mine.jsonl", ("딴 질문?", "딴 글"), rtt=QUESTIONS[2])
    folder = write_run(tmp_path / "model", train=[str(table)])
    assert check_training("tuned", folder, BENCHMARK)[0].share == 0.0
    folder = write_run(tmp_path / "model", train=[str(table)], also_ask=["rtt"])
    assert check_training("tuned", folder, BENCHMARK)[0].share == 0.25


def test_a_run_that_was_measured_on_these_questions_is_warned_about(tmp_path: Path) -> None:
    train = write_table(tmp_path / "mine.jsonl", ("딴 질문?", "딴 글"))
    test = write_table(tmp_path / "test.jsonl", *zip(QUESTIONS[:2], TEXTS[:2], strict=True))
    folder = write_run(tmp_path / "model", train=[str(train)], validation=[str(test)])
    leaked, measured = check_training("tuned", folder, BENCHMARK)
    assert leaked.share == 0.0
    assert (measured.share, measured.warning) == (0.5, True)
    assert measured.text.startswith("its run was measured on 2 (50.0%) of these 4 questions")


def test_a_named_source_was_measured_on_its_own_validation_part_unless_another_was_given(tmp_path: Path) -> None:
    sample = load_retrieval_data("sample")
    asked = Benchmark(list(sample.passages.values()), [q for q in sample.questions if q.relevant], [])
    leaked, measured = check_training("tuned", write_run(tmp_path / "a", train=["sample"]), asked)
    assert (leaked.share, leaked.text.split(":")[0]) == (0.0, "trained on sample")
    assert measured.share == 1.0
    other = write_table(tmp_path / "test.jsonl", ("딴 질문?", "딴 글"))
    folder = write_run(tmp_path / "b", train=["sample"], validation=[str(other)])
    assert [finding.share for finding in check_training("tuned", folder, asked)] == [0.0]


def test_what_the_model_was_trained_from_counts_too(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", train=["a.jsonl"], validation=["v.jsonl"], model="embedded")
    pairs = write_run(tmp_path / "pairs", "finetune.sts", train=["klue"], model=str(first))
    last = write_run(tmp_path / "last", "finetune.cross_encoder", train=["b.jsonl"], model=str(pairs), also_ask=["c"])
    runs = training_sources(last)
    assert [(run.sources, run.measured, run.columns) for run in runs] == [
        (("b.jsonl",), None, ("c",)),
        (("a.jsonl",), ("v.jsonl",), ()),
    ]


def test_a_run_that_names_itself_as_its_model_is_read_once(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "model", train=["a.jsonl"], model=str(tmp_path / "model"))
    assert len(training_sources(folder)) == 1


def test_where_the_run_did_not_say_what_model_it_began_with_nothing_else_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_run(tmp_path / "here", train=["other.jsonl"]))
    assert len(training_sources(write_run(tmp_path / "model", train=["a.jsonl"], model=None))) == 1


@pytest.mark.parametrize("content", ["{", "[]", '{"arguments": 3}', '{"program": "other", "arguments": {"train": 3}}'])
def test_the_run_json_of_another_program_says_nothing(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content, "utf-8")
    assert training_sources(tmp_path) == []


def test_a_model_that_says_nothing_cannot_be_checked(tmp_path: Path) -> None:
    assert training_sources(tmp_path) == []
    (finding,) = check_training("other", tmp_path, BENCHMARK)
    assert (finding.share, finding.warning) == (None, False)
    assert "could not be checked" in finding.text


def test_the_embedded_reranker_does_not_know_the_samples_validation_questions() -> None:
    sample = load_retrieval_data("sample")
    asked = Benchmark(load_passages("sample"), [q for q in sample.questions if q.relevant], [])
    folder = resolve_model("embedded", role="reranker").folder
    leaked = check_training("reranker", folder, asked)[0]
    assert (leaked.share, leaked.warning) == (0.0, False)
    assert leaked.text.startswith("trained on ")


@pytest.mark.skipif(not ODQA.exists(), reason="odqa_ko is not beside the checkout")
def test_odqa_validation_is_not_in_its_train_part() -> None:
    asked = Benchmark(load_passages(ODQA), load_retrieval_data(ODQA).questions, [])
    (finding,) = check_leakage(asked, {"train": load_retrieval_data(ODQA, split="train")})
    assert (finding.share, finding.warning) == (0.0, False)
    (finding,) = check_leakage(asked, {"all": load_retrieval_data(ODQA)})
    assert (finding.share, finding.warning) == (1.0, True)
