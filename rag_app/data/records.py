"""What every data set with questions becomes."""

from typing import Any, NamedTuple

from langchain_core.documents import Document


class Question(NamedTuple):
    """A question and what answers it.

    Attributes:
        id: Unique in its data set.
        text: The question, normalised.
        relevant: ``doc_id`` of the passages that answer it; empty when it is impossible.
        answers: The answers as they stand in the passage, normalised; empty where the source names none.
        impossible: No passage answers it.
        metadata: The source's other columns, such as ``question_type``, as they were.
        context_id: ``doc_id`` of the passage it was asked of, also where that does not answer it; empty where the
            source does not say, as in BEIR.
        negatives: ``doc_id`` of passages that the source says do not answer it, though a search may think so.
    """

    id: str
    text: str
    relevant: frozenset[str]
    answers: tuple[str, ...]
    impossible: bool
    metadata: dict[str, Any]
    context_id: str = ""
    negatives: tuple[str, ...] = ()


class RetrievalData(NamedTuple):
    """Passages by their doc_id, each text once, and the questions asked of them."""

    passages: dict[str, Document]
    questions: list[Question]
