"""Why a passage stands where it stands: every stage's score for a question, taken apart into what it is the sum of."""

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

import numpy as np
from langchain_core.documents import Document

from rag_app.compressors import LinearCompressor, RerankingCompressor
from rag_app.documents import searchable_text
from rag_app.embeddings import StaticEmbeddings
from rag_app.explaining.word_matches import Matched, WordMatch, match_words
from rag_app.extractive import cosines
from rag_app.filters import Filter, matching_ids
from rag_app.fusion import adaptive_shares
from rag_app.index import Index, Snapshot
from rag_app.korean import analyzer, normalise_question
from rag_app.question_dates import find_dates
from rag_app.reranking.early_stop import to_logits
from rag_app.reranking.matching import FEATURES
from rag_app.retrieval import CANDIDATES, WEIGHTS

FIRST_STAGE = "first_stage"
"""The name of what the search's own score adds to a linear reranker's logit, beside its `FEATURES`."""
NEAREST = 3
"""How many sentences are compared with the question one by one, at most."""
_EXACT = 1e-6  # what differs by less was computed from the same numbers
_NEAR = 1e-3  # likewise, where float32 products of one passage and of thirty differ in their last bits


class Contribution(NamedTuple):
    """A part of a sum: ``product == value * weight``."""

    name: str
    value: float
    weight: float

    @property
    def product(self) -> float:
        """What it adds."""
        return self.value * self.weight


class LexicalMatch(NamedTuple):
    """How the words match.

    Attributes:
        score: BM25, the sum of the words' scores.
        coverage: The score as a share of the most that the question could reach; None if lexical search did not run.
        words: The question's, in order.
        matched: What to mark in the passage.
    """

    score: float
    coverage: float | None
    words: list[WordMatch]
    matched: Matched


class NearSentence(NamedTuple):
    """A sentence of the passage, ``page_content[start:end]``, and its cosine with the question."""

    start: int
    end: int
    cosine: float


class DenseMatch(NamedTuple):
    """How near the meanings come.

    Attributes:
        cosine: Of the question's vector and the passage's; None if dense search did not run.
        words: What each word of the question adds to the cosine, where the model is static, so that its vector is a
            sum; else empty. The words are those of `LexicalMatch`.
        sentences: Those of the passage that come nearest, nearest first.
    """

    cosine: float | None
    words: list[float]
    sentences: list[NearSentence]


class FusionMatch(NamedTuple):
    """How the fused score comes about.

    Attributes:
        score: The sum of the parts and of what the date adds.
        parts: ``lexical`` (the coverage) and ``dense`` (the cosine), those that ran, each with its share.
        best_coverage: The highest coverage that any passage reached, on which the shares depend; None if lexical
            search found nothing or did not run.
        derived: The search was another than could be repeated, as of another version of the index, so that the shares
            were computed back from the score.
        timely: What the passage gained by its date.
        dates: What the question says of the time, as far as it does.
    """

    score: float
    parts: list[Contribution]
    best_coverage: float | None
    derived: bool
    timely: float
    dates: list[str]


class RerankMatch(NamedTuple):
    """How the reranker's score comes about.

    Attributes:
        score: Between 0 and 1.
        logit: What the score is computed from: ``sigmoid(scale * logit + bias)``.
        parts: What the logit of a linear reranker is the sum of: its features, then `FIRST_STAGE`. Empty for a
            cross-encoder, which cannot be taken apart, and where the reranker at hand gives another score.
        scale: See ``logit``, as for the following.
        bias: See ``logit``.
        windows: ``(start, end)`` of what a cross-encoder read of the text of the document that was explained; None if
            it read all of it.
    """

    score: float
    logit: float
    parts: list[Contribution]
    scale: float
    bias: float
    windows: list[tuple[int, int]] | None


class Explanation(NamedTuple):
    """Why a passage stands where it stands.

    Attributes:
        passage: As it is in the index, which is what every stage has read.
        ranks: Its rank after each stage, from 1, in the order of the stages.
        lexical: See `LexicalMatch`, as for the following; also of a search that did not look at the words.
        dense: Likewise also of a search that did not look at the meaning.
        fusion: None if the document does not come from a search.
        rerank: None if no reranker has read it.
    """

    passage: Document
    ranks: dict[str, int]
    lexical: LexicalMatch
    dense: DenseMatch
    fusion: FusionMatch | None
    rerank: RerankMatch | None


def explain_match(
    question: str,
    document: Document,
    index: Index,
    *,
    reranker: RerankingCompressor | None = None,
    weights: Mapping[str, float] = WEIGHTS,
    filter: Filter | None = None,
) -> Explanation:
    """Explain what was found, from the scores in its metadata and from what they were computed from.

    Args:
        question: As it was searched for.
        document: What `rag_app.retrieval.build_retriever` found, or what `rag_app.merging` made of it: then its best
            passage is explained.
        index: Where it was found.
        reranker: The one that was used.
        weights: Those of the search, as for the following.
        filter: Which passages were searched.
    """
    snapshot = index.snapshot
    passage = snapshot.store.documents.get(str(document.id), document)
    stages = document.metadata.get("stages", {})
    words, matched = match_words(question, str(document.id), snapshot.lexical)
    lexical = LexicalMatch(sum(word.score for word in words), stages.get("lexical", {}).get("coverage"), words, matched)
    return Explanation(
        passage,
        {stage: int(found["rank"]) for stage, found in stages.items()},
        lexical,
        _dense(question, passage, index, stages),
        _fusion(question, stages, snapshot, weights, filter) if "fusion" in stages else None,
        _rerank(question, document, passage, stages, reranker) if "score" in stages.get("rerank", {}) else None,
    )


