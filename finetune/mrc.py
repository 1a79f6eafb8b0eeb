"""Tune an embedding model for search: questions near the passages that answer them, far from all others.

    python -m finetune.mrc --recipe tutorial --model models/sts --output models/mrc
    python -m finetune.mrc --model embedded --train train.jsonl --validation validation.jsonl --output models/mrc
    python -m finetune.mrc --model embedded --train articles/ --output models/mrc    # articles without questions
    torchrun --nproc-per-node 8 -m finetune.mrc --model models/sts --train klue --output models/mrc
    python -m finetune.mrc --output models/mrc --resume

Each round mines passages that the hybrid search with the present model wrongly finds (--negatives) and trains on them
and on the other passages of the batch. Negatives that a row brings itself (column ``negatives``: a list of passages,
each a text or an object with title and text, as `rag-app feedback export` writes them) come before the mined ones;
--negatives 0, the default for a static model, leaves them out. --validation is measured before and after and chooses
nothing; with --validation-share above 0, that share of the training articles is held out and the checkpoint that does
best on it is kept. `--recipe tutorial` is the published protocol, faults included where they change the numbers:
unanswerable questions are trained as positives, contexts past the model's window are cut, and the score only tells
pairs from random ones, where even a perfect separator of as many of both has a Spearman correlation of 0.866.
"""

import argparse
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from finetune.card import Score
from finetune.common import INTERRUPTED, open_run, preparing, publish, resumable, train
from finetune.embedding import (
    EMBEDDING_USE,
    embeddings_in_training,
    load_trainable,
    save_embedding,
    widen,
)
from finetune.losses import LOSSES, check_loss
from finetune.measures import Measure, retrieval_measure, separation_measure
from finetune.options import Recipes, above_zero, below_one, positive, refuse, training_parser, whole
from finetune.pairs import Pair, crop_pairs, question_pairs, truncated
from finetune.processes import first_process_first, main_process, on_first_process, per_process
from finetune.rounds import begin_curve, finish_round, round_data, round_trainer
from finetune.run import Run
from finetune.search_data import SearchData, ask_otherwise, load_search_data
from finetune.splits import draw
from finetune.tutorial import tutorial_pairs
from rag_app.embeddings import ModelEmbeddings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PROGRAM = "finetune.mrc"
RECIPES: Recipes = {
    "tutorial": {
        "model": "./models/sts",
        "train": ["klue"],
        "validation_share": 0.0,
        "loss": "mnrl",
        "rounds": 1,
        "negatives": 0,
        "epochs": 1,
        "batch_size": 16,
        "learning_rate": 2e-5,
        "warmup_steps": 100,
        "eval_steps": 1000,
        "precision": "fp32",
    },
    "transformer": {
        "model": "klue/roberta-base",
        "train": ["klue"],
        "validation_share": 0.05,
        "loss": "cached-mnrl",
        "rounds": 2,
        "negatives": 2,
        "epochs": 1,
        "batch_size": 128,
        "learning_rate": 3e-5,
        "warmup_steps": 0.1,
        "eval_steps": 0.2,
    },
    "static": {
        "model": "embedded",
        "train": ["klue"],
        "validation_share": 0.0,
        "loss": "mnrl",
        "rounds": 1,
        "negatives": 0,
        "crops": 6,
        "widen": 512,
        "epochs": 2,
        "batch_size": 512,
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "warmup_steps": 0.1,
        "eval_steps": 0.25,
    },
}
DEFAULTS = {"scale": 20.0, "margin": 0.05, "mini_batch_size": 16, "widen": 0}
CHOOSING = 1000
"""Questions that one evaluation during training asks at most."""
CROPS = 2
"""Sentences of each passage that stand in for questions, where articles come without any."""
PUBLISHED = {"pearson_cosine": (0.806, 0.912), "spearman_cosine": (0.816, 0.860)}
"""Before and after, in a Korean tutorial, on the validation pairs of KLUE-MRC and as many random ones."""


