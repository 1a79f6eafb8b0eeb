"""What the first visitor of a process sees while the rest is being imported: the page's frame, with its chat input."""

import gc
import threading
from collections.abc import Callable
from functools import partial
from importlib import import_module
from time import sleep

import streamlit as st

from rag_app.page.limits import QUESTION_CHARS
from rag_app.page.views import VIEWS, View, hand_over
from rag_app.page.words import language_switch, say
from rag_app.settings import load_settings

_FLUSH = 0.1  # seconds in which the server sends what was drawn: imports leave it little time
_awake = threading.Event()


def awake() -> bool:
    """Return whether all that the page needs has been imported."""
    return _awake.is_set()


def wake() -> None:
    """Import it, and read the dictionary of the morpheme analysis: three seconds in which nobody else is served."""
    from rag_app.korean import analyzer

    sleep(_FLUSH)
    for module in ("rag_app.page.opening", *(view.function.split(":")[0] for view in VIEWS)):
        import_module(module)
    analyzer().morphemes("준비")  # reads the other half at first use
    _awake.set()
    gc.collect()
    gc.freeze()  # Streamlit collects garbage after every run: not what stays anyway, which takes a tenth of a second


def show_frame() -> None:
    """Show the navigation, the title and, in the chat, where to type."""
    try:
        lang = load_settings().lang
    except ValueError:  # told when the page itself is shown
        lang = None
    show_navigation(lang, _show)


def show_navigation(lang: str | None, show: Callable[[View], None]) -> None:
    """Show the language switch and the names of all views, and the view that was chosen.

    Args:
        lang: The language, until the visitor switches.
        show: Shows a view.
    """
    with st.sidebar:
        language_switch(lang)
    # No icons: Streamlit would fetch the favicon that goes with one from another host.
    pages = {
        view.path: st.Page(
            partial(show, view), title=say(view.korean, view.english), url_path=view.path, default=not view.path
        )
        for view in VIEWS
    }
    st.session_state["pages"] = pages  # see rag_app.page.views
    st.navigation(list(pages.values()), position="top").run()


def _show(view: View) -> None:
    show_title(view)
    if not view.path and (typed := ask_box()):
        hand_over("", typed)
    st.html(f'<div class="status" role="status">{say("준비하는 중입니다…", "Getting ready…")}</div>')


def show_title(view: View) -> None:
    """Show the title of a view."""
    page, name = say("뉴스에 묻기", "Ask the news"), say(view.korean, view.english)
    # Named once in a run: of two that differ the browser may keep the first.
    st.set_page_config(f"{name} · {page}" if view.path else page, layout="wide" if view.wide else "centered")
    st.title(name if view.path else page, anchor=False)


def ask_box() -> str | None:
    """Show where to type a question; return the one that was sent."""
    words = say("뉴스에 대해 물어보세요", "Ask about the news")
    return st.chat_input(words, key="question", max_chars=QUESTION_CHARS)
