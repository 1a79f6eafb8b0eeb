"""The conversation: questions, answers that stream, and their sources."""

from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable

from rag_app.chain import build_chain
from rag_app.conversations.store import Conversations
from rag_app.conversations.turn import Turn
from rag_app.index import Index
from rag_app.korean import normalise
from rag_app.language import Lang, Say, language_of
from rag_app.page import resources
from rag_app.page.chat import history
from rag_app.page.chat.answering import Answer, Request
from rag_app.page.chat.cards import show_sources
from rag_app.page.chat.choices import Choices, choose
from rag_app.page.chat.history import Current, answers
from rag_app.page.feedback.thumbs import right_article, show_thumbs
from rag_app.page.frame import ask_box
from rag_app.page.limits import QUESTION_CHARS, LimitError, check_question
from rag_app.page.powers import shown_place
from rag_app.page.problems import ERRORS, explain, show_error
from rag_app.page.suggestions import suggestions
from rag_app.page.views import HANDED_OVER, hand_over, open_view
from rag_app.page.waiting import PATIENCE, when_told
from rag_app.page.words import language, say
from rag_app.rendering.answer import answer_markdown
from rag_app.rendering.text import escape_markdown, shortened
from rag_app.retrieval import build_retriever
from rag_app.settings import Settings, load_settings

_SEARCHED = 200  # characters of the question searched for that are shown
_LOOK = 0.2  # seconds between two looks at an answer that is on its way
_ASKED, _EDITED, _DRAWN = "asked", "edited", "drawn turns"
_write_at_once = st.components.v2.component(
    "write_at_once", js=Path(__file__).with_name("editing.js").read_text("utf-8"), isolate_styles=False
)


def show_chat(index: Index, settings: Settings) -> None:
    """Show what was said, and an answer to what is asked now.

    A question that another view hands over is asked in a new conversation if the current one has begun.
    """
    store = history.conversations(settings)
    pending = st.session_state.pop(HANDED_OVER[""], None)
    state = history.current(store)
    if pending and state.turns:
        history.new_conversation()
        state = history.current(store)
    typed = ask_box()
    question = typed or pending or st.session_state.pop(_ASKED, None)
    with st.sidebar:
        listed = st.container()
        looking = say("분야와 날짜를 알아보는 중입니다…", "Looking up sections and dates…")
        facets = when_told(partial(resources.facets, index), looking) or resources.NO_FACETS
        choices = choose(index, facets, settings)
    problem = _problem_with(question)
    if question is not None and not problem:
        _ask(question, state, store, index, choices, settings)
    running = _running(state)  # once in a run: an answer that ends meanwhile would be drawn nowhere
    with listed:
        history.show_list(store, state)
        if state.turns:
            history.show_menu(store, state, settings, busy=running is not None)
    if facets.fictional:
        st.caption(
            say(
                "이 색인에는 시험용으로 지어낸 가상 기사가 있습니다. 실제 뉴스가 아닙니다.",
                "This index holds articles made up for trying things out. They are not real news.",
            )
        )
    _show_conversation(state, store, index, running)
    if problem:
        st.warning(problem)
    drawn = st.session_state.get(_DRAWN, 0)
    st.session_state[_DRAWN] = len(state.turns)
    if running:
        _watch(running, index, below=2 * max(0, drawn - len(state.turns)))
    elif not state.turns:
        finding = say("물어볼 만한 것을 찾는 중입니다…", "Looking for what one could ask…")
        _suggest(when_told(partial(suggestions, index), finding) or [])


def _problem_with(question: str | None) -> str:
    """Return why a question cannot be asked; empty if it can."""
    if question is None:
        return ""
    if not normalise(question[: QUESTION_CHARS + 1]):
        return say(
            "질문이 비어 있습니다. 예를 들어 “누리호는 언제 발사됐나요?”처럼 물어보세요.",
            "The question is empty. Ask something, for example “누리호는 언제 발사됐나요?”.",
        )
    try:
        check_question(question)
    except LimitError as error:
        return explain(error)
    return ""


def _ask(
    question: str, state: Current, store: Conversations, index: Index, choices: Choices, settings: Settings
) -> None:
    """Begin to answer a question in the background; one that is still being answered is stopped."""
    answers().stop_all(state.id)
    said, lang = _history(state.turns), language_of(question, language().lang)
    turn = Turn(
        question,
        index=str(index.path),
        filtered=choices.scope.words,
        written=choices.chat_model is not None,
        chat_model=choices.chat_model or "",
        reranker=choices.reranker or "",
        lang=lang,
    )
    state.turns.append(turn)
    history.begin(store, state)
    save = (lambda _: None) if state.unkept else partial(store.save, state.id)
    build = partial(_build, index, choices, settings, lang)
    state.answer = answers().start(Request(turn, state.id, said, build, partial(_explained, words=language()), save))