def _dense(question: str, passage: Document, index: Index, stages: Mapping[str, Mapping[str, float]]) -> DenseMatch:
    sentences = analyzer().sentences(passage.page_content)
    near = cosines(question, [sentence.text for sentence in sentences], index.embeddings).tolist() if sentences else []
    ranked = [NearSentence(s.start, s.end, cosine) for s, cosine in zip(sentences, near, strict=True)]
    return DenseMatch(
        stages.get("dense", {}).get("score"),
        _cosine_by_word(question, passage, index),
        sorted(ranked, key=lambda sentence: -sentence.cosine)[:NEAREST],
    )


def _cosine_by_word(question: str, passage: Document, index: Index) -> list[float]:
    """Return what each word of a question adds to the cosine of a static model: the vector is the sum of its tokens."""
    embeddings, store = index.embeddings, index.snapshot.store
    if not isinstance(embeddings, StaticEmbeddings):
        return []
    try:
        vector = store.vectors([str(passage.id)])[0]
    except KeyError:  # deleted since
        return []
    model = embeddings.token_vectors
    text = normalise_question(question)
    encoding = model.tokenizer.encode(text, add_special_tokens=False)
    known = [(id_, start, end) for id_, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)]
    tokens = np.array([id_ for id_, *_ in known if id_ != model.unknown], np.int64)
    vectors = model.weights[tokens, None] * model.vectors[model.rows[tokens]].astype(np.float32)
    length = float(np.linalg.norm(vectors.sum(axis=0)))
    products = vectors @ vector / (length or 1.0)
    added = [0.0] * len(text.split())
    for product, (_, start, end) in zip(products, (one for one in known if one[0] != model.unknown), strict=True):
        first = start + len(text[start:end]) - len(text[start:end].lstrip())
        added[min(len(text[: first + 1].split()), len(added)) - 1] += float(product)
    return added


def _fusion(
    question: str,
    stages: Mapping[str, Mapping[str, float]],
    snapshot: Snapshot,
    weights: Mapping[str, float],
    filter: Filter | None,
) -> FusionMatch:
    found = stages["fusion"]
    timely = found.get("timely", 0.0)
    values = {"lexical": stages.get("lexical", {}).get("coverage", 0.0)}
    values["dense"] = stages.get("dense", {}).get("score", 0.0)
    best: float | None = None
    if weights["lexical"]:
        allowed = None if filter is None else matching_ids(snapshot.store.documents, filter)
        # As many as the search itself asks for: the last bit of a score depends on it.
        hits = snapshot.lexical.search(question, CANDIDATES, ids=allowed)
        best = max((hit.coverage for hit in hits), default=None)
    known: dict[str, dict[str, float]] = {}
    if weights["lexical"]:
        known["lexical"] = {} if best is None else {"best": best}
    if weights["dense"]:
        known["dense"] = {"this": values["dense"]}
    shares = adaptive_shares(known, weights)
    plain = found["score"] - timely
    derived = abs(sum(share * values[stage] for stage, share in shares.items()) - plain) > _EXACT
    if derived and values["dense"] != values["lexical"]:
        dense = (plain - values["lexical"]) / (values["dense"] - values["lexical"])
        shares = {"lexical": 1.0 - dense, "dense": dense}
    dates = [found.text for found in find_dates(normalise_question(question), date.today())] if timely else []
    parts = [Contribution(stage, values[stage], share) for stage, share in shares.items()]
    return FusionMatch(found["score"], parts, best, derived, timely, dates)


def _rerank(
    question: str,
    document: Document,
    passage: Document,
    stages: Mapping[str, Mapping[str, float]],
    reranker: RerankingCompressor | None,
) -> RerankMatch:
    found = document.metadata["stages"]["rerank"]
    score = float(found["score"])
    windows = [(start, end) for start, end in found["windows"]] if "windows" in found else None
    if isinstance(reranker, LinearCompressor):
        model = reranker.model
        [values] = model.matcher.features(question, [searchable_text(passage)])
        parts = [Contribution(*part) for part in zip(FEATURES, values.tolist(), model.weights.tolist(), strict=True)]
        if "fusion" in stages:
            parts.append(Contribution(FIRST_STAGE, stages["fusion"]["score"], model.first_stage))
        logit = sum(part.product for part in parts)
        if abs(model.scale * logit + model.bias - _logit(score)) < _NEAR:
            return RerankMatch(score, logit, parts, model.scale, model.bias, windows)
    return RerankMatch(score, _logit(score), [], 1.0, 0.0, windows)


def _logit(score: float) -> float:
    return float(to_logits(np.array([score]))[0])
