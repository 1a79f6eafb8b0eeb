"""The highest BM25 score that a question could reach, from a sample of the passages."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

from rag_app.lexical import K1
from rag_app.stores.postings import rarity

SAMPLE = 5000
"""How many passages are looked at, all where there are fewer."""


class Frequencies(NamedTuple):
    """In how many of some passages each unit stands.

    Attributes:
        units: By analysis and unit; those that stand in none are not there.
        seen: How many passages were looked at.
    """

    units: Mapping[tuple[str, str], int]
    seen: int

    @classmethod
    def of(cls, passages: Iterable[Mapping[str, str]]) -> Self:
        """Count the units of passages: by analysis, joined by spaces."""
        units: Counter[tuple[str, str]] = Counter()
        seen = 0
        for passage in passages:
            seen += 1
            units.update((name, unit) for name, joined in passage.items() for unit in set(joined.split()))
        return cls(units, seen)

    def upper_bound(self, terms: Mapping[tuple[str, str], float], total: int) -> float:
        """Return what a passage would score that holds each unit of a question without end.

        Args:
            terms: The weight of each unit, by analysis and unit.
            total: How many passages there are. If they are more than were looked at, a unit is taken to be as frequent
                among all as among those, and one that stands in none of those half as frequent as one that stands in
                one.
        """
        total = max(total, self.seen)
        scale = total / self.seen if self.seen else 1.0
        rare = 0.5 * scale if total > self.seen else 0.0
        found = ((weight, self.units.get(term, 0) * scale or rare) for term, weight in terms.items())
        return sum(weight * (K1 + 1) * rarity(df, total) for weight, df in found)
