"""The folder of a run, its options, what they share between programs, and the card."""

import argparse
import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from finetune import common, mrc, sts
from finetune.card import Score, score_table, write_card
from finetune.common import publish, push
from finetune.options import fill, resumed, to_stored, training_parser
from finetune.run import Run
from rag_app.hub import network_errors

RECIPES: dict[str, dict[str, Any]] = {"tutorial": {"train": ["klue"], "epochs": 4}, "transformer": {}, "static": {}}


def settings(output: Path, **given: Any) -> Namespace:
    parser = training_parser("finetune.sts", "", RECIPES, data="")
    return fill(Namespace(**{**vars(parser.parse_args([])), "output": output, "model": "a/b@main", **given}), {})


def finish(run: Run, text: str = "weights", subfolder: str = "") -> Path:
    """Do what a program does after training."""
    prepare(run, text)
    return run.publish(subfolder=subfolder)


def prepare(run: Run, text: str = "weights") -> None:
    """Do what a program does before it publishes."""

    def save(folder: Path) -> None:
        (folder / "model.safetensors").write_text(text)

    run.save(save)
    run.note(
        scores=[Score("2 pairs", "Spearman", 0.25, 0.5, (0.356, 0.891))._asdict()],
        curve={"metric": "Spearman", "data": "2 pairs", "points": [[1, 0.3], [2, 0.5]]},
        card={"title": "a: b", "front": ["tags: [korean]"], "summary": "Some.", "data": ["Training: 2"], "use": "pass"},
    )


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


FINISHED = ["README.md", "curve.png", "model.safetensors", "run.json"]


# The folder


def test_a_run_works_in_its_checkpoints_and_leaves_the_model(tmp_path: Path) -> None:
    run = Run.begin("finetune.sts", settings(tmp_path / "a", epochs=3))
    assert files(tmp_path) == ["a/checkpoints/run.json"]
    (run.checkpoints / "checkpoint-1").mkdir()
    assert finish(run) == tmp_path / "a"
    assert files(tmp_path / "a") == FINISHED
    record = json.loads((tmp_path / "a" / "run.json").read_text("utf-8"))
    assert (record["program"], record["arguments"]["epochs"], record["processes"]) == ("finetune.sts", 3, 1)


def test_checkpoints_stay_where_that_was_asked_for_and_the_run_is_finished_all_the_same(tmp_path: Path) -> None:
    run = Run.begin("finetune.sts", settings(tmp_path / "a", keep_checkpoints=True))
    (run.checkpoints / "checkpoint-1").mkdir()
    (run.checkpoints / "checkpoint-1" / "state").write_text("")
    finish(run)
    assert files(tmp_path / "a") == ["README.md", "checkpoints/checkpoint-1/state", *FINISHED[1:]]
    with pytest.raises(FileNotFoundError, match="its run is finished"):
        Run.resume("finetune.sts", settings(tmp_path / "a"))


def test_what_no_run_wrote_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    for overwrite in (None, True):
        with pytest.raises(FileExistsError, match=r"holds something that is no training run\. Give another"):
            Run.begin("finetune.sts", settings(tmp_path, overwrite=overwrite))
    assert files(tmp_path) == ["thesis.txt"]


def test_a_finished_or_interrupted_run_is_replaced_only_on_demand(tmp_path: Path) -> None:
    Run.begin("finetune.sts", settings(tmp_path / "a"))
    with pytest.raises(FileExistsError, match=r"holds an interrupted run\. Go on with it \(--resume\), give another"):
        Run.begin("finetune.sts", settings(tmp_path / "a"))
    finish(Run.begin("finetune.sts", settings(tmp_path / "a", overwrite=True)))
    with pytest.raises(FileExistsError, match=r"holds a finished run\. Keep it, give another --output, or replace it"):
        Run.begin("finetune.sts", settings(tmp_path / "a"))


