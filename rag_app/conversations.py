"""Conversations: questions, answers and their sources, kept in a SQLite file."""

from dataclasses import dataclass, field
from uuid import uuid4

from langchain_core.documents import Document


def new_id() -> str:
    """Return an id for a conversation or a turn: 32 hexadecimal digits."""
    return uuid4().hex


@dataclass
class Turn:
    """A question and what became of it. Filled while the answer streams, so that an interruption loses nothing.

    Attributes:
        question: As asked.
        id: Unique among all turns; sources on the page are anchored by it.
        index: The folder of the index that was asked.
        filtered: The filter in words; empty without one.
        written: A chat model writes the answer, otherwise it is quoted.
        searched: The standalone question that was searched for.
        answer: As far as it has come.
        documents: The sources in citation order.
        refused: The articles do not answer the question.
        finished: The answer is complete.
        problem: What went wrong, in the visitor's language.
        detail: The error's own message.
    """

    question: str
    id: str = field(default_factory=new_id)
    index: str = ""
    filtered: str = ""
    written: bool = False
    searched: str = ""
    answer: str = ""
    documents: list[Document] = field(default_factory=list)
    refused: bool = False
    finished: bool = False
    problem: str = ""
    detail: str = ""
