"""Several processes train what one trains: on the same batches, to the same losses and weights, within rounding.

The models have random weights and no dropout, whose random numbers each process draws for itself. What is left is the
order in which float32 numbers are added: within a process, and over processes.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from safetensors.numpy import load_file

from finetune import cross_encoder, mrc, sts

CHECKOUT = Path(__file__).parents[2]
PROGRAMS = {"mrc": mrc.main, "sts": sts.main, "cross_encoder": cross_encoder.main}
LOSS_NOISE = 1e-5
"""By how much the mean loss of four steps may differ; measured was 1.3e-6 at most, of losses of 0.2 to 5."""
WEIGHT_NOISE = 1e-4
"""By how much the weights may differ, as a share of what training moved them; measured was 1.2e-5 at most.

But for the biases of the keys: attention does not depend on them, so their gradient is nothing but rounding, which
AdamW blows up to whole steps, another one at each rounding.
"""

DRIVER = """
import json, os, sys
from pathlib import Path
from finetune import cross_encoder, mrc, reranking, rounds, search_evaluator, sts

def counted(module, name, what):
    do = getattr(module, name)
    def once(*args, **kwargs):
        with open(sys.argv[2], "a") as file:
            file.write(f"{what} {os.environ['RANK']}\\n")
        return do(*args, **kwargs)
    setattr(module, name, once)

if __name__ == "__main__":
    for module, name, what in (
        (mrc, "load_search_data", "read"), (cross_encoder, "load_search_data", "read"), (sts, "load_data", "read"),
        (rounds, "build_index", "mine"), (rounds, "build_dataset", "columns"), (reranking, "build_index", "mine"),
        (search_evaluator.SearchEvaluator, "__call__", "measure"), (Path, "mkdir", "folder"),
    ):
        counted(module, name, what)
    for program, options in json.loads(Path(sys.argv[1]).read_text()):
        status = {"mrc": mrc, "sts": sts, "cross_encoder": cross_encoder}[program].main(options)
        assert status == 0, (program, status)
"""
"""Runs several programs one after the other in the same processes, which saves starting them each time.

It writes down which process does what should be done once.
"""


class Trained(NamedTuple):
    """What a run left: the loss of each step, and the weights after the last one by name."""

    losses: dict[int, float]
    weights: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def questions(sentences: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 questions, 2 of them held out, each with a passage of its own article and one that does not answer it."""
    words = " ".join(sentences).replace(".", "").split()
    rows = []
    for number in range(50):
        drawn = np.random.default_rng(number).permutation(words)
        rows.append(
            {
                "title": f"{drawn[0]} {number}",
                "question": f"{' '.join(drawn[:3])} {number}?",
                "context": f"{' '.join(drawn[:8])} {number}.",
                "negatives": [f"{' '.join(drawn[6:12])} {number + 100}."],
            }
        )
    return write_rows(tmp_path_factory.mktemp("questions") / "questions.jsonl", rows)


