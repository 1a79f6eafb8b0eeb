"""Train a reranker: a cross-encoder that reads question and passage together.

    python -m finetune.cross_encoder --recipe tutorial --output models/reranker
    python -m finetune.cross_encoder --retriever models/mrc --train train.jsonl --validation validation.jsonl
    python -m finetune.cross_encoder --model embedded --train train.jsonl --validation validation.jsonl
    python -m finetune.cross_encoder --output models/reranker --resume

It learns to tell the passage that answers a question from what the hybrid search with --retriever returns beside it,
and, first of all, from the ``negatives`` of the question's row: a list of passages, each a text or an object with title
and text, as `rag-app feedback export` writes them. With --validation-share above 0, that share of the training articles
is held out and the checkpoint that ranks their candidates best is kept. Then the gate: the validation questions are
searched for among all passages, with and without the finished reranker. It is accepted if neither hit@1 nor MRR@10
falls and MRR@10 rises significantly (p < 0.05, paired randomisation test). If not, what OUTPUT held stays, and the new
one goes to OUTPUT/rejected. --no-gate publishes it whatever it measures. With 100 held-out questions or more it also
learns when serving may stop reranking early, see `finetune.early_stop`.

A static model (`--model embedded`) has no layer where question and passage meet. With it the reranker is linear: a sum
of what its token vectors, bigrams and names say of question and passage and of the search's score, fitted within a
minute. Each --train is a corpus of its own, the negatives of its rows among it; those without questions only tell rare
words from common ones. The weights are measured by cross-validation besides, and the gate also asks the questions as
--also-ask words them. Give no --retriever that was tuned on the same questions: its scores for them are better than for
others, and count too much.

`--recipe tutorial` is the published protocol and has no gate: it trains on each question with its context and with a
random one, and is measured by how well its scores tell such pairs apart, which says little about ranking.

Exit status: 0 when the reranker was published, 3 when it was rejected, 130 when the run was interrupted.
"""

import argparse
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from finetune.card import Score
from finetune.common import (
    INTERRUPTED,
    open_run,
    preparing,
    publish,
    recipe_name,
    resumable,
    train,
)
from finetune.early_stop import add_early_stop
from finetune.gate import Verdict
from finetune.measures import Measure
from finetune.negatives import describe_mining
from finetune.options import Recipes, above_zero, below_one, positive, refuse, training_parser
from finetune.pairs import Pair
from finetune.processes import main_process, on_first_process, per_process, processes
from finetune.rerank_losses import LOSSES, build_dataset, build_loss, rows_per_batch
from finetune.reranking import (
    cut_share,
    gate_questions,
    held_out_candidates,
    judge_reranker,
    search_material,
    tutorial_material,
)
from finetune.run import REJECTED, Run
from finetune.search_data import SearchData, load_search_data
from rag_app.models import load_cross_encoder, resolve_model

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, CrossEncoderTrainer

PROGRAM = "finetune.cross_encoder"
_NOT_TUTORIAL = ("retriever", "candidates", "margin", "gate_questions", "no_gate")
REJECTED_STATUS = 3
"""Exit status when the gate rejected the reranker."""
RECIPES: Recipes = {
    "tutorial": {
        "model": "klue/roberta-small",
        "train": ["klue"],
        "validation_share": 0.0,
        "loss": "bce",
        "negatives": 1,
        "epochs": 1,
        "batch_size": 16,
        "learning_rate": 2e-5,
        "warmup_steps": 100,
        "eval_steps": 1000,
        "precision": "fp32",
    },
    "transformer": {
        "model": "klue/roberta-small",
        "train": ["klue"],
        "validation_share": 0.05,
        "loss": "bce",
        "negatives": 7,
        "epochs": 1,
        "batch_size": 64,
        "learning_rate": 3e-5,
        "warmup_steps": 0.1,
        "eval_steps": 0.2,
    },
    "static": {
        "model": "embedded",
        "train": ["klue"],
        "validation_share": 0.0,
        "ridge": 5.0,
        "balance": 0.5,
        "folds": 5,
    },
}
DEFAULTS = {"retriever": "embedded", "candidates": 30, "margin": 0.05, "gate_questions": 1000, "no_gate": False}
_FITTED_ONLY = ("also_ask", "ridge", "balance", "folds")
_TRAINED_ONLY = (
    *("loss", "negatives", "epochs", "max_steps", "batch_size", "gradient_accumulation", "learning_rate"),
    *("warmup_steps", "eval_steps", "max_length", "scheduler", "weight_decay", "max_grad_norm", "precision", "margin"),
)
PUBLISHED = {"pearson": (-0.012, 0.983)}
"""Before and after, in a Korean tutorial, on the validation pairs of KLUE-MRC and as many random ones."""
USE = """from rag_app import build_retriever, load_reranker, open_index

retriever = build_retriever(open_index("index"), compressor=load_reranker("{folder}"))"""


