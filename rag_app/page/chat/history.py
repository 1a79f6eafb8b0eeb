"""The conversation in sight, and the list of those that are kept."""

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import partial

import streamlit as st

from rag_app.conversations.store import Conversation, Conversations, Summary, short_title
from rag_app.conversations.transcript import file_name, to_markdown
from rag_app.conversations.turn import Turn, new_id
from rag_app.language import Say
from rag_app.page.chat.answering import Answer, Answers
from rag_app.page.feedback.thumbs import feedback_store
from rag_app.page.lasting import lasting
from rag_app.page.powers import without_folders
from rag_app.page.problems import show_error
from rag_app.page.visitor import owner
from rag_app.page.words import language, say
from rag_app.rendering.text import escape_markdown
from rag_app.settings import Settings

LISTED = 50
"""How many conversations the list shows."""
_KEY, _DELETED, _ADDRESS = "conversation", "deleted conversation", "c"
_FITTING = 6  # conversations that the list shows without scrolling


@dataclass
class Current:
    """The conversation that a visitor has in sight.

    Attributes:
        id: In the file and in the address; new until the first question.
        title: Its name; empty until the first question.
        turns: In order.
        revision: Of the file, when the turns were read; -1 while it is not in the file.
        unkept: Why it is not kept; empty while it is.
        answer: To the last question that was asked here, until it is known whether it was saved.
        lost: The one that was asked for, or was in sight, is gone, and this one has taken its place.
    """

    id: str = field(default_factory=new_id)
    title: str = ""
    turns: list[Turn] = field(default_factory=list)
    revision: int = -1
    unkept: str = ""
    lost: bool = False
    answer: Answer | None = None


@lasting
def answers() -> Answers:
    """Return what makes the answers of this process."""
    return Answers()


def conversations(settings: Settings) -> Conversations:
    """Return the conversations of the visitor."""
    return Conversations(settings.home / "chat.sqlite", owner())


def current(store: Conversations) -> Current:
    """Return the conversation in sight, as it is now: another window may have changed it, or an answer gone on.

    The address says which; a new one has none yet.
    """
    state = st.session_state.get(_KEY)
    wish = st.query_params.get(_ADDRESS, "")
    if not isinstance(state, Current):
        state = Current(id=wish or new_id(), revision=0 if wish else -1)
    elif wish and wish != state.id:
        state = Current(id=wish, revision=0)
    if state.answer is not None and state.answer.ended:  # perhaps while nobody looked
        state.unkept, state.answer = state.unkept or state.answer.unsaved, None
    if state.revision >= 0 and not state.unkept:
        state = _read(store, state)
    st.session_state[_KEY] = state
    _show_in_address(state)
    return state


def _read(store: Conversations, state: Current) -> Current:
    """Return a conversation as it stands in the file; as it is if that cannot be read."""
    try:
        if state.title and store.revision(state.id) == state.revision:
            return state
        kept = store.open(state.id)
    except KeyError:
        return Current(lost=True)
    except (OSError, ValueError) as error:
        state.unkept = str(error)
        return state
    turns = [answer.turn if (answer := answers().get(turn.id)) else turn for turn in kept.turns]
    return Current(kept.id, kept.title, turns, kept.revision, lost=state.lost, answer=state.answer)


def begin(store: Conversations, state: Current) -> None:
    """Keep a conversation, with all its turns, if it is not kept yet, and its last turn in any case."""
    state.title = state.title or short_title(state.turns[0].question)
    unkept = state.turns if state.revision < 0 or state.unkept else state.turns[-1:]
    try:
        store.create(state.title, state.id)
        for turn in unkept:
            store.save(state.id, turn)
        state.revision, state.unkept = store.revision(state.id), ""
    except (KeyError, OSError, ValueError) as error:
        state.unkept = str(error)
    _show_in_address(state)


def remove_from(store: Conversations, state: Current, turn: Turn, asked: str) -> None:
    """Remove a turn and all that came after it, since something else is asked; the title goes by the first question."""
    del state.turns[state.turns.index(turn) :]
    if not state.turns and state.title == short_title(turn.question):
        state.title = short_title(asked)
    if state.revision >= 0 and not state.unkept:
        try:
            store.remove_from(state.id, turn.id)
            store.rename(state.id, state.title)
            state.revision = store.revision(state.id)
        except (KeyError, OSError, ValueError) as error:
            state.unkept = str(error)


def new_conversation() -> None:
    """Put a new conversation in sight; an answer that is on its way in the old one goes on."""
    _put_in_sight(Current())


def _put_in_sight(state: Current) -> None:
    st.session_state[_KEY] = state
    _show_in_address(state)


def _show_in_address(state: Current) -> None:
    if state.revision >= 0 and not state.unkept:
        if st.query_params.get(_ADDRESS) != state.id:
            st.query_params[_ADDRESS] = state.id
    elif _ADDRESS in st.query_params:
        del st.query_params[_ADDRESS]


def show_list(store: Conversations, state: Current) -> None:
    """Show the kept conversations, newest first, each a button that opens it."""
    st.button(
        say("새 대화", "New conversation"),
        icon=":material/edit_square:",
        width="stretch",
        on_click=new_conversation,
        key="new conversation",
    )
    try:
        listed = store.list(LISTED) if store.path.exists() else []
    except (OSError, ValueError):  # said where the conversation is
        return
    if not listed:
        return
    with st.container(key="conversations", height=300 if len(listed) > _FITTING else "content", border=False):
        for summary in listed:
            with st.container(key="current" if summary.id == state.id else None):
                st.button(
                    f"{escape_markdown(summary.title)} :small[:gray[{_when(summary.changed)}{_count(summary)}]]",
                    key=f"open {summary.id}",
                    type="tertiary",
                    width="stretch",
                    on_click=_put_in_sight,
                    args=(Current(summary.id, revision=0),),
                )