def _explained(error: Exception, words: Say) -> str:
    return explain(error, words) if isinstance(error, ERRORS) else ""


def _build(index: Index, choices: Choices, settings: Settings, lang: Lang) -> Runnable[dict[str, Any], dict[str, Any]]:
    """Return the chain that answers as chosen; loads the models."""
    chat_model = resources.chat_model(choices.chat_model) if choices.chat_model else None
    top_n = max(settings.top_n, choices.sources)
    compressor = None
    if choices.reranker:
        limits = {"top_n": top_n, "budget_ms": settings.rerank_budget_ms}
        compressor = resources.reranker(choices.reranker, settings.backend).model_copy(update=limits)
    retriever = build_retriever(
        index,
        compressor=compressor,
        k=max(choices.candidates, choices.sources),
        top_n=top_n,
        filter=choices.scope.filter,
        collapse=choices.collapse,
        max_per_source=settings.max_per_source,
    )
    return build_chain(
        retriever, embeddings=index.embeddings, chat_model=chat_model, max_sources=choices.sources, lang=lang
    )


def _history(turns: Sequence[Turn]) -> list[BaseMessage]:
    """Return what was said: also what a visitor had read when stopping an answer, but no answer that failed."""
    said: list[BaseMessage] = []
    for turn in turns:
        if turn.finished or (turn.stopped and turn.answer):
            said += [HumanMessage(turn.question), AIMessage(turn.answer)]
    return said


def _suggest(examples: Sequence[str]) -> None:
    if not examples:
        return
    st.markdown(say("이렇게 물어볼 수 있습니다.", "You could ask, for example:"))
    with st.container(key="suggestions"):
        for number, example in enumerate(examples):
            st.button(
                escape_markdown(example),
                key=f"suggestion {number}",
                on_click=_set,
                args=(_ASKED, example),
                width="stretch",
            )


def _set(key: str, value: str) -> None:
    st.session_state[key] = value


def _running(state: Current) -> Answer | None:
    """Return the answer that is on its way in a conversation."""
    return answers().get(state.turns[-1].id) if state.turns else None


def _show_conversation(state: Current, store: Conversations, index: Index, running: Answer | None) -> None:
    history.show_name(state)
    history.show_unkept(state)
    for number, turn in enumerate(state.turns):
        if number == len(state.turns) - 1 and running:
            return
        _show_question(turn)
        with st.chat_message("assistant", avatar=":material/newspaper:"):
            _show_turn(turn, index, state, store, busy=running is not None)
    for number, turn in enumerate(state.turns):
        if not running and st.session_state.get(_EDITED) == turn.id:
            dialog = st.dialog(say("질문 고쳐 묻기", "Edit the question"), on_dismiss=_close_editing)
            dialog(_edit)(state, store, number)


def _show_turn(turn: Turn, index: Index, state: Current, store: Conversations, *, busy: bool) -> None:
    """Show an answer that nothing is added to any more: from what its turn holds, without searching again."""
    _show_search(turn, index)
    if turn.answer:
        st.markdown(_answer_markdown(turn))
    _show_end(turn)
    show_sources(turn, index, actions=right_article(turn, index, state.id))
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"actions-{turn.id}"):
        if turn.finished:
            show_thumbs(turn, index, state.id)
        last = turn is state.turns[-1]
        if last and not busy:
            again = say("다시 답하기", "Answer again") if turn.finished else say("다시 묻기", "Ask again")
            _action(again, "refresh", turn, partial(_ask_again, turn, state, store))
        if not busy:
            _action(say("질문 고치기", "Edit question"), "edit", turn, partial(_set, _EDITED, turn.id))
        compared = partial(hand_over, "compare", turn.searched or turn.question)
        if _action(say("비교하기", "Compare"), "compare_arrows", turn, compared):
            open_view("compare")


def _action(label: str, icon: str, turn: Turn, act: Callable[[], None]) -> bool:
    key = f"{icon} {turn.id}"
    return st.button(label, key=key, type="tertiary", icon=f":material/{icon}:", on_click=act)


def _ask_again(turn: Turn, state: Current, store: Conversations) -> None:
    """Have the last question answered anew, as is chosen now; the answer it has goes."""
    history.remove_from(store, state, turn, turn.question)
    st.session_state[_ASKED] = turn.question


