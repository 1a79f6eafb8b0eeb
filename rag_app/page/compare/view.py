"""Several systems answer one question side by side: what the tutorial measures, seen on one question."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePath
from typing import TypeVar

import streamlit as st

from rag_app.explaining.comparison import KINDS, RERANKED
from rag_app.folder_index import FORMATS
from rag_app.generations import read_manifest
from rag_app.index import Index
from rag_app.korean import normalise
from rag_app.page import resources
from rag_app.page.compare.comparing import Comparing, System, compare
from rag_app.page.compare.results import AGAIN, measure_again, show_comparison
from rag_app.page.library import known_indexes
from rag_app.page.limits import QUESTION_CHARS, check_question
from rag_app.page.powers import are_guests
from rag_app.page.problems import ERRORS, show_explained
from rag_app.page.servers import last_manifest
from rag_app.page.suggestions import suggestions
from rag_app.page.system_names import system_name, system_words
from rag_app.page.views import HANDED_OVER
from rag_app.page.waiting import when_told
from rag_app.page.words import say
from rag_app.rendering.text import escape_markdown
from rag_app.settings import Settings, name_or_none
from rag_app.stores.address import Address

MOST = 3
"""How many systems are compared at once: more columns could not be read."""
T = TypeVar("T")
_QUICK = 0.8  # seconds that a comparison is waited for before its progress is shown
_NOW, _TEXT = "compare now", "compare text"


def show_compare(index: Index, settings: Settings) -> None:
    """Ask for a question and systems, and show what these find."""
    st.markdown(
        say(
            "한 질문을 여러 방식으로 찾아 순위와 걸린 시간을 나란히 봅니다. "
            "어느 단계가 기사를 끌어올렸는지, 놓쳤는지 한눈에 알 수 있습니다.",
            "One question, searched in several ways side by side: which stage lifts an article, which loses it, and "
            "what each costs.",
        )
    )
    indexes = known_indexes(settings)
    current = next((name for name, path in indexes.items() if path == index.path), index.path.name)
    _take_question()
    question, systems, reranker = _ask(current, indexes, settings)
    if question is None:
        _suggest(index)
        return
    if len(systems) < 2:
        st.info(say("비교할 방식을 둘이나 셋 고르세요.", "Choose two or three systems to compare."))
        return
    try:
        check_question(question)
        st.query_params["q"] = question
        opened = [(s, index if s.index_name == current else _open(indexes[s.index_name], settings)) for s in systems]
        number = st.session_state.get(AGAIN, 0)
        comparing = compare(question, opened, reranker, settings, number=number)
        if not comparing.finished(_QUICK):
            _wait(comparing)
            return
        comparison = comparing.result()
    except ERRORS as error:
        show_explained(error)
        st.button(say("다시 해 보기", "Try again"), on_click=measure_again, icon=":material/refresh:")
        return
    names = [_short_name(system, current) for system in systems]
    show_comparison(question, comparison, opened, names, reranker, settings)


def _take_question() -> None:
    """Take the question that another view wants compared, or the one in the address."""
    given = st.session_state.pop(HANDED_OVER["compare"], None)
    if given is None and _NOW not in st.session_state:
        given = st.query_params.get("q", "")[:QUESTION_CHARS]
    if given is not None:
        st.session_state[_NOW] = st.session_state[_TEXT] = normalise(given)[:QUESTION_CHARS] or None
    st.session_state.setdefault(_TEXT, st.session_state.get(_NOW))


def _ask(
    current: str, indexes: Mapping[str, Path | Address], settings: Settings
) -> tuple[str | None, list[System], str | None]:
    """Show the form; return the question, the systems and the reranker's name that were last sent."""
    models = _models(tuple((name, path) for name, path in indexes.items() if isinstance(path, Path)))
    models |= _models_on_servers(indexes, settings)
    choices = [System(name, kind) for name in (current, *(n for n in indexes if n != current)) for kind in KINDS]
    usual = [System(current, kind) for kind in (["base", "hybrid", RERANKED] if settings.reranker else [*KINDS][:3])]
    which, by = f"compare systems {current}", "compare reranker"
    with st.form("compare", border=True):
        st.text_input(
            say("질문", "Question"),
            key=_TEXT,
            max_chars=QUESTION_CHARS,
            placeholder=say("예: 누리호는 언제 발사됐나요?", "For example: 누리호는 언제 발사됐나요?"),
        )
        _restore(which, [system for system in _kept(which, usual) if system in choices])
        chosen = st.multiselect(
            say("비교할 방식 (둘이나 셋, 왼쪽부터)", "Systems (two or three, from the left)"),
            choices,
            key=which,
            format_func=lambda system: _long_name(system, current, models),
            max_selections=MOST,
            placeholder=say("방식 고르기", "Choose systems"),
        )
        reranker = settings.reranker or ""
        if not are_guests(settings):
            with st.expander(say("재순위 모델", "Reranker")):
                _restore(by, _kept(by, reranker))
                reranker = st.text_input(
                    say("재순위 모델 (embedded, 폴더 또는 Hub 이름)", "Reranker (embedded, a folder or a Hub name)"),
                    key=by,
                )
        if st.form_submit_button(say("비교하기", "Compare"), type="primary", icon=":material/compare_arrows:"):
            st.session_state[_NOW] = normalise(st.session_state[_TEXT] or "") or None
            if st.session_state[_NOW] is None:
                st.warning(say("질문을 적어 주세요.", "Type a question."))
    st.session_state["compare kept"] = {**st.session_state.get("compare kept", {}), which: chosen, by: reranker}
    return st.session_state.get(_NOW), chosen, name_or_none(reranker)