def test_the_old_model_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    finish(Run.begin("finetune.sts", settings(folder)), "old")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("old")
    run = Run.begin("finetune.sts", settings(folder, overwrite=True))

    def half(new: Path) -> None:
        (new / "model.safetensors").write_text("ne")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        run.save(half)
    assert (folder / "model.safetensors").read_text() == "old"
    finish(run, "new")
    assert (folder / "model.safetensors").read_text() == "new"
    assert files(folder) == FINISHED


def test_a_run_killed_while_it_moved_its_model_is_finished_by_resuming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a"
    finish(Run.begin("finetune.sts", settings(folder)), "old")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("old")
    run = Run.begin("finetune.sts", settings(folder, overwrite=True))
    moved: list[Path] = []
    rename = Path.rename

    def rename_some(self: Path, target: Path) -> Path:
        moved.append(self)
        if len(moved) == 7:  # five files of the old model, one of the new one
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename_some)
        with pytest.raises(KeyboardInterrupt):
            finish(run, "new")
    assert "1_Pooling" not in [path.name for path in folder.iterdir()]
    (folder / "1_Pooling").mkdir()  # as the new model may have one, too
    (folder / "1_Pooling" / "config.json").write_text("new")
    finish(Run.resume("finetune.sts", Namespace(output=folder)), "new")
    assert files(folder) == FINISHED
    assert (folder / "model.safetensors").read_text() == "new"


