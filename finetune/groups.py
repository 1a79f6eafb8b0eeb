"""Which passages say the same: those of one group are never negatives of each other.

In-batch negatives take every other passage of a batch for wrong. That is false where several questions are asked of
one article, and of wire stories that repeat each other: such false negatives push a question away from what answers it.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from rag_app.korean import normalise

SHINGLE = 4
"""Words in a shingle."""

SKETCH = 64
"""How many of a text's shingle hashes, the smallest, are its sketch."""

_WORD = re.compile(r"[^\W_]+")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # any odd number without pattern makes the order of the words count


def group_passages(passages: Mapping[str, Document], *, titles: bool = True) -> dict[str, int]:
    """Return the number of each passage's group, by doc_id; groups are numbered from 0 in order of first appearance.

    Passages are in one group if they have the same title (``metadata["title"]``, normalised, not empty; unless
    ``titles`` is false) or nearly the same text, or are linked by a chain of such passages. Nearly the same are texts
    that share at least half of the 64 smallest hashes of their word 4-grams: the sketch of Broder, "On the resemblance
    and containment of documents", 1997. A text of up to 64 different 4-grams is its own sketch, so that short texts are
    compared exactly: they must share half of the 4-grams of the longer one.

    A short text repeated inside one more than twice as long is not found. The groups are the same in every process and
    on every machine.
    """
    names = [_title(document) if titles else "" for document in passages.values()]
    sketches = sketch_texts(document.page_content for document in passages.values())
    parents = list(range(len(passages)))
    first: dict[str, int] = {}
    for index, title in enumerate(names):
        if title:
            _join(parents, first.setdefault(title, index), index)
    for index, other in _candidates(sketches):
        if _root(parents, index) != _root(parents, other) and _nearly_same(sketches[index], sketches[other]):
            _join(parents, index, other)
    numbers: dict[int, int] = {}
    return {doc_id: numbers.setdefault(_root(parents, index), len(numbers)) for index, doc_id in enumerate(passages)}


def sketch_texts(texts: Iterable[str]) -> list[NDArray[np.uint64]]:
    """Return the sketch of each text: the smallest hashes of its word 4-grams, ascending, each once.

    A text of one to three words is one shingle; one without words has an empty sketch.
    """
    known: dict[str, int] = {}
    return [_sketch(_WORD.findall(normalise(text).lower()), known) for text in texts]


def _sketch(words: Sequence[str], known: dict[str, int]) -> NDArray[np.uint64]:
    hashes = np.fromiter((_hash(word, known) for word in words), np.uint64, len(words))
    count = len(words) - min(SHINGLE, len(words)) + 1 if words else 0
    shingles = np.zeros(count, np.uint64)
    for offset in range(min(SHINGLE, len(words))):
        shingles = shingles * _FACTOR + hashes[offset : offset + count]  # modulo 2**64
    return np.unique(shingles)[:SKETCH]


def _hash(word: str, known: dict[str, int]) -> int:
    if word not in known:  # not hash(): Python salts it in each process
        known[word] = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
    return known[word]


def _candidates(sketches: Sequence[NDArray[np.uint64]]) -> Iterator[tuple[int, int]]:
    """Yield pairs of texts that may share half of the longer sketch, and all that do; the later text first.

    Two sketches that share half of the longer one share one of their rarest hashes already, among the first half and
    one more of each (prefix filtering: Chaudhuri, Ganti and Kaushik, "A primitive operator for similarity joins",
    2006). The hashes of a line that stands under every article are never looked up.
    """
    if not sketches:
        return
    _, terms, counts = np.unique(np.concatenate(sketches), return_inverse=True, return_counts=True)
    postings: defaultdict[int, list[int]] = defaultdict(list)
    for index, own in enumerate(np.split(terms, np.cumsum([len(sketch) for sketch in sketches])[:-1])):
        rarest = own[np.argsort(counts[own], kind="stable")][: len(own) // 2 + 1]
        shared = rarest[counts[rarest] > 1].tolist()
        yield from ((index, other) for other in {other for term in shared for other in postings[term]})
        for term in shared:
            postings[term].append(index)


def _nearly_same(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> bool:
    return 2 * np.intersect1d(first, second, assume_unique=True).size >= max(len(first), len(second))


def _title(document: Document) -> str:
    return " ".join(normalise(str(document.metadata.get("title") or "")).split())


def _root(parents: list[int], index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]  # halves the way for the next one who asks
        index = parents[index]
    return index


def _join(parents: list[int], first: int, second: int) -> None:
    parents[_root(parents, second)] = _root(parents, first)
