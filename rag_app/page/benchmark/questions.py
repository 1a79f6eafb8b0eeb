"""The questions that a system got wrong: what should have come, what came, and opening them in another view."""

from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from rag_app.benchmark.order import index_label
from rag_app.benchmark.passages import PassageReader
from rag_app.benchmark.questions import Asked, AskedQuestions, Found, read_questions, went_wrong
from rag_app.benchmark.runs import Run
from rag_app.corpus.catalogue import holds_articles
from rag_app.corpus.index_folders import new_index_folder
from rag_app.corpus.indexing_job import IndexingJob, SourceFile
from rag_app.corpus.indexing_writes import building
from rag_app.data.questions import all_passages
from rag_app.data.sources import NAMED
from rag_app.folder_index import FORMATS
from rag_app.generations import is_index, read_manifest
from rag_app.index import Index
from rag_app.page.corpus.jobs import jobs, show_job
from rag_app.page.library import indexes_folder, known_indexes
from rag_app.page.problems import ERRORS, show_error, show_explained
from rag_app.page.resources import current_index, embedding_model
from rag_app.page.system_names import system_name, system_words
from rag_app.page.views import hand_over, open_view
from rag_app.page.words import rank_words, say
from rag_app.rendering.text import shortened
from rag_app.server_index import ServerIndex
from rag_app.settings import Settings
from rag_app.stores.address import Address

PAGE = 10
"""How many questions are shown at first, and how many more at a time."""
_EXCERPT = 120  # characters


def show_questions(run: Run, index: Index, settings: Settings) -> None:
    """Show the questions that went wrong, by system."""
    st.subheader(say("틀린 질문", "Questions that went wrong"), anchor=False)
    try:
        protocols = _questions(run, (run.report / "results.json").stat().st_mtime_ns)
    except FileNotFoundError:
        st.info(say("이 보고서에는 질문별 기록이 없습니다. 다시 재면 생깁니다.", "This report keeps no questions."))
        return
    with st.container(horizontal=True):
        protocol = _choose_protocol(list(protocols), run)
        asked = protocols[protocol]
        systems = list(asked.questions[0].ranks)
        system = st.selectbox(
            say("방식", "System"),
            systems,
            index=len(systems) - 1,
            format_func=system_name,
            key=f"wrong system {run.name} {protocol}",
        )
        wrong = st.segmented_control(
            say("무엇이 틀렸나", "What went wrong"),
            ["missed", "not first"],
            default="missed",
            format_func=lambda kind: (
                say(f"{asked.shown}위 안에 없음", f"Not in the first {asked.shown}")
                if kind == "missed"
                else say("찾았지만 1위가 아님", "Found, but not first")
            ),
            required=True,
            key=f"wrong kind {run.name} {protocol}",
        )
    found = went_wrong(asked, system, "missed" if wrong == "missed" else "not first")
    _tell_how_many(found, asked)
    holder = _offer_index(run, index, settings) if found else None
    shown = st.session_state.setdefault(f"shown {run.name} {protocol} {system} {wrong}", PAGE)
    for question in found[:shown]:
        _show_question(question, system, protocol, holder)
    if len(found) > shown:
        st.button(
            say(f"더 보기 ({len(found) - shown:,}개 남음)", f"Show more ({len(found) - shown:,} left)"),
            on_click=_show_more,
            args=(f"shown {run.name} {protocol} {system} {wrong}",),
        )


def _show_more(key: str) -> None:
    st.session_state[key] += PAGE


@st.cache_resource(show_spinner=False, max_entries=4)
def _questions(run: Run, written: int) -> dict[str, AskedQuestions]:
    return read_questions(run.report)


def _choose_protocol(names: Sequence[str], run: Run) -> str:
    if len(names) == 1:
        return names[0]
    return st.selectbox(say("재는 방식", "Protocol"), names, key=f"wrong protocol {run.name}")


def _tell_how_many(found: Sequence[Asked], asked: AskedQuestions) -> None:
    if len(asked.questions) < asked.total:
        st.caption(
            say(
                f"질문 {asked.total:,}개 중 가장 어려운 {len(asked.questions):,}개에서 골랐습니다: {len(found):,}개. "
                "모든 질문의 결과는 보고서 폴더의 runs에 있습니다.",
                f"{len(found):,} among the {len(asked.questions):,} hardest of {asked.total:,} questions. What was "
                "found for all of them is in the report's folder under runs.",
            )
        )
    elif found:
        st.caption(say(f"질문 {asked.total:,}개 중 {len(found):,}개", f"{len(found):,} of {asked.total:,} questions"))
    else:
        st.success(say("그런 질문이 없습니다.", "There is no such question."))


def _show_question(question: Asked, system: str, protocol: str, holder: str | None) -> None:
    with st.container(border=True):
        st.html(question_html(question, system))
        with st.container(horizontal=True):
            for view, label, icon in (
                ("", say("채팅에서 열기", "Open in the chat"), "chat"),
                ("compare", say("비교에서 열기", "Open in compare"), "compare_arrows"),
            ):
                if st.button(
                    label,
                    key=f"open {icon} {protocol} {question.id}",
                    type="tertiary",
                    icon=f":material/{icon}:",
                    on_click=hand_over,
                    args=(view, question.text, holder),
                    disabled=holder is None,  # without an index of these articles the answer would be about others
                ):
                    open_view(view)


