"""finetune.all: which programs run, in which order, and what an interruption does."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from finetune import all as chain
from finetune.cross_encoder import REJECTED_STATUS


class Programs:
    """Takes the place of the programs: what was called, what each returns and leaves behind."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.status: dict[str, int] = {}

    def run(self, command: list[str]) -> int:
        self.calls.append(command)
        output = next((Path(option.partition("=")[2]) for option in command if option.startswith("--output=")), None)
        status = self.status.get(command[0], 0)
        if output is not None:
            default = {0: "run.json", REJECTED_STATUS: "rejected/run.json"}.get(status, "checkpoints/run.json")
            record = output / default
            record.parent.mkdir(parents=True, exist_ok=True)
            record.write_text("{}")
            if status == 0:
                (output / "checkpoints" / "run.json").unlink(missing_ok=True)
        return status

    @property
    def names(self) -> list[str]:
        return [command[0].rpartition(".")[2] for command in self.calls]


START = ["--model", "transformer"]


@pytest.fixture
def programs(tiny_transformer: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Programs:
    programs = Programs()
    (tmp_path / "transformer").symlink_to(tiny_transformer)
    monkeypatch.setattr(chain, "_run", programs.run)
    monkeypatch.chdir(tmp_path)
    return programs


def test_the_tutorials_chain(programs: Programs) -> None:
    assert chain.main(["--recipe", "tutorial"]) == 0
    shared = ["--recipe=tutorial", "--seed=42"]
    assert programs.calls == [
        ["finetune.sts", "--output=models/sts", "--model=klue/roberta-base", *shared],
        ["finetune.mrc", "--output=models/mrc", "--model=models/sts", *shared],
        ["finetune.cross_encoder", "--output=models/reranker", "--model=klue/roberta-small", *shared],
        [
            *("eval.hit_rate", "--data=klue", "--distractors=klue", "--model=models/mrc"),
            *("--reranker=models/reranker", "--base=models/sts", "--protocol=both"),
            *("--report=models/benchmark", "--overwrite"),
        ],
    ]


def test_a_static_model_needs_neither_the_first_step_nor_the_third(programs: Programs, tmp_path: Path) -> None:
    options = ["--model", "embedded", "--train", "a.jsonl", "--train", "b.jsonl", "--validation", "c.jsonl"]
    assert chain.main([*options, "--output", "out", "--device", "cpu"]) == 0
    data = ["--train=a.jsonl", "--train=b.jsonl", "--validation=c.jsonl"]
    report = ["--report=out/benchmark", "--overwrite"]
    others, shared = [f"--distractors={name}.jsonl" for name in "abc"], ["--recipe=default", "--seed=42"]
    assert programs.calls == [
        ["finetune.mrc", "--output=out/mrc", "--model=embedded", *data, *shared, "--device=cpu"],
        ["eval.hit_rate", "--data=c.jsonl", *others, "--model=out/mrc", "--reranker=embedded", *report],
    ]


def test_a_static_model_takes_all_steps_that_are_asked_for(programs: Programs) -> None:
    options = ["--model", "embedded", "--sts-train", "s.tsv", "--sts-validation", "t.tsv", "--reranker-model", "x/y"]
    assert chain.main(options) == 0
    assert programs.names == ["sts", "mrc", "cross_encoder", "hit_rate"]
    assert programs.calls[0][2:5] == ["--model=embedded", "--train=s.tsv", "--validation=t.tsv"]
    assert programs.calls[1][2] == "--model=models/sts"
    assert programs.calls[2][2:4] == ["--model=x/y", "--retriever=models/mrc"]


def test_the_embedded_reranker_is_fitted_to_the_embedded_search(programs: Programs) -> None:
    assert chain.main(["--model", "embedded", "--reranker-model", "embedded", "--train", "a.jsonl"]) == 0
    assert programs.calls[1][:4] == [
        "finetune.cross_encoder",
        "--output=models/reranker",
        "--model=embedded",
        "--train=a.jsonl",
    ]


def test_the_benchmark_never_asks_what_was_trained_on(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    assert chain.main(["--model", "embedded", "--train", "a.jsonl", "--output", "one"]) == 0
    assert programs.names == ["mrc"]
    assert "No benchmark: give questions that were not trained on with --validation." in capsys.readouterr().out
    assert chain.main(["--model", "embedded", "--train", "a.jsonl", "--train", "sample", "--output", "two"]) == 0
    assert programs.calls[-1][:2] == ["eval.hit_rate", "--data=sample"]


def test_every_set_of_questions_gets_a_report_of_its_own(programs: Programs) -> None:
    sources = ["--validation", "one/dev.jsonl", "--validation", "two/dev.jsonl"]
    assert chain.main(["--model", "embedded", "--train", "a.jsonl", *sources]) == 0
    reports = [option for call in programs.calls for option in call if option.startswith("--report")]
    assert reports == ["--report=models/benchmark-1", "--report=models/benchmark-2"]


@pytest.mark.parametrize(("program", "names"), [("sts", ["sts"]), ("mrc", ["sts", "mrc"])])
def test_the_first_failure_ends_it_and_the_next_call_goes_on_there(
    program: str, names: list[str], programs: Programs, capsys: pytest.CaptureFixture[str]
) -> None:
    programs.status[f"finetune.{program}"] = 130
    assert chain.main(START) == 130
    assert programs.names == names
    programs.calls.clear()
    programs.status.clear()
    assert chain.main(START) == 0
    assert programs.calls[0] == [f"finetune.{program}", f"--output=models/{program}", "--resume"]
    assert programs.names[0] == program
    finished = [f"models/{name} is finished and stays as it is." for name in names[:-1]]
    assert [line for line in capsys.readouterr().out.splitlines() if "finished" in line] == finished
    programs.calls.clear()
    assert chain.main(START) == 0
    assert programs.names == ["hit_rate"]


def test_a_rejected_reranker_has_no_part_in_the_benchmark(programs: Programs) -> None:
    programs.status["finetune.cross_encoder"] = REJECTED_STATUS
    assert chain.main(START) == 0
    assert programs.names[-1] == "hit_rate"
    assert "--reranker=embedded" in programs.calls[-1]
    programs.calls.clear()
    assert chain.main(START) == 0
    assert programs.names == ["hit_rate"], "nor is it trained again"


def test_the_status_is_that_of_the_benchmark(programs: Programs) -> None:
    programs.status["eval.hit_rate"] = 2
    assert chain.main(START) == 2


def test_a_model_that_is_not_there_is_said_before_anything_runs(
    programs: Programs, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        chain.main(["--model", "./nowhere"])
    assert stopped.value.code == 2
    assert "There is no model folder './nowhere'" in capsys.readouterr().err
    assert programs.calls == []


PATIENT = """
import signal, sys, time
asked = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: asked.append(number))
print("ready", flush=True)
while not asked:
    time.sleep(0.01)
time.sleep(0.6)  # longer than subprocess.run would wait
print(f"saved after {asked}", flush=True)
sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_program_has_the_time_it_needs_to_save_its_checkpoint(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "patient.py").write_text(PATIENT)
    code = "import sys; from finetune.all import _run; sys.exit(_run(['patient']))"
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "ready\n":
            pass
        if number == signal.SIGINT:  # Ctrl-C reaches all programs of a terminal, a kill the one that it names
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        told = process.stdout.read()
    assert told == f"saved after [{number.value}]\n"
    assert process.returncode == 130


def test_a_program_that_a_signal_ended_has_the_status_of_a_shell(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "killed.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert chain._run(["killed"]) == 137
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
