"""How well passages match a question, as numbers for a linear reranker: bigrams, names, and late interaction of tokens.

Every number looks at words *and* at where they stand together: in one sentence beside the title, in sentences next to
each other, or only somewhere in the passage. The first sentence is joined with each of the others, for it is the title,
which names what the others only call "it". A passage without a title is matched as if its first sentence were one.

Passages are never analysed morphologically, only the question is; that, and that nothing here needs PyTorch, makes it
quick enough to rerank every search.
"""

import re
from collections import OrderedDict
from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rag_app.extractive import ASKS_TIME, HAS_TIME, QUESTION_WORDS
from rag_app.forking import Lock
from rag_app.korean import analyzer, normalise
from rag_app.reranking.text_units import Counts as Counts
from rag_app.reranking.text_units import PassageUnits, bigram_codes, bigram_rarity, read_passages, token_rarity
from rag_app.reranking.text_units import count_documents as count_documents
from rag_app.token_vectors import TokenVectors

FEATURES = (
    "bigrams_passage",
    "bigrams_sentence",
    "bigrams_two_sentences",
    "names_passage",
    "names_sentence",
    "title_in_question",
    "log_characters",
    "tokens_sentence",
    "tokens_three_sentences",
    "tokens_passage",
    "tokens_exact",
    "time",
)
"""What is measured of each passage, in order.

- ``bigrams_passage``: BM25 of the question's character bigrams, as a share of the most it could be.
- ``bigrams_sentence``: The share of them, rare ones counting more, in the best sentence with the title.
- ``bigrams_two_sentences``: The same for two neighbouring sentences with the title.
- ``names_passage``: The share of the question's names, foreign words and numbers in the passage; 1 if it has none.
- ``names_sentence``: The same for the best sentence with the title.
- ``title_in_question``: 1 if the title, without what it has in brackets, stands in the question, else 0.
- ``log_characters``: The logarithm of the passage's length.
- ``tokens_sentence``: How near in meaning the best sentence with the title comes to each of the question's tokens: the
  mean over these, rare ones counting more, of the highest cosine with a token of the sentence. This is the late
  interaction of ColBERT (Khattab and Zaharia, SIGIR 2020), between static vectors.
- ``tokens_three_sentences``: The same for a sentence and both its neighbours.
- ``tokens_passage``: The same for the whole passage.
- ``tokens_exact``: The share of the question's tokens, rare ones counting more, that stand in the passage as they are.
- ``time``: 1 if the question asks when and the best sentence or one beside it names a time, else 0.
"""

DIMENSIONS = 128
"""How many dimensions of the vectors are compared: the embedded model has its dimensions in falling order of variance,
and with half of them the reranker is as good."""
NAME_TAGS = frozenset({"NNP", "SL", "SH", "SN"})
K1, B, BIGRAMS = 1.2, 0.75, 450.0
"""BM25's constants, and the length in bigrams of a passage that is neither short nor long."""
REMEMBERED = 1024
"""How many passages a `Matcher` keeps taken apart, in about 15 MB: most of the time goes into taking them apart."""
_TITLE_CHARACTERS = 40
_ROWS = 256  # of one product
_EXACT = 0.95  # cosines above this count as the same token, in proportion
_BRACKETS = re.compile(r"\s*\(.*?\)")


class _Asked(NamedTuple):
    """A question taken apart. Shares sum to 1, or are all zero where there is nothing to weigh.

    Attributes:
        text: Lower-cased.
        bigrams: Different ones, ascending, ``(b,)``.
        bigram_shares: What each counts for, ``(b,)``.
        tokens: ``(q,)``; one that comes twice counts twice.
        token_shares: What each counts for, ``(q,)``.
        names: Different ones.
        name_shares: What each counts for.
        asks_time: Whether it asks when.
    """

    text: str
    bigrams: NDArray[np.int64]
    bigram_shares: NDArray[np.float64]
    tokens: NDArray[np.int64]
    token_shares: NDArray[np.float64]
    names: list[str]
    name_shares: NDArray[np.float64]
    asks_time: bool