def main(argv: Sequence[str] | None = None) -> int:
    """Train, and return the exit status: 0, 3 when the gate rejected the reranker, or 130 when it was interrupted."""
    # 1. Arguments
    parser = _parser()
    run = open_run(PROGRAM, parser, argv, RECIPES, DEFAULTS)
    settings = run.settings
    with preparing(run, parser):
        static = recipe_name(settings, RECIPES) == "static"
        _check_options(settings, static=static)
    if static:
        from finetune.linear_reranking import fit_reranker

        return 0 if fit_reranker(run, parser, use=USE) else _rejected(run)

    with preparing(run, parser):
        # 2. Model and data
        per_process(rows_per_batch(settings))
        model = load_trainable(settings)
        data, pairs, measure = on_first_process(settings, lambda: _prepare(run, model))

        # 3. Before: an untrained head ranks by chance, and only the tutorial measures it
        if _tutorial(run) and main_process() and "before" not in run.record:
            run.note(before=measure.scores(model))

    # 4. Train; what chooses the checkpoint must not judge the reranker as well
    choose = not _tutorial(run) and bool(data.test.questions)
    trainer = _trainer(settings, run.checkpoints, model, pairs, measure, choose=choose)
    if not train(run, trainer, names=measure.names):
        return INTERRUPTED
    if not main_process():
        return 0

    # 5. Save, measure what was saved, publish or reject
    with resumable(run):
        saved = run.save(lambda folder: model.save_pretrained(str(folder), create_model_card=False))
        _note_curve(run, trainer, measure)
        if _tutorial(run):
            verdict = None
            after = measure.scores(load_cross_encoder(saved, device=settings.device))
            run.note(scores=_scores(measure, run.record["before"], after))
        else:
            bound = add_early_stop(saved, held_out_candidates(run), device=settings.device)
            run.note(early_stop=None if bound is None else bound._asdict())
            verdict = judge_reranker(settings, data, saved)
            run.note(gate=verdict.record(), scores=_gate_scores(settings, data, verdict))
        run.note(card=_card(run, data, pairs, verdict))
    if verdict is None or verdict.accepted or settings.no_gate:
        publish(run)
        return 0
    publish(run, subfolder=REJECTED)
    return _rejected(run)


class Prepared(NamedTuple):
    """What is done before training, once: data, the pairs to train on, and what is measured meanwhile."""

    data: SearchData
    pairs: list[Pair]
    measure: Measure


def _prepare(run: Run, model: "CrossEncoder") -> Prepared:
    data = load_search_data(run.settings)
    run.check_data(data.record())
    pairs, measure = tutorial_material(run.settings, data) if _tutorial(run) else search_material(run, data)
    _describe(run, model, data, pairs)
    return Prepared(data, pairs, measure)


