"""How sure the figures are: intervals of a mean, and every two systems compared."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from eval.results import Interval, Pair
from rag_app.significance import compare

LEVEL = 0.05
"""Below this p a difference counts: how often chance alone may be taken for one, at most."""
ROUNDS = 10_000
"""How often questions are drawn again, or signs of differences."""

_Z = 1.959963984540054  # of the normal distribution's middle, 95% lies within so many standard deviations
_AT_ONCE = 4_000_000  # random numbers drawn together
_DRAWS_PER_COUNT = 50  # so many single draws take as long as one binomial number


def interval(scores: Sequence[float], *, rounds: int = ROUNDS) -> Interval:
    """Return the mean of the questions' scores and its 95% interval, by the percentile bootstrap.

    As many questions are drawn with replacement as there are, ``rounds`` times; the interval holds the middle 95% of
    the means (Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13). With few questions it is
    somewhat too narrow: simulated, it held the true MRR of 0.9 in 91% of the cases with 22 questions, in 94% with 50.

    Where all questions score the same, drawing them again shows nothing and would claim certainty. Then the interval is
    Wilson's of a share of 0 or of 1 (`wilson`), or what that means for another score: of n questions, a kind that
    none of them showed may make up z²/(n + z²), and may score 0 or 1.

    Args:
        scores: One per question, 0 to 1.
        rounds: How often all questions are drawn; the same ones each time.

    Raises:
        ValueError: There is no score, or one is not between 0 and 1.
    """
    return _bootstrap(_checked(scores), 0.0, 1.0, rounds)


def difference_interval(before: Sequence[float], after: Sequence[float]) -> Interval:
    """Return the mean difference of the same questions' scores, after less before, and its interval; see `interval`.

    Questions are drawn with both their scores, so that hard questions being hard for both does not widen the interval.

    Raises:
        ValueError: There is no question, not the same number of scores, or one is not between 0 and 1.
    """
    if len(before) != len(after):
        raise ValueError(f"Want a score of each question before and after, got {len(before)} and {len(after)}")
    return _bootstrap(_checked(after) - _checked(before), -1.0, 1.0, ROUNDS)


def wilson(successes: int, n: int) -> Interval:
    """Return a share and its 95% score interval (Wilson, "Probable inference ...", JASA 22, 1927).

    It stays within 0 and 1, and says something also where all or none succeed: none of 50 may still be 7%.

    Args:
        successes: How many of them.
        n: How many there are.

    Raises:
        ValueError: There is none, or there are more or less successes than can be.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"Want 0 to n successes and n of at least 1, got {successes} of {n}")
    share, z2 = successes / n, _Z**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = _Z * sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low = 0.0 if successes == 0 else middle - reach  # exactly, whatever the last digit says
    return Interval(share, low, 1.0 if successes == n else middle + reach)


def holm(ps: Sequence[float]) -> list[float]:
    """Return p values corrected for how many there are: rejecting those below 5% is wrong anywhere 5% of the time.

    The smallest is multiplied by their number, the next by one less, and so on; none gets smaller than one before it,
    or larger than 1 (Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 1979).

    Args:
        ps: In any order, in which the corrected ones come back.
    """
    corrected = [0.0] * len(ps)
    largest = 0.0
    for rank, position in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[position]))
        corrected[position] = largest
    return corrected


def enough_rounds(comparisons: int) -> int:
    """Return how many random signs to draw so that the least p possible is small enough after Holm's correction."""
    return max(ROUNDS, 40 * comparisons)


def compare_all(scores: Mapping[str, Mapping[str, float]], *, against: str | None = None, seed: int = 0) -> list[Pair]:
    """Compare every two systems by a two-sided paired randomisation test, corrected for the number of pairs (Holm).

    Args:
        scores: One measure's score of every question, by system and question id.
        against: Compare the others with this system only.
        seed: Chooses the random signs.

    Returns:
        The first system against each later one, then the second, and so on; none for a single system.

    Raises:
        ValueError: There is no question, or the systems have not been asked the same ones.
    """
    columns = _columns(scores)
    pairs = [(against, name) for name in columns if name != against] if against else list(combinations(columns, 2))
    rounds = enough_rounds(len(pairs))
    comparisons = [
        compare(columns[before], columns[after], two_sided=True, rounds=rounds, seed=seed) for before, after in pairs
    ]
    corrected = holm([comparison.p for comparison in comparisons])
    return [
        Pair(before, after, comparison, p)
        for (before, after), comparison, p in zip(pairs, comparisons, corrected, strict=True)
    ]


def _columns(scores: Mapping[str, Mapping[str, float]]) -> dict[str, list[float]]:
    """Return each system's scores, of the questions in the first system's order."""
    first = next(iter(scores), "")
    for name, own in scores.items():
        if own.keys() != scores[first].keys():
            some = sorted(own.keys() ^ scores[first].keys())[:3]
            raise ValueError(f"{first!r} and {name!r} were not asked the same questions: {', '.join(some)} ...")
    return {name: [own[question] for question in scores[first]] for name, own in scores.items()}


def _bootstrap(values: NDArray[np.float64], lowest: float, highest: float, rounds: int) -> Interval:
    n, mean = len(values), float(values.mean())
    kinds, counts = np.unique(values, return_counts=True)
    if len(kinds) == 1:
        unseen = _Z**2 / (n + _Z**2)
        return Interval(mean, mean + unseen * (lowest - mean), mean + unseen * (highest - mean))
    random = np.random.default_rng(0)
    means = np.empty(rounds)
    # Most measures take few values: how often each is drawn is multinomial, whatever the number of questions.
    counted = len(kinds) * _DRAWS_PER_COUNT < n
    step = max(1, _AT_ONCE // (len(kinds) if counted else n))
    for start in range(0, rounds, step):
        rows = min(step, rounds - start)
        if counted:
            means[start : start + rows] = random.multinomial(n, counts / n, size=rows) @ kinds / n
        else:
            means[start : start + rows] = values[random.integers(0, n, size=(rows, n), dtype=np.int32)].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(mean, float(low), float(high))


def _checked(scores: Sequence[float]) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=np.float64)
    if not len(values) or not ((values >= 0) & (values <= 1)).all():
        found = f"{len(values)} from {values.min()} to {values.max()}" if len(values) else "none"
        raise ValueError(f"Want at least one score and all between 0 and 1, got {found}")
    return values
