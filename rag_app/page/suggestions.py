"""What one could ask first, for each index."""

from functools import partial
from typing import Any

import streamlit as st

from rag_app.conversations.suggestions import recent_articles, suggest
from rag_app.corpus.catalogue import holds_articles
from rag_app.data import load_retrieval_data
from rag_app.index import Index
from rag_app.korean import analyzer
from rag_app.page.servers import ask_beside
from rag_app.server_index import ServerIndex

COUNT = 4
"""How many questions are suggested."""


def suggestions(index: Index, *, close: bool = True) -> list[str]:
    """Return questions that the articles of an index answer, found once for each of its versions.

    Args:
        index: It.
        close: Of the sample's questions take those that are worded as the articles are; otherwise such as are in words
            of their own, which tell systems apart.

    Raises:
        NotYetError: It is on a server that has not told yet.
    """
    if isinstance(index, ServerIndex):
        return ask_beside(index, f"suggestions {close}", partial(_find_suggestions, close=close))
    return _suggestions(index.snapshot.manifest, close, index)


@st.cache_resource(show_spinner=False, max_entries=8)
def _suggestions(manifest: dict[str, Any], close: bool, _index: Index) -> list[str]:
    return _find_suggestions(_index, close)


def _find_suggestions(index: Index, close: bool) -> list[str]:
    return _of_sample(index, close) or suggest(recent_articles(index.snapshot.store), analyzer(), COUNT)


def _of_sample(index: Index, close: bool) -> list[str]:
    """Return questions of the bundled sample, each from another section, if the index holds their articles."""
    sample = load_retrieval_data("sample", split="validation")
    asked: dict[str, tuple[str, str]] = {}
    for question in sample.questions:
        if (question.metadata.get("style") == "close") == close and not question.impossible:
            article = min(question.relevant)
            asked.setdefault(sample.passages[article].metadata["section"], (question.text, article))
    chosen = list(asked.values())[:COUNT]
    return [text for text, _ in chosen] if _holds(index, [article for _, article in chosen]) else []


def _holds(index: Index, doc_ids: list[str]) -> bool:
    if isinstance(index, ServerIndex):
        return holds_articles(index.snapshot.store, doc_ids)  # one call, where each article would be one
    try:
        for doc_id in doc_ids:
            index.article(doc_id)
    except KeyError:
        return False
    return True