def load_trainable(settings: Namespace) -> "CrossEncoder":
    """Load a model to train as a reranker: an encoder, whose new head the seed decides, or a reranker to go on with.

    Raises:
        ImportError, OSError, ValueError: See `rag_app.models.load_cross_encoder`.
    """
    resolved = resolve_model(settings.model)
    if resolved.kind == "static":
        raise ValueError(
            f"{settings.model!r} is a static model, which the tutorial's recipe cannot train: it has no layer where "
            "question and passage meet. Give a transformer, such as --model klue/roberta-small, or leave out --recipe"
        )
    from transformers import set_seed

    set_seed(settings.seed)
    return load_cross_encoder(resolved, device=settings.device, max_length=settings.max_length, new_head=True)


def _parser() -> argparse.ArgumentParser:
    parser = training_parser(
        PROGRAM,
        __doc__ or "",
        RECIPES,
        data="'sample', 'klue' (KLUE-MRC from the Hub), a KLUE-MRC or KorQuAD json file, a jsonl, csv or tsv file with "
        "question and context, a BEIR folder; or articles without questions, whose titles stand in for them",
    )
    unless = ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in DEFAULTS.items() if value)
    reranking = parser.add_argument_group("reranking", f"unless given: {unless}")
    reranking.add_argument("--loss", choices=LOSSES, help="bce: binary cross-entropy; lambda: LambdaLoss over lists")
    reranking.add_argument("--retriever", metavar="NAME", help="embedding model of the search that is reranked")
    reranking.add_argument("--candidates", type=positive, metavar="N", help="passages that the search hands over")
    reranking.add_argument("--negatives", type=positive, metavar="N", help="hard negatives for each question")
    reranking.add_argument("--margin", type=below_one, help="negatives score this share below the right one at least")
    reranking.add_argument("--gate-questions", type=positive, metavar="N", help="ask a random N at the gate at most")
    reranking.add_argument("--no-gate", action="store_true", default=None, help="publish whatever the gate says")
    linear = parser.add_argument_group("linear reranker, with a static --model")
    linear.add_argument(
        "--also-ask",
        action="append",
        metavar="COLUMN",
        help="column of --train and --validation that asks the same in other words; repeatable",
    )
    linear.add_argument("--ridge", type=above_zero, help="strength of the pull of the weights to zero")
    linear.add_argument("--balance", type=float, metavar="B", help="a --train of n questions counts for n ** (1 - B)")
    linear.add_argument("--folds", type=positive, metavar="N", help="of cross-validation, at least 2")
    return parser


def _check_options(settings: Namespace, *, static: bool) -> None:
    """Check the options that only one kind of reranker has.

    Raises:
        ValueError: One of the other kind was given, or has no sense; or several processes are to fit a linear one.
    """
    kind = "is for rerankers that are trained" if static else "is for a static --model"
    refuse(settings, _TRAINED_ONLY if static else _FITTED_ONLY, DEFAULTS, f"{kind}, and --model is {settings.model}")
    if settings.recipe == "tutorial":
        refuse(settings, _NOT_TUTORIAL, DEFAULTS, "does nothing with --recipe tutorial")
    if static and (settings.folds < 2 or not 0 <= settings.balance <= 1):
        raise ValueError(f"Want at least 2 --folds and 0 to 1 as --balance, got {settings.folds}, {settings.balance}")
    if static and processes() > 1:
        raise ValueError("A linear reranker is fitted in one process. Start it without torchrun")


def _rejected(run: Run) -> int:
    print(f"{run.output} keeps what it held before; the rejected reranker is in {run.output / REJECTED}")
    return REJECTED_STATUS


def _describe(run: Run, model: "CrossEncoder", data: SearchData, pairs: Sequence[Pair]) -> None:
    cut = cut_share(model, pairs)
    run.note(truncated=cut, leaked=data.leaked, pairs=len(pairs), negatives=sum(len(pair.negatives) for pair in pairs))
    print(
        f"{len(pairs):,} questions with {run.record['negatives']:,} negatives to train on, "
        f"{len(data.held_out.questions):,} questions held out, {len(data.test.questions):,} to test on; the model "
        f"reads {model.max_seq_length} tokens, less than {cut:.1%} of the questions with their passages have"
    )
    if "mined" in run.record:
        print(describe_mining(run.record["mined"], run.settings.negatives))
    if data.leaked:
        print(f"Warning: {data.leaked:.1%} of the test questions are about passages that are trained on")