def test_what_the_gate_rejected_neither_replaces_nor_blocks(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    assert finish(Run.begin("finetune.sts", settings(folder)), "bad", subfolder="rejected") == folder / "rejected"
    assert files(folder) == [f"rejected/{name}" for name in FINISHED]
    finish(Run.begin("finetune.sts", settings(folder)), "good")
    assert files(folder) == sorted([*FINISHED, *(f"rejected/{name}" for name in FINISHED)])
    finish(Run.begin("finetune.sts", settings(folder, overwrite=True)), "worse", subfolder="rejected")
    assert (folder / "model.safetensors").read_text() == "good"
    assert (folder / "rejected" / "model.safetensors").read_text() == "worse"


def test_kept_checkpoints_of_a_rejected_run_do_not_block_either(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    run = Run.begin("finetune.cross_encoder", settings(folder, keep_checkpoints=True))
    (run.checkpoints / "checkpoint-1").mkdir()
    finish(run, "bad", subfolder="rejected")
    assert (folder / "checkpoints" / "checkpoint-1").exists()
    finish(Run.begin("finetune.cross_encoder", settings(folder)), "good")
    assert (folder / "model.safetensors").read_text() == "good"


def test_an_abandoned_run_leaves_no_folder_that_it_made(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    Run.begin("finetune.sts", settings(tmp_path / "mine" / "models" / "sts")).abandon()
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]
    Run.begin("finetune.sts", settings(tmp_path / "mine")).abandon()
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]
    finish(Run.begin("finetune.sts", settings(tmp_path / "a")))
    Run.begin("finetune.sts", settings(tmp_path / "a", overwrite=True)).abandon()
    assert files(tmp_path / "a") == FINISHED


def test_an_abandoned_resumption_leaves_the_run(tmp_path: Path) -> None:
    Run.begin("finetune.sts", settings(tmp_path / "a"))
    Run.resume("finetune.sts", Namespace(output=tmp_path / "a")).abandon()
    assert files(tmp_path) == ["a/checkpoints/run.json"]


def test_only_the_first_of_several_processes_writes_or_minds_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    run = Run.begin("finetune.sts", settings(tmp_path / "a"))
    run.note(data=1)
    finish(run)
    run.abandon()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("RANK", "0")
    Run.begin("finetune.sts", settings(tmp_path / "a"))
    monkeypatch.setenv("RANK", "1")
    Run.begin("finetune.sts", settings(tmp_path / "a"))  # the first process made it a moment ago


# Resuming


def test_a_resumed_run_has_the_settings_it_began_with(tmp_path: Path) -> None:
    begun = settings(tmp_path / "a b", epochs=2.0, push_to_hub="me/it", private=True, train=["x", "y"], limit=None)
    Run.begin("finetune.sts", begun)
    parser = training_parser("finetune.sts", "", RECIPES, data="")
    given = parser.parse_args(["--output", str(tmp_path / "a b"), "--resume", "--epochs", "2", "--keep-checkpoints"])
    run = Run.resume("finetune.sts", given)
    assert vars(run.settings) == {**vars(begun), "resume": True, "overwrite": None, "keep_checkpoints": True}
    assert run.how_to_resume() == f"Go on with: python -m finetune.sts --output '{tmp_path / 'a b'}' --resume"


def test_another_upload_may_be_asked_for_when_resuming() -> None:
    stored = to_stored(Namespace(push_to_hub="me/it", private=None, output=Path("a"), resume=None, epochs=1))
    assert stored == {"push_to_hub": "me/it", "private": None, "epochs": 1}
    given = Namespace(push_to_hub="me/other", private=None, output=Path("b"), resume=True, epochs=None)
    assert vars(resumed(given, stored)) == {
        "push_to_hub": "me/other", "private": None, "output": Path("b"), "resume": True, "epochs": 1
    }  # fmt: skip


def test_a_run_is_resumed_by_its_program_in_as_many_processes_on_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Run.begin("finetune.sts", settings(tmp_path / "a")).check_data({"train": {"rows": 1, "sha256": "x"}})
    given = Namespace(output=tmp_path / "a")
    with pytest.raises(ValueError, match=r"holds a run of finetune\.sts\. Resume it with that program"):
        Run.resume("finetune.mrc", given)
    run = Run.resume("finetune.sts", given)
    run.check_data({"train": {"rows": 1, "sha256": "x"}})
    with pytest.raises(ValueError, match=r"The data are not those that the run in .*a began with\. Restore them, or"):
        run.check_data({"train": {"rows": 1, "sha256": "y"}})
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(
        ValueError, match=r"began in 1 processes, and in 2 would go on with other random numbers\. Start 1"
    ):
        Run.resume("finetune.sts", given)
    run = Run.begin("finetune.sts", settings(tmp_path / "b"))
    assert run.how_to_resume().startswith("Go on with: torchrun --nproc-per-node 2 -m finetune.sts --output")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume"], "--resume needs --output, the folder of the run"),
        (["--resume", "--output", "nothing"], "nothing holds nothing to resume: no run was begun there. Leave out"),
        (["--resume", "--output", "finished"], "finished holds nothing to resume: its run is finished. Leave out"),
        (["--resume", "--output", "mrc"], "mrc holds a run of finetune.mrc. Resume it with that program"),
        (
            ["--resume", "--output", "begun", "--batch-size", "9"],
            "--batch-size is 9, but the run to resume began with 8. Leave --batch-size out, or start anew without",
        ),
        (["--resume", "--output", "begun", "--train", "x"], "--train is ['x'], but the run to resume began with"),
        (["--resume", "--output", "begun"], "The data are not those that the run in begun began with. Restore them"),
        (["--output", "begun"], "begun holds an interrupted run. Go on with it (--resume), give another --output"),
        (["--output", "foreign", "--overwrite"], "foreign holds something that is no training run"),
        (["--output", "pairs.tsv"], "pairs.tsv"),
        (["--train", "nowhere.tsv"], "There is no file or folder nowhere.tsv. By name there is klue"),
        (["--epochs", "-1"], "argument --epochs: invalid number above 0 value: '-1'"),
        (["--validation-share", "1"], "argument --validation-share: invalid share between 0 and 1 value: '1'"),
        (["--los", "cosine"], "unrecognized arguments: --los cosine"),
    ],
)
def test_what_cannot_be_run_is_said(
    options: list[str],
    message: str,
    tiny_static: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pairs.tsv").write_text("sentence1\tsentence2\tscore\n" + "국회는\t국회\t3\n" * 20)
    Path("foreign").mkdir()
    Path("foreign/thesis.txt").write_text("")
    finish(Run.begin("finetune.sts", settings(Path("finished"))))
    Run.begin("finetune.mrc", settings(Path("mrc")))
    data = {"model": str(tiny_static), "train": ["pairs.tsv"], "batch_size": 8, "validation": None, "device": "cpu"}
    Run.begin("finetune.sts", settings(Path("begun"), **data)).check_data({"train": 1})
    before = files(tmp_path)
    usual = [] if "--resume" in options else ["--model", str(tiny_static), "--train", "pairs.tsv"]
    with pytest.raises(SystemExit) as stopped:
        sts.main([*usual, *options])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert files(tmp_path) == before
    assert not Path("models").exists()


def test_each_recipe_fills_in_its_own_settings_and_an_option_goes_before_it(tiny_static: Path, tmp_path: Path) -> None:
    def settings_of(*options: str) -> Namespace:
        parser = mrc._parser()
        run = common.open_run(
            mrc.PROGRAM, parser, [*options, "--output", str(tmp_path / "a"), "--overwrite"], mrc.RECIPES, mrc.DEFAULTS
        )
        return run.settings

    assert settings_of().model == "klue/roberta-base"
    static = settings_of("--model", str(tiny_static))
    assert (static.recipe, static.batch_size) == ("default", mrc.RECIPES["static"]["batch_size"])
    tutorial = settings_of("--model", str(tiny_static), "--recipe", "tutorial", "--epochs", "2")
    assert (tutorial.recipe, tutorial.batch_size, tutorial.epochs, tutorial.scale) == ("tutorial", 16, 2, 20)


@pytest.mark.parametrize("program", ["finetune.sts", "finetune.mrc"])
def test_help_shows_what_each_recipe_sets(program: str) -> None:
    shown = subprocess.run([sys.executable, "-m", program, "--help"], capture_output=True, text=True, check=True)
    assert shown.stderr == ""
    table = [line.split() for line in shown.stdout.splitlines()]
    assert ["setting", "tutorial", "transformer", "static"] in table
    assert any(line[0:3:2] == ["--model", "klue/roberta-base"] for line in table)
    assert any(line[:2] == ["--eval-steps", "1000"] for line in table)
    assert f"python -m {program} --recipe tutorial" in shown.stdout
    assert "--seed 42" in shown.stdout


# Uploading


class Hub:
    """What the programs use of huggingface_hub.HfApi."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.error: Exception | None = None

    def create_repo(self, repo: str, **options: Any) -> str:
        self.calls.append(("create_repo", {"repo": repo, **options}))
        if self.error is not None:
            raise self.error
        return f"https://huggingface.co/{repo}"

    def upload_folder(self, **options: Any) -> None:
        self.calls.append(("upload_folder", options))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: hub)
    return hub


def prepared(tmp_path: Path, **given: Any) -> Run:
    run = Run.begin("finetune.sts", settings(tmp_path / "a", **given))
    prepare(run)
    return run


def test_a_finished_model_is_uploaded_without_checkpoints(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub.utils._paths import filter_repo_objects

    folder = tmp_path / "a"
    finish(Run.begin("finetune.sts", settings(folder)), "worse", subfolder="rejected")
    run = prepared(tmp_path, push_to_hub="me/it", private=True, keep_checkpoints=True)
    (run.checkpoints / "checkpoint-1").mkdir()
    (run.checkpoints / "checkpoint-1" / "state").write_text("")
    publish(run)
    (_, created), (_, uploaded) = hub.calls
    assert created == {"repo": "me/it", "private": True, "exist_ok": True}
    assert (uploaded["repo_id"], uploaded["folder_path"]) == ("me/it", folder)
    assert {"checkpoints/checkpoint-1/state", "rejected/run.json", "run.json"} <= set(files(folder))
    sent = filter_repo_objects(files(folder), ignore_patterns=uploaded["ignore_patterns"])
    assert list(sent) == FINISHED
    shown = capsys.readouterr().out
    assert "Uploaded to https://huggingface.co/me/it" in shown
    assert "2 pairs      Spearman  0.250   0.500  0.356 to 0.891" in shown


def test_nothing_is_uploaded_unasked_or_rejected(hub: Hub, tmp_path: Path) -> None:
    publish(prepared(tmp_path / "one"))
    publish(prepared(tmp_path / "two", push_to_hub="me/it"), subfolder="rejected")
    assert hub.calls == []


@pytest.mark.parametrize("kind", ["offline", "refused"])
def test_a_failed_upload_leaves_the_model_and_says_how_to_upload_it(kind: str, hub: Hub, tmp_path: Path) -> None:
    kinds = {"offline": network_errors()[-1], "refused": OSError}
    hub.error = kinds[kind]("no entry")
    with pytest.raises(SystemExit) as stopped:
        publish(prepared(tmp_path, push_to_hub="me/it"))
    message = str(stopped.value)
    folder = tmp_path / "a"
    assert message.startswith(f"The model in {folder} is finished, but was not uploaded ({type(hub.error).__name__}: ")
    assert f"hf upload me/it {folder} . '--exclude=checkpoints/*' '--exclude=rejected/*'" in message
    assert "--private" not in message
    assert files(folder) == FINISHED
    with pytest.raises(SystemExit, match="--private"):
        push(folder, "me/it", private=True)


# The card


def test_the_card_has_valid_front_matter_and_the_table(tmp_path: Path) -> None:
    run = Run.begin("finetune.sts", settings(tmp_path / "a", learning_rate=2e-5))
    finish(run)
    card = ModelCard.load(tmp_path / "a" / "README.md")
    assert card.data.to_dict() == {
        "language": "ko",
        "library_name": "sentence-transformers",
        "tags": ["korean"],
        "base_model": "a/b",
    }
    assert "| 2 pairs | Spearman | 0.250 | 0.500 | 0.356 to 0.891 |" in card.text
    assert "`python -m finetune.sts`" in card.text
    assert '"learning_rate": 2e-05' in card.text
    assert "![Evaluations during training](curve.png)" in card.text


def test_a_folder_is_named_as_no_base_model_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    record = {**Run.begin("finetune.sts", settings(tmp_path / "a", model=str(tmp_path / "models"))).record}
    card = {"title": "t", "front": [], "summary": "", "data": [], "use": "", "notes": ["Of note."]}
    write_card(tmp_path / "README.md", {**record, "scores": [], "card": card})
    assert "base_model" not in ModelCard.load(tmp_path / "README.md").data.to_dict()
    assert "\nOf note.\n" in (tmp_path / "README.md").read_text("utf-8")


def test_the_table_has_a_column_for_published_figures_only_if_there_are_any() -> None:
    own = Score("2 pairs", "hit@1", None, 0.5)
    assert score_table([own]).splitlines() == [
        "measured on  metric  before  after",
        "2 pairs      hit@1           0.500",
    ]
    both = score_table([own, own._replace(published=(0.1, 0.9))], markdown=True).splitlines()
    assert both[0] == "| measured on | metric | before | after | published (another machine) |"
    assert both[1] == "| --- | --- | ---: | ---: | ---: |"
    assert both[2:] == ["| 2 pairs | hit@1 |  | 0.500 |  |", "| 2 pairs | hit@1 |  | 0.500 | 0.100 to 0.900 |"]


def test_numbers_are_parsed_at_the_border() -> None:
    parser = training_parser("finetune.sts", "", RECIPES, data="")
    for option, value in (("--push-to-hub", "a/b/c"), ("--push-to-hub", "이름/모델"), ("--eval-steps", "0")):
        with pytest.raises(SystemExit):
            parser.parse_args([option, value])
    given = parser.parse_args(["--push-to-hub", "me/my-model_1.0", "--eval-steps", "0.1", "--warmup-steps", "0"])
    assert (given.push_to_hub, given.eval_steps, given.warmup_steps) == ("me/my-model_1.0", 0.1, 0)
    assert isinstance(parser, argparse.ArgumentParser)
