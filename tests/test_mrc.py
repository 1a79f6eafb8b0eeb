"""finetune.mrc from end to end, on miniature models and files in the formats of the real ones."""

import json
import re
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune import mrc
from finetune.common import open_run
from finetune.embedding import embeddings_in_training, load_trainable
from finetune.pairs import read_pairs
from finetune.rounds import mine_round, round_data, round_trainer
from finetune.search_data import load_search_data
from rag_app.embeddings import StaticEmbeddings, load_embeddings
from rag_app.models import load_static_model

CPU = ["--device", "cpu"]


def settings_of(output: Path, *options: str) -> Namespace:
    return open_run(mrc.PROGRAM, mrc._parser(), ["--output", str(output), *options], mrc.RECIPES, mrc.DEFAULTS).settings


def train(output: Path, model: Path, *options: str) -> dict[str, Any]:
    """Run the program and return its record."""
    assert mrc.main(["--model", str(model), "--output", str(output), *CPU, *options]) == 0
    assert not (output / "checkpoints" / "run.json").exists()
    record: dict[str, Any] = json.loads((output / "run.json").read_text("utf-8"))
    return record


def write_articles(folder: Path, sentences: tuple[str, ...], count: int = 12) -> Path:
    folder.mkdir()
    for number in range(count):
        words = np.random.default_rng(100 + number).permutation(" ".join(sentences).replace(".", "").split())
        text = ". ".join(" ".join(words[start : start + 5]) for start in (0, 5, 10))
        (folder / f"{number}.md").write_text(f"# {words[0]} {number}\n\n{text}.\n", "utf-8")
    return folder