def main(argv: Sequence[str] | None = None) -> int:
    """Train, and return the exit status: 0, or 130 when it was interrupted."""
    # 1. Arguments
    parser = _parser()
    run = open_run(PROGRAM, parser, argv, RECIPES, DEFAULTS)
    settings = run.settings

    with preparing(run, parser):
        # 2. Model and data
        if settings.recipe == "tutorial":
            refuse(settings, ("crops", "also_ask"), DEFAULTS, "does nothing with --recipe tutorial")
        per_process(settings.batch_size)
        model = load_trainable(settings.model, settings)
        data, pairs, measures, chosen_by = on_first_process(settings, lambda: _prepare(run, model))

        # 3. Before
        if main_process() and "before" not in run.record:
            run.note(before=[measure.scores(model) for measure in measures])
        if settings.widen:
            widen(model, settings.widen, settings.seed)
            if main_process() and "widened" not in run.record:
                run.note(widened=measures[0].scores(model))
        if main_process() and chosen_by is None and "curve" not in run.record:
            begin_curve(run, measures[0], run.record.get("widened", run.record["before"][0]))
        embeddings = embeddings_in_training(model)

    # 4. Rounds of mining and training
    for number in range(1, settings.rounds + 1):
        folder = run.checkpoints / f"round-{number}"
        if not on_first_process(settings, (folder / "model").exists):
            if settings.rounds > 1 and main_process():
                print(f"Round {number} of {settings.rounds}")
            with resumable(run):
                rows = on_first_process(settings, partial(round_data, settings, data, pairs, embeddings, folder))
            watched = chosen_by or measures[0]
            trainer = round_trainer(settings, model, rows, folder, watched, choose=chosen_by is not None)
            if not train(run, trainer, names=watched.names, folder=folder):
                return INTERRUPTED
            with resumable(run), first_process_first(settings):
                finish_round(run, trainer, folder, watched)
        model = load_trainable(folder / "model", settings)
        embeddings = embeddings_in_training(model)

    # 5. Save, measure what was saved, publish
    if main_process():
        with resumable(run):
            saved = run.save(lambda folder: save_embedding(model, folder))
            tuned = load_trainable(saved, settings)
            after = [measure.scores(tuned) for measure in measures]
            run.note(scores=_scores(settings, measures, run.record["before"], after), card=_card(run, data, len(pairs)))
        publish(run)
    return 0


class Prepared(NamedTuple):
    """What is done before training, once.

    Attributes:
        data: All of it.
        pairs: What is trained on, without hard negatives.
        measures: Before and after training.
        chosen_by: What chooses the checkpoint, if anything does.
    """

    data: SearchData
    pairs: list[Pair]
    measures: list[Measure]
    chosen_by: Measure | None


def _prepare(run: Run, model: "SentenceTransformer") -> Prepared:
    settings, embeddings = run.settings, embeddings_in_training(model)
    check_loss(settings, model)
    data = load_search_data(settings)
    run.check_data(data.record())
    pairs = training_pairs(settings, data, embeddings)
    _describe(run, data, pairs, embeddings)
    chosen_by = _choosing(data, embeddings, settings.seed) if settings.validation_share else None
    return Prepared(data, pairs, _measures(settings, data, embeddings), chosen_by)


def training_pairs(settings: Namespace, data: SearchData, embeddings: ModelEmbeddings) -> list[Pair]:
    """Return what the recipe trains on: questions with their passages, and sentences with what they were cut from.

    Raises:
        ValueError: There is none.
    """
    if settings.recipe == "tutorial":
        pairs = tutorial_pairs(data.train)
    else:
        crops = (CROPS if data.unlabelled else 0) if settings.crops is None else settings.crops
        asked = [*data.train.questions, *ask_otherwise(data.train.questions, settings.also_ask or ())]
        pairs = question_pairs(data.train._replace(questions=asked), fits=embeddings.fits)
        pairs += crop_pairs(data.train.passages.values(), per_passage=crops, seed=settings.seed, fits=embeddings.fits)
    pairs = draw(pairs, settings.limit, seed=settings.seed)
    if len(pairs) < 2:
        articles = f" {', '.join(data.unlabelled)}: read as articles, for want of a column for questions."
        raise ValueError(
            f"There is too little to train on: {len(pairs)} of two pairs at least. Give more data."
            + (articles if data.unlabelled else "")
        )
    return pairs


def _parser() -> argparse.ArgumentParser:
    parser = training_parser(
        PROGRAM,
        __doc__ or "",
        RECIPES,
        data="'sample', 'klue' (KLUE-MRC from the Hub), a KLUE-MRC or KorQuAD json file, a jsonl, csv or tsv file with "
        "question and context, a BEIR folder; or articles without questions: a file or folder that rag-app can index",
    )
    search = parser.add_argument_group("search")
    search.add_argument("--loss", choices=LOSSES, help="mnrl; cached-mnrl: large batches in little memory; margin-mse")
    search.add_argument("--scale", type=above_zero, help="what cosines are multiplied with in the loss")
    search.add_argument("--mini-batch-size", type=positive, metavar="N", help="of cached-mnrl, at a time in memory")
    search.add_argument("--rounds", type=positive, metavar="N", help="of mining hard negatives and training")
    search.add_argument("--negatives", type=whole, metavar="N", help="hard negatives for each question; 0 mines none")
    search.add_argument("--margin", type=below_one, help="negatives score this share below the right passage at least")
    search.add_argument(
        "--crops", type=whole, metavar="N", help="sentences of each passage that stand in for questions"
    )
    search.add_argument(
        "--also-ask",
        action="append",
        metavar="COLUMN",
        help="column of --train and --validation that asks the same in other words; repeatable",
    )
    search.add_argument("--widen", type=whole, metavar="N", help="random dimensions that a static model gets besides")
    search.add_argument("--matryoshka", type=positive, nargs="+", metavar="DIM", help="train these dimensions as well")
    search.add_argument("--teacher", metavar="NAME", help="reranker whose score margins margin-mse learns")
    return parser


