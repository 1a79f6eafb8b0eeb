"""Answers without a language model: the sentences of the found passages that best answer a question, quoted."""

import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from math import log
from typing import NamedTuple

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from rag_app.korean import Sentence, analyzer, bigrams, normalise_question

MIN_SENTENCES, MAX_SENTENCES = 2, 3
"""The best sentence often only restates the question, so a second one is always quoted."""
ENOUGH = 0.8
"""A third is quoted unless one of the two is this probably the best one, by the ranking's own estimate."""
CONTEXT_WEIGHT = 0.5
"""How much the words of an earlier question count beside the question's own. Set by hand, not fitted."""
_SHORTLIST = 24
_NEAR_REPEAT = 0.8

QUESTION_WORDS = frozenset(
    ("언제", "누구", "어디", "무엇", "뭐", "왜", "얼마", "얼마나", "몇", "어떻", "어떻게", "어떤", "무슨", "어느")
)
"""Forms of the morphemes that ask and are not themselves found in an answer."""
ASKS_TIME = re.compile(r"언제|몇 ?(?:년|월|일)|며칠|연도|년도|날짜|시기|시점|(?:해|날)[는은가이]?\?")
"""What a question that asks for a time says."""
HAS_TIME = re.compile(r"\d ?(?:년|월|일|세기|시)|\d{4}|오전|오후|요일")
"""What a sentence that names a time says."""

_ASKS_NUMBER = re.compile(r"몇|얼마|퍼센트|비율|[수율액][는은]\?|규모|금액|가격|나이|인원")
_HAS_NUMBER = re.compile(r"\d")
_ASKS_COUNT = re.compile(r"몇 ?([가-힣])")


class SentenceWeights(NamedTuple):
    """What counts how much when sentences are ranked, in logits.

    Attributes:
        morphemes: Share of the question's content morphemes in the sentence, rare ones counting more.
        bigrams: The same over character bigrams.
        neighbours: What the sentences before and after add to the share of bigrams: an answer often follows the
            sentence that names its subject.
        cosine: Cosine of the embeddings of question and sentence.
        time: The question asks when and the sentence names a time.
        number: The question asks how many and the sentence has a number; before the counter, if one is asked for.
        rank: Minus the logarithm of the passage's rank.
    """

    morphemes: float
    bigrams: float
    neighbours: float
    cosine: float
    time: float
    number: float
    rank: float


WEIGHTS = SentenceWeights(morphemes=2.86, bigrams=6.18, neighbours=6.36, cosine=3.4, time=2.87, number=2.48, rank=2.41)
"""Fitted by ``python -m finetune.extractive``, with the embedded model, on 400 questions of ``odqa_ko``."""


class Extract(NamedTuple):
    """A sentence of a passage: ``documents[document].page_content[start:end] == text``."""

    document: int
    start: int
    end: int
    text: str
    probability: float
    """That this sentence answers best, among all the passages' sentences."""


class Candidates(NamedTuple):
    """All sentences of some passages, in order, and what is known of each without embeddings.

    Attributes:
        documents: The number of each sentence's passage.
        sentences: The sentences.
        features: (n, 7) float64, columns as in `SentenceWeights`; ``cosine`` is zero.
    """

    documents: list[int]
    sentences: list[Sentence]
    features: NDArray[np.float64]


def rank_sentences(
    question: str,
    documents: Sequence[Document],
    embeddings: Embeddings | None = None,
    *,
    context: str = "",
    weights: SentenceWeights = WEIGHTS,
) -> list[Extract]:
    """Return the passages' sentences by how well they answer a question, best first.

    Args:
        question: In any Unicode spelling.
        documents: Passages in their order of retrieval, best first.
        embeddings: Compares question and sentences in meaning; None ranks by words alone. Only the sentences that
            lead without it are embedded, and only those come back.
        context: The question with what was asked before it, where it leans on that. It tells what the answer is
            about, while the question alone tells whether a time or a number is asked for.
        weights: See `SentenceWeights`.
    """
    question, context = normalise_question(question), normalise_question(context)
    asked = {question: 1.0} | ({context: CONTEXT_WEIGHT} if context else {})
    found = find_candidates(question, documents)
    if not found.sentences:
        return []
    scores = found.features @ np.asarray(weights)
    if context:
        about = weights._replace(time=0.0, number=0.0, rank=0.0)
        scores += CONTEXT_WEIGHT * (find_candidates(context, documents).features @ np.asarray(about))
    order = np.argsort(-scores, kind="stable")
    if embeddings is not None and weights.cosine:
        order = order[:_SHORTLIST]
        texts = [found.sentences[i].text for i in order]
        for text, share in asked.items():
            scores[order] += share * weights.cosine * cosines(text, texts, embeddings)
        order = order[np.argsort(-scores[order], kind="stable")]
    return [
        Extract(found.documents[i], s.start, s.end, s.text, float(probability))
        for i, probability in zip(order, _softmax(scores[order]), strict=True)
        for s in [found.sentences[i]]
    ]


