"""The page: a chat in Korean over the articles of an index, with sources one can check.

    RAG_INDEX=.index streamlit run streamlit_app.py

It starts from the same ``RAG_*`` settings as ``rag-app``; see `rag_app.settings`. What a document or a chat model
wrote is shown as text, never as HTML or an image; the only links are addresses that one can read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from rag_app.chain import build_chain
from rag_app.chat_models import ChatModelError, load_chat_model
from rag_app.compressors import RerankingCompressor, load_reranker
from rag_app.data import load_retrieval_data, sample_documents
from rag_app.embeddings import load_embeddings
from rag_app.filters import Filter, article_filter, matching_ids
from rag_app.generations import MANIFEST
from rag_app.index import Index, build_index, open_index
from rag_app.korean import analyzer, normalise
from rag_app.models import Backend, serving_backend
from rag_app.rendering import answer_markdown, escape_markdown, source_html
from rag_app.retrieval import build_retriever
from rag_app.settings import Settings, load_settings, name_or_none

TITLE = "뉴스에 묻기"
EXAMPLES = 4
MAX_SOURCES, MAX_CANDIDATES = 20, 200

# What to do about an error, by its type; the first that fits counts. Any other exception is a bug and looks like one.
REMEDIES: tuple[tuple[type[Exception], str], ...] = (
    (
        ChatModelError,
        "채팅 모델이 답하지 않습니다. 주소와 이름을 확인하거나, 칸을 비워 기사 인용으로 답을 받으세요.",
    ),
    (ImportError, "필요한 패키지가 설치되어 있지 않습니다. 아래 명령으로 설치하세요."),
    (BlockingIOError, "다른 곳에서 이 색인을 쓰고 있습니다. 끝난 뒤 다시 해 보세요."),
    (ConnectionError, "연결하지 못했습니다. 이름이 맞는지, 네트워크가 되는지 확인하세요."),
    (FileNotFoundError, "파일이나 폴더를 찾지 못했습니다. 이름을 확인하세요."),
    (OSError, "파일을 읽거나 쓰지 못했습니다. 권한과 남은 공간을 확인하세요."),
    (ValueError, "설정이나 입력에 맞지 않는 것이 있습니다. 아래 설명을 보고 고쳐 주세요."),
)
ERRORS = (OSError, ValueError, ImportError)

CSS = """<style>
[data-testid="stMarkdownContainer"] :is(p, li) { word-break: keep-all; overflow-wrap: anywhere; }
.passage { white-space: pre-wrap; word-break: keep-all; overflow-wrap: anywhere; line-height: 1.7; }
.passage mark { background: rgba(255, 190, 0, .32); color: inherit; padding: .1em 0; border-bottom: 2px solid #d99a00; }
.source + .source { margin-top: 1rem; padding-top: 1rem; border-top: 1px solid rgba(128, 128, 128, .35); }
.source:has(details[open]) .excerpt { display: none; }
.source summary { cursor: pointer; font-size: .875rem; opacity: .8; margin: .4rem 0; }
.heading { font-weight: 600; word-break: keep-all; overflow-wrap: anywhere; }
.meta { opacity: .8; font-size: .875rem; margin-bottom: .4rem; overflow-wrap: anywhere; }
.badge { border: 1px solid currentColor; border-radius: .5rem; padding: 0 .4rem; font-size: .75rem; white-space: nowrap; }
.scores { margin-top: .75rem; font-size: .8125rem; border-collapse: collapse; font-variant-numeric: tabular-nums; }
.scores th { font-weight: 400; text-align: left; opacity: .8; white-space: nowrap; }
.scores th, .scores td { padding: .1rem .8rem .1rem 0; border: 0; border-bottom: 1px solid rgba(128, 128, 128, .25); }
</style>"""  # noqa: E501


@dataclass
class Turn:
    """A question and what became of it. Filled while the answer streams, so that an interruption loses nothing.

    Attributes:
        question: As asked.
        searched: The standalone question that was searched for.
        filtered: The filter in words; empty without one.
        written: A chat model writes the answer, otherwise it is quoted.
        answer: As far as it has come.
        documents: The sources in citation order.
        refused: The articles do not answer the question.
        finished: The answer is complete.
        problem: What went wrong, in Korean.
        detail: The error's own message.
    """

    question: str
    filtered: str = ""
    written: bool = False
    searched: str = ""
    answer: str = ""
    documents: list[Document] = field(default_factory=list)
    refused: bool = False
    finished: bool = False
    problem: str = ""
    detail: str = ""


class Choices(NamedTuple):
    """What the sidebar is set to.

    Attributes:
        sources: How many articles an answer is drawn from.
        candidates: How many passages the reranker reads.
        reranker: Its name; None for the search's own order.
        sections: Only these; all if empty.
        dates: First and last day; None for any, also for articles without a date.
        chat_model: Its name; None quotes the articles.
        collapse: Whether one article stands for those that nearly repeat it.
    """

    sources: int
    candidates: int
    reranker: str | None
    sections: list[str]
    dates: tuple[date, date] | None
    chat_model: str | None
    collapse: bool


class Facets(NamedTuple):
    """What one can choose from in an index."""

    sections: list[str]
    dates: list[date]
    fictional: bool


def main() -> None:
    """Show the page: what was said, and an answer to what is asked now."""
    st.set_page_config(page_title=TITLE, layout="centered")
    st.html(CSS)
    st.title(TITLE, anchor=False)
    try:
        settings = load_settings()
    except ValueError as error:
        _show_error("환경 변수(RAG_...) 설정이 잘못되었습니다.", str(error))
        return
    if not (settings.index / MANIFEST).is_file():
        _offer_sample(settings)
        return
    try:
        index = _current_index(settings.index, settings.backend)
    except ERRORS as error:
        _explain_index(settings.index, error)
        return
    facets = _facets(index.snapshot.manifest, index)
    choices = _sidebar(index, facets, settings)
    if facets.fictional:
        st.caption("이 색인에는 시험용으로 지어낸 가상 기사가 있습니다. 실제 뉴스가 아닙니다.")
    _converse(index, choices, settings)


def explain(error: Exception) -> str:
    """Return what to do about an error, in Korean."""
    return next(remedy for kind, remedy in REMEDIES if isinstance(error, kind))


def filter_words(choices: Choices) -> str:
    """Return the chosen filter in words, empty for none."""
    words = [", ".join(choices.sections)] if choices.sections else []
    words += [" ~ ".join(day.isoformat() for day in choices.dates)] if choices.dates else []
    return " · ".join(words)


def metadata_filter(choices: Choices) -> Filter | None:
    """Return the chosen filter as `rag_app.filters` takes it."""
    return article_filter(choices.sections, *(day.isoformat() for day in choices.dates or ()))


def _current_index(path: Path, backend: Backend | None) -> Index:
    """Return the index, as it was last committed."""
    index = _opened_index(path, backend)
    try:
        index.refresh()
    except ValueError:  # damaged, or built anew with another model: opening it tells
        _opened_index.clear()
        index = _opened_index(path, backend)
    return index


@st.cache_resource(show_spinner="색인을 여는 중입니다…", max_entries=2)
def _opened_index(path: Path, backend: Backend | None) -> Index:
    analyzer().morphemes("준비")  # loads its dictionary now: the first question should not wait for it
    return open_index(path, backend=backend)


@st.cache_resource(show_spinner="재순위 모델을 읽는 중입니다…", max_entries=2)
def _reranker(name: str, backend: Backend | None) -> RerankingCompressor:
    return load_reranker(name, backend=serving_backend(name, backend, role="reranker"))


@st.cache_resource(show_spinner=False, max_entries=4)
def _chat_model(name: str) -> BaseChatModel:
    settings = load_settings()  # its key goes to the address it was set for, not to whatever a visitor types
    return load_chat_model(name, **(settings.chat_options(name) if name == settings.chat_model else {}))


@st.cache_resource(show_spinner=False, max_entries=2)
def _facets(manifest: dict[str, Any], _index: Index) -> Facets:
    """Return an index's facets, computed once per manifest, which names every file's checksum."""
    store = _index.snapshot.store
    days = {day for text in store.values("date") if (day := _day(text))}
    sections = [section for section in store.values("section") if section]
    return Facets(sections, sorted(days), bool(matching_ids(store.documents, {"fictional": True})))


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


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _offer_sample(settings: Settings) -> None:
    st.info(f"`{settings.index}`에 색인이 없습니다. 가진 문서로 색인을 만들거나, 예제 뉴스로 먼저 써 보세요.")
    st.code(f"rag-app index 문서폴더 --index {settings.index}\nrag-app index sample --index {settings.index}", "bash")
    if not st.button("예제 뉴스로 색인 만들기", type="primary"):
        return
    try:
        with st.spinner("예제 뉴스로 색인을 만드는 중입니다…"):
            build_index(
                settings.index,
                sample_documents(),
                load_embeddings(settings.model, backend=serving_backend(settings.model, settings.backend)),
            )
    except ERRORS as error:
        _show_error(explain(error), str(error))
        return
    st.rerun()


def _explain_index(path: Path, error: Exception) -> None:
    _show_error(f"색인(`{path}`)을 열지 못했습니다. 아래 명령으로 검사하거나 다시 만들 수 있습니다.", str(error))
    st.code(f"rag-app check --index {path}\nrag-app index 문서폴더 --index {path} --replace", "bash")


def _show_error(problem: str, detail: str) -> None:
    st.error(f"{problem}\n\n{escape_markdown(detail)}")


def _sidebar(index: Index, facets: Facets, settings: Settings) -> Choices:
    with st.sidebar:
        st.subheader("답변")
        sources = st.slider(
            "답에 쓸 기사 수",
            *(1, MAX_SOURCES),
            min(max(settings.sources, 1), MAX_SOURCES),
            help="찾은 기사 가운데 위에서 몇 건까지 답의 근거로 쓸지 정합니다.",
        )
        chat_model = st.text_input(
            "채팅 모델",
            settings.chat_model or "",
            placeholder="비워 두면 기사 문장을 인용합니다",
            help="예: `openai:gpt-5-mini`, `ollama:exaone3.5`, `http://127.0.0.1:8000/v1#모델`. "
            "키는 여기에 적지 말고 환경 변수(OPENAI_API_KEY 등)에 두세요.",
        )
        st.subheader("찾을 범위")
        sections = st.multiselect("분야", facets.sections, placeholder="모든 분야") if facets.sections else []
        dates = _date_range(facets.dates)
        collapse = st.toggle(
            "거의 같은 기사 묶기",
            settings.collapse,
            help="여러 매체에 실린 같은 통신 기사 등을 하나로 묶고, 몇 건이 더 있는지 보여 줍니다.",
        )
        st.subheader("재순위")
        reranker, candidates = _reranking(settings)
        st.subheader("색인")
        manifest = index.snapshot.manifest
        st.caption(
            f"기사 {manifest['documents']:,}건 · 단락 {manifest['passages']:,}개  \n"
            f"임베딩 {escape_markdown(str(manifest['model']['name']))}  \n위치 {escape_markdown(str(index.path))}"
        )
        st.button("대화 지우기", on_click=_clear, width="stretch")
    return Choices(sources, candidates, reranker, sections, dates, chat_model.strip() or None, collapse)


def _date_range(days: Sequence[date]) -> tuple[date, date] | None:
    """Ask for the first and last day; None while all days are wanted."""
    if not days:
        return None
    every = (days[0], days[-1])
    chosen = st.date_input("날짜", every, min_value=every[0], max_value=every[1], format="YYYY-MM-DD")
    # While only the first day has been clicked there is no last one yet.
    first, last = (*chosen, every[1])[:2] if chosen else every
    return None if (first, last) == every else (first, last)


def _reranking(settings: Settings) -> tuple[str | None, int]:
    """Ask for the reranker; return its name, None for no reranking, and how many passages it reads."""
    name = st.text_input(
        "재순위 모델",
        settings.reranker or "",
        placeholder="embedded, 폴더 또는 Hub 이름",
        help="질문과 단락을 함께 읽어 순서를 다시 매기는 모델입니다. `embedded`는 함께 들어 있는 작은 모델이고, "
        "cross-encoder의 폴더나 Hub 이름도 됩니다. RAG_RERANKER로도 정합니다.",
    )
    name = name_or_none(name) or ""
    # Its key changes with the name, so that naming a model switches it on.
    on = st.toggle("재순위 쓰기", value=bool(name), disabled=not name, key=f"rerank {name}")
    if not name:
        st.caption("재순위 모델을 적으면 켤 수 있습니다. 지금은 낱말과 뜻으로 찾은 순서를 그대로 씁니다.")
    candidates = st.slider(
        "다시 볼 후보 수 (k)",
        *(1, MAX_CANDIDATES),
        min(max(settings.k, 1), MAX_CANDIDATES),
        disabled=not on,
        help="찾은 단락 몇 개를 재순위 모델에 넘길지 정합니다. 많을수록 느립니다.",
    )
    return (name if on else None), candidates


def _converse(index: Index, choices: Choices, settings: Settings) -> None:
    turns: list[Turn] = st.session_state.setdefault("turns", [])
    question = st.chat_input("뉴스에 대해 물어보세요") or st.session_state.pop("pending", None)
    suggestions = st.empty()  # a place of its own, or they would stay in sight until the answer is complete
    if not turns and question is None:
        with suggestions.container():
            _suggest(_examples(index.snapshot.manifest, index))
    for turn in turns:
        _show_turn(turn, last=turn is turns[-1] and question is None)
    if question is None:
        return
    if not normalise(question):
        st.warning("질문이 비어 있습니다. 예를 들어 “누리호는 언제 발사됐나요?”처럼 물어보세요.")
        return
    turn = Turn(question, filter_words(choices), written=choices.chat_model is not None)
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
        _show_outcome(turn, last=True)


def _stream(
    turn: Turn, history: list[BaseMessage], index: Index, choices: Choices, settings: Settings
) -> Iterator[str]:
    """Yield an answer as Markdown, piece by piece, noting in the turn everything the chain says."""
    chat_model = _chat_model(choices.chat_model) if choices.chat_model else None
    top_n = max(settings.top_n, choices.sources)
    compressor: RerankingCompressor | None = None
    if choices.reranker:
        limits = {"top_n": top_n, "budget_ms": settings.rerank_budget_ms}
        compressor = _reranker(choices.reranker, settings.backend).model_copy(update=limits)
    retriever = build_retriever(
        index,
        compressor=compressor,
        k=max(choices.candidates, choices.sources),
        top_n=top_n,
        filter=metadata_filter(choices),
        collapse=choices.collapse,
    )
    answering = build_chain(
        retriever, embeddings=index.embeddings, chat_model=chat_model, max_sources=choices.sources, lang="ko"
    )
    for chunk in answering.stream({"question": turn.question, "history": history}):
        turn.searched = chunk.get("standalone_question", turn.searched)
        turn.documents = list(chunk.get("documents", turn.documents))
        turn.refused = chunk.get("refused", turn.refused)
        if piece := chunk.get("answer"):
            turn.answer += piece
            yield answer_markdown(piece, written=turn.written)


def _show_turn(turn: Turn, *, last: bool) -> None:
    """Show a turn of before: from what it holds, without searching again."""
    _show_question(turn)
    with st.chat_message("assistant"):
        _show_search(turn)
        if turn.answer:
            st.markdown(answer_markdown(turn.answer, written=turn.written))
        _show_outcome(turn, last=last)


def _show_question(turn: Turn) -> None:
    with st.chat_message("user"):
        st.markdown(escape_markdown(turn.question))


def _show_search(turn: Turn) -> None:
    """Say what was searched for, where it is not simply the question."""
    if turn.searched and turn.searched != normalise(turn.question):
        st.caption(f"찾은 질문: {escape_markdown(' '.join(turn.searched.split()))}")
    if turn.filtered:
        st.caption(f"찾은 범위: {escape_markdown(turn.filtered)}")


def _show_outcome(turn: Turn, *, last: bool) -> None:
    """Show what comes below an answer: what went wrong, and the sources."""
    if turn.problem:
        _show_error(turn.problem, turn.detail)
    elif not turn.finished:
        st.warning("답변이 도중에 멈췄습니다.")
    if last and not turn.finished:
        st.button("다시 묻기", on_click=_ask_again)
    cited = [document for document in turn.documents if document.metadata.get("cited") and not turn.refused]
    for document in cited:
        with st.container(border=True):
            st.html(source_html(document))
    rest = [document for document in turn.documents if document not in cited]
    if rest:
        kind = "가까운" if turn.refused else "함께 찾은" if cited else "찾은"
        with st.expander(f"{kind} 기사 {len(rest)}건"):
            st.html("".join(map(source_html, rest)))


if __name__ == "__main__":
    main()