def _trainer(
    settings: Namespace,
    folder: Path,
    model: "CrossEncoder",
    pairs: Sequence[Pair],
    measure: Measure,
    *,
    choose: bool,
) -> "CrossEncoderTrainer":
    from sentence_transformers import CrossEncoderTrainer, CrossEncoderTrainingArguments

    from finetune.training import one_device, shared_arguments

    metric = measure.main if choose else None
    shared = shared_arguments(settings, folder, metric=metric, rows=rows_per_batch(settings))
    return CrossEncoderTrainer(
        model=model,
        # With several processes: it would look for them in the output, a class of its own, and miss them all.
        args=one_device(CrossEncoderTrainingArguments(**shared, ddp_find_unused_parameters=False)),
        train_dataset=build_dataset(settings.loss, pairs),
        loss=build_loss(settings.loss, model, pairs),
        evaluator=measure.evaluator,
    )


def _note_curve(run: Run, trainer: "CrossEncoderTrainer", measure: Measure) -> None:
    from finetune.training import curve

    points = curve(trainer.state.log_history, measure.main)
    run.note(curve={"metric": measure.names[measure.main], "data": measure.data, "points": points})


def _scores(measure: Measure, before: Mapping[str, float], after: Mapping[str, float]) -> list[dict[str, Any]]:
    return [
        Score(measure.data, name, before[key], after[key], PUBLISHED.get(key))._asdict()
        for key, name in measure.names.items()
    ]


def _gate_scores(settings: Namespace, data: SearchData, verdict: Verdict) -> list[dict[str, Any]]:
    where = f"{len(gate_questions(settings, data)):,} questions, {len(data.passages):,} passages"
    return [
        Score(where, f"{name} (before: not reranked)", comparison.before, comparison.after)._asdict()
        for name, comparison in verdict.names.items()
    ]


def _card(run: Run, data: SearchData, pairs: Sequence[Pair], verdict: Verdict | None) -> dict[str, Any]:
    settings = run.settings
    return {
        "title": f"{run.output.name}: a Korean reranker",
        "front": ["pipeline_tag: text-ranking", "tags: [sentence-transformers, cross-encoder, reranker, korean]"],
        "summary": "A cross-encoder: it reads a Korean question and a passage together and scores how well it answers.",
        "notes": [] if verdict is None else _explain(verdict),
        "data": [
            f"Training: {len(pairs):,} questions of {', '.join(settings.train)} with {run.record['negatives']:,} wrong "
            f"passages{'' if verdict is None else f' that the hybrid search with {settings.retriever} found'}",
            *([] if verdict is None else [describe_mining(run.record["mined"], settings.negatives)]),
            f"Held out of them: {len(data.held_out.questions):,} questions",
            f"Test: {len(data.test.questions):,} questions of {', '.join(settings.validation or settings.train)}, "
            f"{data.leaked:.1%} of them about passages that were trained on",
            f"{run.record['truncated']:.1%} of the questions and their passages were cut by the model's window",
        ],
        "use": USE.format(folder=run.output),
    }


def _explain(verdict: Verdict) -> list[str]:
    lines = [f"{name} of the search, not reranked and reranked: {found}" for name, found in verdict.names.items()]
    reason = "the order is not significantly better." if verdict.unharmed else "the search alone ranks better."
    return [*lines, "Passed the gate." if verdict.accepted else f"Rejected by the gate: {reason}"]


def _tutorial(run: Run) -> bool:
    return bool(run.settings.recipe == "tutorial")


if __name__ == "__main__":
    sys.exit(main())
