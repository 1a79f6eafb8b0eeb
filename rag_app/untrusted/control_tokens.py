"""Words that a chat model's template, or what reads its answer, takes for structure; broken, they are text again."""

import re

from rag_app.characters.visible import visible

TAG = re.compile(r"<(?=[A-Za-z/!?|｜=])")
"""How HTML begins a tag, and most chat templates a token: ``<img``, ``</s>``, ``<|im_start|>``, ``<start_of_turn>``. In
Korean writing ``<연합뉴스>`` and ``3 < 5`` are none."""

_BRACKET = re.compile(r"\[(?=/?(?:INST|SYS|TOOL_?\w*|AVAILABLE_TOOLS|SYSTEM_PROMPT)\]|\|\w+\|\]|[A-Za-z_]\w*\()")
"""Mistral's and EXAONE's tokens: ``[INST]``, ``[TOOL_CALLS]``, ``[|assistant|]``; and a call: ``[send(to=...)]``."""

_ROLES = "system|human|user|assistant|ai|bot|시스템|사용자|어시스턴트"
_HEADING = re.compile(
    rf"^([ \t>]*)#+(?=[ \t]*(?:{_ROLES}|instructions?|response|input|지시|명령|응답|입력)\b)",
    re.IGNORECASE | re.MULTILINE,
)
_ROLE = re.compile(rf"^([ \t>]*(?:{_ROLES})):", re.IGNORECASE | re.MULTILINE)


def break_tokens(text: str) -> str:
    """Return a text with a space in each tag and token of a template, so that it is read as the characters it has."""
    return _BRACKET.sub("[ ", TAG.sub("< ", text))


def as_data(text: str) -> str:
    """Return a text as it may stand in a prompt: as it is, but nothing in it is a token or a turn of the template.

    Servers look for their template's tokens in all that they are sent, also in a quoted document, where they would end
    the user's turn. Headings and labels that open a turn in templates made of words are broken likewise:
    ``### Response:``, ``Human:``.
    """
    return _ROLE.sub(r"\1 :", _HEADING.sub(r"\1", break_tokens(visible(text))))
