"""Source cards: where an answer's evidence is from, and what of it supports the answer."""

import streamlit as st

from rag_app.conversations import Turn
from rag_app.index import Index
from rag_app.page.words import say
from rag_app.rendering import source_html


def show_sources(turn: Turn, index: Index) -> None:
    """Show the sources of a turn: those it cites as cards, the others folded."""
    cited = [document for document in turn.documents if document.metadata.get("cited") and not turn.refused]
    for document in cited:
        with st.container(border=True):
            st.html(source_html(document))
    rest = [document for document in turn.documents if document not in cited]
    if rest:
        if turn.refused:
            kind = say("가까운", "Nearest")
        else:
            kind = say("함께 찾은", "Also found") if cited else say("찾은", "Found")
        with st.expander(say(f"{kind} 기사 {len(rest)}건", f"{kind}: {len(rest)}")):
            st.html("".join(map(source_html, rest)))
