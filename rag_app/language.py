"""Korean or English messages, as the user asked or the locale says."""

import os
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


def choose_language(asked: str | None) -> Say:
    """Return the messages in the language asked for, else in the locale's, else in English.

    Args:
        asked: ``"ko"``, ``"en"`` or None.
    """
    locale = asked or os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return Say("ko" if locale.lower().startswith("ko") else "en")
