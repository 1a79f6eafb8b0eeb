import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document

from finetune import linear_reranking, processes
from finetune.cross_encoder import REJECTED_STATUS, main
from finetune.linear_reranking import rank_candidates
from finetune.run import REJECTED
from rag_app.compressors import LinearCompressor, load_reranker
from rag_app.reranking.matching import FEATURES

LETTERS = "대한민국의수도는서울이고국민은한국어를씁니다회년예산안을결했기상청주말에온고보프로야구개막전잠실열렸"


def write_questions(path: Path, count: int, *, seed: int, told: bool = True, column: str = "") -> str:
    """Write questions of two words, each with a passage that has both in one sentence and another that has them apart.

    The search counts words and cannot tell the two passages; where the words stand can.

    Args:
        path: A jsonl file.
        count: How many questions.
        seed: Of their words.
        told: If not, either passage is the right one by chance.
        column: Ask the same with the words turned round.
    """
    chance = random.Random(seed)

    def word() -> str:
        return "".join(chance.choices(LETTERS, k=4))

    rows = []
    for _ in range(count):
        one, two = word(), word()
        together = f"{word()} {word()}. {one} {two}. {word()} {word()}."
        apart = f"{word()} {word()}. {one} {word()}. {word()} {two}."
        right, wrong = (together, apart) if told or chance.random() < 0.5 else (apart, together)
        rows.append({"question": f"{one} {two}?", "context": right, **({column: f"{two} {one}?"} if column else {})})
        rows.append({"question": "", "context": wrong})
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


