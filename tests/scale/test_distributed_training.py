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
from rag_app.compressors import load_reranker

CHECKOUT = Path(__file__).parents[2]
PROGRAMS = {"mrc": mrc.main, "sts": sts.main, "cross_encoder": cross_encoder.main}
ROUNDS = ("round-1", "round-2")
LOSS_NOISE = 1e-5
"""By how much the mean loss of four steps may differ; measured was 1.3e-6 at most, of losses of 0.2 to 5."""
WEIGHT_NOISE = 1e-4
"""By how much the weights may differ, as a share of what training moved them; measured was 1.2e-5 at most.

But for the biases of the keys: attention does not depend on them, so their gradient is nothing but rounding, which
AdamW blows up to whole steps, another one at each rounding.
"""

DRIVER = """
import gc, json, os, signal, sys
from pathlib import Path
import safetensors.torch
from finetune import cross_encoder, mrc, reranking, rounds, search_evaluator, sts, training

DONE, RANK = sys.argv[2], os.environ["RANK"]
RUNS = str(Path(sys.argv[1]).parent / "runs")
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")

def note(what):
    with open(DONE, "a") as file:
        file.write(f"{what}\\n")

def counted(module, name, what):
    do = getattr(module, name)
    def once(*args, **kwargs):
        note(f"{what} {RANK}")
        return do(*args, **kwargs)
    setattr(module, name, once)

def watch(event, args):
    writes = event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if (writes or event in CHANGES) and str(args[0]).startswith(RUNS):
        note(f"wrote {Path(str(args[0])).name}")

def interrupt_once(self, args, state, control, begin=training.Progress.on_step_begin, **kwargs):
    if RANK == "1" and state.global_step == 7 and "/interrupted/" in args.output_dir:
        training.Progress.on_step_begin = begin
        os.kill(os.getpid(), signal.SIGINT)
    return begin(self, args, state, control, **kwargs)

if __name__ == "__main__":
    for module, name, what in (
        (mrc, "load_search_data", "read"), (cross_encoder, "load_search_data", "read"), (sts, "load_data", "read"),
        (rounds, "build_index", "mine"), (rounds, "build_dataset", "columns"), (reranking, "build_index", "mine"),
        (search_evaluator.SearchEvaluator, "__call__", "measure"),
    ):
        counted(module, name, what)
    training.Progress.on_step_begin = interrupt_once
    if RANK != "0":
        sys.addaudithook(watch)
        os.umask(0o077)
        counted(safetensors.torch, "serialize_file", "weights")
    gc.freeze()
    for program, options in json.loads(Path(sys.argv[1]).read_text()):
        main = {"mrc": mrc, "sts": sts, "cross_encoder": cross_encoder}[program].main
        status = main(options)
        if status == 130:
            status = main([options[-1], "--resume"])
        assert status == 0, (program, status)
"""
"""Runs several programs one after the other in the same processes, which saves starting them each time.

It writes down which process does what should be done once, and what others than the first one write into the folders of
the runs: Python tells of what it does itself, a umask marks what other languages create, and safetensors, which
takes no notice of it, is asked. In the run "interrupted" the second process alone gets a signal, and then the run is
resumed.
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
    with_dropout = ["mrc", f"--model={tiny_transformer}", "--rounds=2", *search, "--loss=mnrl", "--negatives=1"]
    with_dropout.append("--eval-steps=3")
    return {
        "mnrl": [*embedding, "--loss=mnrl", "--negatives=1"],
        "cached-mnrl": [*embedding, "--loss=cached-mnrl", "--mini-batch-size=2", "--negatives=1"],
        "tutorial": ["mrc", f"--model={model}", "--recipe=tutorial", *search],
        "cosine": [*similarity, "--loss=cosine"],
        "cosent": [*similarity, "--loss=cosent"],
        "bce": ["cross_encoder", f"--model={model}", "--negatives=1", "--no-gate", *search],
        **dict.fromkeys(("with dropout", "interrupted"), with_dropout),
    }


@pytest.fixture(scope="module")
def together(commands: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Counter[str]]:
    """The folder of the runs of two processes, and how often each process did what should be done once."""
    folder = tmp_path_factory.mktemp("together")
    (folder / "driver.py").write_text(DRIVER)
    runs = [
        (program, [*options, f"--output={folder / 'runs' / name}"]) for name, (program, *options) in commands.items()
    ]
    (folder / "commands.json").write_text(json.dumps(runs))
    done = folder / "done.txt"
    with torchrun("--nproc-per-node=2", "driver", str(folder / "commands.json"), str(done), path=folder) as process:
        said, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    assert said.count("measured on") == len(commands), "only the first process reports"
    again = (
        f"Go on with: torchrun --nproc-per-node 2 -m finetune.mrc --output {folder / 'runs' / 'interrupted'} --resume"
    )
    assert told.count("Go on with") == told.count(again) == 1, told
    return folder / "runs", Counter(done.read_text().splitlines())


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


def test_the_record_tells_how_many_processes_there_were(together: tuple[Path, Counter[str]]) -> None:
    records = [json.loads(path.read_text("utf-8")) for path in together[0].glob("*/run.json")]
    assert [record["processes"] for record in records] == [2] * 8


def test_the_reranker_of_two_processes_reranks(together: tuple[Path, Counter[str]]) -> None:
    assert load_reranker(together[0] / "bce", device="cpu").score_pairs([("국회?", "서울")]).shape == (1,)


def test_what_is_not_training_is_done_by_the_first_process_alone(
    commands: dict[str, list[str]], together: tuple[Path, Counter[str]]
) -> None:
    _, done = together
    assert {line for line in done if line.endswith(" 1")} == set(), "the second process did something too"
    assert done["read 0"] == len(commands) + 1, "one was resumed"
    assert done["mine 0"] >= 4
    assert done["measure 0"] > len(commands)


def test_the_other_process_writes_its_random_numbers_and_nothing_else(together: tuple[Path, Counter[str]]) -> None:
    """The trainer writes them from each process, and makes the folder for them if it is not there yet."""
    folder, done = together
    wrote = {line.removeprefix("wrote ") for line in done if line.startswith("wrote ")}
    marked = {path.name for path in folder.rglob("*") if not path.stat().st_mode & 0o077} - {"model.safetensors"}
    assert {name for name in wrote | marked if not name.startswith("checkpoint-")} == {"rng_state_1.pth"}
    assert done["weights 1"] == 0


def test_a_signal_that_one_process_gets_stops_both_and_the_resumed_run_ends_with_the_same_weights(
    together: tuple[Path, Counter[str]],
) -> None:
    assert same_bytes(together[0] / "interrupted", together[0] / "with dropout")


def test_a_job_that_is_killed_in_every_way_ends_with_the_weights_of_an_unbroken_one(
    commands: dict[str, list[str]], together: tuple[Path, Counter[str]], tmp_path: Path
) -> None:
    program, *options = commands["with dropout"]
    output = tmp_path / "run"
    command = ["--nproc-per-node=2", f"finetune.{program}", *options, f"--output={output}", "--resume"]
    resume = f"Go on with: torchrun --nproc-per-node 2 -m finetune.{program} --output {output} --resume"

    # 1. The first process dies, and torchrun starts both again; then the second one dies, and that was once too often
    job = torchrun("--max-restarts=1", *command)
    read_until(job, "step 6:")
    os.kill(workers(job)[0], signal.SIGKILL)
    assert "step 3:" not in read_until(job, "step 9:"), "it went on, and did not begin anew"
    os.kill(workers(job)[1], signal.SIGKILL)
    _, told = job.communicate(timeout=240)
    assert job.returncode != 0, told

    # 2. The machine goes down
    job = torchrun(*command)
    assert "step 3:" not in read_until(job, "step 12:")
    for pid in (job.pid, *workers(job).values()):
        os.kill(pid, signal.SIGKILL)
    job.communicate(timeout=240)

    # 3. Slurm cancels the job in the second round: SIGTERM to every process, and torchrun passes its own on
    job = torchrun(*command)
    assert "step 6:" not in read_until(job, "step 3:")
    for pid in (*workers(job).values(), job.pid):
        os.kill(pid, signal.SIGTERM)
    _, told = job.communicate(timeout=240)
    assert told.count(resume) == 1, told
    assert int(last_checkpoint(output, "round-2").name.removeprefix("checkpoint-")) >= 3

    # 4. Ctrl-C
    job = torchrun(*command)
    assert "step 3:" not in read_until(job, "step 9:")
    job.send_signal(signal.SIGINT)
    _, told = job.communicate(timeout=240)
    assert told.count(resume) == 1, told
    assert not (output / "model.safetensors").exists()

    # 5. It comes to its end
    job = torchrun(*command)
    _, told = job.communicate(timeout=240)
    assert job.returncode == 0, told
    assert "step 9:" not in told
    assert same_bytes(output, together[0] / "with dropout")


def test_two_machines_of_which_one_loses_its_process_train_what_one_machine_does(
    commands: dict[str, list[str]], together: tuple[Path, Counter[str]], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not request.config.getoption("--torture"):
        pytest.skip("a minute of two cores: only with --torture")
    program, *options = commands["with dropout"]
    options += [f"--output={tmp_path / 'run'}", "--resume"]
    agents = sorted(machines("--max-restarts=1", f"finetune.{program}", *options), key=lambda agent: agent.pid)
    read_until(agents[0], "step 6:")  # torchrun ranks them by address and pid
    os.kill(workers(agents[1])[1], signal.SIGKILL)
    for agent in agents:
        _, told = agent.communicate(timeout=240)
        assert agent.returncode == 0, told
    assert same_bytes(tmp_path / "run", together[0] / "with dropout")


def test_two_machines_without_a_shared_folder_are_told_so_and_nothing_is_left(
    commands: dict[str, list[str]], tmp_path: Path
) -> None:
    program, *options = commands["mnrl"]
    folders = [tmp_path / "node1", tmp_path / "node2"]
    for folder in folders:
        folder.mkdir()
    agents = machines(f"finetune.{program}", *options, "--output=models/run", folders=folders)
    told = [agent.communicate(timeout=240)[1] for agent in agents]
    assert all(agent.returncode != 0 for agent in agents)
    assert all("Give an --output in a folder that all machines share" in text for text in told), told
    assert [list(folder.iterdir()) for folder in folders] == [[], []]


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


def last_checkpoint(output: Path, name: str = "") -> Path:
    """Return the last checkpoint of a run, or of a round of it."""
    found = (output / "checkpoints" / name).rglob("checkpoint-*")
    return max(found, key=lambda folder: int(folder.name.rpartition("-")[2]))


def same_bytes(first: Path, second: Path) -> bool:
    """Return whether the last weights of both rounds are the same."""
    return [last_weights(first, name) for name in ROUNDS] == [last_weights(second, name) for name in ROUNDS]


def last_weights(output: Path, name: str) -> tuple[str, bytes]:
    last = last_checkpoint(output, name)
    return last.name, (last / "model.safetensors").read_bytes()


def distance(weights: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> float:
    """Return the length of the difference, without the biases of the keys and what only one has, such as a new head."""
    other = {name.removeprefix("roberta."): value for name, value in others.items()}
    names = {name: name.removeprefix("roberta.") for name in weights if not name.endswith("key.bias")}
    return float(np.sqrt(sum(((weights[a] - other[b]) ** 2).sum() for a, b in names.items() if b in other)))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def torchrun(*command: str, path: Path = CHECKOUT, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start torchrun; what is no option of its begins with the name of the program."""
    first = next(place for place, word in enumerate(command) if not word.startswith("--"))
    launcher = [sys.executable, "-m", "torch.distributed.run", *command[:first], "-m", *command[first:]]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (path, CHECKOUT))),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "GLOO_SOCKET_IFNAME": "lo",
        "HF_HUB_OFFLINE": "1",
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    return subprocess.Popen(
        launcher, env=environment, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def machines(*command: str, folders: Sequence[Path] = (CHECKOUT, CHECKOUT)) -> list[subprocess.Popen[str]]:
    """Start torchrun as on two machines with a process each."""
    where = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-id=test", "--rdzv-backend=c10d", "--local-addr=127.0.0.1"]
    where.append(f"--rdzv-endpoint=127.0.0.1:{free_port()}")
    return [torchrun(*where, *command, cwd=folder) for folder in folders]


def read_until(process: subprocess.Popen[str], sign: str) -> str:
    """Return what a program said on stderr up to a line that has the sign."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if sign in line:
            return "".join(lines)
    raise AssertionError(f"{sign!r} was never said:\n{''.join(lines)}")


def workers(process: subprocess.Popen[str]) -> dict[int, int]:
    """Return the processes that torchrun has started: the pid of each rank."""
    found = {}
    for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
        found.update({int(text.removeprefix("RANK=")): int(pid) for text in variables if text.startswith("RANK=")})
    return found
