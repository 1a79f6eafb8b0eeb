import errno
import json
import os
from pathlib import Path

import pytest

from eval.report.folder import file_names, write_report
from eval.report.markdown import markdown_report
from eval.report.screen import LEGEND, text_report, text_table
from eval.report.verdict import best_system, difference, level_systems, summary
from eval.results import Results
from tests.benchmark_results import HOSTILE, MEASURE, make_results

pytest.importorskip("jinja2", reason="the eval extra is not installed")


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("| ").split(" | ")]


def test_the_screen_shows_the_means_and_times_of_the_records() -> None:
    result = make_results().protocols["clean"]
    header, *lines = text_table(result).partition("\n\n")[0].splitlines()
    system = result.systems["hybrid+rerank"]
    [line] = [line for line in lines if line.startswith("hybrid+rerank")]
    assert system.times is not None
    means = [f"{one.mean:.3f}" for one in system.intervals.values()]
    assert [cell for cell in line.split()[1:] if not cell.startswith("±")][: len(means)] == means
    assert line.split()[-3:] == [f"{1000 * system.times.p50:.1f}", f"{1000 * system.times.p95:.1f}", "174"]
    assert header.split()[-4:] == ["ms", "p95", "ms", "questions/s"]
    assert max(map(len, (header, *lines))) <= 140


def test_the_screen_shows_the_interval_and_marks_the_best_and_what_is_not_told_apart() -> None:
    result = make_results().protocols["clean"]
    best = best_system(result, MEASURE)
    lines = text_table(result).splitlines()
    place = lines[0].split().index(MEASURE)
    cells = {
        line.split()[0]: line.split()[2 * place - 1 : 2 * place + 1] for line in lines[1 : len(result.systems) + 1]
    }
    one = result.systems[best].intervals[MEASURE]
    half = max(one.high - one.mean, one.mean - one.low)
    assert cells[best] == [f"{one.mean:.3f}", f"±{half:.2f}*".replace("0.", ".")]
    marked = {name for name, (_, half) in cells.items() if half.endswith("≈")}
    assert marked == level_systems(result, MEASURE)
    assert "base" not in marked


def test_stages_are_milliseconds_and_systems_without_them_are_left_out() -> None:
    result = make_results().protocols["clean"]
    table = text_table(result).partition("Time by stage")[2].splitlines()
    times = result.systems["lexical+rerank"].times
    assert times is not None
    [line] = [line for line in table if line.startswith("lexical+rerank")]
    assert line.split()[1] == f"{1000 * times.stages['encode']:.2f}"
    assert not any(line.startswith("bigrams") for line in table)


def test_a_pair_turned_round_changes_sides() -> None:
    result = make_results().protocols["clean"]
    forth, back = difference(result, MEASURE, "base", "hybrid"), difference(result, MEASURE, "hybrid", "base")
    assert forth is not None
    assert back is not None
    assert (forth.before, forth.after) == (back.after, back.before) == ("hybrid", "base")
    assert (forth.comparison.wins, forth.comparison.losses) == (back.comparison.losses, back.comparison.wins)
    assert forth.comparison.after == result.systems["base"].intervals[MEASURE].mean
    assert forth.corrected_p == back.corrected_p


def test_without_time_or_comparison_there_is_a_report_all_the_same() -> None:
    results = make_results()
    tutorial = results.protocols["tutorial"]
    alone = tutorial._replace(
        systems={"base": tutorial.systems["base"]}, pairs={measure: [] for measure in tutorial.pairs}
    )
    few = Results({"tutorial": alone}, [], [], None, {}, complete=False)
    assert "–" in text_report(few)
    assert "base ranks best" in summary(alone)[0]
    assert "Not complete" in markdown_report(few)
    assert text_report(Results({}, [], [], None, {}, complete=False)) == ""


def test_korean_names_take_two_columns() -> None:
    results = make_results()
    result = results.protocols["clean"]
    renamed = result._replace(systems={"우리": result.systems["base"], "base": result.systems["base"]}, pairs={})
    first, second = text_table(renamed).splitlines()[1:3]
    assert first.index(".") == second.index(".") - 2


