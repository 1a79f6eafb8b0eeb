"""Runs that are interrupted and resumed end with the weights of an unbroken one."""

import errno
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import load_file

from finetune import mrc, rounds, sts
from finetune.training import Progress, last_checkpoint, one_device

CHECKOUT = Path(__file__).parents[1]
STEPS = 10
STS = ["--batch-size", "8", "--eval-steps", "3", "--learning-rate", "1e-3", "--device", "cpu", "--keep-checkpoints"]


@pytest.fixture(scope="module")
def sts_options(tiny_transformer: Path, klue_sts: Path) -> list[str]:
    """A run of two epochs whose dropout makes every random number count."""
    return [
        "--model",
        str(tiny_transformer),
        "--train",
        str(klue_sts),
        "--max-steps",
        f"{STEPS}",
        "--scheduler",
        "constant",
        *STS,
    ]


@pytest.fixture(scope="module")
def unbroken(sts_options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("unbroken") / "sts"
    assert sts.main([*sts_options, "--output", str(output)]) == 0
    return output


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, action: Callable[[], None], *, folder: str = "") -> None:
    """Do something in the middle of a step of a training in such a folder."""
    begin = Progress.on_step_begin

    def on_step_begin(self: Progress, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == step - 1 and folder in args.output_dir:
            action()
        begin(self, args, state, control, **kwargs)

    monkeypatch.setattr(Progress, "on_step_begin", on_step_begin)


def signals(*numbers: signal.Signals) -> Callable[[], None]:
    def send() -> None:
        for number in numbers:
            os.kill(os.getpid(), number)

    return send


def same_weights(first: Path, second: Path) -> bool:
    return trained(first) == trained(second)


def trained(output: Path) -> dict[str, bytes]:
    """Return the weights that a run saved, and those after its last step, which need not be the best ones."""
    last = {}
    for folder in sorted((output / "checkpoints").rglob("checkpoint-*"), key=lambda folder: int(folder.name[11:])):
        last[folder.parent.name] = (folder / "model.safetensors").read_bytes()
    assert last, "run it with --keep-checkpoints"
    return {"saved": (output / "model.safetensors").read_bytes(), **last}


def checkpoints(output: Path) -> list[str]:
    return sorted(path.name for path in (output / "checkpoints").glob("checkpoint-*"))


def child(*command: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [sys.executable, "-m", *command], env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def interrupt_at(process: subprocess.Popen[str], sign: str, number: signal.Signals) -> str:
    """Send a signal when a line on stderr has the sign; return the whole of stderr."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if sign in line:
            process.send_signal(number)
            break
    return "".join(lines) + process.communicate()[1]


# One process


def test_ctrl_c_says_how_to_go_on_and_that_leads_to_the_same_weights(
    tiny_transformer: Path, klue_sts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "a model" / "sts"
    options = ["--model", str(tiny_transformer), "--train", str(klue_sts), "--max-steps", "45", *STS]
    running = child("finetune.sts", *options, "--output", str(output))
    told = interrupt_at(running, "step 3:", signal.SIGINT)
    assert running.returncode == 130, told
    (found,) = re.findall(r"Interrupted\. Go on with: (python .*)", told)
    assert not (output / "model.safetensors").exists()
    assert shlex.split(found) == ["python", "-m", "finetune.sts", "--output", str(output), "--resume"]
    assert sts.main(shlex.split(found)[3:]) == 0
    assert "step 3:" not in capsys.readouterr().err, "it goes on, and does not begin anew"
    assert sts.main([*options, "--output", str(tmp_path / "unbroken")]) == 0
    assert same_weights(output, tmp_path / "unbroken")


@pytest.mark.parametrize("step", [1, 4, 9, STEPS])
def test_a_run_resumed_after_any_step_ends_with_the_same_weights(
    step: int,
    sts_options: list[str],
    unbroken: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "sts"
    with monkeypatch.context() as patch:
        at_step(patch, step, signals(signal.SIGTERM if step % 2 else signal.SIGINT))
        assert sts.main([*sts_options, "--output", str(output)]) == 130
    assert f"checkpoint-{step}" in checkpoints(output)
    assert f"Go on with: python -m finetune.sts --output {output} --resume" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "the program's own handling is over"
    assert sts.main(["--output", str(output), "--resume"]) == 0
    assert same_weights(output, unbroken)
    records = [json.loads((folder / "run.json").read_text("utf-8")) for folder in (output, unbroken)]
    assert records[0]["curve"]["points"] == records[1]["curve"]["points"]
    assert records[0]["scores"] == records[1]["scores"]


def test_the_weights_that_were_compared_change_with_each_step(unbroken: Path) -> None:
    weights = trained(unbroken)
    assert weights.keys() == {"saved", "checkpoints"}
    assert weights["saved"] != weights["checkpoints"], "the best were not the last"
    folders = [unbroken / "checkpoints" / name for name in checkpoints(unbroken)]
    tensors = [load_file(folder / "model.safetensors") for folder in folders]
    (name,) = [name for name in tensors[0] if name.endswith("encoder.layer.0.output.dense.weight")]
    assert abs(tensors[1][name] - tensors[0][name]).max() > 1e-4


def test_a_second_ctrl_c_stops_at_once_and_the_last_checkpoint_serves(
    sts_options: list[str],
    unbroken: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "sts"
    with monkeypatch.context() as patch:
        at_step(patch, 5, signals(signal.SIGINT, signal.SIGINT))
        with pytest.raises(SystemExit) as stopped:
            sts.main([*sts_options, "--output", str(output)])
    assert stopped.value.code == 130
    assert "Stopped at once. Go on with: python -m finetune.sts" in capsys.readouterr().err
    assert checkpoints(output) == ["checkpoint-3"]
    assert sts.main(["--output", str(output), "--resume"]) == 0
    assert same_weights(output, unbroken)


def test_ctrl_c_before_training_leaves_nothing(
    sts_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(settings: Namespace) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sts, "load_data", interrupt)
    with pytest.raises(SystemExit) as stopped:
        sts.main([*sts_options, "--output", str(tmp_path / "deep" / "sts")])
    assert stopped.value.code == 130
    assert "Interrupted before training began." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


FULL = {
    "_save_optimizer_and_scheduler": RuntimeError(
        "[enforce fail at inline_container.cc:672] . unexpected pos 448 vs 342"
    ),
    "_save_rng_state": OSError(errno.ENOSPC, "No space left on device"),
}
"""What a full disk raised, in a file system of 1 MB, while a checkpoint was written; the first is torch.save's."""


def fail_to_write(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Let the disk be full when the second checkpoint comes to something."""
    import transformers

    times = []
    write = getattr(transformers.Trainer, method)

    def full(self: Any, *args: Any, **kwargs: Any) -> None:
        times.append(1)
        if len(times) == 2:
            raise FULL[method]
        write(self, *args, **kwargs)

    monkeypatch.setattr(transformers.Trainer, method, full)


@pytest.mark.parametrize("method", FULL)
def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(
    method: str, sts_options: list[str], unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "sts"
    with monkeypatch.context() as patch:
        fail_to_write(patch, method)
        with pytest.raises(SystemExit, match=r"The disk is full: .*\. Make room\. Go on with: python"):
            sts.main([*sts_options, "--output", str(output)])
    assert checkpoints(output) == ["checkpoint-3", "checkpoint-6"]
    assert last_checkpoint(output / "checkpoints") == output / "checkpoints" / "checkpoint-3", "the other one is broken"
    assert sts.main(["--output", str(output), "--resume"]) == 0
    assert same_weights(output, unbroken)


def test_a_full_disk_while_the_model_is_saved_is_named_too(
    sts_options: list[str], unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    output = tmp_path / "sts"
    with monkeypatch.context() as patch:
        patch.setattr(sts, "save_embedding", full)
        with pytest.raises(SystemExit, match="The disk is full"):
            sts.main([*sts_options, "--output", str(output)])
    assert sts.main(["--output", str(output), "--resume"]) == 0
    assert same_weights(output, unbroken)


def test_another_failure_is_not_taken_for_a_full_disk(
    sts_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    at_step(monkeypatch, 2, fail)
    with pytest.raises(PermissionError):
        sts.main([*sts_options, "--output", str(tmp_path / "sts")])


def test_the_newest_whole_checkpoint_is_taken(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    for number, state in ((9, "{}"), (10, '{"epoch": 1}'), (11, '{"epo'), (12, ""), (13, None)):
        folder = tmp_path / f"checkpoint-{number}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


def test_a_batch_does_not_grow_with_the_devices_of_a_machine(tmp_path: Path) -> None:
    from transformers import TrainingArguments

    args = TrainingArguments(str(tmp_path), per_device_train_batch_size=16, use_cpu=True)
    args._n_gpu = 8
    assert args.train_batch_size == 128, "what the trainer does with what it sees"
    assert one_device(args).train_batch_size == 16


def test_the_curve_has_each_point_once_after_a_full_disk(
    tiny_static: Path, klue_mrc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    output = tmp_path / "mrc"
    options = ["--model", str(tiny_static), "--train", str(klue_mrc), "--batch-size", "8", "--device", "cpu"]
    with monkeypatch.context() as patch:
        patch.setattr(rounds, "save_trained", full)
        with pytest.raises(SystemExit, match="The disk is full"):
            mrc.main([*options, "--output", str(output)])
    assert mrc.main(["--output", str(output), "--resume"]) == 0
    steps = [step for step, _ in json.loads((output / "run.json").read_text("utf-8"))["curve"]["points"]]
    assert steps == sorted(set(steps))


def test_a_search_run_resumed_in_its_second_round_ends_with_the_same_weights(
    tiny_static: Path, klue_mrc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--model", str(tiny_static), "--train", str(klue_mrc), "--batch-size", "8", "--device", "cpu"]
    options += ["--learning-rate", "0.02", "--negatives", "1", "--rounds", "2", "--epochs", "2", "--loss", "mnrl"]
    options += ["--keep-checkpoints"]
    assert mrc.main([*options, "--output", str(tmp_path / "unbroken")]) == 0
    output = tmp_path / "mrc"
    commands = [[*options, "--output", str(output)], ["--output", str(output), "--resume"]]
    for number, command in enumerate(commands, start=1):
        with monkeypatch.context() as patch:
            at_step(patch, 4, signals(signal.SIGINT), folder=f"round-{number}")
            assert mrc.main(command) == 130
        assert (output / "checkpoints" / f"round-{number}" / "checkpoint-4").exists()
    assert (output / "checkpoints" / "round-1" / "model").exists()
    assert mrc.main(commands[1]) == 0
    assert same_weights(output, tmp_path / "unbroken")
    records = [json.loads((folder / "run.json").read_text("utf-8")) for folder in (output, tmp_path / "unbroken")]
    assert records[0]["curve"] == records[1]["curve"]


# Several processes


def test_a_checkpoint_of_several_processes_has_the_random_numbers_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, written in ((3, 1.0), (6, 0.5), (9, None)):
        folder = tmp_path / f"checkpoint-{number}"
        folder.mkdir()
        torch.save({"cpu": torch.arange(1000)}, folder / "rng_state_0.pth")
        whole = (folder / "rng_state_0.pth").read_bytes()
        if written is not None:
            (folder / "rng_state_1.pth").write_bytes(whole[: int(len(whole) * written)])
        (folder / "trainer_state.json").write_text("{}")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-9"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-3"


def test_sigterm_twice_is_no_order_to_stop_at_once(
    sts_options: list[str], unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm sends it to each process, and torchrun passes on what it got itself."""
    output = tmp_path / "sts"
    with monkeypatch.context() as patch:
        at_step(patch, 5, signals(signal.SIGTERM, signal.SIGTERM))
        assert sts.main([*sts_options, "--output", str(output)]) == 130
    assert "checkpoint-5" in checkpoints(output)
    assert sts.main(["--output", str(output), "--resume"]) == 0
    assert same_weights(output, unbroken)
