"""A conversation as a Markdown file, with the sources that each answer cites."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo

from langchain_core.documents import Document

from rag_app.conversations.store import Conversation
from rag_app.conversations.turn import Turn
from rag_app.korean import normalise
from rag_app.language import Say
from rag_app.rendering.answer import cited_numbers
from rag_app.rendering.sources import headline, origin
from rag_app.rendering.text import web_link

_MARKER = re.compile(r"(\[\d{1,3}\])(?![(:])")  # what follows would make a link or a definition of it
_MARKUP = re.compile(r"[\\`*_\[\]<>#|~$&]|:(?=//)")
_LIST_OR_RULE = re.compile(r"^([-+=]|\d+(?=[.)]))")
_FILE_NAME_CHARS = 60


def to_markdown(conversation: Conversation, say: Say, zone: tzinfo = UTC) -> str:
    """Return a conversation as Markdown that shows all texts as they are: nothing in them is markup, link or HTML.

    Args:
        conversation: With its turns.
        say: The language of all that was not said.
        zone: The time zone to give times in.
    """
    parts = [f"# {_line(conversation.title)}"]
    for turn in conversation.turns:
        parts += _turn(turn, say, zone)
    return "\n\n".join(parts) + "\n"


def file_name(conversation: Conversation) -> str:
    """Return a name for the file that any system takes."""
    name = re.sub(r"[^\w가-힣-]+", " ", normalise(conversation.title)).strip()[:_FILE_NAME_CHARS].strip()
    return f"{name or conversation.id}.md"


def _turn(turn: Turn, say: Say, zone: tzinfo) -> Iterator[str]:
    yield f"## {_line(turn.question)}"
    asked = datetime.fromisoformat(turn.created).astimezone(zone)
    about = [f"{asked:%Y-%m-%d %H:%M %Z}", turn.chat_model, turn.filtered]
    if turn.searched and turn.searched != normalise(turn.question):
        about.append(f"{say('찾은 질문', 'Searched for')}: {turn.searched}")
    yield "  \n".join(f"*{_line(text)}*" for text in about if text)
    if turn.answer:
        yield _paragraphs(turn.answer)
    if note := _note(turn, say):
        yield f"*{_line(note)}*"
    if turn.documents:
        kind = say("가까운 기사", "Nearest articles") if turn.refused else say("출처", "Sources")
        yield f"**{kind}**"
        cited = cited_numbers(turn.answer, written=turn.written)
        yield "\n".join(
            _source(number, document, say)
            for number, document in enumerate(turn.documents, start=1)
            if number in cited or not cited
        )


def _note(turn: Turn, say: Say) -> str:
    """Return why an answer is not complete; empty if it is."""
    if turn.finished:
        return ""
    if turn.stopped:
        return say("답변을 멈췄습니다.", "The answer was stopped.")
    return " ".join([turn.problem, turn.detail]).strip() or say("답변이 중간에 끊겼습니다.", "The answer broke off.")


def _source(number: int, document: Document, say: Say) -> str:
    """Return a source as one item of a numbered list, which begins at its own number."""
    metadata = document.metadata
    known = [headline(document, say), *origin(metadata)]
    if metadata.get("fictional") is True:
        known.append(say("가상 기사", "Made up"))
    lines = [f"{number}. {_line(' · '.join(known))}"]
    if link := web_link(metadata.get("url")):
        lines.append(f"<{_address(link)}>")
    quote = metadata.get("quote") or {"start": 0, "end": 0}
    if quoted := document.page_content[quote["start"] : quote["end"]]:
        lines.append(f"“{_line(quoted)}”")
    return "  \n   ".join(lines)


def _paragraphs(text: str) -> str:
    """Return a text as Markdown paragraphs, its citation markers and line breaks as they are."""
    return "\n\n".join(
        "  \n".join(_line(line) for line in paragraph.split("\n") if line.strip())
        for paragraph in re.split(r"\n\s*\n", text.strip())
    )


def _line(text: str) -> str:
    """Return a text as one line of Markdown that shows it as it is; as little escaped as that takes."""
    parts = _MARKER.split(" ".join(text.split()))
    line = "".join(part if number % 2 else _MARKUP.sub(r"\\\g<0>", part) for number, part in enumerate(parts))
    return _LIST_OR_RULE.sub(lambda start: start[0] + "\\" if start[0].isdigit() else "\\" + start[0], line)


def _address(link: str) -> str:
    """Return an address as it may stand between ``<`` and ``>``."""
    return re.sub(r"[\s<>\\]", lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), link)
