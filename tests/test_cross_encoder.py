import json
import os
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

from finetune import cross_encoder
from finetune.common import INTERRUPTED
from finetune.cross_encoder import REJECTED_STATUS, main
from finetune.run import REJECTED
from finetune.training import Interruption
from rag_app.compressors import load_reranker
from rag_app.models import load_cross_encoder

LETTERS = "대한민국의수도는서울이고국민은한국어를씁니다회년예산안을결했기상청주말에온고보프로야구개막전잠실열렸"
RIGHT, WRONG = "비비비비 비비비비 비비비비", "내내내내 내내내내 내내내내"


def write_klue(path: Path, questions: int, seed: int, *, shared: int) -> Path:
    """Write a file as KLUE-MRC is published.

    Each question is two words of an article that answers it, and of another one that shares none, one or both of them.
    If both, no search can tell the two, but a reader can: the right one always says the same.
    """
    chance = random.Random(seed)

    def words(count: int) -> list[str]:
        return ["".join(chance.choices(LETTERS, k=4)) for _ in range(count)]

    articles = []
    for number in range(questions):
        topic = words(2)
        for said in (RIGHT, WRONG):
            answers = said == RIGHT
            context = " ".join([*(topic if answers else [*topic[:shared], *words(2 - shared)]), said, *words(2)])
            question = {
                "question": " ".join(topic) + "?",
                "answers": [{"text": said, "answer_start": context.index(said)}] if answers else [],
                "question_type": 1 if answers else 3,
                "is_impossible": not answers,
                "guid": f"klue-mrc-v1_{seed}_{number}_{answers}",
            }
            paragraph = {"context": context, "qas": [question]}
            articles.append({"title": " ".join(words(2)), "paragraphs": [paragraph], "source": "hankyung"})
    path.write_text(json.dumps({"version": "klue-mrc-v1.1", "data": articles}, ensure_ascii=False), "utf-8")
    return path


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_klue(tmp_path_factory.mktemp("data") / "klue-mrc-v1.1_train.json", 90, seed=1, shared=1)


@pytest.fixture(scope="module")
def validation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_klue(tmp_path_factory.mktemp("data") / "klue-mrc-v1.1_dev.json", 40, seed=2, shared=2)


@pytest.fixture(scope="module")
def arguments(train: Path, tiny_transformer: Path, tiny_static: Path) -> list[str]:
    """What all runs are given: of two candidates the second is the negative."""
    return [
        *(f"--model={tiny_transformer}", f"--retriever={tiny_static}", f"--train={train}", "--device=cpu"),
        *("--candidates=2", "--negatives=1", "--margin=0", "--validation-share=0.2"),
        *("--learning-rate=5e-3", "--batch-size=16", "--epochs=10"),
    ]