def select_sentences(ranked: Sequence[Extract], limit: int = MAX_SENTENCES, *, enough: float = ENOUGH) -> list[Extract]:
    """Return the sentences to quote, best first: up to ``limit``, only two once the best one is probably among them.

    A sentence that nearly repeats a chosen one is left out, whichever passage it stands in.
    """
    chosen: list[Extract] = []
    covered = 0.0
    for extract in ranked:
        covered += extract.probability
        if any(_repeats(extract.text, other.text) for other in chosen):
            continue
        chosen.append(extract)
        if len(chosen) == limit or (covered >= enough and len(chosen) >= MIN_SENTENCES):
            break
    return chosen


def find_candidates(question: str, documents: Sequence[Document]) -> Candidates:
    """Return the sentences of passages with what words, neighbours and the passage's rank say about each.

    Rarity is counted among these sentences: what all of them share, usually their subject, tells them apart least.
    """
    analysed = [(number, *one) for number, document in enumerate(documents) for one in _analysed(document.page_content)]
    numbers, sentences = [number for number, *_ in analysed], [sentence for _, sentence, *_ in analysed]
    words, pairs = [words for _, _, words, _ in analysed], [pairs for *_, pairs in analysed]
    asked_words = frozenset(analyzer().morphemes(question)) - QUESTION_WORDS
    pair_weights = _rarity(frozenset(bigrams(question)), pairs)
    by_pairs = _coverage(pair_weights, pairs)
    around = [_around(numbers, pairs, i) for i in range(len(pairs))]
    asks_time = bool(ASKS_TIME.search(question))
    number = _number_asked(question)
    columns: dict[str, Sequence[float] | NDArray[np.float64]] = {
        "morphemes": _coverage(_rarity(asked_words, words), words),
        "bigrams": by_pairs,
        "neighbours": _coverage(pair_weights, around) - by_pairs,
        "cosine": np.zeros(len(sentences)),
        "time": [asks_time and bool(HAS_TIME.search(sentence.text)) for sentence in sentences],
        "number": [bool(number and number.search(sentence.text)) for sentence in sentences],
        "rank": -np.log1p(numbers),
    }
    features = np.array([columns[name] for name in SentenceWeights._fields], np.float64).T
    told = [i for i, units in enumerate(pairs) if units]  # not the gaps of a merged text, or lines of asterisks
    return Candidates([numbers[i] for i in told], [sentences[i] for i in told], features[told])


def cosines(question: str, texts: Sequence[str], embeddings: Embeddings) -> NDArray[np.float64]:
    """Return the cosine of the question with each text, zero where a vector is zero."""
    query = np.asarray(embeddings.embed_query(question), np.float64)
    matrix = np.asarray(embeddings.embed_documents(list(texts)), np.float64)
    norms = np.linalg.norm(matrix, axis=1) * np.linalg.norm(query)
    products: NDArray[np.float64] = matrix @ query
    return np.asarray(np.divide(products, norms, out=np.zeros(len(texts)), where=norms > 0))


@lru_cache(maxsize=1024)  # a conversation meets the same passages again, and this is most of an answer's time
def _analysed(text: str) -> tuple[tuple[Sentence, frozenset[str], frozenset[str]], ...]:
    """Return a passage's sentences, each with its content morphemes and its bigrams."""
    sentences = analyzer().sentences(text)
    texts = [sentence.text for sentence in sentences]
    words = map(frozenset, analyzer().morphemes_batch(texts))
    return tuple(zip(sentences, words, (frozenset(bigrams(text)) for text in texts), strict=True))


def _number_asked(question: str) -> re.Pattern[str] | None:
    """Return what a number that answers a question looks like; None if it asks for none."""
    if counter := _ASKS_COUNT.search(question):
        return re.compile(rf"[\d만천백억조여] ?{re.escape(counter[1])}")
    return _HAS_NUMBER if _ASKS_NUMBER.search(question) else None


def _around(numbers: Sequence[int], units: Sequence[frozenset[str]], i: int) -> frozenset[str]:
    """Return a sentence's units with those of its neighbours in the same passage."""
    near = [j for j in (i - 1, i, i + 1) if 0 <= j < len(units) and numbers[j] == numbers[i]]
    return frozenset().union(*(units[j] for j in near))


def _rarity(asked: frozenset[str], sentences: Sequence[frozenset[str]]) -> dict[str, float]:
    found = Counter(unit for sentence in sentences for unit in asked & sentence)
    return {unit: log(1 + (len(sentences) + 0.5) / (found[unit] + 0.5)) for unit in asked}


def _coverage(weights: dict[str, float], sentences: Sequence[frozenset[str]]) -> NDArray[np.float64]:
    total = sum(weights.values()) or 1.0
    # Sorted, so that the same sentences give the same sum to the last bit in every process.
    return np.array([sum(weights[unit] for unit in sorted(weights.keys() & s)) / total for s in sentences])


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    powers: NDArray[np.float64] = np.exp(scores - scores.max())
    return np.asarray(powers / powers.sum())


def _repeats(text: str, other: str) -> bool:
    return SequenceMatcher(None, text, other, autojunk=False).ratio() >= _NEAR_REPEAT
