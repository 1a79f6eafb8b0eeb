"""The views of the page, and going from one to another."""

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import streamlit as st

if TYPE_CHECKING:  # the first visitor should not wait for them before there is anything to see
    from rag_app.index import Index
    from rag_app.settings import Settings


class View(NamedTuple):
    """One view of the page.

    Attributes:
        path: Its place in the address; empty for the first.
        korean: Its name.
        english: Its name in English.
        function: What shows it below the title, as ``module:name``: imported when it is needed.
        wide: It needs the width of the window.
    """

    path: str
    korean: str
    english: str
    function: str
    wide: bool = False

    def show(self, index: "Index", settings: "Settings") -> None:
        """Show it over an index."""
        module, name = self.function.split(":")
        getattr(import_module(module), name)(index, settings)


VIEWS = (
    View("", "대화", "Chat", "rag_app.page.chat.view:show_chat"),
    View("compare", "비교", "Compare", "rag_app.page.compare.view:show_compare", wide=True),
    View("corpus", "자료", "Articles", "rag_app.page.corpus.view:show_corpus", wide=True),
    View("benchmark", "평가", "Benchmark", "rag_app.page.benchmark.view:show_benchmark", wide=True),
    View("feedback", "피드백", "Feedback", "rag_app.page.feedback.view:show_review", wide=True),
)


HANDED_OVER = {"": "pending", "compare": "compare_question"}
"""Where a view finds the question that it is to begin with."""
CARRIED = "carried index"
"""Where the name of the chosen index is noted while another view is opened."""


def hand_over(path: str, question: str, index_name: str | None = None) -> None:
    """Note the question that a view is to begin with: for the ``on_click`` of the button that opens it.

    Args:
        path: Of the view in the address; it asks questions.
        question: What to ask there.
        index_name: Of the index to ask; None for the one that is chosen.
    """
    st.session_state[HANDED_OVER[path]] = question
    if index_name is not None:
        st.session_state["index"] = index_name


def open_view(path: str) -> NoReturn:
    """Show another view instead of this one.

    What it is to show goes into the session state before, in the ``on_click`` of the button that was pressed, as by
    `hand_over`: the index can only be chosen there, as its selector has been drawn by now.

    Args:
        path: Of the view in the address; empty for the chat.
    """
    # Streamlit switches no page with a widget's parameter in the address, nor keeps any other but what is passed.
    st.session_state[CARRIED] = st.session_state.get("index")
    kept = {name: st.query_params[name] for name in ("lang",) if name in st.query_params}
    st.switch_page(st.session_state["pages"][path], query_params=kept)