class _Layout(NamedTuple):
    """How the sentences of all passages, one after the other, hang together; each array holds numbers of sentences.

    Attributes:
        first: Each passage's first sentence, ``(n,)``.
        title: For each sentence the first one of its passage, ``(s,)``.
        before: For each sentence the one before it in its passage, else itself, ``(s,)``.
        after: For each sentence the one after it in its passage, else itself, ``(s,)``.
    """

    first: NDArray[np.int64]
    title: NDArray[np.int64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]

    def best(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the highest value among each passage's sentences: ``(s, ...)`` to ``(n, ...)``."""
        highest: NDArray[np.float64] = np.maximum.reduceat(values, self.first, axis=0)
        return highest


class Matcher:
    """Measures how passages match a question; see `FEATURES`. Safe to share between threads.

    Args:
        vectors: The static model that compares tokens in meaning; only its first `DIMENSIONS` dimensions are used.
        counts: What tells rare bigrams and tokens from common ones, counted with the same static model.
    """

    def __init__(self, vectors: TokenVectors, counts: Counts) -> None:
        self.vectors = vectors
        self.counts = counts
        self._remembered: OrderedDict[str, PassageUnits] = OrderedDict()
        self._lock = Lock()

    def features(self, question: str, passages: Sequence[str]) -> NDArray[np.float64]:
        """Return one row of `FEATURES` per passage, ``(n, len(FEATURES))`` float64.

        Args:
            question: In any Unicode spelling, as the passages.
            passages: Each as it is searched: title, line break, text; see `rag_app.documents.searchable_text`.
        """
        if not passages:
            return np.zeros((0, len(FEATURES)))
        asked = self._ask(normalise(question))
        units = self._read(passages)
        layout = _lay_out([len(unit.sentences) for unit in units])
        sentences = [sentence for unit in units for sentence in unit.sentences]
        in_sentence, in_passage = _find_bigrams(asked, units, layout)
        cosines = self._cosines(asked, units, layout)
        nearest = layout.best(cosines)
        names = _find_names(asked, sentences)
        titled = _with_title(in_sentence, layout)
        by_bigrams = weighted(titled, asked.bigram_shares)
        columns = {
            "bigrams_passage": weighted(_bm25(in_passage, units), asked.bigram_shares),
            "bigrams_sentence": layout.best(by_bigrams),
            "bigrams_two_sentences": layout.best(
                weighted(np.maximum(titled, in_sentence[layout.after]), asked.bigram_shares)
            ),
            "names_passage": _share_of_names(asked, layout.best(names)),
            "names_sentence": layout.best(_share_of_names(asked, _with_title(names, layout))),
            "title_in_question": np.array([_names_title(asked, unit) for unit in units]),
            "log_characters": np.log1p([unit.characters for unit in units]),
            "tokens_sentence": layout.best(weighted(_with_title(cosines, layout), asked.token_shares)),
            "tokens_three_sentences": layout.best(weighted(_with_neighbours(cosines, layout), asked.token_shares)),
            "tokens_passage": weighted(nearest, asked.token_shares),
            "tokens_exact": weighted(np.maximum(nearest - _EXACT, 0) / (1 - _EXACT), asked.token_shares),
            "time": _tells_time(asked, sentences, by_bigrams + weighted(cosines, asked.token_shares), layout),
        }
        return np.stack([columns[name] for name in FEATURES], axis=1)

    def forget(self) -> None:
        """Forget the passages taken apart."""
        with self._lock:
            self._remembered.clear()

    def _ask(self, question: str) -> _Asked:
        bigrams = np.unique(bigram_codes(question)[0])
        ids = self.vectors.tokenizer.encode(question, add_special_tokens=False).ids
        tokens = np.array([token for token in ids if token != self.vectors.unknown], np.int64)
        names = [
            name for name in dict.fromkeys(analyzer().morphemes(question, NAME_TAGS)) if name not in QUESTION_WORDS
        ]
        return _Asked(
            question.lower(),
            bigrams,
            _shares(bigram_rarity(bigrams, self.counts)),
            tokens,
            _shares(token_rarity(tokens, self.counts)),
            names,
            _shares(np.array([self._name_weight(name) for name in names])),
            bool(ASKS_TIME.search(question)),
        )

    def _name_weight(self, name: str) -> float:
        """Return what a name counts for: how rare its bigrams are on average, and more the longer it is."""
        rarity = bigram_rarity(bigram_codes(name)[0], self.counts)
        return (float(rarity.mean()) if len(rarity) else 0.0) * sqrt(max(1, len(name) - 1))

    def _read(self, passages: Sequence[str]) -> list[PassageUnits]:
        """Take passages apart, or remember them: a conversation, as a training program, meets the same ones again."""
        with self._lock:
            known = {text: self._remembered[text] for text in passages if text in self._remembered}
        new = [text for text in dict.fromkeys(passages) if text not in known]
        known.update(zip(new, read_passages(new, self.vectors), strict=True))
        with self._lock:
            for text, unit in known.items():
                self._remembered[text] = unit
                self._remembered.move_to_end(text)
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        return [known[text] for text in passages]

    def _cosines(self, asked: _Asked, units: Sequence[PassageUnits], layout: _Layout) -> NDArray[np.float64]:
        """Return each sentence's highest cosine with each token of the question, ``(s, q)``; -1 without tokens."""
        nearest = np.full((len(layout.title), len(asked.tokens)), -1.0)
        tokens = np.concatenate([unit.tokens for unit in units])
        if not len(tokens) or not len(asked.tokens):
            return nearest
        met = np.zeros(len(self.vectors.rows), bool)
        met[tokens] = True  # np.unique would sort
        different = np.flatnonzero(met)
        places = np.cumsum(met)[tokens] - 1
        # In products of one shape: the last bits of a cosine would depend on how many there are, and so on what else
        # is scored.
        padded = np.pad(different, (0, -len(different) % _ROWS))
        rows = self._directions(padded)
        blocks = rows.reshape(-1, _ROWS, rows.shape[1]) @ self._directions(asked.tokens).T
        cosines = blocks.reshape(len(padded), -1)
        owners = _number_sentences([unit.token_sentences for unit in units], layout)
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        nearest[owners[starts]] = np.maximum.reduceat(cosines[places], starts, axis=0)
        return nearest

    def _directions(self, tokens: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the vectors of tokens at length 1, ``(t, DIMENSIONS)``; a zero vector stays one."""
        vectors = self.vectors.vectors[self.vectors.rows[tokens], :DIMENSIONS].astype(np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.where(lengths == 0, 1, lengths), np.float32)


def weighted(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each row's weighted sum, ``(n,)``: as ``values @ weights``, whose last bits depend on n."""
    return np.asarray(np.einsum("ij,j->i", values, weights))


def _lay_out(sizes: Sequence[int]) -> _Layout:
    """Return the layout of passages with so many sentences each."""
    ends = np.cumsum(np.array(sizes, np.int64))
    first = ends - sizes
    numbers = np.arange(ends[-1])
    title = np.repeat(first, sizes)
    return _Layout(first, title, np.maximum(numbers - 1, title), np.minimum(numbers + 1, np.repeat(ends - 1, sizes)))


def _number_sentences(numbers: Sequence[NDArray[np.int32]], layout: _Layout) -> NDArray[np.int64]:
    """Return what is numbered by the sentences of each passage numbered by the sentences of all."""
    return np.concatenate(numbers).astype(np.int64) + np.repeat(
        layout.first, [len(of_passage) for of_passage in numbers]
    )


def _with_title(values: NDArray[np.float64], layout: _Layout) -> NDArray[np.float64]:
    return np.maximum(values, values[layout.title])


def _with_neighbours(values: NDArray[np.float64], layout: _Layout) -> NDArray[np.float64]:
    return np.maximum(np.maximum(values, values[layout.after]), values[layout.before])


def _shares(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = weights.sum()
    return weights / total if total else weights


def _find_bigrams(
    asked: _Asked, units: Sequence[PassageUnits], layout: _Layout
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return which of the question's bigrams stand in each sentence, ``(s, b)``, and how often in each passage."""
    in_sentence = np.zeros((len(layout.title), len(asked.bigrams)))
    in_passage = np.zeros((len(units), len(asked.bigrams)))
    if len(asked.bigrams):
        codes = np.concatenate([unit.bigrams for unit in units])
        places = np.minimum(np.searchsorted(asked.bigrams, codes), len(asked.bigrams) - 1)
        found = np.flatnonzero(asked.bigrams[places] == codes)
        owners = _number_sentences([unit.bigram_sentences for unit in units], layout)[found]
        in_sentence[owners, places[found]] = 1
        passages = np.searchsorted(layout.first, owners, side="right") - 1
        np.add.at(in_passage, (passages, places[found]), 1)
    return in_sentence, in_passage


def _bm25(found: NDArray[np.float64], units: Sequence[PassageUnits]) -> NDArray[np.float64]:
    """Return how far each bigram's weight in BM25 is used up, ``(n, b)`` between 0 and 1."""
    lengths = np.array([len(unit.bigrams) for unit in units])[:, None]
    return np.asarray(found / (found + K1 * (1 - B + B * lengths / BIGRAMS)))


def _find_names(asked: _Asked, sentences: Sequence[str]) -> NDArray[np.float64]:
    """Return which of the question's names stand in each sentence, ``(s, names)``."""
    found = [[name in sentence for name in asked.names] for sentence in sentences]
    return np.array(found, np.float64).reshape(len(sentences), len(asked.names))


def _share_of_names(asked: _Asked, found: NDArray[np.float64]) -> NDArray[np.float64]:
    return weighted(found, asked.name_shares) if asked.names else np.ones(len(found))


def _names_title(asked: _Asked, units: PassageUnits) -> float:
    title = _BRACKETS.sub("", units.sentences[0])
    return float(1 < len(title) <= _TITLE_CHARACTERS and title in asked.text)


def _tells_time(
    asked: _Asked, sentences: Sequence[str], merit: NDArray[np.float64], layout: _Layout
) -> NDArray[np.float64]:
    """Return for each passage whether its best sentence or one beside it names a time, if that is asked."""
    told = np.zeros(len(layout.first))
    if asked.asks_time:
        for number, (start, end) in enumerate(zip(layout.first, [*layout.first[1:], len(sentences)], strict=True)):
            best = start + int(np.argmax(merit[start:end]))
            around = {layout.before[best], best, layout.after[best]}
            told[number] = any(HAS_TIME.search(sentences[place]) for place in around)
    return told