def _edit(state: Current, store: Conversations, number: int) -> None:
    """Let a question be asked otherwise, in a dialog."""
    turn = state.turns[number]
    text = st.text_area(say("질문", "Question"), turn.question, max_chars=QUESTION_CHARS, key=f"edited {turn.id}")
    _write_at_once(key=f"writing {turn.id}")
    after = len(state.turns) - number - 1
    if after:
        st.caption(
            say(
                f"이 질문의 답과 그 뒤에 나눈 질문과 답 {after}개가 지워집니다.",
                f"Its answer goes, and so do the {after} questions and answers after it.",
            )
        )
    else:
        st.caption(say("지금 답은 새 답으로 바뀝니다.", "A new answer takes the place of this one."))
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button(say("그대로 두기", "Keep")):
            _close_editing()
            st.rerun()
        ask = st.button(say("고쳐서 묻기", "Ask"), type="primary")
    if ask and normalise(text):
        _close_editing()
        history.remove_from(store, state, turn, text)
        st.session_state[_ASKED] = text
        st.rerun()
    if ask:  # said afterwards: a button that greys under the focus takes it away, and Escape closes nothing any more
        st.warning(say("질문을 적어 주세요.", "Write a question."))


def _close_editing() -> None:
    st.session_state.pop(_EDITED, None)


def _show_question(turn: Turn) -> None:
    with st.chat_message("user", avatar=":material/person:"):
        st.markdown(escape_markdown(turn.question))


def _show_search(turn: Turn, index: Index | None = None) -> None:
    """Say what was searched for, and where, if that is not simply the question and the index in sight."""
    if turn.searched and turn.searched != normalise(turn.question):
        searched = escape_markdown(shortened(turn.searched, _SEARCHED))
        st.caption(f"{say('찾은 질문', 'Searched for')}: {searched}")
    if turn.filtered:
        st.caption(f"{say('찾은 범위', 'Searched in')}: {escape_markdown(turn.filtered)}")
    if index is not None and turn.index not in ("", str(index.path)):
        name = escape_markdown(shown_place(turn.index, load_settings()))
        st.caption(f"{say('찾은 색인', 'Searched index')}: {name}")


def _answer_markdown(turn: Turn) -> str:
    return answer_markdown(turn.answer, written=turn.written, anchor=turn.id, say=language())


def _show_end(turn: Turn) -> None:
    """Say so where an answer is not complete."""
    if turn.problem:
        show_error(turn.problem, turn.detail)
    elif turn.stopped:
        st.caption(say("답변을 멈췄습니다.", "The answer was stopped."))
    elif not turn.finished:
        st.warning(say("답변이 도중에 끊겼습니다.", "The answer broke off."))


def _watch(answer: Answer, index: Index, *, below: int) -> None:
    """Show an answer as it comes, and a button that stops it; then all anew, with what belongs below it.

    Args:
        answer: The last of the conversation.
        index: The one in sight.
        below: How many messages are still to be seen below it, of turns that are gone.
    """
    _show_question(answer.turn)
    with st.chat_message("assistant", avatar=":material/newspaper:"):
        _follow(answer, index)
    for _ in range(below):
        st.empty()


@st.fragment(run_every=_LOOK)
def _follow(answer: Answer, index: Index) -> None:
    """Show how far an answer is, a few times a second; once it has ended, the whole page anew.

    A fragment rather than a loop: between two looks dialogs and the cards of other answers are served.
    """
    turn, ended = answer.turn, answer.ended  # in this order what is drawn is at least as new
    with st.container():
        _show_search(turn)
    if turn.answer:
        st.markdown(_answer_markdown(turn))
    else:
        st.empty()
    st.html(_status(answer))
    st.button(
        say("멈추기", "Stop"),
        icon=":material/stop_circle:",
        key=f"stop {turn.id}",
        shortcut="Esc",
        on_click=answer.stop,
    )
    if turn.documents:
        show_sources(turn, index, preview=True)
    if ended:
        answer.raise_bug()
        st.empty()  # goes to another view, if just now somebody clicked on one
        st.rerun()


def _status(answer: Answer) -> str:
    """Return what an answer waits for, as HTML; screen readers are not told each second."""
    turn = answer.turn
    if answer.waiting:
        doing = say("다른 답변이 끝나기를 기다리는 중입니다…", "Waiting for other answers to end…")
    elif turn.written and not turn.searched:
        doing = say("질문을 다시 쓰는 중입니다…", "Rewriting the question…")
    elif not turn.documents:
        doing = say("기사를 찾는 중입니다…", "Searching the articles…")
    elif not turn.answer:
        doing = say("답을 쓰는 중입니다…", "Writing the answer…")
    else:
        doing = say("이어서 쓰는 중입니다…", "Still writing…")
    waited = int(answer.seconds)
    seconds = say(f"{waited}초", f"{waited} s") if waited >= PATIENCE else ""
    return (
        f'<div class="status"><span role="status">{escape(doing)}</span> '
        f'<span aria-hidden="true">{seconds}</span></div>'
    )
