"""The scores a reranker has given, kept for the same question and passage when they are met again."""

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

from rag_app.forking import Lock
from rag_app.reranking.best_window import Spans

REMEMBERED = 16_384
"""How many scores a `ScoreCache` keeps, in about 5 MB: those of some 500 questions."""

Key = tuple[bytes, Hashable]
"""A question with a passage, and whatever else the score depends on."""


class Scored(NamedTuple):
    """A passage's score for a question.

    Attributes:
        score: Between 0 and 1.
        windows: ``(start, end)`` of the parts of its ``page_content`` that were read, with the title; None if all of
            it was.
    """

    score: float
    windows: Spans | None = None


class ScoreCache:
    """Keeps the scores of one model that were used last. Safe to share between threads.

    Texts are kept as hashes of 16 bytes, so that long passages take no more memory than short ones.

    Args:
        size: How many scores to keep.

    Attributes:
        hits: How many scores were found since it was made or cleared.
        misses: How many were looked for in vain.
    """

    def __init__(self, size: int = REMEMBERED) -> None:
        self.hits = 0
        self.misses = 0
        self._size = size
        self._scores: OrderedDict[Key, Scored] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._scores)

    def find(self, keys: Sequence[Key]) -> dict[int, Scored]:
        """Return the scores that are known, by the place of their key."""
        with self._lock:
            found = {place: self._scores[key] for place, key in enumerate(keys) if key in self._scores}
            for place in found:
                self._scores.move_to_end(keys[place])
            self.hits += len(found)
            self.misses += len(keys) - len(found)
        return found

    def keep(self, scores: Mapping[Key, Scored]) -> None:
        """Keep scores; the ones that were not used for longest give way."""
        with self._lock:
            self._scores.update(scores)
            while len(self._scores) > self._size:
                self._scores.popitem(last=False)

    def clear(self) -> None:
        """Forget all scores and begin to count anew."""
        with self._lock:
            self._scores.clear()
            self.hits = self.misses = 0


def cache_key(question: str, passage: str, *more: Hashable) -> Key:
    """Return what a score is kept under.

    Args:
        question: Normalised.
        passage: As it is read, title before text.
        more: What else the score depends on, such as the window.
    """
    return blake2b(f"{question}\0{passage}".encode("utf-8", "surrogatepass"), digest_size=16).digest(), more
