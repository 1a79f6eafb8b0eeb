"""Fit when to refuse, on questions that no article answers.

python -m finetune.evidence --data sample

Indexes the data's articles, searches for every question of both splits as the chat does, fits a logistic regression
of "an answering article was found" on `rag_app.evidence.Evidence`, chooses the threshold on train, and prints how
often it answers what it should refuse and refuses what it could answer, on train and validation. The printed weights
and threshold belong in ``rag_app/evidence.py``. Only numpy; rows weigh so that both classes count the same.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from numpy.typing import NDArray
from tqdm import tqdm

from finetune.processes import refuse_processes
from rag_app.data.questions import Question, load_passages, load_retrieval_data
from rag_app.evidence import (
    MIN_EVIDENCE,
    WEIGHTS,
    EvidenceWeights,
    evidence_score,
    gather_evidence,
)

SOURCES = 5
REFUSAL_COST = 3.0
"""How much worse a false refusal is than a false answer: what is quoted can be checked, a refusal ends the search."""


class Found(NamedTuple):
    """A question, what was found for it, and whether an answering article is among that."""

    question: Question
    documents: list[Document]
    answered: bool


class Rates(NamedTuple):
    """How often a threshold is wrong.

    Attributes:
        false_answers: Share of the questions without an answer that would be answered.
        false_refusals: Share of the questions with an answer among the sources that would be refused.
        answerable: How many questions have an answer among their sources.
        unanswerable: How many questions have no answer in any article.
    """

    false_answers: float
    false_refusals: float
    answerable: int
    unanswerable: int


def search(retriever: BaseRetriever, questions: Sequence[Question], *, sources: int = SOURCES) -> list[Found]:
    """Return what is found for each question; a question whose article search missed is left out.

    Such a question can be answered, only not from what was found: it is neither a right answer nor a right refusal.
    """
    found = []
    for question in tqdm(questions, desc="search", file=sys.stderr):
        documents = retriever.invoke(question.text)[:sources]
        answered = any(document.metadata["doc_id"] in question.relevant for document in documents)
        if answered or question.impossible:
            found.append(Found(question, documents, answered and not question.impossible))
    return found


def fit_evidence(found: Sequence[Found], *, ridge: float = 1.0, steps: int = 3000) -> EvidenceWeights:
    """Return the logistic regression of being answered on the evidence, both classes weighing the same.

    Args:
        found: From `search`, of training questions only, with lexical and dense stages.
        ridge: Strength of the pull to zero, on features of unit variance.
        steps: Of gradient descent.

    Raises:
        ValueError: One of the classes is missing.
    """
    target = np.array([one.answered for one in found], float)
    if not 0 < target.sum() < len(target):
        raise ValueError(f"{int(target.sum())} of {len(target)} questions are answered; fitting needs some of either")
    rows = [gather_evidence(one.question.text, one.documents) for one in found]
    raw = np.array([(row.coverage, row.cosine, row.words) for row in rows], float)
    means = np.nanmean(raw, axis=0)
    features = np.where(np.isnan(raw), means, raw)
    scale = features.std(axis=0) + 1e-9
    x = np.column_stack([np.ones(len(features)), (features - means) / scale])
    share = np.where(target == 1, 0.5 / target.mean(), 0.5 / (1 - target.mean()))
    weights = np.zeros(x.shape[1])
    pull = np.array([0.0, ridge, ridge, ridge])
    for _ in range(steps):
        probability = 1 / (1 + np.exp(-x @ weights))
        weights -= 0.5 * (x.T @ (share * (probability - target)) + pull * weights) / len(x)
    slopes = weights[1:] / scale
    bias = weights[0] - slopes @ means
    return EvidenceWeights(*(round(float(v), 3) for v in (bias, *slopes, means[0], means[1])))


def choose_threshold(
    scores: NDArray[np.float64], answered: NDArray[np.bool_], *, refusal_cost: float = REFUSAL_COST
) -> float:
    """Return the threshold with the least sum of both error rates; between equal ones the lowest.

    Args:
        scores: `evidence_score` of each question, ``(n,)``.
        answered: Which of them can be answered, ``(n,)``.
        refusal_cost: How much worse a false refusal is than a false answer.
    """
    candidates = [0.0, *((np.sort(scores)[1:] + np.sort(scores)[:-1]) / 2)]
    costs = [float((scores[~answered] >= t).mean() + refusal_cost * (scores[answered] < t).mean()) for t in candidates]
    return round(float(candidates[int(np.argmin(costs))]), 3)


def score_all(found: Sequence[Found], weights: EvidenceWeights) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return each question's evidence and whether it is answered, both ``(n,)``."""
    scores = [evidence_score(one.question.text, one.documents, weights=weights) for one in found]
    return np.array(scores), np.array([one.answered for one in found], bool)


