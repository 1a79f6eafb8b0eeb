import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest

from finetune import all as all_steps
from finetune import common, distill, evidence, extractive, sts
from finetune.processes import check_restarts, launcher, on_first_process, per_process, refuse_processes

LONG_AGO = "2020-01-01T00:00:00+00:00"


@pytest.fixture
def second_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")


def test_a_batch_is_dealt_out_evenly_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert per_process(16) == 16
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert per_process(16) == 2
    with pytest.raises(ValueError, match="A batch of 20 cannot be dealt out evenly to 8 processes"):
        per_process(20)


def test_one_process_does_its_work_itself() -> None:
    assert on_first_process(Namespace(), lambda: 3) == 3


def test_how_to_start_as_many_processes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launcher() == "python"
    monkeypatch.setenv("WORLD_SIZE", "16")
    assert launcher() == "torchrun --nproc-per-node 16"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert launcher().startswith("torchrun --nnodes 2 --nproc-per-node 8 (and the --rdzv options")


@pytest.mark.parametrize(
    ("main", "argv"),
    [
        (all_steps.main, []),
        (distill.main, ["--output=models/base"]),
        (evidence.main, []),
        (extractive.main, []),
    ],
)
def test_what_works_in_one_process_refuses_several(
    main: object, argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert callable(main)
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    assert "in one process, and torchrun started 2. Start it with python -m" in capsys.readouterr().err


@pytest.mark.usefixtures("second_of_two")
def test_only_the_first_process_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        refuse_processes(ArgumentParser(), "It is done")
    assert capsys.readouterr().err == ""


def test_a_run_whose_folder_not_all_processes_see_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(common, "alike", lambda settings, record: json.loads(record)["program"] != "finetune.sts")
    with pytest.raises(SystemExit):
        sts.main(["--model=embedded", "--train=x.tsv", f"--output={tmp_path / 'deep' / 'sts'}"])
    assert "sts. Give an --output in a folder that all machines share" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_whole_command_with_resume_begins_a_run_and_goes_on_with_it(
    klue_sts: Path, tiny_static: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "sts"
    command = [f"--model={tiny_static}", f"--train={klue_sts}", "--max-steps=2", "--device=cpu", f"--output={output}"]
    assert sts.main([*command, "--resume"]) == 0
    with pytest.raises(SystemExit):
        sts.main([*command, "--resume"])
    assert "holds a finished run. Keep it" in capsys.readouterr().err
    interrupt(output)
    assert sts.main([*command, "--resume"]) == 0
    assert started(output) == LONG_AGO


@pytest.mark.parametrize(
    ("shared", "options", "message"),
    [
        ("True", ["--resume"], "Set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 for torchrun, and leave out --master-addr"),
        ("False", [], "With --max-restarts a process that is started again has to go on. Give --resume as well"),
    ],
)
def test_processes_that_torchrun_would_start_again_are_refused_if_they_could_not_go_on(
    shared: str,
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    check_restarts(resume=False)
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", shared)
    with pytest.raises(SystemExit):
        sts.main(["--model=embedded", "--train=x.tsv", f"--output={tmp_path / 'sts'}", *options])
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "False")
    check_restarts(resume=True)


def interrupt(output: Path) -> None:
    """Make a finished run one that was begun long ago and not finished."""
    record = json.loads((output / "run.json").read_text("utf-8"))
    (output / "run.json").unlink()
    (output / "checkpoints").mkdir()
    (output / "checkpoints" / "run.json").write_text(json.dumps({**record, "started": LONG_AGO}), "utf-8")


def started(output: Path) -> str:
    return str(json.loads((output / "run.json").read_text("utf-8"))["started"])
