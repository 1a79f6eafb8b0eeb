import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document

from eval.metrics import question_scores
from eval.protocols import Benchmark
from eval.results import (
    Abstention,
    Answer,
    Finding,
    Interval,
    ProtocolResult,
    Results,
    Scaling,
    Slice,
    SystemResult,
    Throughput,
    Times,
)
from eval.saved import FILE, FORMAT, parse_saved, read_saved, to_json
from eval.statistics import compare_all, interval
from rag_app.data.questions import Question
from rag_app.significance import compare

QUESTIONS = [Question(f"질문-{n}", f"{n}번은 무엇인가요?", frozenset({f"d{n}"}), (), False, {}) for n in range(1, 9)]
CORPUS = [Document(page_content=f"{n}번 글", metadata={"doc_id": f"d{n}", "title": "제목"}) for n in range(1, 12)]
UNANSWERABLE = [Question("없음", "답이 없나요?", frozenset(), (), True, {})]
RANKS = {"lexical": [1, 1, 2, 3, 1, 11, 1, 7], "나만의:검색기": [1, 2, 3, 3, 1, 1, 1, 1]}


def _system(ranks: list[int], benchmark: Benchmark) -> SystemResult:
    answers = {}
    for question, rank in zip(benchmark.questions, ranks, strict=True):
        (right,) = question.relevant
        others = [document.metadata["doc_id"] for document in CORPUS if document.metadata["doc_id"] != right]
        found = [*others[: rank - 1], right]
        answers[question.id] = Answer({doc_id: -float(place) for place, doc_id in enumerate(found)}, 0.5, {})
    scores = question_scores(benchmark.qrels(), {id_: answer.found for id_, answer in answers.items()})
    return SystemResult(
        answers=answers,
        scores=dict(scores),
        intervals={measure: interval(list(own.values())) for measure, own in scores.items()},
        times=Times(0.5, 0.4, 0.6, 0.7, {"encode": 0.1, "other": 0.4}),
        throughput=Throughput(8, 2.0),
        passages=12,
        memory_bytes=1_000_000,
        index_bytes=None,
        abstention=Abstention(0.3, 8, 1, Interval(0, 0, 0.8), Interval(0.1, 0, 0.3), float("nan")),
    )


def _results(benchmark: Benchmark | None = None, details: Mapping[str, Any] | None = None) -> Results:
    benchmark = benchmark or Benchmark(CORPUS, QUESTIONS, UNANSWERABLE)
    systems = {name: _system(ranks, benchmark) for name, ranks in RANKS.items()}
    measures = systems["lexical"].scores
    pairs = {name: compare_all({system: one.scores[name] for system, one in systems.items()}) for name in measures}
    some = Interval(0.5, 0.25, 0.75)
    return Results(
        protocols={"clean": ProtocolResult(benchmark, systems, pairs)},
        health=[Finding("duplicates", "corpus", "둘이 같습니다.", 0.1, True)],
        slices=[
            Slice(
                "asked otherwise", "typos", 8, {"lexical": {"mrr@10": some}}, {"lexical": {"mrr@10": compare([1], [0])}}
            )
        ],
        scaling=Scaling([6, 12], {"lexical": {"mrr@10": [some, some]}}),
        details=dict(details or {"arguments": {"data": Path("질문.jsonl")}, "date": "2026-11-22"}),
        complete=True,
    )


def test_means_are_read_by_system_and_measure() -> None:
    content = json.loads(to_json(_results()))
    assert content["format"] == FORMAT
    assert content["complete"] is True
    clean = content["protocols"]["clean"]
    assert (clean["questions"], clean["unanswerable"], clean["passages"]) == (8, 1, 11)
    assert list(clean["systems"]) == list(RANKS)
    lexical = clean["systems"]["lexical"]
    assert lexical["hit_rate@1"] == 4 / 8
    assert lexical["hit_rate@10"] == 7 / 8
    assert lexical["mrr@10"] == pytest.approx((4 + 1 / 2 + 1 / 3 + 1 / 7) / 8)
    assert lexical["intervals"]["mrr@10"]["mean"] == lexical["mrr@10"]
    assert lexical["intervals"]["mrr@10"]["low"] < lexical["mrr@10"] < lexical["intervals"]["mrr@10"]["high"]
    assert lexical["times"]["stages"] == {"encode": 0.1, "other": 0.4}
    assert lexical["throughput"] == {"questions": 8, "seconds": 2.0}
    assert lexical["abstention"]["false_refusals"] == {"mean": 0.1, "low": 0, "high": 0.3}
    assert (lexical["passages"], lexical["memory_bytes"], lexical["index_bytes"]) == (12, 1_000_000, None)


