"""Feedback, reviewed before it becomes training data."""

import streamlit as st
from langchain_core.documents import Document

from rag_app.feedback.entries import STATES, Entry, State
from rag_app.feedback.export import training_lines
from rag_app.feedback.store import Counts, Feedback
from rag_app.index import Index
from rag_app.page.feedback.article_choice import headline
from rag_app.page.feedback.entry import NAMES, review_entry, show_entry
from rag_app.page.feedback.thumbs import THUMBS, feedback_store
from rag_app.page.powers import are_guests, asks_to_log_in, shown_path
from rag_app.page.problems import ERRORS, show_explained
from rag_app.page.words import say
from rag_app.rendering.text import escape_markdown
from rag_app.settings import Settings, load_settings

PER_PAGE = 10
_BADGES = {"new": "gray", "accepted": "green", "rejected": "red"}


def show_review(index: Index, settings: Settings) -> None:
    """Show what came in, one of it to review, and what was accepted as a file."""
    if asks_to_log_in() and are_guests(settings):  # it would show them each other's questions
        st.info(
            say(
                "피드백은 관리자가 검토합니다. 내가 남긴 것은 ‘대화’의 답변 아래에서 바꾸거나 취소할 수 있습니다.",
                "The administrator reviews the feedback. Change or take back yours below the answers in Chat.",
            )
        )
        return
    store = feedback_store(settings)
    try:
        counts = store.counts()
        if not counts.total:
            _say_nothing_came(store)
            return
        _explain(store)
        state = _choose_state(counts)
        entries = sorted(store.entries(state), key=lambda entry: entry.created, reverse=True)
        queue, item = st.columns([2, 3], gap="large")
        with queue:
            _export(store, counts.accepted)
            current = _choose_entry(entries, store)
        with item:
            if current is None:
                _say_nothing_left(state)
            else:
                review_entry(current, [entry.turn for entry in entries], index, store)
    except ERRORS as error:
        show_explained(error)


def _say_nothing_came(store: Feedback) -> None:
    st.info(
        say(
            "아직 피드백이 없습니다. **대화**에서 답변 아래의 엄지를 누르면 여기에 모입니다.",
            "There is no feedback yet. Press a thumb below an answer in **Chat** and it comes here.",
        )
    )
    _tell_where(store)


def _say_nothing_left(state: State | None) -> None:
    if state == "new":
        st.success(say("새로 온 피드백을 모두 검토했습니다.", "All that came in has been reviewed."))
    else:
        st.info(say("여기에는 아직 아무것도 없습니다.", "There is nothing here yet."))


def _explain(store: Feedback) -> None:
    st.markdown(
        say(
            "질문, 맞는 기사, 답이 아닌 기사를 확인하고 승인하세요. 승인한 것만 학습 자료로 내보냅니다.",
            "Check the question, its right article and the wrong ones, then accept. Only accepted ones are exported.",
        )
    )
    _tell_where(store)


def _tell_where(store: Feedback) -> None:
    place = escape_markdown(shown_path(store.path.absolute(), load_settings()))
    st.caption(
        say(
            f"피드백은 이 컴퓨터의 {place} 에만 저장되고 어디로도 보내지지 않습니다. "
            "엄지를 다시 눌러 취소하거나 대화를 지우면 그 피드백도 지워집니다.",
            f"Feedback is kept only on this computer, in {place}, and sent nowhere. "
            "It is deleted when the thumb is pressed again or the conversation is deleted.",
        )
    )


def _choose_state(counts: Counts) -> State | None:
    shown: dict[str, str] = {
        state: f"{say(*NAMES[state])} {count}" for state, count in zip(STATES, counts, strict=True)
    }
    shown["all"] = f"{say('전체', 'All')} {counts.total}"
    # The widget forgets while another view is shown.
    remembered = st.session_state.setdefault("feedback state", "new" if counts.new else "all")
    st.session_state.setdefault("feedback filter", remembered)
    chosen = st.segmented_control(
        say("상태", "State"),
        list(shown),
        format_func=shown.__getitem__,
        required=True,
        key="feedback filter",
        label_visibility="collapsed",
    )
    st.session_state["feedback state"] = chosen
    return next((state for state in STATES if state == chosen), None)


def _choose_entry(entries: list[Entry], store: Feedback) -> Entry | None:
    """Show the entries as a list of buttons, a page at a time; return the one that is chosen, else the first."""
    turns = [entry.turn for entry in entries]
    if not turns:
        return None
    if st.session_state.get("feedback turn") not in turns:
        at = min(st.session_state.get("feedback place", 0), len(turns) - 1)
        st.session_state["feedback turn"] = turns[at]
    at = st.session_state["feedback place"] = turns.index(st.session_state["feedback turn"])
    first = at // PER_PAGE * PER_PAGE
    page = entries[first : first + PER_PAGE]
    articles = store.articles([entry.right for entry in page])
    with st.container(key="feedback-entries"):
        for entry in page:
            st.button(
                _row(entry, articles.get(entry.right)),
                key=f"entry {entry.turn}",
                icon=THUMBS[entry.thumb][0],
                type="primary" if entry.turn == turns[at] else "secondary",
                on_click=show_entry,
                args=(entry.turn,),
                width="stretch",
                wrap=True,
            )
    if len(turns) > PER_PAGE:
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.button(
                say("이전", "Previous"),
                disabled=not first,
                on_click=show_entry,
                args=(turns[max(0, first - PER_PAGE)],),
            )
            st.caption(f"{first + 1}–{min(first + PER_PAGE, len(turns))} / {len(turns)}")
            following = first + PER_PAGE
            st.button(
                say("다음", "Next"),
                disabled=following >= len(turns),
                on_click=show_entry,
                args=(turns[min(following, len(turns) - 1)],),
            )
    return entries[at]


def _row(entry: Entry, right: Document | None) -> str:
    answered = f":small[→ {escape_markdown(headline(right))}]" if right else f":small[→ {say('모름', 'not known')}]"
    state = f":{_BADGES[entry.state]}-badge[{say(*NAMES[entry.state])}]"
    return f"{escape_markdown(entry.asks or entry.question)}  {answered}  {state}"


def _export(store: Feedback, accepted: int) -> None:
    st.download_button(
        say(f"승인한 {accepted}건 내보내기", f"Export the {accepted} accepted"),
        lambda: "".join(training_lines(store)).encode(),
        "feedback.jsonl",
        "application/x-ndjson",
        icon=":material/download:",
        on_click="ignore",
        disabled=not accepted,
        help=say(
            "`python -m finetune.mrc --train feedback.jsonl`처럼 학습에 쓰는 JSON Lines 파일입니다.",
            "JSON Lines to train on: `python -m finetune.mrc --train feedback.jsonl`.",
        ),
        width="stretch",
    )