@pytest.fixture(scope="module")
def arguments(tiny_static: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What all runs are given but data to judge by."""
    folder = tmp_path_factory.mktemp("data")
    train = write_questions(folder / "train.jsonl", 60, seed=1, column="turned")
    articles = write_questions(folder / "articles.jsonl", 0, seed=5)
    Path(articles).write_text('{"text": "잠실에서 프로야구 개막전이 열렸다."}\n', "utf-8")
    return [
        *(f"--model={tiny_static}", f"--retriever={tiny_static}", f"--train={train}", f"--train={articles}"),
        *("--candidates=5", "--also-ask=turned"),
    ]


@pytest.fixture(scope="module")
def validation(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_questions(tmp_path_factory.mktemp("data") / "validation.jsonl", 40, seed=2, column="turned")


@pytest.fixture(scope="module")
def unclear(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Questions whose right passage nobody can tell."""
    return write_questions(tmp_path_factory.mktemp("data") / "unclear.jsonl", 40, seed=3, told=False)


@pytest.fixture(scope="module")
def accepted(arguments: list[str], validation: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that passed the gate."""
    output = tmp_path_factory.mktemp("accepted") / "reranker"
    assert main([*arguments, f"--validation={validation}", f"--output={output}"]) == 0
    return output


def record_of(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "run.json").read_text("utf-8"))
    return record


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def test_a_static_model_gives_a_linear_reranker_that_passes_the_gate_in_every_wording(accepted: Path) -> None:
    assert files(accepted).keys() == {"config.json", "counts.safetensors", "run.json", "README.md", "early_stop.json"}
    record = record_of(accepted)
    gate = record["gate"]
    assert gate.keys() == {"accepted", "questions", "turned"}
    assert (gate["accepted"], gate["questions"]["accepted"], gate["turned"]["accepted"]) == (True, True, True)
    assert gate["questions"]["hit@1"]["before"] < 0.8
    assert gate["questions"]["hit@1"]["after"] > 0.95
    assert record["weights"].keys() == {*FEATURES, "first_stage"}
    assert record["weights"]["bigrams_sentence"] > 1
    assert record["questions"] == 120


def test_what_was_published_reranks_without_being_told_what_the_search_thought(accepted: Path) -> None:
    reranker = load_reranker(accepted)
    assert isinstance(reranker, LinearCompressor)
    together = Document(page_content="예산안을 보고. 서울 국민. 잠실 국회.")
    apart = Document(page_content="예산안을 보고. 서울 국회. 잠실 국민.")
    first, second = reranker.compress_documents([apart, together], "서울 국민?")
    assert (first.page_content, second.page_content) == (together.page_content, apart.page_content)
    assert 1 > first.metadata["score"] > second.metadata["score"] > 0


def test_cross_validation_is_reported_by_source_and_wording(accepted: Path) -> None:
    record = record_of(accepted)
    folds = record["cross_validated"]
    assert folds.keys() == {"questions of train.jsonl", "turned of train.jsonl"}
    hits = folds["questions of train.jsonl"]["hit@1"]
    assert hits["wins"] + hits["losses"] + hits["ties"] == 60
    assert hits["before"] < 0.8
    assert hits["after"] > 0.95
    rows = [(score["data"], score["metric"], score["after"]) for score in record["scores"]]
    assert ("cross-validation: 60 questions of train.jsonl", "hit@1 (before: not reranked)", hits["after"]) in rows
    assert len(rows) == 8  # two wordings, two metrics, at the gate and in cross-validation


def test_right_passages_get_a_high_score_and_wrong_ones_a_low_one(accepted: Path, arguments: list[str]) -> None:
    train = next(argument for argument in arguments if argument.startswith("--train")).removeprefix("--train=")
    rows = [json.loads(line) for line in Path(train).read_text("utf-8").splitlines()]
    pairs = [(right["question"], row["context"]) for right, row in zip(rows[::2], rows[1::2], strict=True)]
    pairs += [(right["question"], right["context"]) for right in rows[::2]]
    wrong, right = load_reranker(accepted).score_pairs(pairs).reshape(2, -1)
    assert right.mean() > wrong.mean() + 0.3


def test_the_card_tells_what_was_fitted_on_what(accepted: Path) -> None:
    card = (accepted / "README.md").read_text("utf-8")
    gate = record_of(accepted)["gate"]["turned"]["MRR@10"]
    assert f"{gate['wins']} questions better" in card
    assert "Passed the gate." in card
    assert "| `bigrams_sentence` |" in card
    assert "articles.jsonl has no questions: its words were counted" in card
    assert "curve.png" not in card


def test_the_same_command_gives_the_same_bytes(
    accepted: Path, arguments: list[str], validation: str, tmp_path: Path
) -> None:
    assert main([*arguments, f"--validation={validation}", f"--output={tmp_path / 'again'}"]) == 0
    again = files(tmp_path / "again")
    assert {name: files(accepted)[name] for name in ("config.json", "counts.safetensors")} == {
        name: again[name] for name in ("config.json", "counts.safetensors")
    }


def test_one_that_does_not_help_is_rejected_and_the_old_one_stays(
    accepted: Path, arguments: list[str], unclear: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "reranker"
    shutil.copytree(accepted, output)
    options = [*arguments, f"--validation={unclear}", f"--output={output}", "--overwrite"]
    assert main(options) == REJECTED_STATUS == 3
    assert files(output) == files(accepted)
    assert record_of(output / REJECTED)["gate"]["accepted"] is False
    said = capsys.readouterr().out
    assert "Rejected by the gate. questions: the" in said
    assert f"{output} keeps what it held before; the rejected reranker is in {output / REJECTED}" in said

    assert main([*options, "--no-gate"]) == 0
    assert files(output) != files(accepted)


def test_a_wording_that_is_not_helped_is_enough_to_be_rejected(
    arguments: list[str], validation: str, unclear: str, tmp_path: Path
) -> None:
    rows = Path(validation).read_text("utf-8").splitlines()
    others = [json.loads(line)["question"] for line in Path(unclear).read_text("utf-8").splitlines()]
    path = tmp_path / "validation.jsonl"
    mixed = [{**json.loads(row), "turned": other} for row, other in zip(rows, others, strict=True)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in mixed), "utf-8")
    assert main([*arguments, f"--validation={path}", f"--output={tmp_path / 'reranker'}"]) == REJECTED_STATUS
    gate = record_of(tmp_path / "reranker" / REJECTED)["gate"]
    assert (gate["questions"]["accepted"], gate["turned"]["accepted"]) == (True, False)


def test_without_validation_data_the_gate_asks_what_was_held_out(arguments: list[str], tmp_path: Path) -> None:
    output = tmp_path / "reranker"
    main([*arguments, "--validation-share=0.3", f"--output={output}", "--no-gate"])
    record = record_of(output)
    hits = record["gate"]["turned"]["hit@1"]
    asked = hits["wins"] + hits["losses"] + hits["ties"]
    assert 10 < asked <= 18
    assert record["questions"] == 2 * (60 - asked)


@pytest.mark.parametrize("step", ["find_candidates", "fit", "judge_sets"])
def test_an_interruption_leaves_nothing_behind(
    step: str, arguments: list[str], validation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(linear_reranking, step, interrupt)
    with pytest.raises(SystemExit) as stop:
        main([*arguments, f"--validation={validation}", f"--output={tmp_path / 'new' / 'reranker'}"])
    assert stop.value.code == 130
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs=2"], "--epochs is for rerankers that are trained, and --model is"),
        (["--max-steps=2"], "--max-steps is for rerankers that are trained"),
        (["--negatives=2"], "--negatives is for rerankers that are trained"),
        (["--precision=bf16"], "--precision is for rerankers that are trained"),
        (["--margin=0.1"], "--margin is for rerankers that are trained"),
        (["--folds=1"], "Want at least 2 --folds"),
        (["--balance=1.5"], "Want at least 2 --folds and 0 to 1 as --balance, got 5, 1.5"),
        (["--folds=100"], "too few for 100 folds"),
    ],
)
def test_options_without_sense_are_refused(
    options: list[str],
    message: str,
    arguments: list[str],
    validation: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*arguments, *options, f"--validation={validation}", f"--output={tmp_path / 'reranker'}"])
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "reranker").exists()


def test_several_processes_are_refused(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(processes, "_join", lambda settings: None)
    monkeypatch.setattr("finetune.common.alike", lambda settings, value: True)
    with pytest.raises(SystemExit) as stop:
        main([*arguments, f"--output={tmp_path / 'reranker'}"])
    assert stop.value.code == 2
    assert "fitted in one process. Start it without torchrun" in capsys.readouterr().err
    assert not (tmp_path / "reranker").exists()


def test_what_only_a_linear_reranker_has_is_refused_for_a_transformer(
    tiny_transformer: Path, validation: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([f"--model={tiny_transformer}", f"--train={validation}", "--ridge=2", f"--output={tmp_path / 'reranker'}"])
    assert stop.value.code == 2
    assert "--ridge is for a static --model" in capsys.readouterr().err


def test_validation_data_without_an_answer_are_refused(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "impossible.jsonl"
    path.write_text(json.dumps({"question": "?", "context": "국회", "is_impossible": True}) + "\n", "utf-8")
    with pytest.raises(SystemExit):
        main([*arguments, f"--validation={path}", f"--output={tmp_path / 'reranker'}"])
    assert "No question that is measured has an answer" in capsys.readouterr().err


def test_documents_rank_by_their_best_passage_and_ties_as_they_came() -> None:
    assert rank_candidates(["a", "b", "a", "c"], np.array([0.1, 0.5, 0.9, 0.5, 7.0])) == ["a", "b", "c"]
