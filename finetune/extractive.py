"""Fit the weights that choose the sentences of an extractive answer, and measure the answers.

python -m finetune.extractive --train train.jsonl --validation validation.jsonl --model embedded

Each question meets two lists of passages: its own passage alone, and the first five that lexical search finds among
all passages of both files. A conditional logit (McFadden 1974) over the sentences of the second list, where the
sentences of the right passage that contain an answer are right, gives the weights for `rag_app.extractive.WEIGHTS`.
Plain gradient descent, no dependency but numpy.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray
from tqdm import tqdm

from finetune.processes import refuse_processes
from rag_app.data.questions import Question, RetrievalData, load_retrieval_data
from rag_app.extractive import (
    WEIGHTS,
    SentenceWeights,
    cosines,
    find_candidates,
    rank_sentences,
    select_sentences,
)
from rag_app.korean import analyzer, normalise
from rag_app.lexical import LexicalRetriever

PASSAGES = 5


class Example(NamedTuple):
    """A question with passages, and which sentences of the right one answer it."""

    question: Question
    documents: list[Document]


class Quality(NamedTuple):
    """How often the quoted sentences hold a gold answer.

    Attributes:
        first: Share of questions whose first quoted sentence contains an answer.
        quoted: Share of questions where any quoted sentence does.
        sentences: Sentences quoted per question.
        three: The share if three sentences were always quoted.
    """

    first: float
    quoted: float
    sentences: float
    three: float


def own_passage(data: RetrievalData, questions: Sequence[Question]) -> list[Example]:
    """Return each question with the one passage that answers it."""
    return [Example(q, [data.passages[sorted(q.relevant)[0]]]) for q in questions]


def found_passages(retriever: LexicalRetriever, questions: Sequence[Question]) -> list[Example]:
    """Return each question with the passages that lexical search finds for it."""
    return [Example(q, retriever.invoke(q.text)) for q in questions]


def measure(
    examples: Sequence[Example], embeddings: Embeddings | None, *, weights: SentenceWeights = WEIGHTS
) -> Quality:
    """Return how often the extractive answers contain a gold answer, as text inside a quoted sentence."""
    rows = []
    for question, documents in tqdm(examples, desc="measure", file=sys.stderr):
        ranked = rank_sentences(question.text, documents, embeddings, weights=weights)
        hits = [_answers(question, extract.text) for extract in select_sentences(ranked)]
        three = select_sentences(ranked, enough=1.1)
        rows.append((any(hits[:1]), any(hits), len(hits), any(_answers(question, extract.text) for extract in three)))
    return Quality(*(float(value) for value in np.mean(np.array(rows, float), axis=0)))


def fit_sentences(
    examples: Sequence[Example], embeddings: Embeddings | None, *, ridge: float = 1.0, steps: int = 500
) -> SentenceWeights:
    """Return the weights under which right sentences are most probable among all sentences of the passages.

    Args:
        examples: Those without a right sentence are left out.
        embeddings: None leaves the cosine's weight at zero.
        ridge: Strength of the pull to zero, on features of unit variance.
        steps: Of gradient descent with momentum.
    """
    problems = [p for e in tqdm(examples, desc="features", file=sys.stderr) if (p := _problem(e, embeddings))[1].any()]
    scale = np.sqrt(np.mean([x.var(axis=0) for x, _ in problems], axis=0)) + 1e-9
    scaled = [(x / scale, right) for x, right in problems]
    weights, velocity = np.zeros(len(scale)), np.zeros(len(scale))
    for _ in range(steps):
        gradient = sum((_gradient(x, right, weights) for x, right in scaled), ridge * weights)
        velocity = 0.9 * velocity + gradient / len(scaled)
        weights = weights - 0.3 * velocity
    return SentenceWeights(*(float(value) for value in np.round(weights / scale, 2)))


def _problem(example: Example, embeddings: Embeddings | None) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    question, documents = example
    candidates = find_candidates(normalise(question.text), documents)
    features = candidates.features
    if embeddings is not None:
        texts = [sentence.text for sentence in candidates.sentences]
        features[:, SentenceWeights._fields.index("cosine")] = cosines(question.text, texts, embeddings)
    right = [
        documents[number].metadata["doc_id"] in question.relevant and _answers(question, sentence.text)
        for number, sentence in zip(candidates.documents, candidates.sentences, strict=True)
    ]
    return features, np.array(right, bool)


def _gradient(x: NDArray[np.float64], right: NDArray[np.bool_], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    scores = x @ weights
    powers = np.exp(scores - scores.max())
    return np.asarray(x.T @ (powers / powers.sum() - powers * right / powers[right].sum()))


def _answers(question: Question, text: str) -> bool:
    return any(normalise(answer) in text for answer in question.answers)


def main(argv: Sequence[str] | None = None) -> None:
    """Fit, print the weights, and print the quality before and after."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", default="sample", help="questions to fit on: a file or 'sample'")
    parser.add_argument("--validation", default="sample", help="questions to report on")
    parser.add_argument("--model", default="embedded", help="embedding model; 'none' fits without one")
    parser.add_argument("--questions", type=int, default=400, help="how many training questions")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    refuse_processes(parser, "The weights are fitted")

    # 1. Model
    embeddings = None
    if args.model != "none":
        from rag_app.embeddings import load_embeddings

        embeddings = load_embeddings(args.model)

    # 2. Data
    train = load_retrieval_data(args.train, split="train")
    validation = load_retrieval_data(args.validation, split="validation")
    retriever = LexicalRetriever.from_documents(
        {**train.passages, **validation.passages}.values(), analyzer=analyzer(), k=PASSAGES
    )
    answerable = [question for question in train.questions if question.relevant and question.answers]
    sample = random.Random(args.seed).sample(answerable, min(args.questions, len(answerable)))  # noqa: S311
    unseen = [question for question in validation.questions if question.relevant and question.answers]

    # 3. Fit
    examples = {
        ("train", "own passage"): own_passage(train, sample),
        ("train", "found"): found_passages(retriever, sample),
        ("validation", "own passage"): own_passage(validation, unseen),
        ("validation", "found"): found_passages(retriever, unseen),
    }
    weights = fit_sentences(examples["train", "found"], embeddings)
    print(f"fitted on {len(sample)} questions: {weights}")

    # 4. Measure
    words_only = SentenceWeights(1, 1, 0, 0, 0, 0, 0.2)
    for name, candidate in {"words only": words_only, "in use": WEIGHTS, "fitted": weights}.items():
        for (split, kind), rows in examples.items():
            quality = measure(rows, embeddings, weights=candidate)
            print(
                f"{name:10} {split:10} {kind:11} n={len(rows):4} first {quality.first:.3f} quoted {quality.quoted:.3f} "
                f"({quality.sentences:.2f} sentences) three {quality.three:.3f}"
            )


if __name__ == "__main__":
    main()
