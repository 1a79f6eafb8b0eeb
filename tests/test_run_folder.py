import os
from pathlib import Path

import pytest

from eval.run_folder import RunFolder


def test_answers_lie_under_unfinished_until_the_end(tmp_path: Path) -> None:
    folder = RunFolder.begin(tmp_path / "report", {"k": 10}, overwrite=False)
    journal = folder.journal("clean", "typos", "hybrid+rerank")
    journal.parent.mkdir(parents=True)
    journal.write_text("{}\n")
    assert not (tmp_path / "report" / "answers").exists()
    folder.finish()
    kept = tmp_path / "report" / "answers" / "clean" / "typos" / "hybrid+rerank.jsonl"
    assert kept.read_text() == "{}\n"
    assert not (tmp_path / "report" / "unfinished").exists()


def test_what_an_unfinished_run_wrote_is_found_again_by_the_same_run_only(tmp_path: Path) -> None:
    first = RunFolder.begin(tmp_path / "report", {"k": 10}, overwrite=False)
    first.journal("clean", "base").parent.mkdir(parents=True)
    first.journal("clean", "base").write_text("{}\n")
    first.release()
    again = RunFolder.begin(tmp_path / "report", {"k": 10}, overwrite=True)
    assert (first.resumed, again.resumed) == (False, True)
    assert again.journal("clean", "base").exists()
    again.release()
    with pytest.raises(FileExistsError, match="--overwrite"):
        RunFolder.begin(tmp_path / "report", {"k": 5}, overwrite=False)
    other = RunFolder.begin(tmp_path / "report", {"k": 5}, overwrite=True)
    assert not other.resumed
    assert not other.journal("clean", "base").exists()


def test_a_run_killed_before_its_record_was_written_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "unfinished" / "answers").mkdir(parents=True)
    assert not RunFolder.begin(tmp_path, {"k": 10}, overwrite=False).resumed


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("my page")
    with pytest.raises(FileExistsError, match="holds no report"):
        RunFolder.begin(tmp_path, {}, overwrite=True)
    assert (tmp_path / "index.html").read_text() == "my page"
    with pytest.raises(NotADirectoryError, match="Name a folder"):
        RunFolder.begin(tmp_path / "index.html", {}, overwrite=True)


def test_a_report_is_replaced_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "answers" / "clean").mkdir(parents=True)
    (tmp_path / "answers" / "clean" / "old.jsonl").write_text("{}\n")
    with pytest.raises(FileExistsError, match="--overwrite"):
        RunFolder.begin(tmp_path, {}, overwrite=False)
    folder = RunFolder.begin(tmp_path, {}, overwrite=True)
    assert (tmp_path / "answers" / "clean" / "old.jsonl").exists()
    folder.journal("clean", "new").parent.mkdir(parents=True)
    folder.journal("clean", "new").write_text("{}\n")
    folder.finish()
    assert [path.name for path in (tmp_path / "answers" / "clean").iterdir()] == ["new.jsonl"]


def test_a_run_without_answers_can_finish(tmp_path: Path) -> None:
    folder = RunFolder.begin(tmp_path, {}, overwrite=False)  # the tutorial's, asked all at once
    folder.finish()
    assert not (tmp_path / "unfinished").exists()


def test_two_benchmarks_do_not_write_to_one_folder(tmp_path: Path) -> None:
    first = RunFolder.begin(tmp_path, {"k": 10}, overwrite=False)
    for identity in ({"k": 10}, {"k": 5}):
        with pytest.raises(BlockingIOError, match="Another benchmark is writing"):
            RunFolder.begin(tmp_path, identity, overwrite=True)
    first.release()
    assert RunFolder.begin(tmp_path, {"k": 10}, overwrite=False).resumed


def test_a_run_whose_report_could_not_be_written_is_gone_on_with(tmp_path: Path) -> None:
    RunFolder.begin(tmp_path, {"k": 10}, overwrite=False).release()
    (tmp_path / "results.json").write_text("{}")  # the disk was full before the page
    with pytest.raises(FileExistsError, match="--overwrite"):
        RunFolder.begin(tmp_path, {"k": 5}, overwrite=False)
    assert RunFolder.begin(tmp_path, {"k": 10}, overwrite=False).resumed


def test_while_it_runs_the_folder_says_which_process_writes_to_it(tmp_path: Path) -> None:
    folder = RunFolder.begin(tmp_path, {}, overwrite=False)
    assert (tmp_path / "unfinished" / "pid").read_text() == str(os.getpid())
    folder.finish()
