"""Korean or English messages, as the user asked or the locale says."""

import re
from typing import Literal, NamedTuple

Lang = Literal["ko", "en"]


class Say(NamedTuple):
    """Chooses between the Korean and the English wording of a message.

    Attributes:
        lang: The language to speak.
    """

    lang: Lang

    def __call__(self, korean: str, english: str) -> str:
        """Return the wording in the chosen language."""
        return korean if self.lang == "ko" else english


KOREAN = Say("ko")


def choose_language(*wishes: str | None) -> Say:
    """Return the messages in the language of the first wish that is not empty; Korean unless that is English.

    Args:
        wishes: Languages or locales, such as ``"en"`` and ``"ko_KR.UTF-8"``.
    """
    first = next(filter(None, wishes), "ko")
    return Say("en" if first.lower().startswith("en") else "ko")


def language_of(question: str, otherwise: Lang) -> Lang:
    """Return the language to answer a question in: Korean if there is Hangul in it."""
    return "ko" if re.search("[\u1100-\u11ff\u3131-\u318e가-힣]", question) else otherwise
