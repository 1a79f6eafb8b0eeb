"""Scoring within limits: how far it goes, in which batches, and what it says it spent."""

from collections.abc import Sequence
from time import perf_counter, sleep

import pytest

from rag_app.reranking.budget import Limits, Pace, Spent, score_in_order
from rag_app.reranking.early_stop import EarlyStop
from rag_app.reranking.score_cache import Scored

FALLING = [0.9, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]


def run(
    limits: Limits,
    *,
    scores: Sequence[float] = FALLING,
    known: Sequence[int] = (),
    seconds: float = 0.0,
    pace: Pace | None = None,
) -> tuple[list[int], list[list[int]], Spent]:
    """Return which candidates were scored, in which batches, and what was spent; a pair takes so many seconds."""
    batches: list[list[int]] = []

    def score(numbers: Sequence[int]) -> list[Scored]:
        batches.append(list(numbers))
        sleep(seconds * len(numbers))
        return [Scored(scores[number]) for number in numbers]

    remembered = {number: Scored(scores[number]) for number in known}
    found, spent = score_in_order(
        len(scores), score, known=remembered, limits=limits, pace=pace or Pace(), start=perf_counter()
    )
    assert found == {number: Scored(scores[number]) for number in found}
    return list(found), batches, spent


def test_without_limits_all_are_scored_in_one_batch() -> None:
    found, batches, spent = run(Limits())

    assert batches == [found] == [list(range(12))]
    assert (spent.pairs, spent.cached, spent.stopped_by) == (12, 0, None)


@pytest.mark.parametrize(("pairs", "stopped"), [(1, "pairs"), (5, "pairs"), (12, None), (20, None)])
def test_pairs_limit_how_many_of_the_first_are_scored(pairs: int, stopped: str | None) -> None:
    found, batches, spent = run(Limits(max_pairs=pairs))

    assert batches == [found] == [list(range(min(pairs, 12)))]
    assert (spent.pairs, spent.stopped_by) == (min(pairs, 12), stopped)


def test_scores_that_are_known_are_not_scored_again_and_count_as_pairs() -> None:
    found, batches, spent = run(Limits(max_pairs=4), known=[0, 2, 9])

    assert found == [0, 1, 2, 3]
    assert batches == [[1, 3]]
    assert (spent.pairs, spent.cached, spent.stopped_by) == (2, 2, "pairs")


def test_time_limits_how_many_are_scored_and_is_overshot_by_little() -> None:
    found, batches, spent = run(Limits(budget_ms=100), scores=FALLING * 10, seconds=0.01)

    assert found == [number for batch in batches for number in batch] == list(range(len(found)))
    assert 5 <= len(found) <= 10
    assert spent.ms < 130
    assert spent.stopped_by == "budget"


def test_time_that_is_up_at_once_still_scores_a_batch() -> None:
    fresh, _, spent = run(Limits(budget_ms=1e-6))
    assert fresh == [0, 1, 2, 3]
    assert spent.stopped_by == "budget"
    pace = Pace()
    pace.measure(1, 0.5)
    assert run(Limits(budget_ms=1), pace=pace)[0] == [0]  # it is known that a pair takes half a second


def test_a_known_pace_fills_the_time_from_the_first_batch_on() -> None:
    pace = Pace()
    pace.measure(10, 0.01)

    _, batches, _ = run(Limits(budget_ms=30), scores=FALLING * 10, pace=pace)

    assert 10 <= len(batches[0]) <= 15  # half of the thirty that there is time for


def test_known_scores_take_no_time() -> None:
    pace = Pace()
    pace.measure(1, 0.5)

    found, batches, spent = run(Limits(budget_ms=1), known=range(9), pace=pace)

    assert found == [*range(9), 9]  # and one batch of what is new
    assert batches == [[9]]
    assert spent.cached == 9


def test_time_enough_scores_all() -> None:
    assert run(Limits(budget_ms=60_000))[2].stopped_by is None


def test_the_bound_stops_when_the_first_places_are_settled() -> None:
    bound = EarlyStop(drop=1.5, margin=1.0, places=1)

    found, _, spent = run(Limits(early_stop=bound, places=1))

    assert found == [0, 1, 2, 3]
    assert spent.stopped_by == "bound"


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(early_stop=EarlyStop(1.5, 9.0, 1), places=1), "the margin is too wide"),
        (Limits(early_stop=EarlyStop(1.5, 1.0, 1), places=2), "it does not pay for two places"),
        (Limits(early_stop=EarlyStop(1.5, 1.0, 1), places=None), "all are wanted"),
        (Limits(places=1), "there is no bound"),
    ],
)
def test_all_are_scored_where_the_bound_settles_nothing(limits: Limits, why: str) -> None:
    found, _, spent = run(limits)

    assert len(found) == 12, why
    assert spent.stopped_by is None


def test_limits_work_together() -> None:
    bound = EarlyStop(drop=1.5, margin=2.5, places=1)
    rising = [0.1] * 6 + [0.9] * 6

    found, _, spent = run(Limits(max_pairs=9, early_stop=bound, places=1), scores=rising)

    assert len(found) == 9
    assert spent.stopped_by == "pairs"


def test_no_candidates_spend_nothing() -> None:
    found, batches, spent = run(Limits(budget_ms=1, max_pairs=1), scores=[])

    assert (found, batches, spent.pairs, spent.stopped_by) == ([], [], 0, None)


def test_what_was_spent_is_kept_as_plain_numbers() -> None:
    assert Spent(3, 1, 12.34567, "pairs").record() == {"pairs": 3, "cached": 1, "ms": 12.346, "stopped_by": "pairs"}
