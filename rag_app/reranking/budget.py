"""Scoring candidates in the order of the first stage, until time, pairs or what can still change are used up."""

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, Literal, NamedTuple

import numpy as np

from rag_app.forking import Lock
from rag_app.reranking.early_stop import FIRST, EarlyStop, to_logits
from rag_app.reranking.score_cache import Scored

StoppedBy = Literal["budget", "pairs", "bound"]
"""Why candidates were left unscored: the time was up, the pairs were, or none of them could change the first places."""


class Limits(NamedTuple):
    """What a reranker may spend on one question; None where there is no limit.

    Attributes:
        budget_ms: Milliseconds.
        max_pairs: Candidates, the first ones.
        early_stop: The model's bound.
        places: How many of the first places the bound has to settle; None if all.
    """

    budget_ms: float | None = None
    max_pairs: int | None = None
    early_stop: EarlyStop | None = None
    places: int | None = None


class Spent(NamedTuple):
    """What a reranker spent on one question.

    Attributes:
        pairs: How many pairs the model scored.
        cached: How many scores were known already.
        ms: Milliseconds.
        stopped_by: Why it left candidates unscored; None if it left none.
    """

    pairs: int
    cached: int
    ms: float
    stopped_by: StoppedBy | None

    def record(self) -> dict[str, Any]:
        """Return it as it is kept in metadata."""
        return {**self._asdict(), "ms": round(self.ms, 3)}


class Pace:
    """How long a pair takes, measured. Safe to share between threads."""

    def __init__(self) -> None:
        self._seconds: float | None = None
        self._lock = Lock()

    def measure(self, pairs: int, seconds: float) -> None:
        """Take note of how long some pairs took, the latest ones counting most."""
        with self._lock:
            now = seconds / pairs
            self._seconds = now if self._seconds is None else (self._seconds + now) / 2

    def pairs_in(self, seconds: float) -> int:
        """Return how many pairs to score next: half of what the time is enough for while that is many, else all.

        Two pairs that together took longer than expected then cost little: the rest is planned anew.
        """
        if self._seconds is None:
            return FIRST
        affordable = int(max(0.0, seconds) / max(self._seconds, 1e-9))
        return affordable if affordable <= 2 * FIRST else affordable // 2


def score_in_order(
    count: int,
    score: Callable[[Sequence[int]], Sequence[Scored]],
    *,
    known: Mapping[int, Scored],
    limits: Limits,
    pace: Pace,
    start: float,
) -> tuple[dict[int, Scored], Spent]:
    """Score candidates from the first on, in batches, as far as the limits allow; at least one batch is scored.

    A batch is as large as the limits let it be, as the model is quickest with many pairs, sorted by length, at once.
    Scores that are known take none of the time, but count as pairs, so that the same question gets the same answer.

    Args:
        count: How many candidates there are.
        score: Scores the candidates with these numbers.
        known: What need not be scored, by number.
        limits: What may be spent.
        pace: How long a pair took until now; is told of the new ones.
        start: When the time began, as `time.perf_counter` has it.

    Returns:
        The scores by number, those of the first candidates, and what was spent.
    """
    scored: dict[int, Scored] = {}
    pairs = 0
    most = count if limits.max_pairs is None else min(count, limits.max_pairs)
    stopped_by: StoppedBy | None = None
    while (done := len(scored)) < count:
        if done == most:
            stopped_by = "pairs"
            break
        end = min(most, _next_check(scored, limits, count))
        if end == done:
            stopped_by = "bound"
            break
        if limits.budget_ms is not None:
            left = limits.budget_ms / 1000 - (perf_counter() - start)
            end = _affordable(range(done, end), known, max(pace.pairs_in(left), 0 if scored else 1))
        if end == done:
            stopped_by = "budget"
            break
        batch = [number for number in range(done, end) if number not in known]
        if batch:
            before = perf_counter()
            fresh = dict(zip(batch, score(batch), strict=True))
            pace.measure(len(batch), perf_counter() - before)
            pairs += len(batch)
        scored |= {number: known[number] if number in known else fresh[number] for number in range(done, end)}
    return scored, Spent(pairs, len(scored) - pairs, 1000 * (perf_counter() - start), stopped_by)


def _next_check(scored: Mapping[int, Scored], limits: Limits, count: int) -> int:
    """Return up to which candidate to score before the bound is asked again; how many are scored if all is settled."""
    if limits.early_stop is None or limits.places is None or limits.places > limits.early_stop.places:
        return count
    if not scored:
        return max(FIRST, limits.places)
    logits = to_logits(np.array([scored[number].score for number in range(len(scored))]))
    return min(count, limits.early_stop.next_check(logits, limits.places))


def _affordable(numbers: range, known: Mapping[int, Scored], room: int) -> int:
    """Return where the first candidates end of which no more than ``room`` have to be scored."""
    for number in numbers:
        if number not in known:
            if not room:
                return number
            room -= 1
    return numbers.stop
