"""Where the units of texts occur, packed small, and the BM25 scores of passages from it: those of Tantivy."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from hashlib import sha256
from math import log
from struct import Struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rag_app.lexical import K1

B = 0.75
Term = tuple[str, str]
"""The name of an analysis, and a unit that it finds."""

POSTING = np.dtype([("key", "<u4"), ("count", "<u2"), ("norm", "u1")])
"""That a passage has a unit so many times; and how long the passage is, see `norm_of`."""

_pack = Struct("<IHB").pack
_MOST = 2**16 - 1
_SPREAD = 16  # numbers for each key that an array may have
_UNIT = 200
"""The longest unit that is kept as it is, in characters; one that is longer is known by its hash."""


class Statistics(NamedTuple):
    """What BM25 has to know of all passages.

    Attributes:
        passages: How many there are.
        lengths: How many units each analysis finds in all of them together.
    """

    passages: int
    lengths: Mapping[str, int]


def stored_term(term: Term) -> Term:
    """Return what a unit is stored as: a database has no index over texts of any length."""
    analysis, unit = term
    return term if len(unit) <= _UNIT else (analysis, f"{unit[:_UNIT]}~{sha256(unit.encode()).hexdigest()}")


def pack_postings(
    passages: Iterable[tuple[int, Mapping[str, str]]], wanted: Collection[Term] | None = None
) -> dict[Term, bytes]:
    """Return the postings of each unit.

    Args:
        passages: Each by its key, with its units.
        wanted: Only of these; all if None.
    """
    found: defaultdict[Term, bytearray] = defaultdict(bytearray)
    for key, units in passages:
        for name, joined in units.items():
            every = joined.split()
            norm = norm_of(len(every))
            some = every if wanted is None else [unit for unit in every if (name, unit) in wanted]
            for unit, count in Counter(some).items():
                found[name, unit] += _pack(key, min(count, _MOST), norm)
    return {stored_term(term): bytes(packed) for term, packed in found.items()}


def unpack_postings(packed: bytes) -> NDArray[np.void]:
    """Return the postings that bytes hold, an array of `POSTING`."""
    return np.frombuffer(packed, POSTING)


def norm_of(length: int) -> int:
    """Return the byte in which Tantivy keeps the length of a text in units: exact to 40, then ever coarser."""
    if length < 24:
        return length
    rest = length - 24
    shift = max(0, rest.bit_length() - 4)
    return 24 + (rest if not shift else (rest >> shift & 7) | (shift + 1) << 3)


def _length_of(norm: int) -> int:
    if norm < 24:
        return norm
    rest = norm - 24
    shift = (rest >> 3) - 1
    return 24 + (rest if shift < 0 else (rest & 7 | 8) << shift)


LENGTHS = np.array([_length_of(norm) for norm in range(256)], np.float64)
"""The length that each byte of `norm_of` stands for."""


def rarity(frequency: float, passages: int) -> float:
    """Return the weight that BM25 gives a unit for the number of passages that have it, which may be an estimate."""
    return log(1 + (passages - frequency + 0.5) / (frequency + 0.5))


def highest_score(terms: Mapping[Term, float], frequencies: Mapping[Term, int], passages: int) -> float:
    """Return the highest score that a question could reach; see `rag_app.lexical.LexicalHit`.

    Args:
        terms: The weight of each unit of the question.
        frequencies: In how many passages each unit is; one that is in none may be left out.
        passages: How many there are.
    """
    return sum(
        weight * (K1 + 1) * rarity(frequencies.get(stored_term(term), 0), passages) for term, weight in terms.items()
    )


def score_postings(
    postings: Mapping[Term, NDArray[np.void]],
    terms: Mapping[Term, float],
    frequencies: Mapping[Term, int],
    statistics: Statistics,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the keys of the passages that have any of some units, and their BM25 scores.

    Args:
        postings: Of the units that any passage has.
        terms: The weight of each unit.
        frequencies: In how many passages each unit is.
        statistics: Of all passages.
    """
    keys, scores = [np.zeros(0, np.int64)], [np.zeros(0)]
    for term, weight in terms.items():
        stored = stored_term(term)
        if (found := postings.get(stored)) is None:
            continue
        mean = statistics.lengths[term[0]] / statistics.passages
        norms = K1 * (1 - B + B * LENGTHS / mean)
        counts = found["count"].astype(np.float64)
        most = weight * (K1 + 1) * rarity(frequencies[stored], statistics.passages)
        keys.append(found["key"].astype(np.int64))
        scores.append(most * counts / (counts + norms[found["norm"]]))
    return _sums(np.concatenate(keys), np.concatenate(scores))


def _sums(keys: NDArray[np.int64], values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the different keys, and the sum of the values of each."""
    if not len(keys):
        return keys, values.astype(np.float32)
    first = int(keys.min())
    if int(keys.max()) - first > _SPREAD * len(keys):
        every, places = np.unique(keys, return_inverse=True)
        return every, np.bincount(places, values, len(every)).astype(np.float32)
    sums = np.bincount(keys - first, values)  # without putting them in order, 10 times as fast
    found = np.flatnonzero(sums)
    return found + first, sums[found].astype(np.float32)
