"""Fusing what several searches of one question say about each candidate into one score."""

from collections.abc import Callable, Mapping
from statistics import fmean, pstdev

Scores = Mapping[str, Mapping[str, float]]
"""By stage, the score of each candidate's id; higher is better. Lexical scores are coverages, dense ones cosines."""

PIVOT = 0.16
"""The lexical coverage of the best candidate below which the words of a question are not trusted fully. Questions in
words of their own reach 0.05 to 0.15, and of those with a slip in every tenth syllable 19 in 20 more than 0.12."""

SLOPE = 5.0
"""By how much the share of dense search grows as that coverage falls below `PIVOT`."""


def adaptive_sum(scores: Scores, weights: Mapping[str, float]) -> dict[str, float]:
    """Return the weighted mean of coverage and cosine, dense search counting more where hardly any word matches.

    Coverage and cosine are comparable between questions, so no standardising is needed, and a question that shares no
    word with any passage is decided by its meaning: the dense share grows by `SLOPE` times as much as the best
    coverage falls short of `PIVOT`. A mistyped question shares few words too, but its vector suffers even more, so the
    pivot is below what most of them reach. Chosen on the train questions of ``odqa_ko`` and of the sample; see
    ``finetune/LOG.md``.
    """
    shares = adaptive_shares(scores, weights)
    candidates = _candidates(scores)
    return {id_: sum(share * scores[stage].get(id_, 0.0) for stage, share in shares.items()) for id_ in candidates}


def adaptive_shares(scores: Scores, weights: Mapping[str, float]) -> dict[str, float]:
    """Return what each stage that found anything counts for in `adaptive_sum`, 0 to 1, together 1."""
    shares = _shares(scores, weights)
    if len(shares) > 1:
        best = max(scores["lexical"].values(), default=0.0)
        dense = min(1.0, shares["dense"] + SLOPE * max(0.0, PIVOT - best))
        shares = {"lexical": 1.0 - dense, "dense": dense}
    return shares


def standardised_sum(scores: Scores, weights: Mapping[str, float]) -> dict[str, float]:
    """Return each candidate's weighted mean of standardised scores (mean 0, deviation 1 over the stage's candidates).

    A candidate that a stage lacks gets that stage's lowest score. Bruch, Gai and Ingber, "An Analysis of Fusion
    Functions for Hybrid Retrieval", TOIS 2023, find such convex sums better than reciprocal ranks.
    """
    fused = dict.fromkeys(_candidates(scores), 0.0)
    for stage, share in _shares(scores, weights).items():
        found = scores[stage]
        mean, deviation = fmean(found.values()), pstdev(found.values()) or 1.0
        lowest = min(found.values())
        for id_ in fused:
            fused[id_] += share * (found.get(id_, lowest) - mean) / deviation
    return fused


def reciprocal_rank(scores: Scores, weights: Mapping[str, float], *, k: int = 60) -> dict[str, float]:
    """Return each candidate's weighted sum of ``1 / (k + rank)``, ranks from 1; a stage that lacks it adds nothing.

    Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods",
    SIGIR 2009.
    """
    fused = dict.fromkeys(_candidates(scores), 0.0)
    for stage, found in scores.items():
        for id_, rank in ranks(found).items():
            fused[id_] += weights[stage] / (k + rank)
    return fused


FUSIONS: dict[str, Callable[[Scores, Mapping[str, float]], dict[str, float]]] = {
    "adaptive": adaptive_sum,
    "standardised": standardised_sum,
    "rrf": reciprocal_rank,
}


def ranks(scores: Mapping[str, float]) -> dict[str, int]:
    """Return each id's rank from 1, in order; equal scores by id."""
    order = sorted(scores, key=lambda id_: (-scores[id_], id_))
    return {id_: rank for rank, id_ in enumerate(order, start=1)}


def _candidates(scores: Scores) -> list[str]:
    return list(dict.fromkeys(id_ for found in scores.values() for id_ in found))


def _shares(scores: Scores, weights: Mapping[str, float]) -> dict[str, float]:
    """Return the weights of the stages that found anything, scaled to sum to 1."""
    total = sum(weights[stage] for stage, found in scores.items() if found)
    return {stage: weights[stage] / total for stage, found in scores.items() if found}
