"""A question inside a conversation -> one that can be searched for alone."""

import re
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnableLambda

from rag_app.characters.visible import visible
from rag_app.korean import QUESTION_CHARS, Morpheme, analyzer, normalise, normalise_question
from rag_app.prompts import WORDINGS, is_refusal, rewrite_messages
from rag_app.question_dates import find_dates
from rag_app.untrusted.sinks import addresses, without_sinks

_POINTING_WORDS = frozenset(("그", "이", "저", "그거", "이거", "그것", "이것", "거기", "여기", "그곳", "이곳"))
_POINTING_PEOPLE = frozenset(("그녀", "그들", "이들"))
_CONTINUING = frozenset(("그럼", "그러면", "그리고", "그런데"))
_POINTING = _POINTING_WORDS | _POINTING_PEOPLE | _CONTINUING
_POINTING_TAGS = frozenset({"MM", "NP", "MAJ"})
_POINTING_NOUNS = frozenset({"그때", "그날", "당시", "해당"})
_NAMES = frozenset({"NNP", "SL", "SH"})
_NOUNS = frozenset({"NNG", "NNP", "SL", "SH", "XR"})
_ASKED_NOUNS = frozenset({"언제", "누구", "어디", "무엇", "왜", "얼마", "때", "날", "일", "이유", "곳", "사람", "경우"})
_VERBS = frozenset({"VV", "VA", "VX", "VCP", "VCN", "XSV", "XSA"})
_TOPIC = frozenset({"은", "는", "ᆫ", "도", "이요"})
_CONTENT = _NOUNS | _VERBS - {"VX", "XSV", "XSA"} | {"NP", "NR", "SN", "MAG"}
_SMALL_TALK = frozenset({"안녕", "감사", "고맙", "반갑", "수고", "대박", "좋", "알"})
_HANGUL = re.compile("[ㄱ-ㅣ가-힣]")
LONGEST_REWRITING = 300
"""How many characters a question that a model has rewritten may have."""
_QUOTES = "\"'“”‘’「」『』"
_LABEL = re.compile(r"^(?:질문|question)\s*:\s*", re.IGNORECASE)


def standalone_by_rule(question: str, history: Sequence[BaseMessage]) -> str:
    """Return a normalised question, with what the user asked before it if it needs that.

    It needs that if it points back (그, 이, 거기, 그때, 당시, 그럼 ...), names one thing and asks nothing about it
    (서울은요?), or names too little itself: no proper noun, and fewer than two nouns or dates. In front of it goes the
    last question that was self-contained and, if this one names nothing, the last after it that only named something:
    never more than three, nor more than is read of a question. What was refused is not leaned on; small talk neither
    leans nor is leaned on.

    A rule, so it can be wrong both ways: "이 시각 주요 뉴스는?" points nowhere and "누리호는?" may begin something new,
    but "부산은 몇 도였나요?" and "2020년 예산은 얼마였나요?" may well lean.
    """
    question = normalise_question(question)
    if not leans_on_history(question):
        return question
    asked = [text for text in _answered(history) if not _is_small_talk(_morphemes(text))]
    alone = [place for place, text in enumerate(asked) if not leans_on_history(text)]
    subject = alone[-1] if alone else len(asked) - 1
    named = [text for text in asked[subject + 1 :] if _only_names(text)][-1:]
    before = " ".join([*asked[subject:][:1], *([] if _only_names(question) else named)])
    return " ".join(filter(None, (before[: max(0, QUESTION_CHARS - len(question) - 1)], question)))


def leans_on_history(question: str) -> bool:
    """Return whether a normalised question probably means something said before."""
    morphemes = _morphemes(question)
    if _is_small_talk(morphemes):
        return False
    if _POINTING & {one.form for one in morphemes if one.tag in _POINTING_TAGS}:
        return True
    dates = _date_spans(question)
    empty = _ASKED_NOUNS - {"일"} if dates else _ASKED_NOUNS  # 어제 무슨 일이 있었나요? asks something
    nouns = {one.form for one in _outside(morphemes, dates) if one.tag in _NOUNS} - empty
    if _POINTING_NOUNS & nouns or _only_names(question):
        return True
    return len(nouns) + len(dates) < 2 and not any(one.tag in _NAMES for one in morphemes)


