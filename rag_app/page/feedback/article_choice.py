"""Choosing one article: among those that were shown, or any other of the index, found by title or words."""

from collections.abc import Sequence

import streamlit as st
from langchain_core.documents import Document

from rag_app.index import Index
from rag_app.korean import normalise
from rag_app.page.problems import ERRORS, show_explained
from rag_app.page.resources import version
from rag_app.page.words import say
from rag_app.rendering.sources import origin
from rag_app.rendering.text import escape_markdown, shortened
from rag_app.retrieval import HybridRetriever

FOUND = 8
"""How many articles a search offers."""
_DEPTH = 40  # passages; several may be of one article
_EXCERPT = 90  # characters


def choose_article(key: str, shown: Sequence[Document], chosen: Document | None, index: Index) -> Document | None:
    """Let the visitor choose; return the article, as it was given or a passage of it, or None for none.

    Args:
        key: Of this choice, on the page.
        shown: What was shown, best first.
        chosen: What was chosen before.
        index: Searched for others.
    """
    found = _search(key, index)
    before = [chosen] if chosen else []
    offered = {str(document.metadata["doc_id"]): document for document in [*found, *before, *shown]}
    options = ["", *offered]
    stored = str(chosen.metadata["doc_id"]) if chosen else ""
    # Of this choice only: what is chosen anew elsewhere, or once it is stored, counts more.
    was, now = st.session_state.get(f"choosing {key}", (stored, stored))
    now = now if was == stored else stored
    at = options.index(now) if now in options else 0
    choice = st.radio(
        say("질문에 답이 되는 기사", "The article that answers the question"),
        options,
        index=at,
        format_func=lambda doc_id: (
            escape_markdown(headline(offered[doc_id]))
            if doc_id
            else say("여기에 없음 · 아직 모름", "None of these yet")
        ),
        captions=["", *(escape_markdown(_summary(offered[doc_id])) for doc_id in options[1:])],
        key=f"choice {key} {stored} {len(options)}",
    )
    st.session_state[f"choosing {key}"] = (stored, choice)
    return offered.get(choice)


def undecided(key: str, chosen: str) -> bool:
    """Whether the visitor has marked another article in `choose_article` than the one that is stored as chosen."""
    was, now = st.session_state.get(f"choosing {key}", (chosen, chosen))
    return bool(was == chosen != now)


def headline(article: Document) -> str:
    """Return an article's title, or the beginning of its text if it has none."""
    return str(article.metadata.get("title") or article.page_content[:40])


def details(article: Document) -> str:
    """Return an article's outlet, date and section on one line, as far as they are known."""
    return " · ".join(origin(article.metadata))


def _summary(article: Document) -> str:
    return " — ".join(part for part in (details(article), shortened(article.page_content, _EXCERPT)) if part)


def _search(key: str, index: Index) -> list[Document]:
    """Ask for words and return what they find; asked again only when words or index have changed."""
    query = normalise(
        st.text_input(
            say("다른 기사 찾기", "Find another article"),
            placeholder=say("제목이나 본문의 낱말", "Words of its title or text"),
            key=f"search {key}",
        )
    )
    if not query:
        return []
    asked = (query, str(index.path), version(index))
    before = st.session_state.get(f"found {key}")
    if before is None or before[0] != asked:
        try:
            found = _articles(query, index)
        except ERRORS as error:
            show_explained(error)
            return []
        before = st.session_state[f"found {key}"] = (asked, found)
    if not before[1]:
        st.caption(say("찾은 기사가 없습니다. 다른 낱말로 찾아 보세요.", "Nothing found. Try other words."))
    articles: list[Document] = before[1]
    return articles


def _articles(query: str, index: Index) -> list[Document]:
    """Return the best passage of each of the best articles."""
    best: dict[str, Document] = {}
    for passage in HybridRetriever(index=index, k=_DEPTH).invoke(query):
        best.setdefault(str(passage.metadata["doc_id"]), passage)
    return list(best.values())[:FOUND]
