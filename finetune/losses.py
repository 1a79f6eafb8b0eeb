"""The losses of search training, and the columns of the data set that each takes."""

import random
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from finetune.pairs import Pair
from finetune.processes import processes

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer

LOSSES = ("mnrl", "cached-mnrl", "margin-mse")


def check_loss(settings: Namespace, model: "SentenceTransformer") -> None:
    """Check that the settings of the loss go together, before anything slow begins.

    Raises:
        ValueError: They do not; and what `load_reranker` raises, as for ImportError and OSError.
    """
    if (settings.loss == "margin-mse") != bool(settings.teacher) or (settings.teacher and not settings.negatives):
        raise ValueError(
            "--loss margin-mse learns from a reranker, and no other loss does: give it --teacher NAME and --negatives "
            f"above 0 (--loss {settings.loss}, --teacher {settings.teacher}, --negatives {settings.negatives})"
        )
    if settings.teacher:
        from rag_app.compressors import load_reranker

        load_reranker(settings.teacher)
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    if settings.loss == "cached-mnrl" and isinstance(model[0], StaticEmbedding):
        raise ValueError(f"{settings.model}: a static model is small enough for --loss mnrl, and has no cached-mnrl")
    dimension = _dimension(model) + settings.widen
    if too_many := [number for number in settings.matryoshka or () if number > dimension]:
        raise ValueError(f"--matryoshka {too_many[0]} is more than the {dimension} dimensions of {settings.model}")


def build_loss(settings: Namespace, model: "SentenceTransformer") -> "torch.nn.Module":
    """Return the loss that the settings name, for the columns of `build_dataset`.

    ``mnrl`` takes the other passages of the batch, and every question's hard negatives, for wrong (Henderson et al.
    2017); ``cached-mnrl`` does it in little memory (Gao et al. 2021); ``margin-mse`` learns a reranker's score margins
    (Hofstätter et al. 2020). With several processes passages are gathered from all: their batches are shares of one.
    ``settings.matryoshka`` applies the loss to the first so many dimensions as well (Kusupati et al. 2022).
    """
    from sentence_transformers.sentence_transformer import losses

    gather = processes() > 1
    if settings.loss == "margin-mse":
        loss: torch.nn.Module = losses.MarginMSELoss(model, similarity_fct=partial(_scaled_cosine, settings.scale))
    elif settings.loss == "cached-mnrl":
        loss = losses.CachedMultipleNegativesRankingLoss(
            model,
            scale=settings.scale,
            mini_batch_size=settings.mini_batch_size,
            gather_across_devices=gather,
        )
    else:
        loss = losses.MultipleNegativesRankingLoss(model, scale=settings.scale, gather_across_devices=gather)
    if settings.matryoshka:
        loss = losses.MatryoshkaLoss(model, loss, sorted({_dimension(model), *settings.matryoshka}, reverse=True))
    return loss


def build_dataset(settings: Namespace, pairs: Sequence[Pair]) -> "Dataset":
    """Return the pairs as columns: query, passage, hard negatives, and a teacher's margins for ``margin-mse``.

    All rows need the same number of negatives: one with fewer repeats its own, or takes those of a random other row, or
    that row's passage where they are its own passage.

    Raises:
        ValueError: ``margin-mse`` without hard negatives; and what `load_reranker` raises.
    """
    from datasets import Dataset

    columns: dict[str, Any] = {"query": [pair.query for pair in pairs], "passage": [pair.passage for pair in pairs]}
    most = max((len(pair.negatives) for pair in pairs), default=0)
    negatives = _fill(pairs, most, settings.seed)
    for number in range(most):
        columns[f"negative_{number + 1}"] = [row[number] for row in negatives]
    if settings.loss == "margin-mse":
        if not most:
            raise ValueError(
                "No hard negative was found, and --loss margin-mse needs them. Lower --margin, or add data"
            )
        columns["label"] = _margins(settings.teacher, pairs, negatives)
    return Dataset.from_dict(columns)


def _fill(pairs: Sequence[Pair], count: int, seed: int) -> list[list[str]]:
    chance = random.Random(seed)  # noqa: S311
    having = [pair for pair in pairs if pair.negatives]
    rows = []
    for pair in pairs:
        own = pair.negatives
        if not own and count:
            other = chance.choice(having)
            own = tuple(text for text in other.negatives if text != pair.passage) or (other.passage,)
        rows.append([own[number % len(own)] for number in range(count)])
    return rows


def _margins(teacher: str, pairs: Sequence[Pair], negatives: Sequence[Sequence[str]]) -> list[list[float]]:
    """Return how much higher the teacher's logit is for the right passage than for each negative, ``(n, count)``."""
    from rag_app.compressors import load_reranker

    texts = [
        (pair.query, text) for pair, wrong in zip(pairs, negatives, strict=True) for text in (pair.passage, *wrong)
    ]
    scores = np.asarray(load_reranker(teacher).score_pairs(texts, progress=True), dtype=np.float64)
    scores = scores.clip(1e-7, 1 - 1e-7)  # a certain one is 0 or 1 in float32
    logits = np.log(scores / (1 - scores)).reshape(len(pairs), -1)
    margins: list[list[float]] = (logits[:, :1] - logits[:, 1:]).tolist()
    return margins


def _dimension(model: "SentenceTransformer") -> int:
    return model.get_embedding_dimension() or 0


def _scaled_cosine(scale: float, left: "torch.Tensor", right: "torch.Tensor") -> "torch.Tensor":
    from sentence_transformers.util import pairwise_cos_sim

    return scale * pairwise_cos_sim(left, right)
