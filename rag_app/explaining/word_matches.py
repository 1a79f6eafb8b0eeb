"""Which words of a question a passage has, what each of them adds to its score, and where they stand in a text."""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from rag_app.extractive import QUESTION_WORDS
from rag_app.index_contract import PassageWords
from rag_app.korean import bigrams, normalise_question
from rag_app.lexical import FIELDS, Analysis

Span = tuple[int, int]
"""``(start, end)`` of a part of a text."""

_CLEAR = 0.2
"""A bigram that adds less than this share of what the strongest unit adds, as one of an ending, is not marked."""
_WORD = re.compile(r"\S+")


class WordMatch(NamedTuple):
    """A word of a question, and how a passage matches it.

    Attributes:
        word: As it stands in the question.
        score: What its units add to the passage's BM25 score.
        found: Its content morphemes that the passage has.
        missing: Those that it lacks.
        bigrams: How many of its character bigrams the passage has, of how many.
        says: Whether it has a content morpheme that does not only ask, as 어디 does.
    """

    word: str
    score: float
    found: tuple[str, ...]
    missing: tuple[str, ...]
    bigrams: tuple[int, int]
    says: bool


class Matched(NamedTuple):
    """The units of a question that a passage has and that are worth showing.

    Attributes:
        morphemes: Content morphemes: all that `WordMatch.found` names, lest a reader look for one in vain.
        bigrams: Character bigrams that add something.
    """

    morphemes: frozenset[str]
    bigrams: frozenset[str]


class Spans(NamedTuple):
    """Where a text has the units of a question.

    Attributes:
        morphemes: The words, or parts of words, with a content morpheme of the question; in order, apart.
        bigrams: What else has its character bigrams; likewise.
    """

    morphemes: list[Span]
    bigrams: list[Span]


def match_words(
    question: str, id_: str, lexical: PassageWords, *, weights: Mapping[str, float] = FIELDS
) -> tuple[list[WordMatch], Matched]:
    """Return how a passage matches each word of a question; their scores add up to its BM25 score.

    Args:
        question: In any Unicode spelling.
        id_: The passage's.
        lexical: Its analyses go word by word, as those of `rag_app.lexical.korean_analyses` do.
        weights: How much each analysis counts.
    """
    scores = lexical.unit_scores(question, id_, weights=weights)
    words = normalise_question(question).split()
    units = {field: _by_word(lexical.analyses[field], words) for field in weights if weights[field]}
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for field, of_words in units.items():
        for of_word in of_words:
            for unit in of_word:
                counts[field, unit] += 1
    matches = []
    for number, word in enumerate(words):
        own = {field: of_words[number] for field, of_words in units.items()}
        score = sum(scores[field, unit] / counts[field, unit] for field, of_word in own.items() for unit in of_word)
        morphemes = list(dict.fromkeys(own.get("morphemes", ())))
        found = tuple(unit for unit in morphemes if scores["morphemes", unit])
        missing = tuple(unit for unit in morphemes if not scores["morphemes", unit])
        pairs = set(own.get("bigrams", ()))
        have = sum(scores["bigrams", unit] > 0 for unit in pairs)
        says = not QUESTION_WORDS.issuperset(morphemes)
        matches.append(WordMatch(word, score, found, missing, (have, len(pairs)), says))
    return matches, Matched(frozenset(unit for match in matches for unit in match.found), _clear_bigrams(scores))


def find_spans(text: str, matched: Matched, morphemes: Analysis) -> Spans:
    """Return where a text has units that matched.

    Args:
        text: A passage or a title, normalised.
        matched: From `match_words`.
        morphemes: The lexical index's analysis of that name.
    """
    words = list(_WORD.finditer(text))
    exact: list[Span] = []
    alike: list[Span] = []
    for word, units in zip(words, _by_word(morphemes, [word.group() for word in words]), strict=True):
        own = [_place(word, unit) for unit in units if unit in matched.morphemes]
        exact += _joined(own)
        pairs = [(word.start() + at, word.start() + at + 2) for at in _pairs_in(word.group(), matched.bigrams)]
        alike += [span for span in _joined(pairs) if not any(_overlap(span, other) for other in own)]
    return Spans(exact, alike)


def _clear_bigrams(scores: Mapping[tuple[str, str], float]) -> frozenset[str]:
    least = _CLEAR * max(scores.values(), default=0.0)
    clear = (unit for (field, unit), score in scores.items() if field == "bigrams" and score and score >= least)
    return frozenset(unit for unit in clear if not unit.startswith("^"))


def _by_word(analyse: Analysis, words: Sequence[str]) -> list[list[str]]:
    return [list(units) for units in analyse(words)] if words else []


def _place(word: re.Match[str], morpheme: str) -> Span:
    """Return where a morpheme stands in a word of a text; all of the word if it is spelt otherwise there."""
    at = word.group().lower().find(morpheme)
    return word.span() if at < 0 else (word.start() + at, word.start() + at + len(morpheme))


def _pairs_in(word: str, wanted: Collection[str]) -> list[int]:
    lower = word.lower()
    if len(lower) != len(word):  # a letter such as İ, which becomes two
        return []
    return [at for at in range(len(lower) - 1) if lower[at : at + 2] in wanted and bigrams(lower[at : at + 2])]


def _joined(spans: Sequence[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _overlap(span: Span, other: Span) -> bool:
    return span[0] < other[1] and other[0] < span[1]
