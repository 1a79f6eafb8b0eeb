"""A question of a conversation and what became of it."""

import json
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from langchain_core.documents import Document


def new_id() -> str:
    """Return an id for a conversation or a turn: 32 hexadecimal digits."""
    return uuid4().hex


def now() -> str:
    """Return the time as it is kept, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat()


@dataclass
class Turn:
    """A question and what became of it. Filled while the answer streams, so that an interruption loses nothing.

    Attributes:
        question: As asked.
        id: Unique among all turns; sources on the page are anchored by it.
        index: The folder of the index that was asked.
        filtered: The filter in words; empty without one.
        written: A chat model writes the answer, otherwise it is quoted.
        chat_model: Its name, as chosen; empty without one.
        reranker: Likewise.
        lang: The language to answer in, ``ko`` or ``en``.
        created: When it was asked, ISO 8601 in UTC.
        searched: The standalone question that was searched for.
        answer: As far as it has come.
        documents: The sources in citation order.
        evidence: How likely the articles answer the question, 0 to 1; None if that is not known.
        refused: They do not.
        finished: The answer is complete.
        stopped: The visitor stopped it before it was.
        problem: What went wrong, in the visitor's language.
        detail: The error's own message.
        seconds: By stage of `rag_app.timing`, and from the question on: ``found`` until the articles were there,
            ``first`` until the first words, ``total`` until the end.
    """

    question: str
    id: str = field(default_factory=new_id)
    index: str = ""
    filtered: str = ""
    written: bool = False
    chat_model: str = ""
    reranker: str = ""
    lang: str = "ko"
    created: str = field(default_factory=now)
    searched: str = ""
    answer: str = ""
    documents: list[Document] = field(default_factory=list)
    evidence: float | None = None
    refused: bool = False
    finished: bool = False
    stopped: bool = False
    problem: str = ""
    detail: str = ""
    seconds: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return it as `from_json` takes it, its documents whole: an index may lose them, an answer may not."""
        values = {name: getattr(self, name) for name in _FIELDS}
        values["documents"] = [
            {"id": document.id, "page_content": document.page_content, "metadata": document.metadata}
            for document in self.documents
        ]
        return json.dumps(values, ensure_ascii=False, default=lambda number: number.item())  # a score may be NumPy's

    @classmethod
    def from_json(cls, text: str) -> "Turn":
        """Return the turn that `to_json` wrote; what a later version added to it is left out.

        Raises:
            ValueError: It is nothing that `to_json` wrote.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            documents = [Document(**document) for document in values.pop("documents")]
            return cls(**{name: value for name, value in values.items() if name in _FIELDS}, documents=documents)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"This is not a turn of a conversation: {text[:80]}") from error


_FIELDS = frozenset(one.name for one in fields(Turn))
