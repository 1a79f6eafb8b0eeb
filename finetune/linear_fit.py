"""Fitting a linear reranker: weights of features that rank, and a score that is a probability."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_NEVER = -1e9  # a score that no candidate has
_SPREAD = 1e-4  # features that vary less within lists say nothing


class CandidateLists(NamedTuple):
    """The candidates of n questions, at most k of each, in arrays; rows behind a list's last candidate are empty.

    Attributes:
        features: ``(n, k, f)`` float64.
        present: Which rows hold a candidate, ``(n, k)``.
        relevant: Which candidates answer their question, ``(n, k)``.
        weights: How much each question counts, ``(n,)``; their mean should be 1.
    """

    features: Floats
    present: NDArray[np.bool_]
    relevant: NDArray[np.bool_]
    weights: Floats

    def take(self, chosen: NDArray[np.bool_]) -> "CandidateLists":
        """Return the lists of the chosen questions, ``(n,)``."""
        return CandidateLists(self.features[chosen], self.present[chosen], self.relevant[chosen], self.weights[chosen])


def pad_lists(features: Sequence[Floats], relevant: Sequence[Sequence[bool]], weights: Floats) -> CandidateLists:
    """Return lists of different lengths as arrays.

    Args:
        features: Of each question, ``(candidates, f)``.
        relevant: Which of its candidates answer it.
        weights: How much it counts.
    """
    count, longest, width = len(features), max(map(len, features)), features[0].shape[1]
    padded = np.zeros((count, longest, width))
    present, right = np.zeros((count, longest), bool), np.zeros((count, longest), bool)
    for number, (own, answers) in enumerate(zip(features, relevant, strict=True)):
        padded[number, : len(own)] = own
        present[number, : len(own)] = True
        right[number, : len(own)] = answers
    return CandidateLists(padded, present, right, weights)


def fit_weights(lists: CandidateLists, *, ridge: float) -> Floats:
    """Return the weight of each feature, ``(f,)``, with which answers score above the other candidates of their list.

    A conditional logit (McFadden, "Conditional logit analysis of qualitative choice behavior", 1974): the likelihood
    that a draw from the softmax over a list is one of its answers, whichever. Lists without an answer, or with nothing
    else, say nothing about that.

    Args:
        lists: The candidates.
        ridge: Strength of the pull to zero, on features divided by their deviation within lists.

    Raises:
        ValueError: No list has both an answer and another candidate.
    """
    told = np.logical_and(lists.relevant.any(1), (lists.present & ~lists.relevant).any(1))
    if not told.any():
        raise ValueError(f"None of {len(told)} questions has both an answer and a wrong passage among its candidates")
    lists = lists.take(told)
    spread = _spread_within(lists)
    features, weights = torch.from_numpy(lists.features / spread), torch.from_numpy(lists.weights)
    absent, wrong = torch.from_numpy(~lists.present), torch.from_numpy(~lists.relevant)

    def loss(parameters: torch.Tensor) -> torch.Tensor:
        scores = (features @ parameters).masked_fill(absent, _NEVER)
        surprise = torch.logsumexp(scores, 1) - torch.logsumexp(scores.masked_fill(wrong, _NEVER), 1)
        return (weights * surprise).sum() + ridge * parameters.square().sum()

    return _minimise(loss, features.shape[2]) / spread


def fit_probability(scores: Floats, lists: CandidateLists) -> tuple[float, float]:
    """Return the scale and bias that make scores the log odds that a candidate answers its question.

    Platt, "Probabilistic outputs for support vector machines", 1999, with his targets, which keep the odds finite where
    scores tell answers from all other candidates. Lists without an answer count too.

    Args:
        scores: Of each candidate, ``(n, k)``, better of questions that its weights were not fitted on.
        lists: The candidates.
    """
    right = lists.relevant[lists.present]
    target = np.where(right, (right.sum() + 1) / (right.sum() + 2), 1 / ((~right).sum() + 2))
    rows = torch.from_numpy(scores[lists.present])
    targets, weights = (
        torch.from_numpy(target),
        torch.from_numpy(np.broadcast_to(lists.weights[:, None], scores.shape)[lists.present].copy()),
    )

    def loss(parameters: torch.Tensor) -> torch.Tensor:
        logits = parameters[0] * rows + parameters[1]
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, weights, reduction="sum")

    scale, bias = _minimise(loss, 2).tolist()
    return scale, bias


def cross_validate(lists: CandidateLists, folds: NDArray[np.int64], *, ridge: float) -> Floats:
    """Return the score of each candidate with weights fitted on the other folds, ``(n, k)``.

    Args:
        lists: The candidates.
        folds: The fold of each question, ``(n,)``.
        ridge: See `fit_weights`.

    Raises:
        ValueError: See `fit_weights`.
    """
    scores = np.zeros(lists.present.shape)
    for fold in np.unique(folds):
        own = folds == fold
        scores[own] = lists.features[own] @ fit_weights(lists.take(~own), ridge=ridge)
    return scores


def _spread_within(lists: CandidateLists) -> Floats:
    """Return the standard deviation of each feature around the mean of its list, ``(f,)``."""
    rows = lists.present[:, :, None]
    means = (lists.features * rows).sum(1, keepdims=True) / rows.sum(1, keepdims=True)
    variance: Floats = (((lists.features - means) ** 2) * rows).sum((0, 1)) / rows.sum()
    return np.maximum(np.sqrt(variance), _SPREAD)


def _minimise(loss: Callable[[torch.Tensor], torch.Tensor], count: int) -> Floats:
    """Return the parameters, ``(count,)``, at which a loss is least, by L-BFGS from zero."""
    parameters = torch.zeros(count, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([parameters], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimiser.zero_grad()
        value = loss(parameters)
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return parameters.detach().numpy()
