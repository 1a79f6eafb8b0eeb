"""What the page reads out of a report is what the benchmark wrote into it."""

from pathlib import Path

import pytest

from eval.report.folder import write_report
from eval.report.verdict import best_system, difference, level_systems
from eval.systems import system_names
from rag_app.benchmark.order import Order
from rag_app.benchmark.questions import read_questions, went_wrong
from rag_app.benchmark.report import Report, read_report, stage_names
from rag_app.benchmark.runs import list_systems
from tests.benchmark_results import HOSTILE, MEASURE, make_results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmark") / "report"
    write_report(make_results(), path)
    return path


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    return read_report(folder)


def test_the_scores_are_those_of_the_records(report: Report) -> None:
    clean = make_results().protocols["clean"]
    read = report.protocols[0]
    assert (read.name, read.questions, read.passages) == ("clean", 60, 180)
    assert read.measures == ["hit_rate@1", "hit_rate@10", MEASURE]
    assert {system.name for system in read.systems} == set(clean.systems)
    for system in read.systems:
        measured = clean.systems[system.name]
        assert measured.times is not None
        assert tuple(system.scores[MEASURE]) == pytest.approx(tuple(measured.intervals[MEASURE]))
        assert system.seconds == pytest.approx(measured.times.p50)
        assert system.stages == pytest.approx(measured.times.stages)


def test_the_best_and_what_is_not_told_apart_from_it_are_those_of_the_report(report: Report) -> None:
    clean = make_results().protocols["clean"]
    read = report.protocols[0]
    best = best_system(clean, MEASURE)
    assert read.best.name == best
    assert {system.name for system in read.level()} == level_systems(clean, MEASURE)
    for system in read.systems[1:]:
        pair = difference(clean, MEASURE, system.name, best)
        assert pair is not None
        assert system.p == pytest.approx(pair.corrected_p)


def test_questions_asked_all_at_once_have_a_mean_time_only(report: Report) -> None:
    for system in report.protocols[1].systems:
        assert system.seconds is None
        assert system.at_once_seconds


def test_the_warnings_are_those_of_the_health_checks(report: Report) -> None:
    assert [HOSTILE in warning for warning in report.warnings] == [True]


def test_the_rest_of_a_search_stands_behind_its_stages(report: Report) -> None:
    names = stage_names(report.protocols[0].systems)
    assert names[-1] == "other"
    assert len(names) == len(set(names)) > 1


def test_the_questions_that_went_wrong_are_those_without_a_hit(folder: Path) -> None:
    clean = make_results().protocols["clean"]
    asked = read_questions(folder)["clean"]
    assert (asked.total, len(asked.questions)) == (60, 60)
    for system, result in clean.systems.items():
        missed = {id_ for id_, score in result.scores["hit_rate@10"].items() if not score}
        first = {id_ for id_, score in result.scores["hit_rate@1"].items() if score}
        assert {question.id for question in went_wrong(asked, system, "missed")} == missed
        assert {question.id for question in went_wrong(asked, system, "not first")} == set(result.scores[MEASURE]) - (
            missed | first
        )


def test_a_question_has_what_answers_it_and_what_was_found(folder: Path) -> None:
    question = next(one for one in read_questions(folder)["clean"].questions if one.id == "q 1")
    assert [passage.title for passage in question.right] == [HOSTILE]
    for system, rank in question.ranks.items():
        found = [passage.right for passage in question.found[system]]
        assert found.index(True) + 1 == rank if 0 < rank <= 10 else True not in found


@pytest.mark.parametrize("text", ["", "[]", '{"format": "another"}', '{"format": "korean-rag-benchmark-1"}'])
def test_a_broken_report_says_which_file_and_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    (tmp_path / "explorer.json").write_text(text)
    with pytest.raises(ValueError, match=r"results\.json cannot be read.*Run the benchmark again"):
        read_report(tmp_path)
    with pytest.raises(ValueError, match=r"explorer\.json cannot be read.*Run the benchmark again"):
        read_questions(tmp_path)


def test_the_program_names_the_systems_that_an_order_makes_possible() -> None:
    order = Order("sample", models=("mine=a/b",), reranker=None, indexes=("news=x",))
    assert list_systems(order) == system_names(["base", "mine"], ["news"], rerank=False)