def question_html(question: Asked, system: str) -> str:
    """Return a question, what answers it, what came instead, and its rank in each system, as HTML."""
    came = next((found for found in question.found[system] if not found.right), None)
    rank = question.ranks[system]
    ranks = "".join(
        f'<span class="place{" here" if name == system else ""}">{escape(system_words(name))} '
        f"<b>{_rank_words(place)}</b></span>"
        for name, place in question.ranks.items()
    )
    answers = f" · {escape(', '.join(question.answers))}" if question.answers else ""
    return (
        f'<div class="asked" lang="ko"><div class="heading">{escape(question.text)}</div>'
        f'<div class="meta">{say("답", "Answer")}{answers or " · –"}</div><dl>'
        + "".join(_passage_html(say("맞는 기사", "Right"), right, _rank_words(rank)) for right in question.right)
        + (_passage_html(say("먼저 나온 기사", "Came first"), came, _rank_words(1)) if came and rank != 1 else "")
        + f'</dl><div class="places">{ranks}</div></div>'
    )


def _passage_html(name: str, passage: Found, rank: str) -> str:
    title = f"<b>{escape(passage.title)}</b> " if passage.title else ""
    return f"<div><dt>{escape(name)} · {rank}</dt><dd>{title}{escape(shortened(passage.text, _EXCERPT))}</dd></div>"


def _rank_words(rank: int) -> str:
    return rank_words(rank) if rank else say("못 찾음", "not found")


def _offer_index(run: Run, index: Index, settings: Settings) -> str | None:
    """Return the name of an index that holds the articles of a benchmark; offer to build one if there is none."""
    folder = _corpus_folder(run, settings)
    try:
        with st.spinner(say("자료를 읽는 중입니다…", "Reading the data…")):
            ids = _corpus_ids(run.order.data, _changed(run.order.data))
    except ERRORS as error:
        show_error(
            say(
                "이 자료를 더는 읽지 못해, 질문을 채팅이나 비교에서 열 수 없습니다.",
                "These data can no longer be read, so that no question can be opened in another view.",
            ),
            run.without_paths(str(error)),
        )
        return None
    try:
        if holder := _holder(ids, index, settings):
            return holder
    except ERRORS as error:
        show_explained(error)
        return None
    st.info(
        say(
            f"질문을 채팅이나 비교에서 열려면 이 자료의 기사 {len(ids):,}건이 든 색인이 있어야 합니다.",
            f"To open a question in another view there has to be an index of these {len(ids):,} passages.",
        )
    )
    show_job(folder)
    if not jobs().is_busy(folder) and st.button(
        say("이 자료로 색인 만들기", "Build an index from these data"), icon=":material/database:"
    ):
        _build(run, folder, settings)
    return None


def _build(run: Run, folder: Path, settings: Settings) -> None:
    load = partial(embedding_model, settings.model, settings.backend)
    source = SourceFile(Path(run.order.data), run.order.name)
    try:
        jobs().start(IndexingJob(folder, [source], building(folder, load), open_reader=PassageReader))
    except ERRORS as error:
        show_explained(error)
        return
    st.rerun()


def _corpus_folder(run: Run, settings: Settings) -> Path:
    """Return where an index of these articles is built: named for them."""
    name = index_label(Path(run.order.name).stem)
    folder = indexes_folder(settings)
    busy = folder / name
    if jobs().of(busy) is not None:
        return busy
    number = 1
    while True:
        try:
            return new_index_folder(folder, name if number == 1 else f"{name}-{number}")
        except FileExistsError:
            number += 1


def _holder(ids: frozenset[str], index: Index, settings: Settings) -> str | None:
    """Return the name of an index that holds these documents: the current one, or one of exactly as many."""
    for name, path in known_indexes(settings).items():
        if _same(path, index.path) and _holds(index.snapshot.manifest, ids, index):
            return name
    for name, path in known_indexes(settings).items():
        if (
            isinstance(path, Path)
            and is_index(path)
            and read_manifest(path, format=FORMATS).get("documents") == len(ids)
        ):
            other = current_index(path, settings.backend)
            if _holds(other.snapshot.manifest, ids, other):
                return name
    return None


def _same(path: Path | Address, other: Path | Address) -> bool:
    return path == other or (isinstance(path, Path) and isinstance(other, Path) and path.absolute() == other.absolute())


@st.cache_resource(show_spinner=False, max_entries=20, ttl=60)
def _holds(manifest: dict[str, Any], ids: frozenset[str], _index: Index) -> bool:
    if isinstance(_index, ServerIndex):
        return len(ids) <= manifest["documents"] and holds_articles(_index.snapshot.store, ids)
    return ids <= _index.document_ids()


@st.cache_resource(show_spinner=False, max_entries=4)
def _corpus_ids(data: str, changed: float) -> frozenset[str]:
    return frozenset(passage.metadata["doc_id"] for passage in all_passages(data))


def _changed(data: str) -> float:
    """Return when a file or folder was last changed; 0 for what goes by a name."""
    return 0.0 if data in NAMED else Path(data).stat().st_mtime