def error_rates(scores: NDArray[np.float64], answered: NDArray[np.bool_], threshold: float) -> Rates:
    """Return how often a threshold answers or refuses wrongly."""
    return Rates(
        float((scores[~answered] >= threshold).mean()) if (~answered).any() else 0.0,
        float((scores[answered] < threshold).mean()) if answered.any() else 0.0,
        int(answered.sum()),
        int((~answered).sum()),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Fit, and print weights, threshold and error rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="sample", help="questions, some of them impossible; see load_retrieval_data")
    parser.add_argument("--model", default="embedded", help="embedding model")
    parser.add_argument("--reranker", help="reranker; the score of a cross-encoder is then the evidence")
    parser.add_argument("--refusal-cost", type=float, default=REFUSAL_COST, help="how much worse a false refusal is")
    parser.add_argument("--off-topic", help="questions about something else entirely, none of which has an answer here")
    args = parser.parse_args(argv)
    refuse_processes(parser, "The weights are fitted")

    # 1. Model
    from rag_app.embeddings import load_embeddings
    from rag_app.index import build_index
    from rag_app.retrieval import build_retriever

    embeddings = load_embeddings(args.model)
    compressor = None
    if args.reranker:
        from rag_app.compressors import load_reranker

        compressor = load_reranker(args.reranker)

    # 2. Data
    train = load_retrieval_data(args.data, split="train")
    validation = load_retrieval_data(args.data, split="validation")
    articles = {document.id: document for document in load_passages(args.data)}

    # 3. Search, as the chat does
    with tempfile.TemporaryDirectory() as folder:
        index = build_index(Path(folder) / "index", articles.values(), embeddings)
        retriever = build_retriever(index, compressor=compressor)
        found = {"train": search(retriever, train.questions), "validation": search(retriever, validation.questions)}
        strangers = load_retrieval_data(args.off_topic).questions if args.off_topic else []
        off_topic = [Found(question, retriever.invoke(question.text)[:SOURCES], False) for question in strangers]

    # 4. Fit on train
    weights = fit_evidence(found["train"])
    threshold = choose_threshold(*score_all(found["train"], weights), refusal_cost=args.refusal_cost)
    print(f"fitted: {weights}, MIN_EVIDENCE = {threshold}")

    # 5. Report
    for split, data in (("train", train), ("validation", validation)):
        answerable = sum(not question.impossible for question in data.questions)
        reached = sum(one.answered for one in found[split])
        print(
            f"{split:10} search finds the article of {reached} of {answerable} answerable questions, which alone count"
        )
    for name, (candidate, limit) in {"in use": (WEIGHTS, MIN_EVIDENCE), "fitted": (weights, threshold)}.items():
        for split, rows in found.items():
            rates = error_rates(*score_all(rows, candidate), limit)
            print(
                f"{name:7} {split:10} threshold {limit:.3f} false answers {rates.false_answers:.3f} of "
                f"{rates.unanswerable}, false refusals {rates.false_refusals:.3f} of {rates.answerable}"
            )
        if off_topic:
            rates = error_rates(*score_all(off_topic, candidate), limit)
            print(
                f"{name:7} off-topic  threshold {limit:.3f} answers {rates.false_answers:.3f} of {rates.unanswerable}"
            )


if __name__ == "__main__":
    main()