def test_markdown_shows_the_same_numbers_and_no_markup_of_the_data() -> None:
    results = make_results()
    text = markdown_report(results)
    one = results.protocols["clean"].systems["tuned"].intervals["hit_rate@1"]
    rows = [_cells(line) for line in text.splitlines() if line.startswith("| tuned |")]
    assert rows[0][1] == f"{one.mean:.3f} ({one.low:.3f}–{one.high:.3f}) ≈"
    assert HOSTILE not in text
    assert "\\<script\\>" in text
    assert "mine\\|\\<b\\>" in text
    assert text.count("**Warning:**") == 1
    for line, following in zip(text.splitlines(), text.splitlines()[1:], strict=False):
        if line.startswith("|") and following.startswith("|"):
            assert line.replace("\\|", "").count("|") == following.replace("\\|", "").count("|")


@pytest.mark.parametrize("protocol", ["clean", "tutorial"])
def test_the_files_of_a_report_give_the_same_measures_by_ir_measures(tmp_path: Path, protocol: str) -> None:
    ir_measures = pytest.importorskip("ir_measures", reason="the eval extra is not installed")
    from ir_measures import AP, RR, R, Success, nDCG

    results = make_results()
    write_report(results, tmp_path)
    names = {
        "hit_rate@1": Success @ 1,
        "hit_rate@10": Success @ 10,
        "recall@10": R @ 10,
        "mrr@10": RR @ 10,
        "ndcg@10": nDCG @ 10,
        "map@10": AP @ 10,
    }
    qrels = list(ir_measures.read_trec_qrels(str(tmp_path / "qrels" / f"{protocol}.txt")))
    systems = results.protocols[protocol].systems
    for name, file in file_names(systems).items():
        run = list(ir_measures.read_trec_run(str(tmp_path / "runs" / protocol / f"{file}.txt")))
        found = ir_measures.calc_aggregate(list(names.values()), qrels, run)
        for measure, interval in systems[name].intervals.items():
            assert found[names[measure]] == pytest.approx(interval.mean, abs=1e-9), (name, measure)


def test_the_questions_of_a_report_are_those_of_the_benchmark(tmp_path: Path) -> None:
    results = make_results()
    write_report(results, tmp_path)
    lines = (tmp_path / "questions" / "clean.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    benchmark = results.protocols["clean"].benchmark
    assert [record["id"] for record in records] == [q.id for q in (*benchmark.questions, *benchmark.unanswerable)]
    assert records[1]["text"] == benchmark.questions[1].text
    assert records[0]["relevant"] == sorted(benchmark.questions[0].relevant)
    assert records[0]["metadata"]["question_type"] == 1


def test_a_second_report_leaves_no_run_of_the_first(tmp_path: Path) -> None:
    results = make_results()
    write_report(results, tmp_path)
    clean = results.protocols["clean"]
    write_report(
        results._replace(protocols={"clean": clean._replace(systems={"base": clean.systems["base"]})}), tmp_path
    )
    assert [path.name for path in tmp_path.glob("runs/*/*")] == ["base.txt"]
    assert {path.name for path in tmp_path.iterdir()} >= {"index.html", "report.md", "results.json", "qrels"}


def test_the_same_results_are_the_same_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_report(make_results(), tmp_path / folder)
    for path in (tmp_path / "a").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_a_full_disk_leaves_the_old_page_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(make_results(), tmp_path)
    before = (tmp_path / "index.html").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*Free some space"):
        write_report(make_results(tutorial=False), tmp_path)
    assert (tmp_path / "index.html").read_bytes() == before
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


def test_half_of_a_surrogate_pair_does_not_stop_a_report(tmp_path: Path) -> None:
    results = make_results()
    clean = results.protocols["clean"]
    first, *others = clean.benchmark.questions
    questions = [first._replace(metadata={"memo": "잘린 \ud83d"}), *others]
    broken = clean._replace(benchmark=clean.benchmark._replace(questions=questions))
    write_report(results._replace(protocols={"clean": broken}), tmp_path)
    assert "잘린 ?" in (tmp_path / "index.html").read_text("utf-8")


def test_file_names_are_safe_and_never_the_same() -> None:
    names = ["a/b", "a\\b", "A_B", "../../x", "한국어", ""]
    files = file_names(names)
    assert list(files) == names
    assert len({file.casefold() for file in files.values()}) == len(names)
    assert all("/" not in file and not file.startswith(".") and file for file in files.values())
    assert files["한국어"] == "한국어"


def test_the_legend_explains_every_mark() -> None:
    assert {"±", "*", "≈"} <= set(LEGEND)
