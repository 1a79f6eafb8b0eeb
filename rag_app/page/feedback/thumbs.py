"""Thumbs below an answer, and which article would have been the right one."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import streamlit as st
from langchain_core.documents import Document

from rag_app.conversations.turn import Turn
from rag_app.feedback.entries import Entry, Reason, Thumb, answering_sentence, choose_right, quoted_sentence, rate
from rag_app.feedback.store import FILE_NAME, Feedback
from rag_app.index import Index
from rag_app.page.feedback.article_choice import choose_article, headline
from rag_app.page.powers import without_folders
from rag_app.page.problems import ERRORS, explain
from rag_app.page.words import say
from rag_app.rendering.text import escape_markdown, shortened
from rag_app.settings import Settings, load_settings

THUMBS: dict[Thumb, tuple[str, str, str]] = {
    "up": (":material/thumb_up:", "좋아요", "Good"),
    "down": (":material/thumb_down:", "아쉬워요", "Not good"),
}
"""Each thumb's icon and what it says in both languages; `streamlit.feedback` speaks English only."""
REASONS: dict[Reason, tuple[str, str]] = {
    "articles": ("다른 기사를 찾았어야 합니다", "Wrong articles found"),
    "answer": ("기사는 맞는데 답이 틀렸습니다", "Right articles, wrong answer"),
    "incomplete": ("답이 모자랍니다", "The answer is incomplete"),
    "other": ("그 밖의 문제", "Something else"),
}
"""What may be wrong with an answer, in both languages."""
_TITLE = 16  # characters of a title on a button


def feedback_store(settings: Settings) -> Feedback:
    """Return the feedback that the page keeps."""
    return Feedback(settings.home / FILE_NAME)


def show_thumbs(turn: Turn, index: Index, conversation: str) -> None:
    """Let the visitor rate a finished answer, change it or take it back; after a thumbs-down, say what was wrong.

    Draws small things only: it stands in a row with others.
    """
    store = feedback_store(load_settings())
    try:
        entry = store.find(turn.id)
    except ERRORS as error:
        st.caption(escape_markdown(without_folders(f"{explain(error)} {error}")))
        return
    key = f"thumb {turn.id}"
    st.session_state[key] = entry and entry.thumb
    st.pills(
        say("답변 평가", "Rate the answer"),
        list(THUMBS),
        format_func=thumb_words,
        key=key,
        label_visibility="collapsed",
        on_change=_rate,
        args=(turn, index, conversation),
    )
    if entry is not None and entry.thumb == "down":
        right = store.articles([entry.right]).get(entry.right)
        if st.button(_label(right), key=f"right article {turn.id}", type="tertiary", icon=":material/rate_review:"):
            title = say("무엇이 문제였나요?", "What was wrong?")
            st.dialog(title, width="medium")(_ask)(turn, index, entry, right)


def thumb_words(thumb: Thumb) -> str:
    """Return a thumb as a label."""
    icon, korean, english = THUMBS[thumb]
    return f"{icon} {say(korean, english)}"


def right_article(turn: Turn, index: Index, conversation: str) -> Callable[[Document], None]:
    """Return what draws, on a source's card, the button that says it is the right article; only after a thumbs-down."""
    try:
        entry = feedback_store(load_settings()).find(turn.id)
    except ERRORS:
        entry = None  # the thumbs have said so

    def draw(document: Document) -> None:
        if entry is None or entry.thumb != "down":
            return
        doc_id = str(document.metadata["doc_id"])
        chosen = doc_id == entry.right
        if st.button(
            say("맞는 기사로 표시했습니다", "Marked as the right one")
            if chosen
            else say("이 기사가 맞습니다", "This is the right one"),
            key=f"right {turn.id} {doc_id}",
            type="tertiary",
            icon=":material/check_circle:" if chosen else ":material/check:",
            help=say("다시 누르면 취소합니다.", "Press again to take it back.") if chosen else None,
            on_click=_choose,
            args=(turn, index, None if chosen else document),
        ):
            st.rerun(scope="app")

    return draw


