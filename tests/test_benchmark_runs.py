"""Benchmarks as processes, with a program that stands in for the real one; that one runs in the browser's test."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from rag_app.benchmark import runs as module
from rag_app.benchmark.order import Order, index_label
from rag_app.benchmark.runs import Run, Runs, compare_reports, list_systems

PROGRAM = """
import pathlib, signal, sys, time
from filelock import FileLock
options = dict(word[2:].partition("=")[::2] for word in sys.argv[1:])
report = pathlib.Path(options["report"])
if options["data"] == "broken":
    sys.exit("eval.hit_rate: error: line 3 is broken: <b>{")
(report / "unfinished").mkdir(parents=True, exist_ok=True)
with FileLock(report / "unfinished" / "lock"):
    import os
    (report / "unfinished" / "pid").write_text(str(os.getpid()))
    print("Protocol clean: asking", " ".join(sys.argv[1:]), flush=True)
    while options["data"] == "slow" and not (report / "go").exists():
        time.sleep(0.01)
(report / "unfinished" / "lock").unlink(missing_ok=True)
(report / "unfinished" / "pid").unlink()
(report / "unfinished").rmdir()
(report / "results.json").write_text("{}")
"""
ORDER = Order("sample", ("base", "hybrid"), limit=5, models=("--evil", "mine=x"), indexes=("news=/tmp/n",))


@pytest.fixture(autouse=True)
def _program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setattr(module, "PROGRAM", (sys.executable, str(tmp_path / "program.py")))


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    found = Runs(tmp_path / "reports")
    yield found
    while (run := found.running()) is not None:
        found.stop(run)
        time.sleep(0.01)


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for(runs: Runs, run: Run, state: str) -> None:
    wait(lambda: runs.state(run) == state)


def test_a_benchmark_runs_to_its_end_and_is_found_again(runs: Runs, tmp_path: Path) -> None:
    run = runs.start(ORDER)
    wait_for(runs, run, "finished")
    assert Runs(tmp_path / "reports").all() == [run]
    assert Runs(tmp_path / "reports").state(run) == "finished"
    seconds = run.seconds()
    assert seconds is not None
    assert 0 <= seconds < 20


def test_every_option_is_one_word_so_that_no_name_is_an_option(runs: Runs) -> None:
    run = runs.start(ORDER)
    wait_for(runs, run, "finished")
    words = ORDER.measuring(run.report.absolute())
    assert {"--model=--evil", "--index=news=/tmp/n", "--limit=5", "--systems=base,hybrid"} <= set(words)
    assert " ".join(words) in run.log()


def test_one_runs_at_a_time(runs: Runs) -> None:
    run = runs.start(ORDER._replace(data="slow"))
    with pytest.raises(BlockingIOError, match="Wait for it, or stop it"):
        runs.start(ORDER)
    with pytest.raises(BlockingIOError, match="Stop it first"):
        runs.delete(run)


def test_one_that_was_stopped_is_resumed_with_the_same_options(runs: Runs) -> None:
    run = runs.start(ORDER._replace(data="slow"))
    wait(lambda: "asking" in run.log())
    runs.stop(run)
    wait_for(runs, run, "stopped")
    (run.report / "go").touch()
    runs.resume(run)
    wait_for(runs, run, "finished")
    (again,) = runs.all()
    assert again.resumed
    assert again.seconds() is None
    assert "--overwrite" not in run.log()


def test_beginning_again_discards_what_there_was(runs: Runs) -> None:
    run = runs.start(ORDER._replace(data="broken"))
    wait_for(runs, run, "failed")
    runs.resume(run._replace(order=ORDER), afresh=True)
    wait_for(runs, run, "finished")
    assert run.log().rstrip().endswith("--overwrite")


def test_one_that_goes_on_after_the_page_has_ended_is_found_running_and_stopped(runs: Runs, tmp_path: Path) -> None:
    run = runs.start(ORDER._replace(data="slow"))
    wait(lambda: "asking" in run.log())
    restarted = Runs(tmp_path / "reports")
    assert restarted.running() == run
    restarted.stop(run)
    assert restarted.state(run) in ("stopping", "stopped")
    wait_for(runs, run, "stopped")
    assert restarted.state(run) == "stopped"


def test_a_failure_keeps_the_program_s_words_and_can_be_deleted(runs: Runs) -> None:
    run = runs.start(ORDER._replace(data="broken"))
    wait_for(runs, run, "failed")
    assert "line 3 is broken: <b>{" in run.log()
    runs.delete(run)
    assert runs.all() == []


def test_an_upload_is_kept_under_its_own_name_and_no_other_folder(runs: Runs) -> None:
    run = runs.start(ORDER, ("../../질문.jsonl", b"{}"))
    wait_for(runs, run, "finished")
    file = Path(run.order.data)
    assert (file.name, file.parent, file.read_bytes()) == ("질문.jsonl", run.folder.absolute() / "data", b"{}")


def test_folders_that_are_no_benchmark_are_left_out(tmp_path: Path) -> None:
    for name, text in (
        ("a", "{"),
        ("b", "[]"),
        ("c", '{"order": {"nothing": 1}, "started": "2026", "resumed": false}'),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "order.json").write_text(text)
    assert Runs(tmp_path).all() == []


@pytest.mark.parametrize(("name", "label"), [("news", "news"), ("내 색인 (1)", "내-색인-1"), ("///", "index")])
def test_an_index_s_name_becomes_a_label(name: str, label: str) -> None:
    assert index_label(name) == label


def test_what_the_program_refuses_is_raised_in_its_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "PROGRAM", (sys.executable, "-c", "raise SystemExit('eval.hit_rate: error: no <b>')"))
    with pytest.raises(ValueError, match=r"^no <b>$"):
        list_systems(ORDER)
    with pytest.raises(ValueError, match=r"^no <b>$"):
        compare_reports(tmp_path, tmp_path)


def test_a_stale_process_id_stops_no_stranger(runs: Runs) -> None:
    run = runs.start(ORDER)
    wait_for(runs, run, "finished")
    unfinished = run.report / "unfinished"
    unfinished.mkdir()
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (unfinished / "pid").write_text(str(stranger.pid))
    try:
        with FileLock(unfinished / "lock"):  # somebody is at it, but has not said yet who
            again = Runs(run.folder.parent)
            assert again.state(run) == "running"
            again.stop(run)
            with pytest.raises(subprocess.TimeoutExpired):
                stranger.wait(0.2)
    finally:
        stranger.kill()
        stranger.wait()


def test_several_that_look_at_once_see_no_benchmark_in_each_other(runs: Runs) -> None:
    run = runs.start(ORDER)
    wait_for(runs, run, "finished")
    (run.report / "unfinished").mkdir()
    (run.report / "unfinished" / "lock").touch()
    others = Runs(run.folder.parent)
    with ThreadPoolExecutor(8) as pool:
        states = set(pool.map(lambda _: others.state(run), range(400)))
    assert states == {"stopped"}


@pytest.mark.parametrize("name", ["..", ".", "../.."])
def test_an_upload_whose_name_is_a_folder_gets_another(name: str, runs: Runs) -> None:
    run = runs.start(ORDER, (name, b"{}"))
    wait_for(runs, run, "finished")
    assert Path(run.order.data) == run.folder.absolute() / "data" / "data"
