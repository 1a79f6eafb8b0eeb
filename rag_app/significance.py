"""Whether two systems differ by more than chance on the same questions."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 4_000_000  # random signs drawn together
_BITS_PER_COUNT = 75  # so many random bits take as long as one binomial number


class Comparison(NamedTuple):
    """How the scores of the same questions changed.

    Attributes:
        before: Their mean.
        after: Likewise.
        wins: How many questions score higher after.
        losses: How many score lower.
        ties: How many score the same.
        p: How often a gain as large (two-sided: a difference as large) would come about if before and after differed
            by chance alone.
    """

    before: float
    after: float
    wins: int
    losses: int
    ties: int
    p: float

    def __str__(self) -> str:
        return (
            f"{self.before:.3f} to {self.after:.3f}: {self.wins:,} questions better, {self.losses:,} worse, "
            f"{self.ties:,} the same (p = {self.p:.2g})"
        )


def compare(
    before: Sequence[float], after: Sequence[float], *, two_sided: bool = False, rounds: int = 10_000, seed: int = 0
) -> Comparison:
    """Compare the scores of the same questions by a paired randomisation test.

    If before and after differed by chance alone, every difference could as well have the other sign: p is the share of
    all ways to sign them that gain as much (Smucker, Allan and Carterette, "A comparison of statistical significance
    tests for information retrieval evaluation", CIKM 2007). It is exact where there are at most ``rounds`` ways, and
    else estimated from so many random ones, and then never 0.

    Args:
        before: One score per question.
        after: Those of the same questions, in the same order.
        two_sided: Count ways that lose as much too: for two systems of which neither was expected to be better.
        rounds: How many random ways to draw.
        seed: Chooses them.

    Raises:
        ValueError: There is no question, or not the same number before and after.
    """
    if not before or len(before) != len(after):
        raise ValueError(f"Want a score of each question before and after, got {len(before)} and {len(after)}")
    differences = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    changed = differences[differences != 0]
    wins = int((changed > 0).sum())
    return Comparison(
        before=float(np.mean(before)),
        after=float(np.mean(after)),
        wins=wins,
        losses=len(changed) - wins,
        ties=len(differences) - len(changed),
        p=_p(changed, two_sided, rounds, seed),
    )


def _p(changed: NDArray[np.float64], two_sided: bool, rounds: int, seed: int) -> float:
    gain = float(changed.sum())
    least = (abs(gain) if two_sided else gain) - 1e-9  # sums of the same numbers differ in the last digits
    exact = len(changed) < rounds.bit_length()  # there are at most as many ways as rounds
    if exact:
        ways = np.arange(2 ** len(changed))[:, None] >> np.arange(len(changed)) & 1
        sums = (2.0 * ways - 1) @ np.abs(changed)
    else:
        sums = _random_sums(np.abs(changed), rounds, np.random.default_rng(seed))
    as_large = int(((np.abs(sums) if two_sided else sums) >= least).sum())
    return as_large / len(sums) if exact else (as_large + 1) / (rounds + 1)


def _random_sums(sizes: NDArray[np.float64], rounds: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Return ``(rounds,)`` sums of these numbers, each with a random sign."""
    kinds, counts = np.unique(sizes, return_counts=True)
    # Hits and reciprocal ranks take few values: how many of each have a plus is binomial, whatever the number of
    # questions. Else a sign needs one random bit.
    draw = (
        partial(_draw_counts, kinds, counts)
        if len(kinds) * _BITS_PER_COUNT < len(sizes)
        else partial(_draw_bits, sizes)
    )
    step = max(1, _AT_ONCE // len(sizes))
    return np.concatenate([draw(min(step, rounds - start), random) for start in range(0, rounds, step)])


def _draw_counts(
    kinds: NDArray[np.float64], counts: NDArray[np.intp], rows: int, random: np.random.Generator
) -> NDArray[np.float64]:
    positive = random.binomial(counts, 0.5, size=(rows, len(kinds)))
    sums: NDArray[np.float64] = (2 * positive - counts) @ kinds
    return sums


def _draw_bits(sizes: NDArray[np.float64], rows: int, random: np.random.Generator) -> NDArray[np.float64]:
    drawn = np.frombuffer(random.bytes(rows * -(-len(sizes) // 8)), dtype=np.uint8).reshape(rows, -1)
    positive = np.unpackbits(drawn, axis=1, count=len(sizes))
    sums: NDArray[np.float64] = 2 * (positive @ sizes) - sizes.sum()
    return sums
