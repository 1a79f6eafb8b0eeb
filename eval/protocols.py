"""What is asked of which corpus: data sets turned into something a retriever can be measured on."""

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from langchain_core.documents import Document

from rag_app.data.questions import Question, RetrievalData

TUTORIAL_QUESTIONS = 1000
TUTORIAL_SEED = 42

T = TypeVar("T")


class Benchmark(NamedTuple):
    """A corpus and the questions to ask of it.

    Attributes:
        corpus: The passages to search.
        questions: Those that a passage answers.
        unanswerable: Those that none does.
    """

    corpus: list[Document]
    questions: list[Question]
    unanswerable: list[Question]

    def qrels(self) -> dict[str, frozenset[str]]:
        """Return the doc_ids that answer each question, by its id."""
        return {question.id: question.relevant for question in self.questions}

    def relevant(self) -> frozenset[str]:
        """Return the doc_ids that answer any question, also those that the corpus lacks."""
        return frozenset[str]().union(*(question.relevant for question in self.questions))


def clean(
    data: RetrievalData, distractors: Iterable[Document] = (), *, limit: int | None = None, seed: int = 0
) -> Benchmark:
    """Return the task of finding each answerable question's passage among all passages, each text once.

    The passages of unanswerable questions, and of those that ``limit`` leaves out, stay in the corpus.

    Args:
        data: One split of a data set.
        distractors: More documents to search, such as `rag_app.data.questions.all_passages` of the same source; one
            whose text is in the corpus already adds nothing.
        limit: Ask a random sample of at most this many answerable questions, in their old order; of the unanswerable
            ones as large a share is kept, at least one.
        seed: Chooses the sample.

    Raises:
        ValueError: No question has an answer.
    """
    corpus = dict(data.passages)
    for document in distractors:
        corpus.setdefault(document.metadata["doc_id"], document)
    answerable = [question for question in data.questions if question.relevant]
    unanswerable = [question for question in data.questions if not question.relevant]
    if not answerable:
        raise ValueError(
            f"None of the {len(unanswerable)} questions has an answer. Give data with answerable questions."
        )
    if limit is not None and limit < len(answerable):
        # Thinned alike, or a quick look at a hundred questions would still ask thousands that have no answer.
        share = math.ceil(len(unanswerable) * limit / len(answerable))
        answerable, unanswerable = (
            draw_in_order(answerable, limit, seed=seed),
            draw_in_order(unanswerable, share, seed=seed),
        )
    return Benchmark(list(corpus.values()), answerable, unanswerable)


def tutorial(data: RetrievalData, *, limit: int | None = None) -> Benchmark:
    """Return the task that a Korean tutorial published for the validation part of KLUE-MRC, its weaknesses included.

    It asks 1,000 questions, those that ``train_test_split(test_size=1000, seed=42)["test"]`` of the datasets library
    draws, in its order, and searches their contexts: one row for each question, so that a context asked about twice
    stands there twice and takes two ranks, without title and uncut. A question that its context does not answer is
    asked like the others and has its context for an answer; its ``impossible`` still says so. A hit is any row with
    the text of the question's context. Texts are compared as `rag_app.korean.normalise` leaves them.

    Search it with `eval.tutorial.FlatRetriever`; a corpus this small and this tidy is easier than `clean`.

    Args:
        data: One split of a data set; where it has fewer questions than are to be drawn, all are asked.
        limit: How many questions to draw, 1,000 if None.

    Raises:
        ValueError: The source does not say which context a question was asked of, as BEIR folders do not.
    """
    # What train_test_split does, except that it refuses to draw all.
    drawn = np.random.default_rng(TUTORIAL_SEED).permutation(len(data.questions))[: limit or TUTORIAL_QUESTIONS]
    questions = [data.questions[number] for number in drawn.tolist()]
    if strangers := [question.id for question in questions if question.context_id not in data.passages]:
        raise ValueError(
            f"{len(strangers)} of {len(questions)} questions, such as {strangers[0]!r}, do not say which passage they "
            "were asked of, and the tutorial protocol searches just these. Use --protocol clean"
        )
    row_ids = [f"{question.context_id}#{row}" for row, question in enumerate(questions)]
    equal: defaultdict[str, set[str]] = defaultdict(set)
    for question, row_id in zip(questions, row_ids, strict=True):
        equal[question.context_id].add(row_id)
    return Benchmark(
        [_row(data.passages[question.context_id], id_) for question, id_ in zip(questions, row_ids, strict=True)],
        [
            question._replace(relevant=frozenset(equal[question.context_id]), context_id=id_)
            for question, id_ in zip(questions, row_ids, strict=True)
        ],
        [],
    )


def needed_passages(benchmark: Benchmark) -> set[str]:
    """Return the doc_ids of the passages that answer a question, as far as the corpus has them."""
    return {document.metadata["doc_id"] for document in benchmark.corpus} & benchmark.relevant()


def corpus_sizes(needed: int, total: int, points: int = 4) -> list[int]:
    """Return the sizes of corpus at which to measure, ascending by about the same factor, without repeats.

    Args:
        needed: The smallest: how many passages answer a question; see `needed_passages`.
        total: The largest: how many there are.
        points: How many sizes to return at most.

    Raises:
        ValueError: There are more passages needed than there are, or none, or fewer than two points.
    """
    if not 0 < needed <= total or points < 2:
        raise ValueError(f"Want 1 to {total} needed passages and 2 points or more, got {needed} and {points}")
    return sorted({round(size) for size in np.geomspace(needed, total, points).tolist()})


def shrink(benchmark: Benchmark, passages: int, *, seed: int = 0) -> Benchmark:
    """Return the benchmark with a smaller corpus, in its old order, that still answers every question.

    With the same seed a smaller corpus is part of every larger one, so that a curve over sizes only ever adds.

    Args:
        benchmark: With ``doc_id`` unique in the corpus.
        passages: How many to keep.
        seed: Chooses the passages beside the needed ones.

    Raises:
        ValueError: The questions need more passages, or the corpus has fewer.
    """
    needed = needed_passages(benchmark)
    if not len(needed) <= passages <= len(benchmark.corpus):
        raise ValueError(
            f"Cannot keep {passages:,} passages: the questions need {len(needed):,} and there are "
            f"{len(benchmark.corpus):,}"
        )
    others = [id_ for document in benchmark.corpus if (id_ := document.metadata["doc_id"]) not in needed]
    random.Random(seed).shuffle(others)  # noqa: S311
    kept = needed.union(others[: passages - len(needed)])
    return benchmark._replace(corpus=[document for document in benchmark.corpus if document.metadata["doc_id"] in kept])


def draw_in_order(items: Sequence[T], count: int, *, seed: int = 0) -> list[T]:
    """Return so many of the items, drawn at random, in their old order."""
    chosen = sorted(random.Random(seed).sample(range(len(items)), count))  # noqa: S311
    return [items[position] for position in chosen]


def _row(passage: Document, row_id: str) -> Document:
    # No title: it would be read before the text, and the tutorial reads the text alone.
    return Document(page_content=passage.page_content, metadata={"doc_id": row_id}, id=row_id)