def test_every_part_of_the_results_is_there() -> None:
    content = json.loads(to_json(_results()))
    assert content["details"] == {"arguments": {"data": "질문.jsonl"}, "date": "2026-11-22"}
    assert content["health"][0]["text"] == "둘이 같습니다."
    (pair,) = content["protocols"]["clean"]["pairs"]["mrr@10"]
    assert (pair["before"], pair["after"]) == ("lexical", "나만의:검색기")
    assert pair["comparison"]["wins"] == 2
    assert pair["corrected_p"] == pair["comparison"]["p"]
    assert content["slices"][0]["changes"]["lexical"]["mrr@10"]["losses"] == 1
    assert content["scaling"]["passages"] == [6, 12]
    assert content["scaling"]["intervals"]["lexical"]["mrr@10"][1] == {"mean": 0.5, "low": 0.25, "high": 0.75}


def test_what_was_not_measured_is_null() -> None:
    results = _results()
    protocol = results.protocols["clean"]
    bare = protocol.systems["lexical"]._replace(times=None, throughput=None, abstention=None)
    content = json.loads(to_json(results._replace(protocols={"tutorial": protocol._replace(systems={"a": bare})})))
    system = content["protocols"]["tutorial"]["systems"]["a"]
    assert [system[name] for name in ("times", "throughput", "abstention")] == [None] * 3
    assert json.loads(to_json(results._replace(scaling=None)))["scaling"] is None


def test_a_number_that_is_none_becomes_null_and_never_nan() -> None:
    details = {"load": float("nan"), "most": [float("inf"), np.float32("nan"), np.int64(3)]}
    text = to_json(_results(details=details))
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert content["details"] == {"load": None, "most": [None, None, 3]}
    assert content["protocols"]["clean"]["systems"]["lexical"]["abstention"]["auc"] is None


def test_a_run_comes_back_question_by_question(tmp_path: Path) -> None:
    results = _results()
    path = tmp_path / "결과.json"
    path.write_text(to_json(results), "utf-8")
    saved = read_saved(path)
    assert saved.name == str(path)
    clean = saved.protocols["clean"]
    assert clean.ids == [question.id for question in QUESTIONS]
    assert clean.passages == 11
    for name, system in results.protocols["clean"].systems.items():
        for measure, scores in system.scores.items():
            assert clean.scores[name][measure] == pytest.approx(list(scores.values()), abs=1e-12)
    assert saved.content["details"]["date"] == "2026-11-22"


def test_a_comparison_of_saved_scores_has_the_p_of_the_scores_themselves() -> None:
    random = np.random.default_rng(1)
    before, after = 1 / random.integers(1, 11, size=(2, 12))
    rounded = [[round(float(score), 12) for score in scores] for scores in (before, after)]
    exact = compare(before.tolist(), after.tolist(), two_sided=True)
    assert compare(*rounded, two_sided=True).p == exact.p


