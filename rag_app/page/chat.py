"""The conversation: questions, answers that stream, and their sources."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import streamlit as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from rag_app.chain import build_chain
from rag_app.compressors import RerankingCompressor
from rag_app.conversations import Turn
from rag_app.data import load_retrieval_data
from rag_app.index import Index
from rag_app.korean import normalise
from rag_app.page import resources
from rag_app.page.cards import show_sources
from rag_app.page.choices import Choices, choose, filter_words, metadata_filter
from rag_app.page.problems import ERRORS, explain, show_error
from rag_app.page.words import language, say
from rag_app.rendering import answer_markdown, escape_markdown
from rag_app.retrieval import build_retriever
from rag_app.settings import Settings

EXAMPLES = 4


def show_chat(index: Index, settings: Settings) -> None:
    """Show what was said, and an answer to what is asked now."""
    facets = resources.facets(index)
    with st.sidebar:
        choices = choose(index, facets, settings)
        st.button(say("대화 지우기", "Clear"), on_click=_clear, width="stretch")
    if facets.fictional:
        st.caption(
            say(
                "이 색인에는 시험용으로 지어낸 가상 기사가 있습니다. 실제 뉴스가 아닙니다.",
                "This index holds articles made up for trying things out. They are not real news.",
            )
        )
    _converse(index, choices, settings)


@st.cache_resource(show_spinner=False, max_entries=2)
def _examples(manifest: dict[str, Any], _index: Index) -> list[str]:
    """Return questions of the bundled sample, each from another section, if the index holds the sample."""
    known = _index.document_ids()
    sample = load_retrieval_data("sample", split="validation")
    if not sample.passages.keys() <= known:
        return []
    asked: dict[str, str] = {}
    for question in sample.questions:
        if question.metadata.get("style") == "close" and not question.impossible:
            asked.setdefault(sample.passages[min(question.relevant)].metadata["section"], question.text)
    return list(asked.values())[:EXAMPLES]


def _converse(index: Index, choices: Choices, settings: Settings) -> None:
    turns: list[Turn] = st.session_state.setdefault("turns", [])
    question = st.chat_input("뉴스에 대해 물어보세요") or st.session_state.pop("pending", None)
    suggestions = st.empty()  # a place of its own, or they would stay in sight until the answer is complete
    if not turns and question is None:
        with suggestions.container():
            _suggest(_examples(index.snapshot.manifest, index))
    for turn in turns:
        _show_turn(turn, index, last=turn is turns[-1] and question is None)
    if question is None:
        return
    if not normalise(question):
        st.warning("질문이 비어 있습니다. 예를 들어 “누리호는 언제 발사됐나요?”처럼 물어보세요.")
        return
    turn = Turn(question, filtered=filter_words(choices), written=choices.chat_model is not None)
    history = _history(turns)
    turns.append(turn)
    _answer(turn, history, index, choices, settings)


def _suggest(examples: Sequence[str]) -> None:
    if not examples:
        return
    st.markdown("이렇게 물어볼 수 있습니다.")
    for example in examples:
        st.button(escape_markdown(example), on_click=_ask, args=(example,), width="stretch")


def _ask(question: str) -> None:
    st.session_state["pending"] = question


def _ask_again() -> None:
    st.session_state["pending"] = st.session_state["turns"].pop().question


def _clear() -> None:
    st.session_state["turns"] = []


def _history(turns: Sequence[Turn]) -> list[BaseMessage]:
    said: list[BaseMessage] = []
    for turn in turns:
        if turn.finished:
            said += [HumanMessage(turn.question), AIMessage(turn.answer)]
    return said


def _answer(turn: Turn, history: list[BaseMessage], index: Index, choices: Choices, settings: Settings) -> None:
    """Stream an answer onto the page and into its turn."""
    _show_question(turn)
    with st.chat_message("assistant"):
        try:
            with st.spinner("기사를 찾는 중입니다…"):
                pieces = _stream(turn, history, index, choices, settings)
                first = next(pieces, "")
            _show_search(turn)
            st.write_stream(chain([first], pieces))
            turn.finished = True
        except ERRORS as error:
            turn.problem, turn.detail = explain(error), str(error)
        _show_outcome(turn, index, last=True)


def _stream(
    turn: Turn, history: list[BaseMessage], index: Index, choices: Choices, settings: Settings
) -> Iterator[str]:
    """Yield an answer as Markdown, piece by piece, noting in the turn everything the chain says."""
    chat_model = resources.chat_model(choices.chat_model) if choices.chat_model else None
    top_n = max(settings.top_n, choices.sources)
    compressor: RerankingCompressor | None = None
    if choices.reranker:
        limits = {"top_n": top_n, "budget_ms": settings.rerank_budget_ms}
        compressor = resources.reranker(choices.reranker, settings.backend).model_copy(update=limits)
    retriever = build_retriever(
        index,
        compressor=compressor,
        k=max(choices.candidates, choices.sources),
        top_n=top_n,
        filter=metadata_filter(choices),
        collapse=choices.collapse,
    )
    answering = build_chain(
        retriever, embeddings=index.embeddings, chat_model=chat_model, max_sources=choices.sources, lang=language().lang
    )
    for chunk in answering.stream({"question": turn.question, "history": history}):
        turn.searched = chunk.get("standalone_question", turn.searched)
        turn.documents = list(chunk.get("documents", turn.documents))
        turn.refused = chunk.get("refused", turn.refused)
        if piece := chunk.get("answer"):
            turn.answer += piece
            yield answer_markdown(piece, written=turn.written)


def _show_turn(turn: Turn, index: Index, *, last: bool) -> None:
    """Show a turn of before: from what it holds, without searching again."""
    _show_question(turn)
    with st.chat_message("assistant"):
        _show_search(turn)
        if turn.answer:
            st.markdown(answer_markdown(turn.answer, written=turn.written))
        _show_outcome(turn, index, last=last)


def _show_question(turn: Turn) -> None:
    with st.chat_message("user"):
        st.markdown(escape_markdown(turn.question))


def _show_search(turn: Turn) -> None:
    """Say what was searched for, where it is not simply the question."""
    if turn.searched and turn.searched != normalise(turn.question):
        st.caption(f"찾은 질문: {escape_markdown(' '.join(turn.searched.split()))}")
    if turn.filtered:
        st.caption(f"찾은 범위: {escape_markdown(turn.filtered)}")


def _show_outcome(turn: Turn, index: Index, *, last: bool) -> None:
    """Show what comes below an answer: what went wrong, and the sources."""
    if turn.problem:
        show_error(turn.problem, turn.detail)
    elif not turn.finished:
        st.warning("답변이 도중에 멈췄습니다.")
    if last and not turn.finished:
        st.button("다시 묻기", on_click=_ask_again)
    show_sources(turn, index)
