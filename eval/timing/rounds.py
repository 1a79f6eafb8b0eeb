"""Timing several ways of doing one thing side by side, so that a busy machine slows all of them alike."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from time import perf_counter
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from tqdm import tqdm

from eval.asking import WARM_UP

T = TypeVar("T")

Contender = Callable[[Sequence[str]], object]
"""Answers some questions."""


class Spread(NamedTuple):
    """The middle of several rounds, and the lowest and highest of them."""

    median: float
    low: float
    high: float


class Recorder(Generic[T]):
    """A contender that remembers what it ``found`` for each question.

    Args:
        answer: Returns for each of some questions what it found.
    """

    def __init__(self, answer: Callable[[Sequence[str]], Sequence[T]]) -> None:
        self._answer = answer
        self.found: dict[str, T] = {}

    def __call__(self, questions: Sequence[str]) -> None:
        """Answer questions."""
        self.found |= zip(questions, self._answer(questions), strict=True)


def interleave(
    contenders: Mapping[str, Contender],
    rounds: Sequence[Sequence[str]],
    seconds: dict[str, list[float]],
    *,
    name: str = "",
    before_each: Callable[[], object] = lambda: None,
) -> None:
    """Let every contender answer the questions of every round, and note its seconds per question.

    All answer one question that does not count before the first round. Each round begins with another contender, so
    that none always follows the same one.

    Args:
        contenders: By name.
        rounds: The questions of each; better none twice, as answers may be remembered.
        seconds: By name, one figure for each round. They are added one by one: after an interruption those of the
            rounds until then are there.
        name: Stands before the progress bar on stderr.
        before_each: Called before each contender's turn, not timed.
    """
    names = list(contenders)
    with tqdm(total=len(names) * (1 + len(rounds)), desc=name, unit="run") as bar:
        for one in names:
            before_each()
            contenders[one]([WARM_UP])
            bar.update()
        for number, questions in enumerate(rounds):
            first = number % len(names)
            for one in names[first:] + names[:first]:
                before_each()
                start = perf_counter()
                contenders[one](questions)
                seconds.setdefault(one, []).append((perf_counter() - start) / len(questions))
                bar.update()


def percentiles(ask: Callable[[str], object], questions: Sequence[str]) -> dict[str, float]:
    """Return the seconds of a question, p50 and p95, asked one at a time after one that does not count."""
    ask(WARM_UP)
    seconds = []
    for question in questions:
        start = perf_counter()
        ask(question)
        seconds.append(perf_counter() - start)
    p50, p95 = np.percentile(seconds, [50, 95]).tolist()
    return {"p50": p50, "p95": p95}


def spread(values: Sequence[float]) -> Spread:
    """Return the median of some figures between the lowest and the highest."""
    return Spread(median(values), min(values), max(values))


def ratio(slower: Sequence[float], faster: Sequence[float]) -> Spread:
    """Return how many times faster the second is, round by round: only what ran side by side is compared."""
    return spread([one / other for one, other in zip(slower, faster, strict=False)])


def to_json(seconds: Mapping[str, Sequence[float]], baseline: str) -> dict[str, dict[str, Any]]:
    """Return by contender its seconds per question and how many times faster than the baseline it is."""
    return {
        one: {
            "seconds_per_question": spread(own)._asdict(),
            "times_faster": ratio(seconds[baseline], own)._asdict(),
            "rounds": list(own),
        }
        for one, own in seconds.items()
    }