def scores_by_name(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {score["metric"]: score for score in record["scores"]}


def test_the_tutorials_program_runs_on_a_klue_like_model(
    tiny_transformer: Path, klue_mrc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "mrc"
    data = ["--recipe", "tutorial", "--train", str(klue_mrc), "--validation", str(klue_mrc)]
    record = train(output, tiny_transformer, *data, "--max-steps", "2", "--eval-steps", "1")
    assert record["pairs"] == 48, "unanswerable questions are pairs of the tutorial's"
    arguments = record["arguments"]
    assert [arguments[name] for name in ("loss", "batch_size", "epochs", "warmup_steps", "learning_rate", "seed")] == (
        ["mnrl", 16, 1, 100, 2e-5, 42]
    )
    assert [arguments[name] for name in ("rounds", "negatives", "validation_share", "eval_steps")] == [1, 0, 0.0, 1.0]
    assert [(score["metric"], score["data"], score["published"]) for score in record["scores"]] == [
        ("Spearman", "96 pairs, half of them random", [0.816, 0.86]),
        ("Pearson", "96 pairs, half of them random", [0.806, 0.912]),
    ]
    assert [step for step, _ in record["curve"]["points"]] == [0, 1, 2]
    assert load_embeddings(output).dimension == 32
    assert "published (another machine)" in (output / "README.md").read_text("utf-8")
    assert "answer 100.0% of the test questions is trained on" in capsys.readouterr().out


def test_the_tutorials_arguments_are_those_published(tiny_transformer: Path, klue_mrc: Path, tmp_path: Path) -> None:
    from sentence_transformers.base.sampler import NoDuplicatesBatchSampler
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    settings = settings_of(
        tmp_path, "--recipe", "tutorial", "--model", str(tiny_transformer), "--train", str(klue_mrc), *CPU
    )
    model = load_trainable(settings.model, settings)
    data = load_search_data(settings)
    pairs = mrc.training_pairs(settings, data, embeddings_in_training(model))
    assert [pair.passage for pair in pairs] == [
        data.train.passages[question.context_id].page_content for question in data.train.questions
    ]
    (measure,) = mrc._measures(settings, data, embeddings_in_training(model))
    rows = round_data(settings, data, pairs, embeddings_in_training(model), tmp_path)
    trainer = round_trainer(settings, model, rows, tmp_path, measure, choose=False)
    arguments = trainer.args
    assert (arguments.per_device_train_batch_size, arguments.num_train_epochs, arguments.max_steps) == (16, 1, -1)
    assert (arguments.learning_rate, arguments.warmup_steps, arguments.lr_scheduler_type) == (2e-5, 100, "linear")
    assert (arguments.eval_steps, arguments.seed, arguments.load_best_model_at_end) == (1000, 42, False)
    assert arguments.batch_sampler is NoDuplicatesBatchSampler
    loss: Any = trainer.loss
    assert isinstance(loss, MultipleNegativesRankingLoss)
    assert (loss.scale, loss.gather_across_devices) == (20.0, False)


def test_the_default_recipe_mines_hard_negatives_in_each_round(
    tiny_transformer: Path, klue_mrc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "mrc"
    record = train(output, tiny_transformer, "--train", str(klue_mrc), "--batch-size", "8", "--keep-checkpoints")
    arguments = record["arguments"]
    assert [arguments[name] for name in ("recipe", "loss", "rounds", "negatives")] == ["default", "cached-mnrl", 2, 2]
    assert record["pairs"] < 44, "unanswerable questions make no pair, and some questions are held out"
    shown = capsys.readouterr().out
    assert shown.count("Hard negatives: ") == 2
    assert "Round 1 of 2" in shown
    assert "Round 2 of 2" in shown
    mined = [read_pairs(output / "checkpoints" / f"round-{number}" / "pairs.jsonl") for number in (1, 2)]
    assert [len(pairs) for pairs in mined] == [record["pairs"]] * 2
    for pairs in mined:
        assert sum(len(pair.negatives) == 2 for pair in pairs) > len(pairs) / 2
        assert all(pair.passage not in pair.negatives for pair in pairs)
        assert all('"서울"' in pair.passage for pair in pairs), "the title goes with the text"
    steps = [step for step, _ in record["curve"]["points"]]
    assert steps == sorted(set(steps))
    assert steps[-1] == 2 * steps[len(steps) // 2 - 1], "the second round follows on the first"
    assert {score["published"] for score in record["scores"]} == {None}
    assert list(scores_by_name(record)) == ["hit@1", "hit@10", "MRR@10"]
    assert "held-out questions" in record["scores"][0]["data"]


def test_a_static_model_learns_and_is_saved_in_whole_numbers(tiny_static: Path, klue_mrc: Path, tmp_path: Path) -> None:
    output = tmp_path / "mrc"
    options = ["--epochs", "10", "--batch-size", "16", "--learning-rate", "0.02", "--widen", "0", "--crops", "0"]
    record = train(output, tiny_static, "--train", str(klue_mrc), "--validation", str(klue_mrc), *options)
    model = load_static_model(output)
    assert model.vectors.dtype == np.int8
    mrr = scores_by_name(record)["MRR@10"]
    assert mrr["data"] == "44 test questions, 24 passages"
    assert mrr["after"] > mrr["before"] + 0.1
    settings = Namespace(device="cpu", max_length=None)
    measured = mrc._measures(
        settings_of(tmp_path / "again", "--model", str(output), "--train", str(klue_mrc), *CPU),
        load_search_data(Namespace(train=[str(klue_mrc)], validation=[str(klue_mrc)], validation_share=0.0, seed=42)),
        load_embeddings(output),
    )[0].scores(load_trainable(output, settings))
    assert measured["mrr@10"] == mrr["after"], "what was measured is what was saved"
    assert isinstance(load_embeddings(output), StaticEmbeddings)


def test_what_is_measured_after_training_is_what_was_saved(
    tiny_static: Path, klue_mrc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_the_first_model(model: object, folder: Path) -> None:
        shutil.copytree(tiny_static, folder, dirs_exist_ok=True)

    monkeypatch.setattr(mrc, "save_embedding", save_the_first_model)
    options = ["--epochs", "10", "--batch-size", "16", "--learning-rate", "0.02", "--widen", "0", "--crops", "0"]
    data = ["--train", str(klue_mrc), "--validation", str(klue_mrc)]
    mrr = scores_by_name(train(tmp_path / "mrc", tiny_static, *data, *options))["MRR@10"]
    assert mrr["after"] == mrr["before"]


def test_a_static_model_is_widened_before_it_is_trained(tiny_static: Path, klue_mrc: Path, tmp_path: Path) -> None:
    options = ["--widen", "8", "--epochs", "1", "--batch-size", "16", "--crops", "1"]
    record = train(tmp_path / "mrc", tiny_static, "--train", str(klue_mrc), *options)
    assert load_embeddings(tmp_path / "mrc").dimension == 24
    assert record["widened"].keys() == {"hit_rate@1", "hit_rate@10", "mrr@10"}
    assert record["pairs"] > 44, "sentences of the passages are asked besides"


def test_matryoshka_dimensions_train(tiny_static: Path, klue_mrc: Path, tmp_path: Path) -> None:
    options = ["--matryoshka", "4", "8", "--negatives", "1"]
    common = ["--train", str(klue_mrc), "--batch-size", "8", "--max-steps", "3", "--widen", "0", "--crops", "0"]
    train(tmp_path / "mrc", tiny_static, *common, "--learning-rate", "0.02", *options)
    probe = ["국회는 예산안을"]
    assert not np.allclose(load_embeddings(tiny_static).encode(probe), load_embeddings(tmp_path / "mrc").encode(probe))


def test_a_reranker_is_distilled(
    tiny_static: Path, tiny_cross_encoder: Path, klue_mrc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--loss", "margin-mse", "--teacher", str(tiny_cross_encoder), "--negatives", "1", "--epochs", "2"]
    record = train(
        tmp_path / "mrc", tiny_static, "--train", str(klue_mrc), "--batch-size", "8", "--widen", "0", *options
    )
    assert record["arguments"]["teacher"] == str(tiny_cross_encoder)
    assert "Hard negatives: " in capsys.readouterr().out


def test_a_folder_of_articles_without_questions_is_enough(
    tiny_static: Path, sentences: tuple[str, ...], klue_mrc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    articles = write_articles(tmp_path / "articles", sentences)
    data = ["--train", str(articles), "--validation", str(klue_mrc)]
    record = train(tmp_path / "mrc", tiny_static, *data, "--batch-size", "8", "--epochs", "1", "--crops", "1")
    assert 12 < record["pairs"] <= 24, "a title and a sentence of each article"
    assert record["leaked"] == 0
    shown = capsys.readouterr().out
    assert f"{articles}: articles without questions, so their titles and sentences stand in for them" in shown
    assert "Warning" not in shown
    card = (tmp_path / "mrc" / "README.md").read_text("utf-8")
    assert f"- {articles} has no questions: titles and sentences stood in for them" in card


def test_articles_alone_are_measured_on_titles_held_out(
    tiny_static: Path, sentences: tuple[str, ...], tmp_path: Path
) -> None:
    articles = write_articles(tmp_path / "articles", sentences)
    record = train(tmp_path / "mrc", tiny_static, "--train", str(articles), "--batch-size", "8", "--epochs", "1")
    assert record["scores"][0]["data"] == "1 held-out questions, 12 passages"


def test_of_a_long_context_the_window_with_the_answer_is_trained(tiny_transformer: Path, tmp_path: Path) -> None:
    filler = "국회는 내년 예산안을 의결했다. " * 40
    rows = [
        {"question": f"{place}?", "context": f"{filler}{place} 비가 온다고 예보했다. {filler}", "answers": [place]}
        for place in ("서울이고", "잠실에서")
    ]
    path = tmp_path / "long.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    options = ["--model", str(tiny_transformer), "--train", str(path), "--max-length", "120", "--validation", str(path)]
    made = {}
    for recipe in ("default", "tutorial"):
        settings = settings_of(tmp_path / recipe, *options, "--recipe", recipe, *CPU)
        if recipe == "default":
            settings.validation_share = 0.0
        embeddings = embeddings_in_training(load_trainable(settings.model, settings))
        made[recipe] = mrc.training_pairs(settings, load_search_data(settings), embeddings)
        assert [embeddings.fits(pair.passage) for pair in made[recipe]] == [recipe == "default"] * 2
    assert all(pair.query[:-1] in pair.passage for pair in made["default"])
    assert [pair.passage.count("국회는") for pair in made["tutorial"]] == [80, 80]


def test_the_share_of_passages_that_are_cut_is_reported(
    tiny_transformer: Path, klue_mrc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--recipe", "tutorial", "--train", str(klue_mrc), "--validation", str(klue_mrc)]
    record = train(tmp_path / "mrc", tiny_transformer, *data, "--max-length", "20", "--max-steps", "1")
    assert record["truncated"] == 1
    assert "the model's window cuts 100.0% of the training passages" in capsys.readouterr().out
    assert "- 100.0% of the training passages were cut by" in (tmp_path / "mrc" / "README.md").read_text("utf-8")


def test_a_column_that_asks_otherwise_is_trained_and_measured(tiny_static: Path, tmp_path: Path) -> None:
    words = ["대한민국의", "국회는", "기상청은", "프로야구", "내년", "주말에", "잠실에서", "서울이고"]
    rows = [{"question": f"{word}?", "colloquial": f"{word} 응?", "context": f"{word} 비가 {word}"} for word in words]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    data = ["--train", str(path), "--validation", str(path), "--also-ask", "colloquial"]
    options = ["--batch-size", "4", "--epochs", "1", "--crops", "0", "--widen", "0"]
    record = train(tmp_path / "mrc", tiny_static, *data, *options)
    assert record["pairs"] == 16
    assert {score["data"] for score in record["scores"]} == {
        "8 test questions, 8 passages",
        "8 test (colloquial) questions, 8 passages",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--loss", "margin-mse"],
            r"give it --teacher NAME and --negatives above 0 \(--loss margin-mse, --teacher None",
        ),
        (["--loss", "margin-mse", "--teacher", "nowhere/at/all"], r"give it --teacher NAME and --negatives above 0"),
        (["--loss", "margin-mse", "--negatives", "1", "--teacher", "./nowhere"], r"no model folder './nowhere'"),
        (["--teacher", "x/y", "--negatives", "1"], r"and no other loss does"),
        (["--loss", "cached-mnrl"], r"static model is small enough for --loss mnrl"),
        (["--matryoshka", "8", "4000"], r"--matryoshka 4000 is more than the \d+ dimensions of"),
        (["--negatives", "-1"], r"invalid number of at least 0 value: '-1'"),
        (["--margin", "1"], r"invalid share of at least 0 and below 1 value: '1'"),
        (["--batch-size", "0"], r"invalid positive number value: '0'"),
        (["--scheduler", "straight"], r"invalid choice: 'straight'"),
        (["--train", "nowhere.jsonl"], r"nowhere\.jsonl"),
        (["--model", "./nowhere"], r"There is no model folder './nowhere'"),
        (["--push-to-hub", "name"], r"invalid OWNER/NAME value: 'name'"),
        (["--recipe", "tutorial", "--crops", "2"], r"--crops does nothing with --recipe tutorial. Leave it out"),
        (["--limit", "1"], r"There is too little to train on: 1 of two pairs at least. Give more data"),
    ],
)
def test_what_cannot_work_is_said_at_once_and_leaves_no_folder(
    options: list[str],
    message: str,
    tiny_static: Path,
    klue_mrc: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    usual = ["--model", str(tiny_static), "--train", str(klue_mrc), *CPU]
    with pytest.raises(SystemExit) as stopped:
        mrc.main([*usual, *options])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert list(tmp_path.iterdir()) == []


def test_negatives_that_rows_bring_are_trained_unless_none_are_wanted(tiny_static: Path, tmp_path: Path) -> None:
    rows = [
        {
            "question": f"{place}?",
            "context": f"{place} 비가 온다고 예보했다.",
            "negatives": [f"국회는 {place} 의결했다."],
        }
        for place in ("서울이고", "잠실에서", "수도는", "국민은")
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    given: dict[int, list[tuple[str, ...]]] = {}
    for count in (0, 1):
        options = ["--model", str(tiny_static), "--train", str(path), "--validation", str(path), "--crops", "0"]
        settings = settings_of(tmp_path / str(count), *options, "--negatives", str(count), *CPU)
        data = load_search_data(settings)
        embeddings = embeddings_in_training(load_trainable(settings.model, settings))
        pairs = mrc.training_pairs(settings, data, embeddings)
        mined = mine_round(settings, data, pairs, embeddings, tmp_path / f"round-{count}")
        given[count] = [pair.negatives for pair in mined]
    assert given == {0: [()] * 4, 1: [(str(row["negatives"][0]),) for row in rows]}
