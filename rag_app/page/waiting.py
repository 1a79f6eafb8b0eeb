"""What a visitor sees while a server has not answered, and where it does not: both end by themselves."""

import logging
from collections.abc import Callable
from html import escape
from typing import TypeVar

import streamlit as st

from rag_app.page.kept import Kept, NotYetError
from rag_app.page.powers import are_guests
from rag_app.page.problems import ERRORS, detail_of, explain, explain_server, show_error
from rag_app.page.servers import ask_anew, opening
from rag_app.page.words import language, say
from rag_app.rendering.text import escape_markdown
from rag_app.settings import Settings
from rag_app.stores.address import Address

PATIENCE = 4
"""Seconds after which one who waits is told for how long."""
RETRIED = 5.0
"""Seconds between two tries to reach a server that was lost."""
T = TypeVar("T")
_log = logging.getLogger(__name__)


def when_told(ask: Callable[[], T], doing: str) -> T | None:
    """Return what a server tells; None while it has not, which is shown, and the page runs again once it has.

    Args:
        ask: Returns it, or raises NotYetError.
        doing: What is being done, in words.
    """
    try:
        return ask()
    except NotYetError as error:
        wait_for(error, doing)
        return None


@st.fragment(run_every=0.5)
def wait_for(waiting: NotYetError, doing: str) -> None:
    """Say that a server is being waited for; run the page again once it has answered, or could not."""
    kept = waiting.kept
    try:
        kept.get(0, since=waiting.since)
    except NotYetError:
        seconds = say(f"{int(kept.waited)}초", f"{int(kept.waited)} s") if kept.waited >= PATIENCE else ""
        st.html(
            f'<div class="status"><span role="status">{escape(doing)}</span> '
            f'<span aria-hidden="true">{seconds}</span></div>'
        )
        return
    except Exception as error:
        kept.fail(error)  # anew, so that the page still tells it however long it takes to run
    st.rerun()


def show_lost(address: Address, error: Exception, settings: Settings) -> None:
    """Say why an index on a server cannot be used, and offer to try again; one that was lost is looked for anyway.

    Args:
        address: Of the index.
        error: One of `rag_app.page.problems.ERRORS`.
        settings: Those of the page.
    """
    _log.warning("The index %s cannot be used: %s", address, error)
    told = explain_server(address, error, language()) or f"{escape_markdown(address.name)}: {explain(error)}"
    if are_guests(settings):
        show_error(told + say(" 계속되면 관리자에게 알려 주세요.", " If it goes on, tell the administrator."))
    else:
        detail = detail_of(error)
        show_error(told, detail if str(address) in detail else f"{address}: {detail}")
    st.button(
        say("다시 해 보기", "Try again"),
        on_click=ask_anew,
        args=(address, settings.backend),
        icon=":material/refresh:",
        type="primary",
        key="reconnect",
    )
    if isinstance(error, ConnectionError):
        st.caption(
            say("연결되면 이 페이지가 저절로 이어집니다.", "The page goes on by itself once there is a connection.")
        )
        _look_again(opening(address, settings.backend))


@st.fragment(run_every=RETRIED)
def _look_again(kept: Kept[T]) -> None:
    try:
        kept.get(0)
    except ERRORS:
        return
    st.rerun()
