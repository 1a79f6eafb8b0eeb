"""Learn when reranking may stop early: the bound that `rag_app.reranking.early_stop` stops by.

It is learned from the scores of questions that the reranker was not trained on, each with all candidates of its search:
for every question and every number of candidates scored, had reranking stopped there, would the first places have come
out otherwise? The margin is the smallest with which that happens to no more than a small share of the questions.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finetune.linear_fit import Floats
from finetune.reranking import Candidates
from rag_app.compressors import load_reranker
from rag_app.reranking.early_stop import FIRST, EarlyStop, to_logits, write_early_stop

TOLERANCE = 0.002
"""The share of questions whose first places may come out otherwise: 0.2 points of hit@1 at most."""
PLACES = (1, 2, 3, 5, 10)
"""The numbers of first places that the bound has to hold for."""
WORTHWHILE = 0.1
"""The share of pairs that the bound has to save for a number of first places to be worth asking for."""
FEWEST = 100
"""Questions without which nothing is learned."""


def learn_early_stop(lists: Sequence[Floats], *, tolerance: float = TOLERANCE) -> EarlyStop | None:
    """Return a reranker's bound, or None if there are too few questions or it would hardly save any pairs.

    Args:
        lists: For each question the logits of its candidates in the order of the first stage, ``(n,)``; those of a
            reranker that was not trained on it.
        tolerance: The share of the questions whose first places may come out otherwise.
    """
    lists = [logits for logits in lists if len(logits) > FIRST]
    if len(lists) < FEWEST:
        return None
    drop = _fit_drop(lists)
    if drop <= 0:
        return None
    tolerated = int(tolerance * len(lists))
    margins = [
        np.sort([_needed(logits, drop, places) for logits in lists])[::-1][tolerated]  # as many lie above it
        for places in PLACES
    ]
    margin = float(max(margins))
    bound = EarlyStop(drop, float(np.nextafter(margin, np.inf)) if np.isfinite(margin) else 0.0, 1)
    paying = [places for places in PLACES if _saved(lists, bound, places) >= WORTHWHILE]
    return bound._replace(places=max(paying)) if paying else None


def add_early_stop(folder: Path, found: Sequence[Candidates], *, device: str | None = None) -> EarlyStop | None:
    """Learn the bound of the reranker in a folder, write it there, and return it; see `learn_early_stop`.

    Args:
        folder: Of a finished reranker that scores by the texts alone.
        found: Candidates of questions that it was not trained on, in the order of the search.
        device: See `rag_app.compressors.load_reranker`.
    """
    reranker = load_reranker(folder, device=device)
    pairs = [(one.query, passage) for one in found for passage in one.passages]
    ends = np.cumsum([len(one.passages) for one in found])[:-1]
    bound = learn_early_stop(np.split(to_logits(reranker.score_pairs(pairs, progress=True)), ends))
    if bound is not None:
        write_early_stop(folder, bound, questions=len(found), tolerance=TOLERANCE, places=PLACES)
    return bound


def _fit_drop(lists: Sequence[Floats]) -> float:
    """Return by how much logits fall with the logarithm of the rank, by least squares within the questions."""
    ranks = [_centred(np.log(np.arange(1.0, len(logits) + 1))) for logits in lists]
    products = sum(float(rank @ logits) for rank, logits in zip(ranks, lists, strict=True))
    return -products / sum(float(rank @ rank) for rank in ranks)


def _needed(logits: Floats, drop: float, places: int) -> float:
    """Return the margin above which reranking does not stop where the first places of a question would change."""
    needed = -np.inf
    for count in range(max(FIRST, places), len(logits)):
        nth_best = np.sort(logits[:count])[-places]
        if logits[count:].max() > nth_best:
            level = np.mean(logits[:count] + drop * np.log(np.arange(1, count + 1)))
            needed = max(needed, float(nth_best - level + drop * np.log(count + 1)))
    return needed


def _saved(lists: Sequence[Floats], bound: EarlyStop, places: int) -> float:
    """Return the share of all pairs that are not scored because of the bound."""
    scored = 0
    for logits in lists:
        count, check = 0, max(FIRST, places)
        while count < check:
            count = min(check, len(logits))
            check = min(bound.next_check(logits[:count], places), len(logits))
        scored += count
    return 1 - scored / sum(map(len, lists))


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values - values.mean())
