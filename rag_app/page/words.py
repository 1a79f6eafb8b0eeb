"""The page's language: Korean, or English by a switch."""

import streamlit as st

from rag_app.language import Say, choose_language

STAGE_TIMES = {
    "encode": ("질문 벡터", "question vector"),
    "lexical": ("낱말 찾기", "words"),
    "dense": ("뜻 찾기", "meaning"),
    "fusion": ("합산", "fusion"),
    "rerank": ("재순위", "reranking"),
    "other": ("그 밖", "other"),
}
"""What a reader calls the stages of `rag_app.timing`, in the order in which they run, and all the rest."""
LANGUAGES = {"ko": "한국어", "en": "English"}


def say(korean: str, english: str) -> str:
    """Return the wording in the visitor's language."""
    return language()(korean, english)


def language() -> Say:
    """Return what the visitor speaks: as switched, else as set when the page was started, else Korean."""
    return choose_language(st.session_state.get("lang"))


def rank_words(rank: int) -> str:
    """Return a rank as one says it."""
    return say(f"{rank}위", f"#{rank}")


def duration_words(seconds: float) -> str:
    """Return a time in seconds or minutes."""
    if seconds < 90:
        return say(f"{round(seconds)}초", f"{round(seconds)} s")
    return say(f"{round(seconds / 60)}분", f"{round(seconds / 60)} min")


def language_switch(otherwise: str | None) -> None:
    """Let the visitor choose; what is not the default stands in the address, so that a reload keeps it."""
    st.session_state.setdefault("lang", choose_language(st.query_params.get("lang"), otherwise).lang)
    st.segmented_control(
        "언어 / Language",
        list(LANGUAGES),
        format_func=LANGUAGES.__getitem__,
        key="lang",
        required=True,
        label_visibility="collapsed",
    )
    lang = language().lang
    if lang != st.query_params.get("lang", choose_language(otherwise).lang):  # going to another view clears the address
        st.query_params["lang"] = lang
