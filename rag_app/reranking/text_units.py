"""What of a passage is matched with a question: its sentences, character bigrams and tokens, and how rare each is."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rag_app.korean import normalise
from rag_app.token_vectors import TokenVectors

_SENTENCE_END = re.compile(r"[.!?\n\\](?:(?<=[.!?])[\"”’')\]]*\s+|(?<=\n)\n*|(?<=\\)n(?:\\n)*)")
"""Far faster than Kiwi's sentences, the more so as it begins with one set of characters. Some news has its line breaks
written out, as a backslash and an n."""
_CODES = 0x110000  # one more than the last code of Unicode
_BATCH = 256  # passages in one call of the tokenizer


class PassageUnits(NamedTuple):
    """A passage taken apart.

    Attributes:
        sentences: Lower-cased, at least one; the first is the title where the passage has one.
        bigrams: Every character bigram, ``(b,)`` int64; see `bigram_codes`.
        bigram_sentences: The sentence that each bigram stands in, ``(b,)``.
        tokens: The ids of all tokens that the static model knows, ``(t,)``.
        token_sentences: The sentence that each token stands in, ``(t,)``, ascending.
        characters: How long the passage is.
    """

    sentences: tuple[str, ...]
    bigrams: NDArray[np.int64]
    bigram_sentences: NDArray[np.int32]
    tokens: NDArray[np.int32]
    token_sentences: NDArray[np.int32]
    characters: int


class Counts(NamedTuple):
    """In how many documents each bigram and token stands.

    Attributes:
        documents: How many documents were counted.
        bigrams: The bigrams that were met, ``(b,)`` int64, ascending; see `bigram_codes`.
        bigram_counts: The documents that each of them stands in, ``(b,)`` int32.
        token_counts: The documents that each token of the static model stands in, ``(tokens,)`` int32.
    """

    documents: int
    bigrams: NDArray[np.int64]
    bigram_counts: NDArray[np.int32]
    token_counts: NDArray[np.int32]


def bigram_codes(text: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the units of `rag_app.korean.bigrams` of a normalised text as numbers, and where each begins.

    The number of a bigram is made of its characters' codes; that of a one-letter word is the character's code. Both
    arrays are ``(b,)`` int64; the units come in no particular order.
    """
    lower = text.lower()
    codes = np.frombuffer(lower.encode("utf-32-le"), np.uint32)
    letters = np.zeros(len(codes) + 2, bool)  # with an end on both sides
    letters[1:-1] = np.char.isalnum(codes.view("<U1"))  # what `rag_app.korean.bigrams` takes for letters
    before, here, after = letters[:-2], letters[1:-1], letters[2:]
    pairs, lone = np.flatnonzero(here & after), np.flatnonzero(here & ~before & ~after)
    wide = codes.astype(np.int64)
    return np.concatenate([wide[pairs] * _CODES + wide[pairs + 1], wide[lone]]), np.concatenate([pairs, lone])


def read_passages(texts: Sequence[str], vectors: TokenVectors) -> list[PassageUnits]:
    """Take passages apart, in any Unicode spelling. They are tokenized together.

    Sentences are tokenized one by one, so that no token spans two of them.
    """
    normal = [normalise(text) for text in texts]
    sentences = [_sentences(text.lower()) for text in normal]
    flat = [sentence for found in sentences for sentence in found]
    tokens = vectors.tokens.batch(flat)
    units = []
    for text, found in zip(normal, sentences, strict=True):
        units.append(_passage_units(found, list(islice(tokens, len(found))), len(text)))
    return units


def count_documents(texts: Iterable[str], vectors: TokenVectors) -> Counts:
    """Count in how many texts each bigram and token stands; read as a stream.

    Args:
        texts: Passages as they are searched, title before text; see `rag_app.documents.searchable_text`.
        vectors: The static model whose tokens are counted.
    """
    documents = 0
    bigrams: Counter[int] = Counter()
    tokens = np.zeros(len(vectors.rows), np.int32)
    for batch in _batches(texts):
        for units in read_passages(batch, vectors):
            documents += 1
            bigrams.update(np.unique(units.bigrams).tolist())
            tokens[np.unique(units.tokens)] += 1
    order = sorted(bigrams)
    return Counts(documents, np.array(order, np.int64), np.array([bigrams[code] for code in order], np.int32), tokens)


def bigram_rarity(codes: NDArray[np.int64], counts: Counts) -> NDArray[np.float64]:
    """Return the inverse document frequency of bigrams, as BM25 has it, ``(b,)``."""
    if not len(counts.bigrams):
        return _rarity(np.zeros(len(codes)), counts.documents)
    places = np.minimum(np.searchsorted(counts.bigrams, codes), len(counts.bigrams) - 1)
    return _rarity(np.where(counts.bigrams[places] == codes, counts.bigram_counts[places], 0), counts.documents)


def token_rarity(tokens: NDArray[np.int64], counts: Counts) -> NDArray[np.float64]:
    """Return the inverse document frequency of tokens, as BM25 has it, ``(t,)``."""
    return _rarity(counts.token_counts[tokens], counts.documents)


def _rarity(found: NDArray[np.generic], documents: int) -> NDArray[np.float64]:
    frequency = np.asarray(found, np.float64)
    return np.asarray(np.log1p((documents - frequency + 0.5) / (frequency + 0.5)))


def _sentences(text: str) -> tuple[str, ...]:
    """Return the sentences of a text without the white space between them; one, empty, if there are none."""
    sentences = []
    start = 0
    for end in _SENTENCE_END.finditer(text):
        sentences.append(text[start : end.start() + (text[end.start()] in ".!?")])
        start = end.end()
    return tuple(filter(None, [*sentences, text[start:]])) or ("",)


def _passage_units(sentences: tuple[str, ...], tokens: Sequence[NDArray[np.int32]], characters: int) -> PassageUnits:
    numbers = np.arange(len(sentences), dtype=np.int32)
    bigrams, places = bigram_codes("\n".join(sentences))
    ends = np.cumsum([len(sentence) + 1 for sentence in sentences])  # each with the line break behind it
    return PassageUnits(
        sentences,
        bigrams,
        numbers[np.searchsorted(ends, places, side="right")],
        np.concatenate(tokens),
        np.repeat(numbers, [len(found) for found in tokens]),
        characters,
    )


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    stream = iter(texts)
    return iter(lambda: list(islice(stream, _BATCH)), [])
