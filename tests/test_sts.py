"""finetune.sts from end to end, on miniature models and files in KLUE's format."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard

from finetune import sts
from finetune.common import open_run
from finetune.embedding import load_trainable
from finetune.options import training_parser
from finetune.training import shared_arguments
from rag_app.data.similarity import SimilarityPair, load_similarity_pairs
from rag_app.embeddings import load_embeddings

SHORT = ["--max-steps", "4", "--eval-steps", "2", "--batch-size", "8", "--device", "cpu"]
TUNED = ["config.json", "model.safetensors", "modules.json", "tokenizer.json"]


def settings_of(output: Path, *options: str) -> Namespace:
    parser = training_parser(sts.PROGRAM, "", sts.RECIPES, data="")
    parser.add_argument("--loss")
    return open_run(sts.PROGRAM, parser, ["--output", str(output), *options], sts.RECIPES).settings


def test_a_file_of_klues_size_is_split_as_published(tmp_path: Path) -> None:
    rows = [
        {"guid": f"{number}", "sentence1": f"{number}", "sentence2": "비", "labels": {"label": number % 51 / 10}}
        for number in range(11_668)
    ]
    path = tmp_path / "klue-sts-v1.1_train.json"
    path.write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
    settings = settings_of(tmp_path / "run", "--recipe", "tutorial", "--train", str(path))
    data = sts.load_data(settings)
    assert (len(data.train), len(data.held_out), len(data.test)) == (10_501, 1_167, 0)
    assert sorted(int(pair.first) for pair in data.train + data.held_out) == list(range(11_668))
    assert all(pair.score == pytest.approx(int(pair.first) % 51 / 50) for pair in data.train)
    assert sts.load_data(settings) == data
    assert sts.load_data(Namespace(**{**vars(settings), "seed": 43})).held_out != data.held_out


def test_the_tutorials_arguments_are_those_published(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "run", "--recipe", "tutorial", "--device", "cpu")
    assert (settings.model, settings.train, settings.validation_share) == ("klue/roberta-base", ["klue"], 0.1)
    assert sts.LOSSES[settings.loss] == "CosineSimilarityLoss"
    from sentence_transformers import SentenceTransformerTrainingArguments

    arguments = SentenceTransformerTrainingArguments(
        **shared_arguments(settings, tmp_path / "checkpoints", metric="spearman_cosine")
    )
    assert (arguments.per_device_train_batch_size, arguments.num_train_epochs, arguments.max_steps) == (16, 4, -1)
    assert (arguments.learning_rate, arguments.warmup_steps, arguments.lr_scheduler_type) == (2e-5, 100, "linear")
    assert (arguments.eval_strategy, arguments.eval_steps, arguments.save_steps) == ("steps", 1000, 1000)
    assert (arguments.seed, arguments.weight_decay, arguments.max_grad_norm) == (42, 0.01, 1.0)
    assert (arguments.bf16, arguments.fp16, arguments.gradient_accumulation_steps) == (False, False, 1)
    assert arguments.load_best_model_at_end
    assert (arguments.metric_for_best_model, arguments.greater_is_better) == ("eval_spearman_cosine", True)


def test_the_tutorials_program_runs_on_a_klue_like_model(
    tiny_transformer: Path, klue_sts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "models" / "sts"
    data = ["--train", str(klue_sts), "--validation", str(klue_sts)]
    status = sts.main(
        ["--recipe", "tutorial", "--model", str(tiny_transformer), *data, "--output", str(output), *SHORT]
    )
    assert status == 0

    assert {path.name for path in output.iterdir()} >= {*TUNED, "README.md", "curve.png", "run.json"}
    assert not (output / "checkpoints").exists()
    assert (output / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert ModelCard.load(output / "README.md").data.to_dict() == {
        "language": "ko",
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "tags": ["sentence-transformers", "korean", "sentence-similarity"],
    }

    record = json.loads((output / "run.json").read_text("utf-8"))
    arguments = record["arguments"]
    assert (arguments["model"], arguments["max_steps"], arguments["seed"]) == (str(tiny_transformer), 4, 42)
    assert {"python", "torch", "transformers", "sentence-transformers", "korean-rag"} <= record["versions"].keys()
    assert record["commit"] is None or len(record["commit"].rstrip("+")) == 40
    assert {part: data["rows"] for part, data in record["data"].items()} == {"train": 72, "held_out": 8, "test": 80}
    assert len({data["sha256"] for data in record["data"].values()}) == 3
    assert [step for step, _ in record["curve"]["points"]] == [2, 4]
    spearman, pearson = record["scores"]
    assert (spearman["metric"], spearman["data"]) == ("Spearman of the cosine", "80 test pairs")
    assert (spearman["published"], pearson["published"]) == ([0.356, 0.891], None)

    before, after = load_trainable(tiny_transformer, Namespace(device="cpu", max_length=None)), load_embeddings(output)
    assert record["before"]["spearman_cosine"] == spearman["before"]
    measured = sts.evaluator(load_similarity_pairs(klue_sts))
    assert measured(before)["spearman_cosine"] == pytest.approx(spearman["before"])
    saved = load_trainable(output, Namespace(device="cpu", max_length=None))
    assert measured(saved)["spearman_cosine"] == pytest.approx(spearman["after"], abs=1e-6)
    assert not np.allclose(before.encode(["국회"]), after.encode(["국회"]), atol=1e-4)
    assert np.linalg.norm(after.encode(["국회"])) == pytest.approx(1)

    line = f"| 80 test pairs | Spearman of the cosine | {spearman['before']:.3f} | {spearman['after']:.3f} | 0.356 to"
    assert line in (output / "README.md").read_text("utf-8")
    shown = capsys.readouterr()
    assert "72 training pairs, 8 held out, 80 to test on" in shown.out
    assert "published (another machine)" in shown.out
    assert "step 2: Spearman of the cosine" in shown.err


def test_a_static_model_learns_and_is_saved_as_one(tiny_static: Path, klue_sts: Path, tmp_path: Path) -> None:
    output = tmp_path / "sts"
    options = ["--epochs", "12", "--batch-size", "8", "--learning-rate", "0.03", "--loss", "cosent"]
    data = ["--train", str(klue_sts), "--validation", str(klue_sts)]
    assert sts.main(["--model", str(tiny_static), *data, "--output", str(output), "--device", "cpu", *options]) == 0
    record = json.loads((output / "run.json").read_text("utf-8"))
    assert (record["arguments"]["recipe"], record["arguments"]["loss"]) == ("default", "cosent")
    spearman = record["scores"][0]
    assert spearman["published"] is None
    assert spearman["after"] > spearman["before"] + 0.1
    assert "published" not in (output / "README.md").read_text("utf-8")
    embeddings = load_embeddings(output)
    assert type(embeddings).__name__ == "StaticEmbeddings"
    pairs = load_similarity_pairs(klue_sts)
    first, second = (
        embeddings.encode([pair.first for pair in pairs]),
        embeddings.encode([pair.second for pair in pairs]),
    )
    cosines = (first * second).sum(axis=1)
    pearson = np.corrcoef(cosines, [pair.score for pair in pairs])[0, 1]
    assert pearson == pytest.approx(record["scores"][1]["after"], abs=1e-5)


@pytest.mark.parametrize("loss", ["cosine", "angle"])
def test_every_loss_trains(loss: str, tiny_static: Path, klue_sts: Path, tmp_path: Path) -> None:
    arguments = ["--model", str(tiny_static), "--train", str(klue_sts), "--loss", loss, *SHORT]
    assert sts.main([*arguments, "--output", str(tmp_path / "sts")]) == 0
    card = (tmp_path / "sts" / "README.md").read_text("utf-8")
    assert "8 held-out pairs" in card
    assert "Test: none; the scores are of the pairs held out" in card


def test_the_best_checkpoint_is_kept_and_not_the_last(
    tiny_static: Path, klue_sts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.0])

    def fall(self: Any, model: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        return {"spearman_cosine": next(scores, 0.2), "pearson_cosine": 0.0}

    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    monkeypatch.setattr(EmbeddingSimilarityEvaluator, "__call__", fall)
    weights = []
    for steps, name in ((4, "four"), (6, "six")):
        scores = iter([0.0, 0.1, 0.9, 0.5])
        arguments = [
            "--model",
            str(tiny_static),
            "--train",
            str(klue_sts),
            "--scheduler",
            "constant",
            "--device",
            "cpu",
        ]
        options = ["--max-steps", str(steps), "--eval-steps", "2", "--warmup-steps", "0", "--batch-size", "8"]
        assert sts.main([*arguments, *options, "--output", str(tmp_path / name)]) == 0
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_a_folder_without_a_validation_part_is_measured_on_what_is_held_out(tmp_path: Path) -> None:
    lines = ["sentence1\tsentence2\tscore", *(f"{number}\t비\t3" for number in range(20))]
    (tmp_path / "sts-train.tsv").write_text("\n".join(lines), "utf-8")
    settings = Namespace(train=[str(tmp_path)], validation=None, validation_share=0.1, seed=1, limit=5)
    data = sts.load_data(settings)
    assert (len(data.train), len(data.held_out), data.test) == (5, 2, [])
    (tmp_path / "sts-dev.tsv").write_text("sentence1\tsentence2\tscore\n비\t눈\t5\n", "utf-8")
    assert sts.load_data(settings).test == [SimilarityPair("비", "눈", 1.0)]
