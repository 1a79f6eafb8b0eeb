"""Which texts say nearly the same: wire stories, corrections, templates, by the sketches of their word 4-grams.

Nearly the same are texts that share at least half of the 64 smallest hashes of their word 4-grams: the sketch of
Broder, "On the resemblance and containment of documents", 1997. A text of up to 64 different 4-grams is its own sketch,
so that short texts are compared exactly: they must share half of the 4-grams of the longer one. A short text repeated
inside one more than twice as long is not found. Case, punctuation and spelling (`rag_app.korean.normalise`) make no
difference. The same pairs are found in every process and on every machine.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from rag_app.korean import normalise

SHINGLE = 4
"""Words in a shingle."""

SKETCH = 64
"""How many of a text's shingle hashes, the smallest, are its sketch."""

_WORD = re.compile(r"[^\W_]+")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # any odd number without pattern makes the order of the words count
_AT_ONCE = 1_000_000  # candidates, among them repeated ones, held in memory
_COMPARED = 50_000  # pairs in one matrix, 25 MB

_Integers = NDArray[np.int64]


def near_duplicates(texts: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield every two of the texts that are nearly the same, by their numbers, the greater first, each pair once.

    Of n copies of one text that are n (n - 1) / 2 pairs.
    """
    owners, terms, table = _sketch_table(sketch_texts(texts))
    order = np.argsort(terms, kind="stable")  # by term, the texts that have it in ascending order
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    # Every text is compared with those before it that have one of its terms.
    starts = np.searchsorted(terms[order], terms)
    yield from _nearly_same(owners, starts, places, owners[order], table, table)


def near_duplicates_of(texts: Iterable[str], others: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield every text with every one of the others that is nearly the same, by their numbers, each pair once."""
    first = sketch_texts(texts)
    owners, terms, table = _sketch_table([*first, *sketch_texts(others)])
    own = owners < len(first)
    order = np.argsort(terms[~own], kind="stable")
    others_terms = terms[~own][order]
    starts, ends = (np.searchsorted(others_terms, terms[own], side=side) for side in ("left", "right"))
    pairs = _nearly_same(owners[own], starts, ends, owners[~own][order], table, table)
    yield from ((text, other - len(first)) for text, other in pairs)


def sketch_texts(texts: Iterable[str]) -> list[NDArray[np.uint64]]:
    """Return the sketch of each text: the smallest hashes of its word 4-grams, ascending, each once.

    A text of one to three words is one shingle; one without words has an empty sketch.
    """
    return list(map(_sketch, texts))


@lru_cache(maxsize=4096)  # 2 MB: searches find the same passages again
def _sketch(text: str) -> NDArray[np.uint64]:
    words = _WORD.findall(normalise(text).lower())
    # Not hash(): Python salts it in each process. Multiplied, so that all 64 bits differ where the checksums do.
    values = np.fromiter((crc32(word.encode()) for word in words), np.uint64, len(words)) * _FACTOR
    count = len(words) - min(SHINGLE, len(words)) + 1 if words else 0
    shingles = np.zeros(count, np.uint64)
    for offset in range(min(SHINGLE, len(words))):
        shingles = shingles * _FACTOR + values[offset : offset + count]  # modulo 2**64
    shingles.sort()  # and no numpy.unique, which takes twice as long
    sketch: NDArray[np.uint64] = shingles[np.diff(shingles, prepend=~shingles[:1]) != 0][:SKETCH]
    sketch.flags.writeable = False  # it is remembered
    return sketch


def _sketch_table(sketches: Sequence[NDArray[np.uint64]]) -> tuple[_Integers, _Integers, NDArray[np.int32]]:
    """Return the rarest hashes of each sketch, those that another sketch has as well, and all hashes in a table.

    Two sketches that share half of the longer one share one of their rarest hashes already, among the first half and
    one more of each (prefix filtering: Chaudhuri, Ganti and Kaushik, "A primitive operator for similarity joins",
    2006). The hashes of a line that stands under every article are never looked up.

    Returns:
        Numbers of texts, ascending; a rare hash of each, as its number; and ``(texts, SKETCH)`` the numbers of all
        hashes, -1 where a sketch is shorter.
    """
    lengths = np.fromiter(map(len, sketches), np.int64, len(sketches))
    owners, first = np.repeat(np.arange(len(sketches)), lengths), np.cumsum(lengths) - lengths
    hashes = np.concatenate([np.empty(0, np.uint64), *sketches])
    _, terms, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    places = np.arange(len(hashes)) - first[owners]
    table = np.full((len(sketches), SKETCH), -1, np.int32)
    table[owners, places] = terms
    rarest_first = np.lexsort((counts[terms], owners))
    terms = terms[rarest_first]
    looked_up = (places <= lengths[owners] // 2) & (counts[terms] > 1)
    return owners[looked_up], terms[looked_up], table


def _nearly_same(
    owners: _Integers,
    starts: _Integers,
    ends: _Integers,
    found: _Integers,
    table: NDArray[np.int32],
    others: NDArray[np.int32],
) -> Iterator[tuple[int, int]]:
    """Yield the pairs of ``owners[i]`` with one of ``found[starts[i] : ends[i]]`` that share half of the longer sketch.

    Args:
        owners: Ascending.
        starts: As many.
        ends: As many.
        found: Numbers of texts.
        table: What the owners are rows of; see `_sketch_table`.
        others: What the texts found are rows of.
    """
    lengths = (table >= 0).sum(axis=1), (others >= 0).sum(axis=1)
    for begin, end in _chunks(owners, np.cumsum(ends - starts)):
        pairs = _candidates(owners[begin:end], starts[begin:end], ends[begin:end], found)
        for part in (pairs[at : at + _COMPARED] for at in range(0, len(pairs), _COMPARED)):
            left, right = part.T
            both = np.sort(np.concatenate([table[left], others[right]], axis=1), axis=1)
            shared = ((both[:, 1:] == both[:, :-1]) & (both[:, 1:] >= 0)).sum(axis=1)
            same = 2 * shared >= np.maximum(lengths[0][left], lengths[1][right])
            yield from map(tuple, part[same].tolist())


def _candidates(owners: _Integers, starts: _Integers, ends: _Integers, found: _Integers) -> _Integers:
    """Return each pair of an owner and a text found for it once, ``(n, 2)``, by owner and then by text."""
    sizes = ends - starts
    offsets = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    texts = int(found.max(initial=0)) + 1
    keys = np.repeat(owners, sizes) * texts + found[np.repeat(starts, sizes) + offsets]
    return np.stack(np.divmod(np.unique(keys), texts), axis=1)


def _chunks(owners: _Integers, totals: _Integers) -> Iterator[tuple[int, int]]:
    """Yield spans of about `_AT_ONCE` candidates that take no text apart, so that each of its pairs comes once."""
    begin = 0
    while begin < len(owners):
        before = totals[begin - 1] if begin else 0
        last = max(begin, int(np.searchsorted(totals, before + _AT_ONCE)) - 1)
        end = int(np.searchsorted(owners, owners[min(last, len(owners) - 1)], side="right"))
        yield begin, end
        begin = end
