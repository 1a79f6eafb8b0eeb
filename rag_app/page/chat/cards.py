"""Source cards: where an answer's evidence is from, and what of it supports the answer."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st
from langchain_core.documents import Document

from rag_app.conversations.turn import Turn
from rag_app.evidence import MIN_EVIDENCE, missing_words
from rag_app.index import Index
from rag_app.page.article import open_article
from rag_app.page.compare.why import show_why
from rag_app.page.library import known_indexes
from rag_app.page.problems import ERRORS, show_explained
from rag_app.page.resources import current_index
from rag_app.page.words import language, say
from rag_app.rendering.answer import cited_numbers, source_id
from rag_app.rendering.refusal import refusal_html
from rag_app.rendering.sources import preview_html, source_html
from rag_app.settings import load_settings
from rag_app.stores.address import Address, index_place

NEAREST = 3
"""How many of the nearest articles are in sight where none answers the question."""

_FRESH = "fresh answer"
_keep_in_sight = st.components.v2.component(
    "keep_in_sight", js=Path(__file__).with_name("sight.js").read_text("utf-8"), isolate_styles=False
)

Actions = Callable[[Document], None]
"""Draws what else can be done with a source, in the row of buttons below it."""


def show_sources(turn: Turn, index: Index, *, actions: Actions | None = None, preview: bool = False) -> None:
    """Show the sources of a turn: those its answer cites as cards, the others folded.

    The citations in the answer lead to the cards; see `rag_app.rendering.answer.answer_markdown`. Where the evidence
    was too weak for an answer it says so, says what to do, and shows the nearest articles.

    Args:
        turn: At rest, or with ``preview`` while its answer is being written.
        index: The one in sight; a turn that asked another is shown from that.
        actions: Draws more buttons for a source. What is pressed among them runs this turn's sources anew, not the
            page.
        preview: Show everything that was found, without buttons, so that citations lead somewhere from the start.
    """
    if preview:
        st.session_state[_FRESH] = turn.id
        st.html(preview_html(turn.documents, turn.id, language()))
        return
    _show(turn, index, actions)
    if st.session_state.get(_FRESH) == turn.id:
        del st.session_state[_FRESH]
        _keep_in_sight(key=f"sight {turn.id}")


@st.fragment
def _show(turn: Turn, index: Index, actions: Actions | None) -> None:
    if turn.refused:
        missing = missing_words(turn.searched or turn.question, turn.documents)
        st.html(
            refusal_html(
                turn.evidence, MIN_EVIDENCE, missing, turn.filtered, found=bool(turn.documents), say=language()
            )
        )
    cited, rest = _sorted(turn)
    for document in cited:
        _card(turn, document, index, actions, anchor="" if turn.refused else turn.id)
    if rest:
        with st.expander(_folded(turn, len(cited), len(rest))):
            for document in rest:
                _card(turn, document, index, actions, anchor="")


def _sorted(turn: Turn) -> tuple[list[Document], list[Document]]:
    """Return the sources to show, and those to fold."""
    if turn.refused:
        return turn.documents[:NEAREST], turn.documents[NEAREST:]
    if turn.finished or not turn.written:
        cited = [bool(document.metadata.get("cited")) for document in turn.documents]
    else:  # nobody has said yet what a model cited whose answer broke off
        numbers = cited_numbers(turn.answer)
        cited = [document.metadata.get("citation") in numbers for document in turn.documents]
    pairs = list(zip(turn.documents, cited, strict=True))
    return [document for document, is_cited in pairs if is_cited], [document for document, is_ in pairs if not is_]


def _folded(turn: Turn, shown: int, count: int) -> str:
    if turn.refused:
        return say(f"가까운 기사 {count}건 더", f"{count} more that come near")
    if shown:
        return say(f"함께 찾은 기사 {count}건", f"Also found: {count}")
    return say(f"찾은 기사 {count}건", f"Found: {count}")


def _card(turn: Turn, document: Document, index: Index, actions: Actions | None, *, anchor: str) -> None:
    with st.container(border=True, gap="xsmall", key=_key(turn, document, "card")):
        st.html(source_html(document, say=language(), anchor=anchor))
        with st.container(horizontal=True, gap="medium"):
            name = f"{turn.id} {document.metadata.get('citation')} {document.id}"
            if _small_button(say("기사 전체 보기", "Whole article"), "article", f"whole {name}"):
                try:
                    found_in = _index_of(turn, index)
                except ERRORS:  # an index can be deleted, a conversation stays
                    found_in = None
                open_article(document, found_in)
            if _small_button(say("왜 이 기사?", "Why this article?"), "help", f"why {name}"):
                try:
                    show_why(document, turn.searched or turn.question, _index_of(turn, index), load_settings())
                except ERRORS as error:
                    show_explained(error)
            if actions is not None:
                actions(document)


def _small_button(label: str, icon: str, key: str) -> bool:
    return st.button(label, key=key, type="tertiary", icon=f":material/{icon}:")


def _index_of(turn: Turn, index: Index) -> Index:
    """Return the index that a turn asked, which need not be the one in sight.

    Raises:
        FileNotFoundError: It is not there any more, or on a server that this page does not serve.
    """
    if turn.index in ("", str(index.path)):
        return index
    settings = load_settings()
    # As text an address lacks the password; and what was noted is not to lead the page to any server.
    places = {str(known): known for known in known_indexes(settings).values()}
    place = places.get(turn.index, index_place(turn.index))
    if isinstance(place, Address) and turn.index not in places:
        raise FileNotFoundError(f"This page does not serve {place.name}")
    return current_index(place, settings.backend)


def _key(turn: Turn, document: Document, kind: str) -> str:
    return f"{kind}-{source_id(turn.id, document.metadata.get('citation', ''))}"