def _count(summary: Summary) -> str:
    return say(f" · 질문 {summary.turns}개", f" · {summary.turns} asked")


def _when(changed: datetime) -> str:
    """Return a time as one says it, by the visitor's clock."""
    here = changed.astimezone(_zone())
    days = (datetime.now(_zone()).date() - here.date()).days
    if days <= 0:
        return f"{here:%H:%M}"
    if days == 1:
        return say("어제", "yesterday")
    return _day(here.date(), this_year=here.year == datetime.now(_zone()).year)


def _day(day: date, *, this_year: bool) -> str:
    if not this_year:
        return day.isoformat()
    return say(f"{day.month}월 {day.day}일", f"{day.month}/{day.day}")


def _zone() -> timezone:
    """Return the time zone of the visitor's browser."""
    minutes = st.context.timezone_offset  # as browsers tell it: how much later UTC is
    return UTC if minutes is None else timezone(timedelta(minutes=-minutes))


def show_name(state: Current) -> None:
    """Show a conversation's name, if it was given one."""
    if state.turns and state.title != short_title(state.turns[0].question):
        st.markdown(f"**{escape_markdown(state.title)}**")


def show_menu(store: Conversations, state: Current, settings: Settings, *, busy: bool) -> None:
    """Show what can be done with a conversation: rename, export, delete."""
    with st.popover(say("대화 관리", "Manage conversation"), icon=":material/more_horiz:", width="stretch"):
        if not state.unkept:
            name = st.text_input(say("대화 이름", "Name"), state.title, key=f"name {state.id} {state.title}")
            if name.strip() and short_title(name) != state.title:
                _rename(store, state, name)
        kept = Conversation(state.id, state.title, state.revision, state.turns)
        st.download_button(
            say("Markdown으로 내려받기", "Download as Markdown"),
            partial(_write, kept, language(), _zone()),  # when it is asked for
            file_name(kept),
            "text/markdown",
            on_click="ignore",
            icon=":material/download:",
            width="stretch",
            disabled=busy,
        )
        if st.session_state.get(_DELETED) == state.id and not busy:
            _confirm_deletion(store, state, settings)
        else:
            st.button(
                say("대화 지우기", "Delete conversation"),
                icon=":material/delete:",
                width="stretch",
                disabled=busy,
                help=say("답변을 멈춘 뒤에 지울 수 있습니다.", "Stop the answer first.") if busy else None,
                on_click=_set_deleted,
                args=(state.id,),
            )


def _write(conversation: Conversation, words: Say, zone: tzinfo) -> str:
    turns = [replace(turn, detail=without_folders(turn.detail)) for turn in conversation.turns]  # as they are shown
    return to_markdown(conversation._replace(turns=turns), words, zone)


def _rename(store: Conversations, state: Current, name: str) -> None:
    try:
        store.rename(state.id, name)
    except KeyError:
        new_conversation()
    except (OSError, ValueError) as error:
        show_error(say("이름을 바꾸지 못했습니다.", "The name could not be changed."), str(error))
        return
    st.rerun()


def _confirm_deletion(store: Conversations, state: Current, settings: Settings) -> None:
    feedback = feedback_store(settings)
    counts = feedback.counts(state.id)
    also = ""
    if counts.total:
        also = say(
            f" 이 대화에 남긴 피드백 {counts.total}건(승인한 것 {counts.accepted}건)도 함께 지워집니다.",
            f" Its {counts.total} feedback entries ({counts.accepted} accepted) are deleted with it.",
        )
    st.warning(
        say(
            f"질문 {len(state.turns)}개와 답변을 모두 지울까요? 되돌릴 수 없습니다.",
            f"Delete its {len(state.turns)} questions and answers for good?",
        )
        + also
    )
    if st.button(say("지우기", "Delete"), type="primary", width="stretch"):
        try:
            if not state.unkept:
                store.delete(state.id)
            feedback.forget(state.id)
        except (OSError, ValueError) as error:
            show_error(say("지우지 못했습니다.", "It could not be deleted."), str(error))
            return
        _set_deleted(None)
        new_conversation()
        st.rerun()
    st.button(say("그대로 두기", "Keep"), width="stretch", on_click=_set_deleted, args=(None,))


def _set_deleted(id_: str | None) -> None:
    st.session_state[_DELETED] = id_


def show_unkept(state: Current) -> None:
    """Say so where a conversation is gone or is not kept."""
    if state.lost:
        st.info(
            say(
                "보던 대화를 찾지 못해 새 대화를 엽니다. 지웠거나 다른 곳에 저장된 대화입니다.",
                "The conversation was not found, so this is a new one. It was deleted, or is kept elsewhere.",
            )
        )
    if state.unkept:
        st.warning(
            say(
                "대화가 저장되지 않고 있습니다. 페이지를 닫으면 사라집니다.",
                "This conversation is not being kept. It is gone once you close the page.",
            )
            + f"\n\n{escape_markdown(without_folders(state.unkept))}"
        )