def test_the_folder_of_a_report_is_read_too(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(to_json(_results()), "utf-8")
    assert read_saved(str(tmp_path)).protocols.keys() == {"clean"}


def test_scores_take_one_line_per_system_and_measure() -> None:
    lines = to_json(_results()).splitlines()
    assert '      "hit_rate@1": [1,1,0,0,1,0,1,0],' in lines
    assert '      "mrr@10": [1,1,0.5,0.333333333333,1,0,1,0.142857142857],' in lines
    assert max(len(line) for line in lines if "질문-1" not in line) < 200


def test_ten_thousand_questions_stay_small() -> None:
    ids = [f"klue-mrc-v1_dev_{n:05}" for n in range(10_000)]
    questions = [Question(id_, id_, frozenset({"d"}), (), False, {}) for id_ in ids]
    scores = {name: {id_: 1 / (n % 10 + 1) for n, id_ in enumerate(ids)} for name in ("mrr@10", "ndcg@10", "map@10")}
    hits = {name: dict.fromkeys(ids, 1.0) for name in ("hit_rate@1", "hit_rate@10", "recall@10")}
    system = _results().protocols["clean"].systems["lexical"]._replace(scores={**hits, **scores})
    protocol = ProtocolResult(Benchmark(CORPUS, questions, []), {f"s{n}": system for n in range(5)}, {})
    text = to_json(_results()._replace(protocols={"clean": protocol}))
    assert len(text) < 3_000_000
    assert len(parse_saved(text).protocols["clean"].scores["s4"]["mrr@10"]) == 10_000


def _fingerprints(benchmark: Benchmark) -> tuple[str, str]:
    clean = parse_saved(to_json(_results(benchmark))).protocols["clean"]
    return clean.questions, clean.corpus


def test_fingerprints_do_not_depend_on_the_order() -> None:
    same = Benchmark(CORPUS[::-1], QUESTIONS[::-1], [])
    assert _fingerprints(same) == _fingerprints(Benchmark(CORPUS, QUESTIONS, UNANSWERABLE))


@pytest.mark.parametrize(
    "changed",
    [
        QUESTIONS[0]._replace(id="다른 질문"),
        QUESTIONS[0]._replace(text="달라진 질문?"),
        QUESTIONS[0]._replace(relevant=frozenset({"d2"})),
    ],
)
def test_another_id_text_or_answer_is_another_question(changed: Question) -> None:
    questions, corpus = _fingerprints(Benchmark(CORPUS, QUESTIONS, []))
    others, same = _fingerprints(Benchmark(CORPUS, [changed, *QUESTIONS[1:]], []))
    assert others != questions
    assert same == corpus


@pytest.mark.parametrize(
    "passages",
    [
        CORPUS[:-1],
        [*CORPUS, CORPUS[0]],
        [*CORPUS[:-1], Document(page_content="다른 글", metadata=CORPUS[-1].metadata)],
        [*CORPUS[:-1], Document(page_content=CORPUS[-1].page_content, metadata={"doc_id": "d11"})],
    ],
)
def test_another_passage_text_or_title_is_another_corpus(passages: list[Document]) -> None:
    questions, corpus = _fingerprints(Benchmark(CORPUS, QUESTIONS, []))
    same, other = _fingerprints(Benchmark(passages, QUESTIONS, []))
    assert same == questions
    assert other != corpus


def test_a_name_that_utf_8_cannot_hold_is_still_written() -> None:
    text = to_json(_results(details={"data": "half \ud83d of a pair"}))
    assert json.loads(text.encode())["details"]["data"] == "half \ud83d of a pair"


def test_a_path_without_a_run_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no saved run .*none\.json\. Write one with --json FILE"):
        read_saved(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match=r"no saved run .*results\.json"):
        read_saved(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b'{"format": "korean-rag-ben', "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "has the format None, want 'korean-rag-benchmark-1'. Run the benchmark again"),
        (b'{"systems": {}}', "has the format None"),
        (b'{"format": "korean-rag-benchmark-2"}', "has the format 'korean-rag-benchmark-2', want"),
        (b'{"format": "korean-rag-benchmark-1"}', "is broken: KeyError"),
        (b'{"format": "korean-rag-benchmark-1", "protocols": [1]}', "is broken: AttributeError"),
        (b'{"format": "korean-rag-benchmark-1", "protocols": {"clean": 3}}', "is broken: TypeError"),
    ],
)
def test_another_file_is_refused_with_its_name(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_saved(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[1,1,0,0,1,0,1,0]", "[1,1,0,0,1,0,1]", "has not one value for each question"),
        ("[1,1,0,0,1,0,1,0]", "[1,1,0,0,1,0,1,null]", "has a score that is no number between 0 and 1"),
        ("[1,1,0,0,1,0,1,0]", "[1,1,0,0,1,0,1,NaN]", "has a score that is no number between 0 and 1"),
        ("[1,1,0,0,1,0,1,0]", "[1,1,0,0,1,0,1,7]", "has a score that is no number between 0 and 1"),
        ('"질문-2"', '"질문-1"', "has not one value for each question"),
    ],
)
def test_broken_scores_are_refused(old: str, new: str, message: str) -> None:
    text = to_json(_results())
    assert old in text
    with pytest.raises(ValueError, match=f"this run is broken: protocols.clean.per_question {message}"):
        parse_saved(text.replace(old, new))


def test_a_score_that_is_no_number_is_found_when_the_run_is_read() -> None:
    results = _results()
    protocol = results.protocols["clean"]
    system = protocol.systems["lexical"]
    broken = system._replace(scores={"mrr@10": {**system.scores["mrr@10"], "질문-3": float("nan")}})
    text = to_json(results._replace(protocols={"clean": protocol._replace(systems={"lexical": broken})}))
    with pytest.raises(ValueError, match=r"per_question has a score that is no number"):
        parse_saved(text)