def articles_of(documents: Iterable[Document], index: Index) -> list[Document]:
    """Return the articles of some passages, whole; one that cannot be had any more, as far as it was shown."""
    articles = []
    for document in documents:
        doc_id = str(document.metadata["doc_id"])
        try:
            articles.append(index.article(doc_id))
        except (KeyError, OSError):  # OSError: its server does not answer
            articles.append(document)
    return articles


def note_right(store: Feedback, turn: str, document: Document | None, index: Index) -> None:
    """Keep which article is the right one of a turn's entry, or with None that nobody knows.

    Raises:
        OSError, ValueError: See `rag_app.feedback.store.Feedback`.
    """
    articles = articles_of([] if document is None else [document], index)

    def choose(entry: Entry) -> Entry:
        if document is None:
            return choose_right(entry, "")
        answer = quoted_sentence(document) or answering_sentence(entry.asks, articles[0])
        return choose_right(entry, str(document.metadata["doc_id"]), answer)

    store.change(turn, choose, articles)


def _rate(turn: Turn, index: Index, conversation: str) -> None:
    thumb = st.session_state[f"thumb {turn.id}"]
    store = feedback_store(load_settings())
    try:
        if thumb is None:
            store.withdraw(turn.id)
        else:
            entry = rate(turn, thumb, conversation=conversation, models=_models(turn, index))
            store.save(entry, articles_of(turn.documents, index))
    except ERRORS as error:
        tell(error)


def _choose(turn: Turn, index: Index, document: Document | None) -> None:
    try:
        note_right(feedback_store(load_settings()), turn.id, document, index)
    except ERRORS as error:
        tell(error)


def _ask(turn: Turn, index: Index, entry: Entry, right: Document | None) -> None:
    """Ask what was wrong, and for the right article."""
    st.caption(
        say(
            "아는 것만 적어도 됩니다. 이 컴퓨터에만 저장되고, 검토한 뒤에만 학습에 쓰입니다.",
            "Say what you know. It is kept on this computer, and trained on only after a review.",
        )
    )
    reason = st.pills(
        say("문제", "Problem"),
        list(REASONS),
        format_func=lambda reason: say(*REASONS[reason]),
        default=entry.reason or None,
        key=f"reason {turn.id}",
    )
    note = st.text_area(
        say("메모 (선택)", "Note (optional)"), entry.note, key=f"note {turn.id}", height=68, max_chars=2000
    )
    chosen = choose_article(f"of {turn.id}", turn.documents, right, index)
    if st.button(say("저장", "Save"), type="primary", key=f"save {turn.id}"):
        shown = next((d for d in turn.documents if chosen and d.metadata["doc_id"] == chosen.metadata["doc_id"]), None)
        if chosen is None or str(chosen.metadata["doc_id"]) != entry.right:
            _choose(turn, index, shown or chosen)
        try:
            feedback_store(load_settings()).change(
                turn.id, lambda entry: replace(entry, reason=reason or "", note=note.strip())
            )
        except ERRORS as error:
            tell(error)
        st.rerun()


def _label(right: Document | None) -> str:
    if right is None:
        return say("맞는 기사 고르기", "Choose the right article")
    short = shortened(headline(right), _TITLE)
    return escape_markdown(say(f"맞는 기사: {short}", f"Right article: {short}"))


def _models(turn: Turn, index: Index) -> dict[str, str]:
    names = {
        "embeddings": str(index.snapshot.manifest["model"]["name"]),
        "reranker": turn.reranker,
        "chat": turn.chat_model,
    }
    return {role: name for role, name in names.items() if name}


def tell(error: Exception) -> None:
    """Say in passing that something could not be kept."""
    st.toast(escape_markdown(without_folders(f"{explain(error)} {error}")), icon=":material/error:", duration="long")
