"""The losses of reranker training, and the rows of the data set that each takes."""

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetune.pairs import Pair

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from sentence_transformers import CrossEncoder

LOSSES = ("bce", "lambda")


def build_dataset(loss: str, pairs: Sequence[Pair]) -> "Dataset":
    """Return the rows that a loss of `build_loss` takes.

    For ``lambda`` a question with all its passages and labels; those without negatives are left out, as there
    is no order to learn. For ``bce`` a question with one passage and its label, the right passage first.
    """
    from datasets import Dataset

    lists = [(pair.query, [pair.passage, *pair.negatives]) for pair in pairs if pair.negatives or loss == "bce"]
    if loss == "lambda":
        return Dataset.from_dict(
            {
                "query": [query for query, _ in lists],
                "passages": [passages for _, passages in lists],
                "labels": [[1.0] + [0.0] * (len(passages) - 1) for _, passages in lists],
            }
        )
    return Dataset.from_dict(
        {
            "query": [query for query, passages in lists for _ in passages],
            "passage": [passage for _, passages in lists for passage in passages],
            "label": [float(rank == 0) for _, passages in lists for rank in range(len(passages))],
        }
    )


def build_loss(loss: str, model: "CrossEncoder", pairs: Sequence[Pair]) -> "torch.nn.Module":
    """Return a loss for the rows of `build_dataset`.

    ``bce`` is binary cross-entropy, in which the right passages weigh as much as all negatives together, so that
    a score of 0.5 stays the middle; ``lambda`` is LambdaLoss (Wang et al. 2018), which only learns the order of a
    question's passages: its scores mean nothing across questions, and no threshold can be put to them.
    """
    import torch
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss, LambdaLoss

    if loss == "lambda":
        return LambdaLoss(model, mini_batch_size=-1)
    ratio = sum(len(pair.negatives) for pair in pairs) / len(pairs)
    return BinaryCrossEntropyLoss(model, pos_weight=torch.tensor(ratio, device=model.device))


def rows_per_batch(settings: Namespace) -> int:
    """Return how many rows of `build_dataset` are ``--batch-size`` pairs of question and passage."""
    size: int = settings.batch_size
    return max(1, size // (1 + settings.negatives)) if settings.loss == "lambda" else size
