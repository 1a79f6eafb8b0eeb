"""Analysing texts word by word, each word once: what makes indexing a million passages a matter of minutes."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain

from rag_app.korean import Analyzer

WORDS = 600_000
"""How many words are remembered, some 300 bytes each."""

Units = dict[str, str]
"""The units of words, joined by spaces."""


class ByWord:
    """An analysis of texts as one of their white-space separated words, whatever stands beside them, and remembered.

    Kiwi takes 5 ms of a core over a passage of 450 characters and 56 microseconds over a word alone, and most words of
    a passage have been met before. Lexical search loses nothing by it, provided that questions are analysed in the
    same way: see ``finetune/LOG.md``.

    Safe to call from several threads.

    Args:
        analyse: Takes words apart, yielding the units of each.
        words: How many to remember; those that have not been met for longest are forgotten.
    """

    def __init__(self, analyse: Callable[[Sequence[str]], Iterable[Sequence[str]]], words: int = WORDS) -> None:
        self._analyse = analyse
        self._words = words
        self._tables: tuple[Units, Units] = {}, {}  # of the words met lately, and of those met before

    def __call__(self, texts: Sequence[str]) -> list[list[str]]:
        """Return the units of each normalised text, in order; white space in a unit becomes ``_``."""
        return [units.split() for units in self.joined(texts)]

    def joined(self, texts: Sequence[str]) -> list[str]:
        """Return the units of each normalised text as one text, with white space between them."""
        recent = self._tables[0]
        found = [list(map(recent.get, text.split())) for text in texts]
        incomplete = {place: texts[place].split() for place, units in enumerate(found) if None in units}
        missing = (zip(words, found[place], strict=True) for place, words in incomplete.items())
        learned = self._learn({word for word, units in chain.from_iterable(missing) if units is None})
        for place, words in incomplete.items():
            pairs = zip(words, found[place], strict=True)
            found[place] = [learned[word] if units is None else units for word, units in pairs]
        return [" ".join(filter(None, units)) for units in found]

    def _learn(self, words: set[str]) -> Units:
        """Return the units of words that have not been met lately, and remember them."""
        recent, older = self._tables
        found = {word: older[word] for word in words if word in older}
        if new := sorted(word for word in words if word not in found):
            found.update(zip(new, map(join_units, self._analyse(new)), strict=True))
        if len(recent) + len(found) <= self._words // 2:
            recent.update(found)
        else:
            self._tables = dict(found), recent  # replaced, not changed: another thread may be reading them
        return found


def join_units(units: Sequence[str]) -> str:
    """Return units joined by spaces; white space within one becomes ``_``."""
    joined = " ".join(units)
    return joined if len(joined.split()) == len(units) else " ".join("_".join(unit.split()) for unit in units)


@lru_cache(maxsize=4)
def morphemes_by_word(analyzer: Analyzer) -> ByWord:
    """Return the content morphemes of an analyser word by word, remembered for all who use it."""
    return ByWord(analyzer.morphemes_batch)
