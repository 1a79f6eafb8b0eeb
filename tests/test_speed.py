import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from langchain_core.documents import Document

from eval import speed
from eval.speed import PARTS, main
from eval.timing.children import run_task
from eval.timing.curve import cost_curve
from eval.timing.first_answer import first_answer
from eval.timing.klue import random_models
from eval.timing.loop import Hit, TutorialLoop
from eval.timing.peers import ROWS
from eval.timing.record import DEFINITIONS, figures
from eval.timing.report import PEERS, SIZES, text_report
from eval.timing.rounds import interleave, ratio, spread
from eval.timing.same_weights import KINDS
from eval.timing.variants import LOOP, RERANKED, UNRERANKED, comparable_score, overlap, score_differences

TEXTS = ["국회는 내년 예산안을 의결했다.", "기상청은 주말에 비가 온다고 예보했다.", "프로야구 개막전이 열렸다."]


@pytest.fixture
def data(tmp_path: Path) -> str:
    path = tmp_path / "validation.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number, first in enumerate(TEXTS * 2):
            context = f"{number}월의 일이다. {first} 관계자는 {number + 3}일 뒤에 다시 알리겠다고 밝혔다."
            row = {"context": context, "question": f"{number}월에 {first[:9]}?", "title": f"{number}월 소식"}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return random_models(tmp_path_factory.mktemp("models") / "tiny", "tiny")


