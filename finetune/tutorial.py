"""The tutorial's pairs of question and context, kept as they were published, faults included."""

import random
from typing import NamedTuple

from finetune.pairs import Pair
from rag_app.data.questions import Question, RetrievalData


class LabelledPair(NamedTuple):
    """A question and a context, and whether it is the question's own: 1 or 0."""

    query: str
    passage: str
    label: float


def tutorial_pairs(data: RetrievalData) -> list[Pair]:
    """Return every question with the context it was asked of, in order: without a title, uncut, answered or not.

    Raises:
        ValueError: The source does not say which context a question was asked of.
    """
    return [
        Pair(question.text, data.passages[doc_id].page_content, doc_id)
        for question in data.questions
        if (doc_id := _context_id(question))
    ]


def random_negative_pairs(data: RetrievalData, *, seed: int = 42) -> list[LabelledPair]:
    """Return every question with its context (label 1), followed by it with a context of another title (label 0).

    The other context is that of a question drawn at random, so contexts with many questions come up more often. Titles
    are compared as values; the tutorial wrote them into a ``df.query`` expression, which a title with a quote in it
    breaks or rewrites.

    Raises:
        ValueError: All titles are the same or missing, or as for `tutorial_pairs`.
    """
    pairs = tutorial_pairs(data)
    titles = [data.passages[pair.doc_id].metadata.get("title") for pair in pairs]
    if len(set(titles)) < 2:
        raise ValueError(
            f"All {len(pairs)} contexts have the title {titles[0] if titles else None!r}: none can be drawn for its "
            "other title. Give data with titles"
        )
    chance = random.Random(seed)  # noqa: S311
    rows = []
    for pair, title in zip(pairs, titles, strict=True):
        other = chance.randrange(len(pairs))
        while titles[other] == title:
            other = chance.randrange(len(pairs))
        rows.append(LabelledPair(pair.query, pair.passage, 1.0))
        rows.append(LabelledPair(pair.query, pairs[other].passage, 0.0))
    return rows


def _context_id(question: Question) -> str:
    if not question.context_id:
        raise ValueError(
            f"The source does not say which context question {question.id!r} was asked of, as the tutorial's data do. "
            "Use a table with a question and its context in each row"
        )
    return question.context_id
