"""The page's language: Korean, or English by a switch."""

import streamlit as st

from rag_app.language import Say, choose_language

LANGUAGES = {"ko": "한국어", "en": "English"}


def say(korean: str, english: str) -> str:
    """Return the wording in the visitor's language."""
    return language()(korean, english)


def language() -> Say:
    """Return what the visitor speaks: as switched, else as set when the page was started, else Korean."""
    return choose_language(st.session_state.get("lang"))


def language_switch(otherwise: str | None) -> None:
    """Let the visitor choose; the choice stands in the address, so that a reload keeps it."""
    st.session_state.setdefault("lang", choose_language(st.query_params.get("lang"), otherwise).lang)
    st.segmented_control(
        "언어 / Language",
        list(LANGUAGES),
        format_func=LANGUAGES.__getitem__,
        key="lang",
        required=True,
        label_visibility="collapsed",
        on_change=lambda: st.query_params.update(lang=st.session_state["lang"]),
    )
