"""What is asked of which corpus: data sets turned into something a retriever can be measured on."""

import random
from collections.abc import Iterable
from typing import NamedTuple

from langchain_core.documents import Document

from rag_app.data.questions import Question, RetrievalData


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


def passage_retrieval(
    data: RetrievalData, distractors: Iterable[Document] = (), *, limit: int | None = None, seed: int = 0
) -> Benchmark:
    """Return the task of finding each question's passage among all passages of its split and the distractors.

    The passages of unanswerable questions, and of those that ``limit`` leaves out, stay in the corpus.

    Args:
        data: One split of a data set.
        distractors: More documents to search; one whose text is in the corpus already adds nothing.
        limit: Ask a random sample of at most this many answerable questions, in their old order.
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
        chosen = sorted(random.Random(seed).sample(range(len(answerable)), limit))  # noqa: S311
        answerable = [answerable[position] for position in chosen]
    return Benchmark(list(corpus.values()), answerable, unanswerable)