def _answered(history: Sequence[BaseMessage]) -> list[str]:
    """Return what the user asked, normalised, without what was refused."""
    asked: list[str] = []
    for message in history:
        if message.type == "human":
            asked.append(normalise_question(message.text))
        elif message.type == "ai" and asked and any(is_refusal(message.text, lang) for lang in WORDINGS):
            asked.pop()
    return asked


def asks_nothing(question: str) -> bool:
    """Return whether a normalised question is Korean small talk, for which there is nothing to search: 안녕하세요."""
    return _HANGUL.search(question) is not None and _is_small_talk(_morphemes(question))


def _is_small_talk(morphemes: Sequence[Morpheme]) -> bool:
    """Return whether there is nothing to search for: 안녕하세요, ㅋㅋㅋ."""
    return not {one.form for one in morphemes if one.tag in _CONTENT} - _SMALL_TALK


def _only_names(question: str) -> bool:
    """Return whether a question names one thing or date, and asks nothing about it: 서울은요?, 부산은 어때요?"""
    morphemes = [one for one in _morphemes(question) if not one.tag.startswith("S") or one.tag in _NAMES | {"SN"}]
    most = 1
    if len(morphemes) > 1 and morphemes[-1].form == "요" and morphemes[-2].tag == "JX":  # its own tag is anything
        morphemes.pop()
        most = 2  # 피해 규모는요? begins no conversation, 한국은행 기준금리는? may
    dates = _date_spans(question)
    named = [one for one in _outside(morphemes, dates) if one.tag in _NOUNS and one.form not in _ASKED_NOUNS]
    things = len({question.rfind(" ", 0, one.start) for one in named}) + len(dates)  # 기준금리 is one of two nouns
    verbs = [one.form for one in morphemes if one.tag in _VERBS]
    is_topic = morphemes[-1:] != [] and morphemes[-1].tag == "JX" and morphemes[-1].form in _TOPIC
    return 1 <= things <= most and (verbs == ["어떻"] or (is_topic and not verbs))


def _date_spans(question: str) -> list[tuple[int, int]]:
    """Return where the dates of a question stand."""
    spans, at = [], 0
    for found in find_dates(question, date.today()):
        start = question.index(found.text, at)
        at = start + len(found.text)
        spans.append((start, at))
    return spans


def _outside(morphemes: Iterable[Morpheme], spans: Sequence[tuple[int, int]]) -> list[Morpheme]:
    return [one for one in morphemes if not any(start <= one.start < end for start, end in spans)]


def _morphemes(question: str) -> list[Morpheme]:
    """Return the morphemes of a normalised question, lower-cased, their tags without conjugation classes."""
    return [one._replace(form=one.form.lower(), tag=one.tag.split("-")[0]) for one in analyzer().analyse(question)]


def rewriter(chat_model: BaseChatModel, lang: str) -> Runnable[dict[str, Any], str]:
    """Return a runnable from ``{"question", "history"}`` to the question as the model rewrote it.

    Without a history the model is not asked. It has read answers drawn from documents, so that its words are taken for
    a question only as far as they can be one: a line of at most `LONGEST_REWRITING` characters, without what
    `rag_app.untrusted.sinks.without_sinks` removes. What is empty or longer leaves the question as it is.
    """
    ask: Runnable[dict[str, Any], str] = (
        RunnableLambda[dict[str, Any], list[BaseMessage]](
            lambda state: rewrite_messages(normalise_question(state["question"]), state["history"], lang)
        )
        | chat_model.with_config(tags=["rewrite"])
        | StrOutputParser()
    )

    def rewrite(state: dict[str, Any]) -> Any:
        question = normalise_question(state["question"])
        if not state["history"]:
            return question
        said = addresses([question, *(message.text for message in state["history"] if message.type == "human")])
        return ask | RunnableLambda(lambda text: _only_question(text, said) or question)

    return RunnableLambda(rewrite, name="standalone_question")


def _only_question(text: str, known: Iterable[str] = ()) -> str:
    """Return the first line of what a model wrote, without the label and quotes that small models put around it."""
    lines = normalise(without_sinks(visible(text), known)).split("\n")
    line = _LABEL.sub("", lines[0] or "").strip(_QUOTES + " ")
    return line if len(line) <= LONGEST_REWRITING else ""