def report_of(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def pair(reranked: float, unreranked: float, difference: float) -> dict[str, Any]:
    def rows(last: str, times: float) -> dict[str, Any]:
        return {
            "rows": {
                LOOP: {"times_faster": {"median": 1.0}, "max_score_difference": 0.0},
                "exact": {"times_faster": {"median": 2.0}, "max_score_difference": difference, "exact": True},
                last: {"times_faster": {"median": times}, "max_score_difference": 0.5, "exact": False},
            }
        }

    return {
        "unreranked": rows(UNRERANKED[-1].name, unreranked),
        "reranked": rows(RERANKED[-1].name, reranked),
    }


def test_everything_runs_and_the_four_figures_are_on_top(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, variants in KINDS.items():  # exporting a model takes as long as all the rest together
        monkeypatch.setitem(KINDS, kind, [one for one in variants if one.backend == "torch"])
    rows = ["ours: dense", "ours: hybrid + rerank", "FAISS", list(ROWS)[-1]]
    monkeypatch.setattr("eval.timing.beside_peers.ROWS", {name: ROWS[name] for name in rows})
    monkeypatch.setattr("eval.timing.cold.BACKENDS", ("torch",))
    monkeypatch.setattr("eval.timing.cold.run_task", lambda measure, task: run_task(measure, task, apart=False))
    path, plot = tmp_path / "new" / "speed.json", tmp_path / "speed.svg"
    assert main(["--quick", "--data", data, "--json", str(path), "--plot", str(plot)]) == 0
    report = report_of(path)
    assert list(report)[:4] == list(DEFINITIONS)
    assert report["complete"] is True
    assert set(report["seconds"]) == set(PARTS)
    assert report["reranked_ratio"] > 0
    assert report["unreranked_ratio"] > 0
    assert report["max_score_difference"] < 5e-4  # vectors of 32 dimensions are kept in half precision
    assert abs(report["hit1_difference"]) <= 1
    [models] = report["same_weights"].values()
    exact = models["reranked"]["rows"][RERANKED[0].name]
    assert exact["max_score_difference"] < 1e-5
    assert exact["same_passages"] == 1
    assert report["sizes"]["20"]["serve"]["recall@10"] == 1
    assert report["cold_start"]["embedded models"]["seconds"]["first answer"]["median"] > 0
    rows = report["peers"]["rows"]
    assert rows["FAISS"]["quality"] == rows["ours: dense"]["quality"]
    assert report["details"]["command"].startswith("python -m eval.speed --quick")
    ET.fromstring(plot.read_text("utf-8"))
    screen = capsys.readouterr().out
    for name in DEFINITIONS:
        assert f"\n{name} " in screen
    for header in (*PEERS, *SIZES):  # a column without any figure is left out
        assert f"  {header}" in screen


def test_an_interruption_keeps_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(setup: Any, found: dict[str, Any]) -> None:
        found["begun"] = True
        raise KeyboardInterrupt

    quality = {name: {"hit_rate@1": {"mean": 0.5}} for name in ("all 30 in full", "default")}
    whole = {**quality, "default": {"hit_rate@1": {"mean": 0.25}}}
    monkeypatch.setitem(speed.PARTS, "quality", lambda setup, found: found.update(_with_measures(whole)))
    monkeypatch.setitem(speed.PARTS, "default", stop)
    path = tmp_path / "speed.json"
    assert main(["--quick", "--parts", "quality,default,sizes", "--json", str(path)]) == 130
    captured = capsys.readouterr()
    assert "Interrupted. Not finished: default, sizes." in captured.err
    assert "all 30 in full" in captured.out
    report = report_of(path)
    assert report["complete"] is False
    assert report["hit1_difference"] == -0.25
    assert report["reranked_ratio"] is None


def _with_measures(found: dict[str, Any]) -> dict[str, Any]:
    more = {"hit_rate@10": {"mean": 1.0}, "mrr@10": {"mean": 0.5}, "seconds_per_question": 0.01}
    return {name: {**own, **more} for name, own in found.items()}


def test_a_failure_shows_what_is_finished_and_is_raised(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(setup: Any, found: dict[str, Any]) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setitem(speed.PARTS, "quality", fail)
    with pytest.raises(RuntimeError, match="the disk is full"):
        main(["--quick", "--parts", "quality"])
    assert "hit1_difference" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parts", "loop"], "'loop' is not made of these: same_weights, quality"),
        (["--model-sizes", "large"], "'large' is not made of these: klue, base, small, tiny"),
        (["--sizes", "10,0"], "invalid list of positive numbers value: '10,0'"),
        (["--embedding", "models/mrc"], "Give --reranker NAME as well"),
        (["--plot", "."], "--plot names a folder"),
        (["--plot", "a.svg", "--sizes", "10"], "Give two sizes or more"),
    ],
)
def test_bad_arguments_say_what_is_wrong(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_named_models_are_judged_by_what_they_find(
    data: str, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, variants in KINDS.items():  # int8 refuses weights that rank nothing
        monkeypatch.setitem(KINDS, kind, [one for one in variants if one.exact])
    path = tmp_path / "speed.json"
    models = ["--embedding", str(tiny.embedding), "--reranker", str(tiny.reranker)]
    assert main(["--quick", "--data", data, "--parts", "same_weights", *models, "--json", str(path)]) == 0
    [own] = report_of(path)["same_weights"].values()
    assert own["random_weights"] is False
    assert 0 <= own["reranked"]["rows"][LOOP]["hit_rate@1"] <= 1


def test_contenders_take_turns_and_each_round_begins_with_another() -> None:
    order: list[tuple[str, str]] = []

    def contender(name: str) -> Any:
        def answer(questions: Sequence[str]) -> None:
            order.extend((name, question) for question in questions)

        return answer

    seconds: dict[str, list[float]] = {}
    cleared: list[int] = []
    contenders = {name: contender(name) for name in ("a", "b", "c")}
    interleave(contenders, [["1", "2"], ["3"]], seconds, before_each=lambda: cleared.append(len(order)))
    assert order[3:] == [
        *[(name, question) for name in "abc" for question in "12"],
        *[(name, "3") for name in "bca"],
    ]
    assert {name: len(own) for name, own in seconds.items()} == {"a": 2, "b": 2, "c": 2}
    assert len(cleared) == 9


def test_an_interrupted_round_leaves_the_figures_of_the_rounds_before() -> None:
    def stop(questions: Sequence[str]) -> None:
        if "3" in questions:
            raise KeyboardInterrupt

    seconds: dict[str, list[float]] = {}
    with pytest.raises(KeyboardInterrupt):
        interleave({"a": stop}, [["1"], ["2"], ["3"]], seconds)
    assert len(seconds["a"]) == 2


def test_ratios_compare_what_ran_side_by_side() -> None:
    assert ratio([10.0, 40.0, 20.0], [1.0, 4.0, 1.0]) == (10.0, 10.0, 20.0)
    assert spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)


def test_the_loop_finds_and_reranks_the_nearest_passages(tiny: Any) -> None:
    loop = TutorialLoop(tiny.embedding, tiny.reranker)
    loop.index(["예산", "비", "야구"], TEXTS)
    nearest, *others = loop.search(TEXTS[1])
    assert nearest.id == "비"
    assert nearest.score == pytest.approx(1, abs=1e-5)
    assert len(others) == 2
    reranked = loop.rerank(TEXTS[1])
    assert {one.id for one in reranked} == {"예산", "비", "야구"}
    scores = [one.score for one in reranked if one.score is not None]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_random_models_are_made_once(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)  # making them again would need it
    assert random_models(Path(tiny.embedding).parent, "tiny") == tiny


def test_scores_are_compared_by_passage_and_only_where_both_have_one() -> None:
    theirs = [Hit("a", 0.5), Hit("b", 0.25), Hit("c", 0.125)]
    ours = [Hit("b", 0.375), Hit("a", None), Hit("d", 1.0), Hit("c", 0.125)]
    assert score_differences(theirs, ours) == [0.125, 0.0]
    assert overlap(theirs, ours) == 1.0
    assert overlap(theirs, ours[1:3]) == pytest.approx(1 / 3)


def test_the_figures_are_those_of_the_first_models_and_the_last_variants() -> None:
    quality = {"all 30 in full": {"hit_rate@1": {"mean": 0.875}}, "default": {"hit_rate@1": {"mean": 0.75}}}
    pairs = {"base": pair(12.0, 6.0, 1e-6), "small": pair(9.0, 4.0, 3e-6)}
    assert figures({"same_weights": pairs, "quality": quality}) == {
        "reranked_ratio": 12.0,
        "unreranked_ratio": 6.0,
        "max_score_difference": 3e-6,
        "hit1_difference": -0.125,
    }
    assert set(figures({}).values()) == {None}


def test_a_report_of_nothing_says_so() -> None:
    text = text_report({**figures({}), "definitions": DEFINITIONS})
    assert [line.split()[1] for line in text.splitlines()] == ["–"] * 4


def test_the_curve_needs_two_sizes() -> None:
    own: dict[str, Any] = {
        "build": {"seconds": 2.0, "memory_bytes": 10**9},
        "serve": {"search": {"hybrid": {"p95": 0.02}, "dense": {"p95": 0.001}}},
    }
    assert cost_curve({"10": own}) == ""
    assert cost_curve({"10": own, "20": {"build": {}}}) == ""
    picture = ET.fromstring(cost_curve({"1000": own, "10000": own}))
    names = [element.text for element in picture.iter() if element.text]
    assert "hybrid p95, ms" in names
    assert "10,000" in names


def test_a_task_that_fails_names_itself() -> None:
    with pytest.raises(RuntimeError, match=r"eval\.timing\.first_answer first_answer '{}'"):
        run_task(first_answer, {})


def test_a_peer_that_is_ahead_is_named_with_what_it_does_otherwise() -> None:
    def row(seconds: float, hits: float, against: str = "") -> dict[str, Any]:
        quality = {"hit_rate@1": {"mean": hits}}
        return {"against": against, "differs": "no index", "life": {"build_seconds": seconds}, "quality": quality}

    rows = {"ours": row(1, 0.75), "slow": row(2, 0.75, "ours"), "fast": row(0.5, 0.875, "ours")}
    text = text_report({**figures({}), "definitions": DEFINITIONS, "peers": {"rows": rows}})
    assert "fast is ahead of ours in hit@1, build s. What it does otherwise" in text
    assert "slow is ahead" not in text


def test_a_score_is_compared_only_where_the_passage_was_read_whole() -> None:
    def scored(**stage: object) -> Document:
        return Document("본문", metadata={"score": 0.5, "stages": {"rerank": stage}})

    assert comparable_score(scored(rank=1, score=0.5)) == 0.5
    assert comparable_score(scored(rank=1, score=0.5, windows=[[0, 10]])) is None
    assert comparable_score(scored(rank=2, scored=False)) is None
