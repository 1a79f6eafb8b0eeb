"""How likely the found passages answer a question at all, from what the search thought of them."""

import re
from collections.abc import Sequence
from itertools import chain
from math import exp
from typing import NamedTuple

from langchain_core.documents import Document

from rag_app.by_word import morphemes_by_word
from rag_app.documents import searchable_text
from rag_app.extractive import QUESTION_WORDS
from rag_app.korean import analyzer, normalise, normalise_question

MIN_EVIDENCE = 0.4
"""Below this the answer is a refusal. Set by hand from the error rates of several thresholds in ``finetune/LOG.md``."""

_NAMING_TAGS = frozenset({"NNG", "NNP", "SL", "SH", "SN", "XR"})
_AROUND_WORD = re.compile(r"^\W+|\W+$")


class Evidence(NamedTuple):
    """What is known of the best passages; None where the stage did not run.

    Attributes:
        coverage: The highest lexical coverage: BM25 as a share of what the question could reach.
        cosine: The highest cosine of the dense search.
        words: The largest share of the question's content morphemes that one passage, with its title, has.
        rerank: The reranker's highest score, where that is calibrated: a cross-encoder's is, a linear one's is not.
    """

    coverage: float | None
    cosine: float | None
    words: float
    rerank: float | None


class EvidenceWeights(NamedTuple):
    """A logistic regression on `Evidence`, and what stands in for a stage that did not run: its training mean."""

    bias: float
    coverage: float
    cosine: float
    words: float
    mean_coverage: float
    mean_cosine: float


WEIGHTS = EvidenceWeights(
    bias=-2.716, coverage=0.941, cosine=3.027, words=1.777, mean_coverage=0.323, mean_cosine=0.466
)
"""Fitted by ``python -m finetune.evidence --data sample`` on the bundled questions; some have no answer."""


def evidence_score(question: str, documents: Sequence[Document], *, weights: EvidenceWeights = WEIGHTS) -> float:
    """Return how likely one of the documents answers the question, 0 to 1; 0 without documents.

    A calibrated reranker's best score is taken as it is: it has read question and passage together. Without one,
    lexical coverage, cosine and shared words decide by logistic regression.
    """
    if not documents:
        return 0.0
    evidence = gather_evidence(question, documents)
    if evidence.rerank is not None:
        return min(1.0, max(0.0, evidence.rerank))
    coverage = weights.mean_coverage if evidence.coverage is None else evidence.coverage
    cosine = weights.mean_cosine if evidence.cosine is None else evidence.cosine
    logit = weights.bias + weights.coverage * coverage + weights.cosine * cosine + weights.words * evidence.words
    return 1 / (1 + exp(-logit))


def gather_evidence(question: str, documents: Sequence[Document]) -> Evidence:
    """Return the best of each kind of evidence among documents whose metadata has ``stages``."""
    texts = (normalise_question(question), *(searchable_text(document) for document in documents))
    words, *found = map(set, morphemes_by_word(analyzer())(list(map(normalise, texts))))
    asked = words - QUESTION_WORDS
    shares = [len(asked & words) / len(asked) for words in found] if asked else [0.0]
    return Evidence(
        _best(documents, "lexical", "coverage"),
        _best(documents, "dense", "score"),
        max(shares, default=0.0),
        _best(documents, "rerank", "score"),
    )


def missing_words(question: str, documents: Sequence[Document]) -> list[str]:
    """Return the words of a question, without particles, of whose nouns and numbers none is in any of the documents.

    Verbs are left out: to say that no article has the "opened" of "when was it opened" would tell nobody anything.
    """
    words = [word for part in normalise_question(question).split() if (word := _AROUND_WORD.sub("", part))]
    asked = [set(units) - QUESTION_WORDS for units in analyzer().morphemes_batch(words, _NAMING_TAGS)]
    texts = [normalise(searchable_text(document)) for document in documents]
    found = set(chain.from_iterable(morphemes_by_word(analyzer())(texts)))
    written = "\n".join(texts).lower()  # 제주 is in 제주시, which is a morpheme of its own

    def is_there(unit: str) -> bool:
        return unit in found or (len(unit) > 1 and unit in written)

    missing = [word for word, units in zip(words, asked, strict=True) if units and not any(map(is_there, units))]
    return list(dict.fromkeys(map(_without_particles, missing)))


def _without_particles(word: str) -> str:
    """Return 격자 of 격자의."""
    morphemes = analyzer().analyse(word)
    while morphemes and morphemes[-1].tag.startswith("J"):
        morphemes.pop()
    return word[: morphemes[-1].end] if morphemes else word


def _best(documents: Sequence[Document], stage: str, key: str) -> float | None:
    stages = [document.metadata.get("stages", {}).get(stage, {}) for document in documents]
    known = (float(found[key]) for found in stages if key in found and found.get("calibrated", True))
    return max(known, default=None)