@pytest.fixture(scope="module")
def accepted(arguments: list[str], validation: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that passed the gate."""
    output = tmp_path_factory.mktemp("accepted") / "reranker"
    assert main([*arguments, f"--validation={validation}", f"--output={output}", "--keep-checkpoints"]) == 0
    return output


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {"checkpoints", REJECTED} & set(path.relative_to(folder).parts)
    }


def record_of(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "run.json").read_text("utf-8"))
    return record


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_a_reranker_that_helps_passes_the_gate(accepted: Path) -> None:
    record = record_of(accepted)
    gate = record["gate"]
    assert gate["accepted"]
    assert gate["MRR@10"]["after"] > gate["MRR@10"]["before"]
    assert gate["MRR@10"]["wins"] + gate["MRR@10"]["losses"] + gate["MRR@10"]["ties"] == 40
    assert [(score["before"], score["after"]) for score in record["scores"]] == [
        (gate[name]["before"], gate[name]["after"]) for name in ("hit@1", "MRR@10")
    ]
    assert record["pairs"] >= record["negatives"] > 60
    assert (record["truncated"], record["mined"]["lost"]) == (0, 0)
    card = (accepted / "README.md").read_text("utf-8")
    assert f"{gate['MRR@10']['wins']} questions better" in card
    assert "Passed the gate." in card
    assert (accepted / "curve.png").stat().st_size > 1000


def test_what_was_published_reranks(accepted: Path) -> None:
    passages = [Document(page_content=f"국회 {said} 서울") for said in (WRONG, RIGHT)]
    first, second = load_reranker(accepted, device="cpu").compress_documents(passages, "국회?")
    assert RIGHT in first.page_content
    assert first.metadata["score"] > second.metadata["score"]


def test_the_checkpoint_that_ranked_best_is_kept(accepted: Path) -> None:
    points = [tuple(point) for point in record_of(accepted)["curve"]["points"]]
    best = max(points, key=lambda point: point[1])[0]
    assert best < points[-1][0]  # else the last weights would pass for the best
    assert weights(accepted) == weights(accepted / "checkpoints" / f"checkpoint-{best}")


def test_a_reranker_that_cannot_help_is_rejected_and_the_old_one_stays(
    accepted: Path, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, clear = tmp_path / "reranker", write_klue(tmp_path / "clear.json", 40, seed=3, shared=0)
    shutil.copytree(accepted, output, ignore=shutil.ignore_patterns("checkpoints"))
    before = files(output)
    options = [*arguments, f"--validation={clear}", f"--output={output}", "--max-steps=2", "--overwrite"]
    assert main(options) == REJECTED_STATUS == 3
    assert files(output) == before
    assert not record_of(output / REJECTED)["gate"]["accepted"]
    assert load_reranker(output / REJECTED, device="cpu").score_pairs([("국회?", "국회")]).shape == (1,)
    said = capsys.readouterr().out
    assert "hit@1 of the search, not reranked and reranked: 1.000 to" in said
    assert "Rejected by the gate: the search alone ranks better." in said
    assert f"{output} keeps what it held before; the rejected reranker is in {output / REJECTED}" in said
    assert not (output / "checkpoints").exists()

    assert main([*options, "--no-gate"]) == 0
    assert files(output) != before
    assert record_of(output)["gate"]["accepted"] is False


def test_a_folder_that_holds_only_a_rejected_reranker_takes_another_run(arguments: list[str], tmp_path: Path) -> None:
    output, clear = tmp_path / "reranker", write_klue(tmp_path / "clear.json", 10, seed=3, shared=0)
    options = [*arguments, f"--validation={clear}", f"--output={output}", "--max-steps=1"]
    assert main(options) == REJECTED_STATUS
    assert [path.name for path in output.iterdir()] == [REJECTED]
    assert main(options) == REJECTED_STATUS


def test_lists_of_passages_can_be_learned_too(arguments: list[str], validation: Path, tmp_path: Path) -> None:
    options = [*arguments, f"--validation={validation}", f"--output={tmp_path / 'reranker'}", "--loss=lambda"]
    assert main(options) == 0
    assert record_of(tmp_path / "reranker")["gate"]["accepted"]


def test_without_validation_data_nothing_chooses_the_checkpoint_and_the_gate_asks_what_was_held_out(
    arguments: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "reranker"
    assert main([*arguments, f"--output={output}", "--no-gate", "--keep-checkpoints"]) == 0
    record = record_of(output)
    last = record["curve"]["points"][-1][0]
    checkpoint = output / "checkpoints" / f"checkpoint-{last}"
    assert weights(output) == weights(checkpoint)
    assert json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))["best_model_checkpoint"] is None
    held_out = json.loads((output / "checkpoints" / "candidates.json").read_text("utf-8"))
    comparison = record["gate"]["MRR@10"]
    assert comparison["wins"] + comparison["losses"] + comparison["ties"] == len(held_out) > 10


def test_the_tutorial_s_recipe_separates_contexts_from_random_ones(
    train: Path, validation: Path, tiny_transformer: Path, tmp_path: Path
) -> None:
    output = tmp_path / "reranker"
    options = [f"--model={tiny_transformer}", f"--train={train}", f"--validation={validation}", "--device=cpu"]
    assert main(["--recipe=tutorial", *options, f"--output={output}"]) == 0
    record = record_of(output)
    assert {name: record["arguments"][name] for name in ("batch_size", "epochs", "warmup_steps", "learning_rate")} == {
        "batch_size": 16, "epochs": 1, "warmup_steps": 100, "learning_rate": 2e-5
    }  # fmt: skip
    assert (record["pairs"], record["negatives"]) == (180, 180)  # unanswerable questions are trained on as well
    pearson, spearman = record["scores"]
    assert pearson["data"] == "160 pairs, half of them random"
    assert (pearson["metric"], pearson["published"], spearman["published"]) == ("Pearson", [-0.012, 0.983], None)
    assert pearson["before"] != pearson["after"]
    assert "gate" not in record
    assert "-0.012 to 0.983" in (output / "README.md").read_text("utf-8")
    # A pair as klue's tokenizer makes it, with token type 1, which the saved model must not see.
    load_reranker(output, device="cpu").score_pairs([("국회?", "서울")])


@pytest.mark.parametrize("recipe", ["default", "tutorial"])
def test_an_interrupted_run_ends_with_the_weights_of_an_unbroken_one(
    recipe: str,
    arguments: list[str],
    validation: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    options = [
        *arguments,
        f"--recipe={recipe}",
        f"--validation={validation}",
        "--epochs=2",
        "--eval-steps=4",
        "--no-gate",
    ]
    if recipe == "tutorial":  # it searches nothing and has no gate
        refused = ("--retriever", "--candidates", "--margin", "--gate-questions", "--no-gate")
        options = [option for option in options if not option.startswith(refused)]
    status = main([*options, f"--output={whole}"])
    assert status == 0

    finish_step = Interruption.on_step_end

    def interrupt(self: Interruption, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        if state.global_step == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return finish_step(self, args, state, control, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Interruption, "on_step_end", interrupt)
        assert main([*options, f"--output={broken}"]) == INTERRUPTED
    assert f"python -m finetune.cross_encoder --output {broken} --resume" in capsys.readouterr().err
    assert [path.name for path in broken.iterdir()] == ["checkpoints"]
    assert (broken / "checkpoints" / "checkpoint-7").exists()
    assert main([f"--output={broken}", "--resume"]) == 0
    assert weights(broken) == weights(whole)
    assert record_of(broken)["scores"] == record_of(whole)["scores"]
    assert record_of(broken)["curve"] == record_of(whole)["curve"]


def test_a_run_interrupted_at_the_gate_goes_on_there(
    accepted: Path, arguments: list[str], validation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "reranker"

    def interrupt(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cross_encoder, "judge_reranker", interrupt)
        with pytest.raises(SystemExit, match="130"):
            main([*arguments, f"--validation={validation}", f"--output={output}"])
    assert main([f"--output={output}", "--resume"]) == 0
    assert weights(output) == weights(accepted)
    assert record_of(output)["gate"] == record_of(accepted)["gate"]


def test_the_tutorial_s_recipe_refuses_a_static_model_with_the_reason(
    tiny_static: Path, train: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--recipe=tutorial", f"--model={tiny_static}", f"--train={train}", f"--output={tmp_path / 'reranker'}"])
    assert stop.value.code == 2
    assert "is a static model, which the tutorial's recipe cannot train" in capsys.readouterr().err
    assert not (tmp_path / "reranker").exists()


def test_help_tells_the_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert "Exit status: 0 when the reranker was published, 3 when it was rejected, 130" in said
    assert "--candidates 30" in said


def test_a_window_that_cuts_everything_is_reported_and_kept(
    arguments: list[str], validation: Path, tmp_path: Path
) -> None:
    output = tmp_path / "reranker"
    options = [*arguments, f"--validation={validation}", f"--output={output}", "--max-steps=1", "--max-length=16"]
    main([*options, "--no-gate"])
    assert record_of(output)["truncated"] == 1
    assert "100.0% of the questions and their passages were cut" in (output / "README.md").read_text("utf-8")
    assert load_cross_encoder(output, device="cpu").max_seq_length == 16
