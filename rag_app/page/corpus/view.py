"""The articles of an index: an overview, the articles themselves, uploads, and the indexes there are."""

from functools import partial
from pathlib import Path
from typing import Literal, get_args

import streamlit as st

from rag_app.index import Index
from rag_app.page.corpus.article_list import show_articles
from rag_app.page.corpus.jobs import show_job, show_jobs
from rag_app.page.corpus.overview import show_overview
from rag_app.page.corpus.uploads import show_uploads
from rag_app.page.library import choose, show_indexes
from rag_app.page.words import say
from rag_app.settings import Settings
from rag_app.stores.address import Address

Part = Literal["overview", "articles", "upload", "indexes"]
_PART = "part"  # also its name in the address
_ASKED = "part in the address"


def show_corpus(index: Index, settings: Settings) -> None:
    """Show the part that was chosen, below what is at work."""
    words = {
        "overview": say("한눈에", "Overview"),
        "articles": say("기사", "Articles"),
        "upload": say("올리기", "Upload"),
        "indexes": say("색인 관리", "Indexes"),
    }
    asked = st.query_params.get(_PART, "overview")
    if _PART not in st.session_state or asked != st.session_state.get(_ASKED):  # opened, or gone back to
        st.session_state[_PART] = asked if asked in words else "overview"
    st.session_state[_ASKED] = asked
    st.segmented_control(
        say("자료의 부분", "Part of this view"),
        get_args(Part),
        format_func=words.__getitem__,
        required=True,
        key=_PART,
        label_visibility="collapsed",
        # Not bound to the address: that would hold the label, which another language does not know.
        on_change=_write_address,
    )
    part: Part = st.session_state[_PART]
    show_jobs(index.path, partial(choose, settings=settings), details=part == "upload")
    if part == "articles":
        show_articles(index)
    elif part == "upload":
        show_uploads(index.path, index, settings)
    elif part == "indexes":
        show_indexes(index.path, settings)
    else:
        show_overview(index, settings)


def _write_address() -> None:
    st.query_params[_PART] = st.session_state[_ASKED] = st.session_state[_PART]


def show_first_upload(path: Path | Address, settings: Settings) -> None:
    """Show what brings the first articles into an index that is not there yet.

    Args:
        path: Where it is to be.
        settings: Those of the page.
    """
    show_job(path, announce=True)
    st.subheader(say("가진 문서로 시작하기", "Start with your own documents"), anchor=False)
    show_uploads(path, None, settings)