def _describe(run: Run, data: SearchData, pairs: Sequence[Pair], embeddings: ModelEmbeddings) -> None:
    cut = truncated([pair.passage for pair in pairs], embeddings.fits)
    given = sum(len(pair.negatives) for pair in pairs)
    run.note(truncated=cut, leaked=data.leaked, pairs=len(pairs), given_negatives=given)
    for source in data.unlabelled:
        print(f"{source}: articles without questions, so their titles and sentences stand in for them")
    print(
        f"{len(pairs):,} pairs to train on, {len(data.held_out.questions):,} questions held out, "
        f"{len(data.test.questions):,} to test on; {len(data.passages):,} passages in "
        f"{len(set(data.groups.values())):,} groups; the model's window cuts {cut:.1%} of the training passages"
    )
    if given:
        left_out = "" if run.settings.negatives else ", and --negatives 0 leaves them out"
        print(f"{given:,} negatives came with the questions{left_out}")
    if data.leaked:
        print(f"Note: the text of the passages that answer {data.leaked:.1%} of the test questions is trained on")


def _measures(settings: Namespace, data: SearchData, embeddings: ModelEmbeddings) -> list[Measure]:
    """Return what is measured before and after: the questions, and again as each column of --also-ask asks them."""
    if settings.recipe == "tutorial":
        return [separation_measure(data.measured, seed=settings.seed)]
    what = "test" if data.test.questions else "held-out"
    passages, asked = list(data.passages.values()), data.measured.questions
    otherwise = {f"{what} ({column})": ask_otherwise(asked, [column]) for column in settings.also_ask or ()}
    return [
        retrieval_measure(questions, passages, fits=embeddings.fits, what=name)
        for name, questions in {what: asked, **otherwise}.items()
        if questions
    ]


def _choosing(data: SearchData, embeddings: ModelEmbeddings, seed: int) -> Measure:
    """Return what chooses the checkpoint, quick enough to be measured several times."""
    questions = draw(data.held_out.questions, CHOOSING, seed=seed)
    return retrieval_measure(questions, list(data.held_out.passages.values()), fits=embeddings.fits, what="held-out")


def _scores(
    settings: Namespace,
    measures: Sequence[Measure],
    before: Sequence[Mapping[str, float]],
    after: Sequence[Mapping[str, float]],
) -> list[dict[str, Any]]:
    published = PUBLISHED if settings.recipe == "tutorial" else {}
    return [
        Score(measure.data, name, first[key], last[key], published.get(key))._asdict()
        for measure, first, last in zip(measures, before, after, strict=True)
        for key, name in measure.names.items()
    ]


def _card(run: Run, data: SearchData, pairs: int) -> dict[str, Any]:
    settings = run.settings
    return {
        "title": f"{run.output.name}: Korean search",
        "front": ["pipeline_tag: sentence-similarity", "tags: [sentence-transformers, korean, retrieval]"],
        "summary": "An embedding model for search in Korean text: questions are near the passages that answer them.",
        "data": [
            f"Training: {pairs:,} pairs of {', '.join(settings.train)}",
            *(f"{source} has no questions: titles and sentences stood in for them" for source in data.unlabelled),
            f"Held out of them, to choose the checkpoint: {len(data.held_out.questions):,} questions",
            f"Test: {sum(bool(q.relevant) for q in data.test.questions):,} questions with an answer, of "
            f"{', '.join(settings.validation or settings.train)}; "
            f"{data.leaked:.1%} of them are about passages that were trained on",
            f"{run.record['truncated']:.1%} of the training passages were cut by the model's window",
        ],
        "notes": _notes(run),
        "use": EMBEDDING_USE.format(folder=run.output),
    }


def _notes(run: Run) -> list[str]:
    if "widened" not in run.record:
        return []
    from finetune.search_evaluator import METRICS

    widened = ", ".join(f"{name} {run.record['widened'][key]:.3f}" for key, name in METRICS.items())
    return [f"With its {run.settings.widen} random dimensions and before any training the model has {widened}."]


if __name__ == "__main__":
    sys.exit(main())
