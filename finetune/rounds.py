"""The rounds of search training: each mines hard negatives with the model it begins with, and trains on them."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from finetune.embedding import save_trained
from finetune.losses import build_dataset, build_loss
from finetune.measures import Measure
from finetune.negatives import describe_mining, mine_negatives
from finetune.pairs import Pair, read_pairs, write_pairs
from finetune.processes import main_process
from finetune.run import Run
from finetune.search_data import SearchData
from rag_app.embeddings import ModelEmbeddings
from rag_app.index import build_index
from rag_app.retrieval import HybridRetriever

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer

MINED_DEPTH = 30
"""How many passages the search returns to mine from."""


class RoundData(NamedTuple):
    """What a round trains on.

    Attributes:
        rows: See `finetune.losses.build_dataset`.
        groups: Of each row; those of one repeat each other, see `finetune.search_data.SearchData`.
    """

    rows: "Dataset"
    groups: list[int]


def round_data(
    settings: Namespace, data: SearchData, pairs: Sequence[Pair], embeddings: ModelEmbeddings, folder: Path
) -> RoundData:
    """Return what a round trains on, with the hard negatives of `mine_round`.

    Raises:
        ValueError: See `finetune.losses.build_dataset`.
    """
    mined = mine_round(settings, data, pairs, embeddings, folder)
    return RoundData(build_dataset(settings, mined), [data.repeats[pair.doc_id] for pair in mined])


def mine_round(
    settings: Namespace, data: SearchData, pairs: Sequence[Pair], embeddings: ModelEmbeddings, folder: Path
) -> list[Pair]:
    """Return the pairs of a round with their hard negatives, from its folder if they were mined before.

    With ``--negatives 0`` there are none, not even those that a question brings.
    """
    if not settings.negatives:
        return [pair._replace(negatives=()) for pair in pairs]
    path = folder / "pairs.jsonl"
    if not path.exists():
        with TemporaryDirectory() as place:
            index = build_index(Path(place) / "index", data.train.passages.values(), embeddings)
            retriever = HybridRetriever(index=index, k=MINED_DEPTH)
            mined = mine_negatives(
                pairs, retriever, groups=data.groups, count=settings.negatives, margin=settings.margin
            )
        print(describe_mining(mined.shares(), settings.negatives))
        folder.mkdir(exist_ok=True)
        write_pairs(path, mined.pairs)
    return read_pairs(path)


def round_trainer(
    settings: Namespace,
    model: "SentenceTransformer",
    data: RoundData,
    folder: Path,
    measure: Measure,
    *,
    choose: bool,
) -> "SentenceTransformerTrainer":
    """Return the trainer of a round.

    Args:
        settings: See `finetune.mrc`.
        model: Trained from where it stands.
        data: From `round_data`.
        folder: For the checkpoints.
        measure: Drawn as the curve.
        choose: Whether the checkpoint that does best at it is kept; else the last.
    """
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.base.sampler import NoDuplicatesBatchSampler

    from finetune.batches import group_batches
    from finetune.training import one_device, shared_arguments

    batches = NoDuplicatesBatchSampler if settings.recipe == "tutorial" else group_batches(data.groups)
    metric = measure.main if choose else None
    return SentenceTransformerTrainer(
        model=model,
        args=one_device(
            SentenceTransformerTrainingArguments(**shared_arguments(settings, folder, metric=metric, batches=batches))
        ),
        train_dataset=data.rows,
        loss=build_loss(settings, model),
        evaluator=measure.evaluator,
    )


def begin_curve(run: Run, measure: Measure, scores: Mapping[str, float]) -> None:
    """Note where the curve of a run begins: what its model scores before the first step."""
    run.note(curve={"metric": measure.names[measure.main], "data": measure.data, "points": [[0, scores[measure.main]]]})


def finish_round(run: Run, trainer: "SentenceTransformerTrainer", folder: Path, measure: Measure) -> None:
    """Note the round's curve and save its model in ``folder/model``, which says that the round is finished."""
    from finetune.training import curve

    if main_process():
        (folder / "model.new").mkdir(exist_ok=True)
        save_trained(trainer.model, folder / "model.new")  # first: what a full disk stops is done again on resuming
        known = run.record.get("curve", {}).get("points", [])
        before = known[-1][0] if known else 0
        points = [(before + step, value) for step, value in curve(trainer.state.log_history, measure.main)]
        run.note(curve={"metric": measure.names[measure.main], "data": measure.data, "points": [*known, *points]})
        (folder / "model.new").rename(folder / "model")
