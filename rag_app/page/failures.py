"""Bugs, told to visitors by a number under which the log has the rest."""

import logging
from secrets import token_hex

import streamlit as st

from rag_app.page.words import say

_log = logging.getLogger(__name__)


def log_bug(error: BaseException) -> str:
    """Write an exception to the log; return the number under which it stands there."""
    reference = token_hex(4)
    _log.error("Failed, reference %s", reference, exc_info=error)
    return reference


def script_failed(error: Exception) -> bool:
    """Show that something failed which no visitor can do anything about; for `streamlit.App`'s ``on_script_error``."""
    st.error(bug_words(log_bug(error)))
    return True


def bug_words(reference: str) -> str:
    """Return what a visitor is told of a bug."""
    return say(
        f"예상하지 못한 오류가 났습니다. 다시 해 보고, 계속되면 관리자에게 이 번호를 알려 주세요: {reference}",
        f"Something unexpected went wrong. Try again; if it goes on, give the administrator this number: {reference}",
    )
