"""A question inside a conversation -> one that can be searched for alone."""

import re
from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnableLambda

from rag_app.korean import analyzer, normalise
from rag_app.prompts import rewrite_messages

_POINTING_WORDS = frozenset(("그", "이", "저", "그거", "이거", "그것", "이것", "거기", "여기", "그곳", "이곳"))
_POINTING_PEOPLE = frozenset(("그녀", "그들", "이들"))
_CONTINUING = frozenset(("그럼", "그러면", "그리고", "그런데"))
_POINTING = _POINTING_WORDS | _POINTING_PEOPLE | _CONTINUING
_POINTING_TAGS = frozenset({"MM", "NP", "MAJ"})
_POINTING_NOUNS = frozenset({"그때", "그날", "당시", "해당"})
_NAMES = frozenset({"NNP", "SL", "SH"})
_NOUNS = frozenset({"NNG", "NNP", "SL", "SH", "XR"})
_ASKED_NOUNS = frozenset({"언제", "누구", "어디", "무엇", "왜", "얼마", "때", "날", "일", "이유", "곳", "사람"})
_QUOTES = "\"'“”‘’「」『』"
_LABEL = re.compile(r"^(?:질문|question)\s*:\s*", re.IGNORECASE)


def standalone_by_rule(question: str, history: Sequence[BaseMessage]) -> str:
    """Return a normalised question, with the last self-contained question of the user before it if it needs one.

    It needs one if it points back (그, 이, 거기, 그때, 당시, 그럼 ...) or names too little itself: no proper noun and
    fewer than two nouns. A rule, so it can be wrong both ways: "이 시각 주요 뉴스는?" points nowhere.
    """
    question = normalise(question)
    if not leans_on_history(question):
        return question
    asked = [normalise(message.text) for message in reversed(history) if message.type == "human"]
    previous = next((text for text in asked if not leans_on_history(text)), next(iter(asked), ""))
    return f"{previous} {question}".strip()


def leans_on_history(question: str) -> bool:
    """Return whether a normalised question probably means something said before."""
    korean = analyzer()
    if _POINTING & set(korean.morphemes(question, _POINTING_TAGS)):
        return True
    nouns = set(korean.morphemes(question, _NOUNS)) - _ASKED_NOUNS
    if _POINTING_NOUNS & nouns:
        return True
    return len(nouns) < 2 and not korean.morphemes(question, _NAMES)


def rewriter(chat_model: BaseChatModel, lang: str) -> Runnable[dict[str, Any], str]:
    """Return a runnable from ``{"question", "history"}`` to the question as the model rewrote it.

    Without a history the model is not asked. An empty rewriting leaves the question as it is.
    """
    ask: Runnable[dict[str, Any], str] = (
        RunnableLambda[dict[str, Any], list[BaseMessage]](
            lambda state: rewrite_messages(state["question"], state["history"], lang)
        )
        | chat_model.with_config(tags=["rewrite"])
        | StrOutputParser()
    )

    def rewrite(state: dict[str, Any]) -> Any:
        question = normalise(state["question"])
        if not state["history"]:
            return question
        return ask | RunnableLambda(lambda text: _only_question(text) or question)

    return RunnableLambda(rewrite, name="standalone_question")


def _only_question(text: str) -> str:
    """Return what a model wrote without the label and quotes that small models put around it."""
    return _LABEL.sub("", normalise(text)).strip(_QUOTES + " ")