@pytest.fixture(scope="module")
def model(tiny_transformer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return without_dropout(tiny_transformer, tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def commands(model: Path, tiny_transformer: Path, questions: Path, klue_sts: Path) -> dict[str, list[str]]:
    """The options of each run; the first one is the program."""
    steps = ["--eval-steps=4", "--epochs=2", "--learning-rate=1e-3", "--device=cpu", "--keep-checkpoints"]
    search = [f"--train={questions}", f"--validation={questions}", "--batch-size=8", *steps]
    embedding = ["mrc", f"--model={model}", "--rounds=1", "--recipe=default", *search]
    similarity = ["sts", f"--model={model}", f"--train={klue_sts}", "--validation-share=0.2", "--batch-size=16", *steps]
    return {
        "mnrl": [*embedding, "--loss=mnrl", "--negatives=1"],
        "cached-mnrl": [*embedding, "--loss=cached-mnrl", "--mini-batch-size=2", "--negatives=1"],
        "tutorial": ["mrc", f"--model={model}", "--recipe=tutorial", *search],
        "cosine": [*similarity, "--loss=cosine"],
        "cosent": [*similarity, "--loss=cosent"],
        "bce": ["cross_encoder", f"--model={model}", "--negatives=1", "--no-gate", *search],
        "with dropout": ["mrc", f"--model={tiny_transformer}", "--rounds=1", *search, "--loss=mnrl", "--negatives=1"],
    }


@pytest.fixture(scope="module")
def together(commands: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Counter[str]]:
    """The folder of the runs of two processes, and how often each process did what should be done once."""
    folder = tmp_path_factory.mktemp("together")
    (folder / "driver.py").write_text(DRIVER)
    runs = [(program, [*options, f"--output={folder / name}"]) for name, (program, *options) in commands.items()]
    (folder / "commands.json").write_text(json.dumps(runs))
    done = folder / "done.txt"
    with torchrun("--nproc-per-node=2", "driver", str(folder / "commands.json"), str(done), path=folder) as process:
        said, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    assert said.count("measured on") == len(commands), "only the first process reports"
    return folder, Counter(done.read_text().splitlines())


@pytest.mark.parametrize("name", ["mnrl", "cached-mnrl", "tutorial", "cosine", "cosent", "bce"])
def test_two_processes_have_the_losses_and_the_weights_of_one(
    name: str,
    commands: dict[str, list[str]],
    together: tuple[Path, Counter[str]],
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program, *options = commands[name]
    assert PROGRAMS[program]([*options, f"--output={tmp_path / name}"]) == 0
    one, two = trained(tmp_path / name), trained(together[0] / name)
    assert one.losses.keys() == two.losses.keys(), "as many steps"
    losses = max(abs(one.losses[step] - two.losses[step]) for step in one.losses)
    learned, weights = distance(one.weights, load_file(model / "model.safetensors")), distance(one.weights, two.weights)
    with capsys.disabled():
        sys.stdout.write(f"\n{name}: losses differ by {losses:.1e}, weights by {weights / learned:.1e} of the way\n")
    assert len(one.losses) >= 2
    assert learned > 0.01
    assert losses <= LOSS_NOISE
    assert weights <= WEIGHT_NOISE * learned


def test_what_is_not_training_is_done_by_the_first_process_alone(
    commands: dict[str, list[str]], together: tuple[Path, Counter[str]]
) -> None:
    _, done = together
    assert {line for line in done if not line.endswith(" 0")} == set(), "the second process did something too"
    assert done["read 0"] == len(commands)
    assert done["mine 0"] >= 4
    assert done["measure 0"] > len(commands)


def test_two_machines_train_what_one_does(
    commands: dict[str, list[str]], together: tuple[Path, Counter[str]], tmp_path: Path
) -> None:
    program, *options = commands["with dropout"]
    options += [f"--output={tmp_path / 'run'}"]
    where = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    agents = [torchrun(*where, f"--node-rank={rank}", f"finetune.{program}", *options) for rank in (0, 1)]
    for agent in agents:
        _, told = agent.communicate(timeout=240)
        assert agent.returncode == 0, told
    assert trained(tmp_path / "run").weights.keys() == trained(together[0] / "with dropout").weights.keys()
    assert same_bytes(tmp_path / "run", together[0] / "with dropout")


def test_a_killed_process_ends_all_and_the_same_command_goes_on_to_the_same_weights(
    commands: dict[str, list[str]], together: tuple[Path, Counter[str]], tmp_path: Path
) -> None:
    program, *options = commands["with dropout"]
    command = ["--nproc-per-node=2", f"finetune.{program}", *options, f"--output={tmp_path / 'run'}", "--resume"]
    process = torchrun(*command)
    before = read_until(process, "step 8:")
    os.kill(worker_of(process, rank=1), signal.SIGKILL)
    _, told = process.communicate(timeout=240)
    assert process.returncode != 0, before + told
    assert not (tmp_path / "run" / "model.safetensors").exists()
    again = torchrun(*command)
    _, told = again.communicate(timeout=240)
    assert again.returncode == 0, told
    assert "step 4:" in before
    assert "step 4:" not in told, "it went on, and did not begin anew"
    assert same_bytes(tmp_path / "run", together[0] / "with dropout")


def test_torchrun_starts_a_killed_process_again_and_it_goes_on(
    commands: dict[str, list[str]], together: tuple[Path, Counter[str]], tmp_path: Path
) -> None:
    program, *options = commands["with dropout"]
    command = ["--nproc-per-node=2", "--max-restarts=1", f"finetune.{program}", *options]
    process = torchrun(*command, f"--output={tmp_path / 'run'}")
    read_until(process, "step 8:")
    os.kill(worker_of(process, rank=0), signal.SIGKILL)
    _, told = process.communicate(timeout=240)
    assert process.returncode == 0, told
    assert same_bytes(tmp_path / "run", together[0] / "with dropout")


def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(commands: dict[str, list[str]], tmp_path: Path) -> None:
    program, *options = commands["with dropout"]
    process = torchrun("--nproc-per-node=2", f"finetune.{program}", *options, f"--output={tmp_path / 'run'}")
    read_until(process, "step 4:")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=240)
    resume = f"-m finetune.{program} --output {tmp_path / 'run'} --resume"
    assert told.count(f"Go on with: torchrun --nproc-per-node 2 {resume}") == 1, told
    assert (last_checkpoint(tmp_path / "run") / "trainer_state.json").exists()
    assert not (tmp_path / "run" / "model.safetensors").exists()


def write_rows(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def without_dropout(model: Path, folder: Path) -> Path:
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def trained(output: Path) -> Trained:
    """Return what a run with --keep-checkpoints left behind."""
    last = last_checkpoint(output)
    history = json.loads((last / "trainer_state.json").read_text("utf-8"))["log_history"]
    losses = {entry["step"]: entry["loss"] for entry in history if "loss" in entry}
    return Trained(losses, load_file(last / "model.safetensors"))


def last_checkpoint(output: Path) -> Path:
    found = (output / "checkpoints").rglob("checkpoint-*")
    return max(found, key=lambda folder: int(folder.name.rpartition("-")[2]))


def same_bytes(first: Path, second: Path) -> bool:
    a, b = (last_checkpoint(output) for output in (first, second))
    return a.name == b.name and (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()


def distance(weights: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> float:
    """Return the length of the difference, without the biases of the keys and what only one has, such as a new head."""
    other = {name.removeprefix("roberta."): value for name, value in others.items()}
    names = {name: name.removeprefix("roberta.") for name in weights if not name.endswith("key.bias")}
    return float(np.sqrt(sum(((weights[a] - other[b]) ** 2).sum() for a, b in names.items() if b in other)))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def torchrun(*command: str, path: Path = CHECKOUT) -> subprocess.Popen[str]:
    """Start torchrun; what is no option of its begins with the name of the program."""
    first = next(place for place, word in enumerate(command) if not word.startswith("--"))
    where = [] if "--nnodes=2" in command else ["--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    launcher = [sys.executable, "-m", "torch.distributed.run", *where, *command[:first], "-m", *command[first:]]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (path, CHECKOUT))),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "GLOO_SOCKET_IFNAME": "lo",
        "HF_HUB_OFFLINE": "1",
    }
    return subprocess.Popen(launcher, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_until(process: subprocess.Popen[str], sign: str) -> str:
    """Return what a program said on stderr up to a line that has the sign."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if sign in line:
            return "".join(lines)
    raise AssertionError(f"{sign!r} was never said:\n{''.join(lines)}")


def worker_of(process: subprocess.Popen[str], *, rank: int) -> int:
    """Return the pid of one of the processes that torchrun started."""
    for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        if f"RANK={rank}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return int(pid)
    raise AssertionError(f"torchrun has no process of rank {rank}")