def _kept(key: str, usual: T) -> T:
    """Return what a widget was set to: Streamlit forgets that when another view is shown."""
    kept: dict[str, T] = st.session_state.get("compare kept", {})
    return kept.get(key, usual)


def _restore(key: str, value: object) -> None:
    if key not in st.session_state:
        st.session_state[key] = value


@st.cache_data(show_spinner=False, max_entries=8, ttl=30)
def _models(indexes: tuple[tuple[str, Path], ...]) -> dict[str, str]:
    """Return the names of the models that indexes were built with; those that cannot be read have none."""
    names = {}
    for name, path in indexes:
        try:
            names[name] = PurePath(str(read_manifest(path, format=FORMATS)["model"]["name"])).name
        except ERRORS:
            continue  # damaged: it says so when it is chosen
    return names


def _models_on_servers(indexes: Mapping[str, Path | Address], settings: Settings) -> dict[str, str]:
    """Return the same of indexes on servers, as far as these have told: they are not asked."""
    on_servers = {name: place for name, place in indexes.items() if isinstance(place, Address)}
    told = {name: last_manifest(place, settings.backend) for name, place in on_servers.items()}
    return {name: PurePath(str(manifest["model"]["name"])).name for name, manifest in told.items() if manifest}


def _long_name(system: System, current: str, models: Mapping[str, str]) -> str:
    model = models.get(system.index_name, "?")
    parts = [system_name(system.kind)]
    if system.index_name != current:
        parts.append(system.index_name)
    if system.kind != "lexical" and (system.index_name != current or model != "embedded"):
        parts.append(model)
    return " · ".join(parts)


def _short_name(system: System, current: str) -> str:
    name = system_words(system.kind)
    return name if system.index_name == current else f"{name} · {system.index_name}"


def _open(path: Path | Address, settings: Settings) -> Index:
    with st.spinner(say("색인을 여는 중입니다…", "Opening the index…")):
        return resources.current_index(path, settings.backend)


def _suggest(index: Index) -> None:
    finding = say("물어볼 만한 것을 찾는 중입니다…", "Looking for what one could ask…")
    questions = when_told(partial(suggestions, index, close=False), finding)
    if not questions:
        st.caption(say("질문을 적고 비교하기를 누르세요.", "Type a question and press Compare."))
        return
    st.markdown(say("이런 질문으로 시작해 보세요.", "Questions to begin with:"))
    for question in questions:
        st.button(escape_markdown(question), on_click=_begin, args=(question,), width="stretch")


def _begin(question: str) -> None:
    st.session_state[_NOW] = st.session_state[_TEXT] = question


@st.fragment(run_every=0.5)
def _wait(comparing: Comparing) -> None:
    """Show how far a comparison is, until it ends."""
    if comparing.finished():
        st.rerun()
    if comparing.asking:
        st.progress(comparing.share, say("방식을 번갈아 재는 중입니다…", "Asking the systems by turns…"))
    else:
        st.progress(0.0, say("모델을 불러오는 중입니다…", "Loading the models…"))
    st.button(
        say("그만 재고 결과 보기", "Stop measuring"),
        on_click=comparing.stop,
        help=say("찾은 결과는 그대로 보여 줍니다.", "What has been found is shown."),
    )
