"""Tune an embedding model so that the cosine of two sentences follows how alike people find them.

    python -m finetune.sts --recipe tutorial --output models/sts
    python -m finetune.sts --model embedded --train korsts_train.tsv --validation korsts_test.tsv --output models/sts
    python -m finetune.sts --output models/sts --resume

A tenth of the training pairs is held out, and the checkpoint that does best on it is kept. --validation is measured
before and after and chooses nothing. `--recipe tutorial` is the published protocol: klue/roberta-base with mean
pooling, KLUE-STS 90/10 with seed 42, CosineSimilarityLoss, batches of 16, 4 epochs, an evaluation every 1,000 steps.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from finetune.card import Score
from finetune.common import INTERRUPTED, data_record, has_validation, open_run, preparing, publish, resumable, train
from finetune.embedding import EMBEDDING_USE, load_trainable, save_embedding
from finetune.options import Recipes, training_parser
from finetune.processes import main_process, on_first_process, per_process
from finetune.run import Run
from rag_app.data.similarity import SimilarityPair, load_similarity_pairs

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

PROGRAM = "finetune.sts"
PUBLISHED = {"spearman_cosine": (0.356, 0.891)}
"""Before and after, in a Korean tutorial, on the 519 validation pairs of KLUE-STS."""
RECIPES: Recipes = {
    "tutorial": {
        "model": "klue/roberta-base",
        "train": ["klue"],
        "loss": "cosine",
        "epochs": 4,
        "batch_size": 16,
        "learning_rate": 2e-5,
        "warmup_steps": 100,
        "eval_steps": 1000,
        "precision": "fp32",
    },
    "transformer": {
        "model": "klue/roberta-base",
        "train": ["klue"],
        "loss": "cosine",
        "epochs": 4,
        "batch_size": 32,
        "learning_rate": 3e-5,
        "warmup_steps": 0.1,
        "eval_steps": 0.1,
    },
    "static": {
        "model": "embedded",
        "train": ["klue"],
        "loss": "cosine",
        "epochs": 4,
        "batch_size": 128,
        "learning_rate": 2e-3,
        "weight_decay": 0.0,
        "warmup_steps": 0.1,
        "eval_steps": 0.1,
    },
}
NAMES = {"spearman_cosine": "Spearman of the cosine", "pearson_cosine": "Pearson of the cosine"}
LOSSES = {"cosine": "CosineSimilarityLoss", "cosent": "CoSENTLoss", "angle": "AnglELoss"}


class Data(NamedTuple):
    """Pairs to train on, held out of them to choose the checkpoint by, and to measure on before and after."""

    train: list[SimilarityPair]
    held_out: list[SimilarityPair]
    test: list[SimilarityPair]


def main(argv: Sequence[str] | None = None) -> int:
    """Train, and return the exit status: 0, or 130 when it was interrupted."""
    # 1. Arguments
    parser = training_parser(
        PROGRAM,
        __doc__ or "",
        RECIPES,
        data="'klue' (KLUE-STS from the Hub), a KLUE-STS json file, a tsv, csv or jsonl file with sentence1, sentence2 "
        "and score (0 to 5), or a folder of such files with their split in the name",
    )
    parser.add_argument("--loss", choices=LOSSES, help="CosineSimilarityLoss, CoSENTLoss or AnglELoss")
    run = open_run(PROGRAM, parser, argv, RECIPES)
    settings = run.settings

    with preparing(run, parser):
        # 2. Data and model
        per_process(settings.batch_size)
        data = on_first_process(settings, lambda: load_data(settings))
        run.check_data({name: data_record(pairs) for name, pairs in data._asdict().items()})
        model = load_trainable(settings.model, settings)
        if main_process():
            print(f"{len(data.train):,} training pairs, {len(data.held_out):,} held out, {len(data.test):,} to test on")

        # 3. Before
        measure = evaluator(data.test or data.held_out)
        if main_process() and "before" not in run.record:
            run.note(before=measure(model))

    # 4. Train
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

    from finetune.similarity_losses import build_loss
    from finetune.training import curve, one_device, shared_arguments

    trainer = SentenceTransformerTrainer(
        model=model,
        args=one_device(
            SentenceTransformerTrainingArguments(
                **shared_arguments(settings, run.checkpoints, metric="spearman_cosine")
            )
        ),
        train_dataset=_dataset(data.train),
        loss=build_loss(settings.loss, model),
        evaluator=evaluator(data.held_out),
    )
    if not train(run, trainer, names=NAMES):
        return INTERRUPTED

    # 5. Save, measure what was saved, publish
    if main_process():
        with resumable(run):
            saved = run.save(lambda folder: save_embedding(model, folder))
            after = measure(load_trainable(saved, settings))
            run.note(
                scores=[score._asdict() for score in _scores(settings, data, run.record["before"], after)],
                curve={
                    "metric": "Spearman of the cosine",
                    "data": f"{len(data.held_out):,} held-out pairs",
                    "points": curve(trainer.state.log_history, "spearman_cosine"),
                },
                card=_card(settings, data, run),
            )
        publish(run)
    return 0


def load_data(settings: Namespace) -> Data:
    """Return the pairs; of those to train on, ``validation_share`` is held out at random.

    Raises:
        OSError, ValueError, ImportError: See `rag_app.data.similarity.load_similarity_pairs`.
    """
    from datasets import Dataset

    pairs = [pair for source in settings.train for pair in load_similarity_pairs(source, split="train")]
    # The split of the datasets library, as published: 11,668 pairs become 10,501 and 1,167.
    rows = Dataset.from_dict({"row": range(len(pairs))}).train_test_split(settings.validation_share, seed=settings.seed)
    test = [pair for source in _test_sources(settings) for pair in load_similarity_pairs(source, split="validation")]
    kept, held_out = ([pairs[row] for row in rows[part]["row"]] for part in ("train", "test"))
    return Data(kept[: settings.limit], held_out, test)


def _test_sources(settings: Namespace) -> list[str]:
    """Return what to measure on; a single file has no splits and would be measured on what it trains on."""
    return settings.validation or [source for source in settings.train if has_validation(source, load_similarity_pairs)]


def evaluator(pairs: Sequence[SimilarityPair]) -> "EmbeddingSimilarityEvaluator":
    """Return what measures Pearson and Spearman correlation between cosines and human scores."""
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    first, second, scores = (list(column) for column in zip(*pairs, strict=True))
    return EmbeddingSimilarityEvaluator(first, second, scores, main_similarity="cosine", batch_size=64, write_csv=False)


def _dataset(pairs: Sequence[SimilarityPair]) -> "Dataset":
    from datasets import Dataset

    first, second, scores = zip(*pairs, strict=True)
    return Dataset.from_dict({"sentence1": first, "sentence2": second, "score": scores})


def _scores(
    settings: Namespace, data: Data, before: Mapping[str, float], after: Mapping[str, float]
) -> Iterator[Score]:
    where = f"{len(data.test):,} test pairs" if data.test else f"{len(data.held_out):,} held-out pairs"
    for key, name in NAMES.items():
        published = PUBLISHED.get(key) if settings.recipe == "tutorial" else None
        yield Score(where, name, before[key], after[key], published)


def _card(settings: Namespace, data: Data, run: Run) -> dict[str, Any]:
    return {
        "title": f"{run.output.name}: sentence similarity for Korean",
        "front": ["pipeline_tag: sentence-similarity", "tags: [sentence-transformers, korean, sentence-similarity]"],
        "summary": "An embedding model whose cosine follows how alike people find two Korean sentences.",
        "data": [
            f"Training: {len(data.train):,} pairs of {', '.join(settings.train)}",
            f"Held out of them, to choose the checkpoint: {len(data.held_out):,}",
            f"Test: {len(data.test):,} pairs of {', '.join(_test_sources(settings))}"
            if data.test
            else "Test: none; the scores are of the pairs held out",
        ],
        "use": EMBEDDING_USE.format(folder=run.output),
    }


if __name__ == "__main__":
    sys.exit(main())
