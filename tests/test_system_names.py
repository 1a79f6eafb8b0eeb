"""Systems are called the same wherever the page shows them."""

import pytest

pytest.importorskip("streamlit", reason="the ui extra is not installed")

import streamlit as st

from rag_app.page.system_names import system_name, system_words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lexical", "낱말만 (lexical)"),
        ("hybrid", "낱말+뜻 (hybrid)"),
        ("hybrid+rerank", "낱말+뜻+재순위 (hybrid+rerank)"),
        ("base+rerank", "뜻+재순위 (base+rerank)"),
        ("tuned+hybrid+rerank", "낱말+견줄 모델+재순위 (tuned+hybrid+rerank)"),
        ("<b>내 모델", "<b>내 모델"),
        ("mine+rerank", "mine+재순위 (mine+rerank)"),
    ],
)
def test_a_system_has_a_name_in_words_and_in_brackets_the_technical_one(name: str, words: str) -> None:
    assert system_name(name) == words


def test_systems_have_english_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(st.session_state, "lang", "en")
    assert system_words("hybrid+rerank") == "Words + meaning, reranked"
    assert system_words("lexical+rerank") == "Words, reranked"
