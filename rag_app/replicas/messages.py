"""What is said over HTTP: a question, what was found, and what is wrong."""

from collections.abc import Sequence
from typing import Annotated, Any, Self

from langchain_core.documents import Document
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from rag_app.filters import check_filter
from rag_app.korean import QUESTION_CHARS, normalise_question

MOST = 100
"""How many passages one may ask for."""
_Key = Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00-\x1f]*$")]
_Value = str | bool | Annotated[int, Field(ge=-(2**63), lt=2**63)] | Annotated[float, Field(allow_inf_nan=False)]
_Condition = _Value | dict[str, _Value | list[_Value]]
_LISTED = ("$in", "$nin")


class SearchRequest(BaseModel):
    """A question.

    Attributes:
        question: At most `rag_app.korean.QUESTION_CHARS` characters.
        k: How many passages are wanted; None for as many as ``RAG_TOP_N`` says.
        filter: Only passages whose metadata matches are searched; see `rag_app.filters`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: Annotated[str, StringConstraints(max_length=QUESTION_CHARS)]
    k: int | None = Field(default=None, ge=1, le=MOST)
    filter: dict[_Key, _Condition] | None = None

    @field_validator("question")
    @classmethod
    def _is_asked(cls, question: str) -> str:
        if not normalise_question(question):
            raise ValueError("it is empty. Ask something, for example: 누리호는 언제 발사됐나요?")
        return question

    @field_validator("filter")
    @classmethod
    def _is_filter(cls, filter: dict[str, _Condition] | None) -> dict[str, _Condition] | None:
        check_filter(filter or {})
        for key, condition in (filter or {}).items():
            for operator, wanted in condition.items() if isinstance(condition, dict) else ():
                if isinstance(wanted, list) != (operator in _LISTED):
                    raise ValueError(f"{operator} of {key!r} needs {'a list' if operator in _LISTED else 'one value'}")
        return filter


class FoundDocument(BaseModel):
    """A passage: LangChain's document.

    Attributes:
        id: The passage's; its document's stands in the metadata as ``doc_id``.
        text: Of the passage.
        metadata: With ``score`` and ``stages``.
    """

    id: str | None
    text: str
    metadata: dict[str, Any]


class SearchAnswer(BaseModel):
    """What was found.

    Attributes:
        documents: Best first.
        together: How many questions were searched for at once, this one among them.
    """

    documents: list[FoundDocument]
    together: int = 1

    @classmethod
    def of(cls, documents: Sequence[Document], together: int) -> Self:
        """Return what is said of documents."""
        found = [FoundDocument(id=one.id, text=one.page_content, metadata=one.metadata) for one in documents]
        return cls(documents=found, together=together)

    def to_documents(self) -> list[Document]:
        """Return them as LangChain has them."""
        return [Document(id=found.id, page_content=found.text, metadata=found.metadata) for found in self.documents]


class Problem(BaseModel):
    """Why there is no answer.

    Attributes:
        error: A word for programs.
        message: What it is and what to do.
    """

    error: str
    message: str


def why_invalid(error: ValidationError) -> str:
    """Return what is wrong with a message, without what was sent."""
    wrong = error.errors(include_url=False, include_input=False, include_context=False)
    told = (".".join(map(str, one["loc"][:2])) + ": " + one["msg"].removeprefix("Value error, ") for one in wrong)
    return "; ".join(dict.fromkeys(told)).removeprefix(": ")[:500]
