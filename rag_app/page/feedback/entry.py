"""One entry of feedback under review: its question, its right article, the wrong ones, and what is decided."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial

import streamlit as st
from langchain_core.documents import Document

from rag_app.feedback.entries import Entry, State, decide
from rag_app.feedback.export import Candidate, candidates
from rag_app.feedback.store import Feedback
from rag_app.index import Index
from rag_app.korean import analyzer
from rag_app.page.feedback.article_choice import choose_article, details, headline, undecided
from rag_app.page.feedback.thumbs import REASONS, THUMBS, note_right, tell
from rag_app.page.powers import shown_place
from rag_app.page.problems import ERRORS
from rag_app.page.words import say
from rag_app.rendering.text import escape_markdown, highlight_html
from rag_app.settings import load_settings

NAMES: dict[State, tuple[str, str]] = {
    "new": ("새로 온 것", "New"),
    "accepted": ("승인", "Accepted"),
    "rejected": ("거절", "Rejected"),
}


def review_entry(entry: Entry, turns: list[str], index: Index, store: Feedback) -> None:
    """Show one entry with what is to be decided."""
    articles = store.articles(entry.doc_ids)
    right = articles.get(entry.right)
    with st.container(horizontal=True, vertical_alignment="center"):
        _decisions(entry, store)
        _steps(entry, turns)
    _tell_origin(entry)
    st.text_area(
        say("학습에 쓸 질문", "The question to train on"),
        entry.asks,
        key=f"wording {entry.turn}",
        height=80,
        help=say("혼자 읽어도 뜻이 통해야 합니다.", "It should be clear without the conversation."),
        on_change=_save_wording,
        args=(entry.turn, store),
    )
    st.subheader(say("맞는 기사", "The right article"), anchor=False)
    if right is not None:
        _show_right(entry, right, store)
    _change_right(entry, articles, right, index, store)
    others = candidates(entry, articles)
    if right is not None and others:
        _show_negatives(entry, others, store)


def _decisions(entry: Entry, store: Feedback) -> None:
    if entry.state == "new":
        st.button(
            say("승인", "Accept"),
            type="primary",
            icon=":material/check:",
            shortcut="A",
            disabled=not (entry.right and entry.asks),
            on_click=_decide,
            args=(entry.turn, "accepted", store),
            help=None if entry.right else say("먼저 맞는 기사를 고르세요.", "Choose the right article first."),
        )
        st.button(
            say("거절", "Reject"),
            icon=":material/close:",
            shortcut="X",
            on_click=_decide,
            args=(entry.turn, "rejected", store),
        )
    undone = entry.turn if entry.state != "new" else st.session_state.get("feedback decided")
    if undone:
        st.button(
            say("되돌리기", "Undo"),
            icon=":material/undo:",
            shortcut="Z",
            on_click=_decide,
            args=(undone, "new", store),
            help=say("검토하지 않은 상태로 되돌립니다.", "Makes it new again."),
        )


def _steps(entry: Entry, turns: list[str]) -> None:
    at = turns.index(entry.turn)
    st.button(
        say("앞의 것", "Before"),
        icon=":material/arrow_upward:",
        type="tertiary",
        shortcut="K",
        disabled=not at,
        on_click=show_entry,
        args=(turns[max(0, at - 1)],),
    )
    st.button(
        say("다음 것", "After"),
        icon=":material/arrow_downward:",
        type="tertiary",
        shortcut="J",
        disabled=at + 1 == len(turns),
        on_click=show_entry,
        args=(turns[min(len(turns) - 1, at + 1)],),
    )


def _decide(turn: str, state: State, store: Feedback) -> None:
    try:
        entry = store.find(turn)
        if state == "accepted" and entry and undecided(_choosing(turn), entry.right):
            words = say(
                "고른 기사를 먼저 ‘이 기사로 정하기’로 정하세요.", "First take the article that you have marked."
            )
            st.toast(words, icon=":material/error:")
            return
        store.change(turn, partial(decide, state=state))
    except ERRORS as error:
        tell(error)
        return
    if state == "new":
        st.session_state.pop("feedback decided", None)
        st.session_state["feedback turn"] = turn
        if st.session_state.get("feedback state") != "new":
            st.session_state["feedback filter"] = st.session_state["feedback state"] = "all"
    else:
        st.session_state["feedback decided"] = turn


def _tell_origin(entry: Entry) -> None:
    when = datetime.fromisoformat(entry.created).astimezone()
    said = [say(*THUMBS[entry.thumb][1:]), f"{when:%Y-%m-%d %H:%M}", say(*NAMES[entry.state])]
    if entry.reason:
        said.append(say(*REASONS[entry.reason]))
    st.caption(escape_markdown(" · ".join(said)))
    lines = []
    if entry.asks != entry.question:
        lines.append(say("물은 그대로", "As asked") + f": {entry.question}")
    if entry.note:
        lines.append(say("메모", "Note") + f": {entry.note}")
    models = ", ".join(entry.models.values())
    index = shown_place(entry.index, load_settings()) if entry.index else "–"
    lines.append(say("색인", "Index") + f": {index}" + (f" ({models})" if models else ""))
    st.caption("  \n".join(escape_markdown(" ".join(line.split())) for line in lines))


def _show_right(entry: Entry, right: Document, store: Feedback) -> None:
    text = right.page_content
    st.markdown(f"**{escape_markdown(headline(right))}**  \n{escape_markdown(details(right))}")
    sentences = _sentences(text)
    options = list(dict.fromkeys(["", *([entry.answer] if entry.answer else []), *sentences]))
    st.selectbox(
        say("답이 있는 문장", "The sentence that answers"),
        options,
        index=options.index(entry.answer),
        format_func=lambda sentence: sentence or say("정하지 않음", "Not said"),
        key=f"answer {entry.turn} {entry.right}",
        on_change=_save_answer,
        args=(entry.turn, entry.right, store),
    )
    start = text.find(entry.answer) if entry.answer else -1
    spans = [(start, start + len(entry.answer))] if start >= 0 else []
    with st.container(height=320, border=True):
        st.html(f'<div class="passage" lang="ko">{highlight_html(text, *spans)}</div>')


@st.cache_data(show_spinner=False, max_entries=32)
def _sentences(text: str) -> list[str]:
    return [sentence.text for sentence in analyzer().sentences(text)]


def _change_right(
    entry: Entry, articles: dict[str, Document], right: Document | None, index: Index, store: Feedback
) -> None:
    shown = [articles[source.doc_id] for source in entry.shown]
    label = (
        say("다른 기사로 바꾸기", "Choose another article") if right else say("맞는 기사 고르기", "Choose the article")
    )
    with st.expander(label, expanded=right is None, key=f"choosing {entry.turn}"):
        chosen = choose_article(_choosing(entry.turn), shown, right, index)
        doc_id = str(chosen.metadata["doc_id"]) if chosen else ""
        if st.button(
            say("이 기사로 정하기", "Take this article"), key=f"take {entry.turn}", disabled=doc_id == entry.right
        ):
            _take(entry.turn, chosen, index, store)
            st.rerun()


def _choosing(turn: str) -> str:
    return f"for {turn}"


def _show_negatives(entry: Entry, others: list[Candidate], store: Feedback) -> None:
    st.subheader(say("답이 아닌 기사", "Articles that do not answer"), anchor=False)
    st.caption(
        say(
            "표시한 기사는 이 질문의 오답으로 학습합니다. 답이 될 수 있는 기사는 표시를 지우세요.",
            "The ticked ones are trained on as wrong for this question. Untick any that may answer it too.",
        )
    )
    for other in others:
        doc_id = str(other.article.metadata["doc_id"])
        ticked = other.proposed if entry.negatives is None else doc_id in entry.negatives and not other.repeats
        title = escape_markdown(headline(other.article))
        st.checkbox(
            say(f"{title} · {other.rank}위", f"{title} · rank {other.rank}"),
            ticked,
            key=f"negative {entry.turn} {entry.right} {doc_id}",
            disabled=other.repeats,
            on_change=_save_negatives,
            args=(entry, others, store),
        )
        if other.repeats:
            st.caption(
                say(
                    "맞는 기사와 거의 같아서 오답으로 쓰지 않습니다.",
                    "Nearly the same as the right one, so never a wrong one.",
                )
            )
        with st.expander(say("본문 읽기", "Read it"), key=f"text {entry.turn} {doc_id}"):
            st.markdown(f"**{title}**  \n{escape_markdown(details(other.article))}")
            st.html(f'<div class="passage" lang="ko">{highlight_html(other.article.page_content)}</div>')


def _save_wording(turn: str, store: Feedback) -> None:
    wording = str(st.session_state[f"wording {turn}"])
    _change(turn, lambda entry: replace(entry, wording=wording), store)


def _save_answer(turn: str, right: str, store: Feedback) -> None:
    answer = str(st.session_state[f"answer {turn} {right}"])
    _change(turn, lambda entry: replace(entry, answer=answer) if entry.right == right else entry, store)


def _save_negatives(entry: Entry, others: list[Candidate], store: Feedback) -> None:
    doc_ids = [str(other.article.metadata["doc_id"]) for other in others if not other.repeats]
    ticked = tuple(id_ for id_ in doc_ids if st.session_state[f"negative {entry.turn} {entry.right} {id_}"])
    _change(entry.turn, lambda now: replace(now, negatives=ticked) if now.right == entry.right else now, store)


def _take(turn: str, chosen: Document | None, index: Index, store: Feedback) -> None:
    try:
        note_right(store, turn, chosen, index)
    except ERRORS as error:
        tell(error)


def _change(turn: str, change: Callable[[Entry], Entry], store: Feedback) -> None:
    """Keep a change, or say that it cannot be kept."""
    try:
        store.change(turn, change)
    except ERRORS as error:
        tell(error)


def show_entry(turn: str) -> None:
    """Show the entry of a turn next."""
    st.session_state["feedback turn"] = turn
