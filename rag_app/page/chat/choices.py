"""What a visitor sets: how the answer is made, where it is searched for, what reads again what was found."""

from pathlib import Path
from typing import NamedTuple

import streamlit as st

from rag_app.index import Index
from rag_app.page.chat.scope import Scope, choose_scope
from rag_app.page.chat_model.choice import choose_chat_model
from rag_app.page.powers import are_guests, shown_model, shown_path
from rag_app.page.resources import Facets
from rag_app.page.words import say
from rag_app.rendering.text import escape_markdown
from rag_app.settings import Settings, name_or_none

MAX_SOURCES, MAX_CANDIDATES = 20, 200


class Choices(NamedTuple):
    """What the sidebar is set to.

    Attributes:
        sources: How many articles an answer is drawn from.
        candidates: How many passages the reranker reads.
        reranker: Its name; None for the search's own order.
        scope: Which articles are searched.
        chat_model: Its name; None quotes the articles.
        collapse: Whether one article stands for those that nearly repeat it.
    """

    sources: int
    candidates: int
    reranker: str | None
    scope: Scope
    chat_model: str | None
    collapse: bool


def choose(index: Index, facets: Facets, settings: Settings) -> Choices:
    """Show the settings of a search and its answer; return what they are set to."""
    st.subheader(say("답변", "Answer"))
    sources = st.slider(
        say("답에 쓸 기사 수", "Articles per answer"),
        *(1, MAX_SOURCES),
        min(max(settings.sources, 1), MAX_SOURCES),
        help=say(
            "찾은 기사 가운데 위에서 몇 건까지 답의 근거로 쓸지 정합니다.",
            "How many of the articles found, from the top, an answer may rest on.",
        ),
    )
    chat_model = choose_chat_model(settings)
    st.subheader(say("찾을 범위", "Where to search"))
    scope = choose_scope(index, facets)
    collapse = st.toggle(
        say("거의 같은 기사 묶기", "Group near-identical articles"),
        settings.collapse,
        help=say(
            "여러 매체에 실린 같은 통신 기사 등을 하나로 묶고, 몇 건이 더 있는지 보여 줍니다.",
            "Shows one of several articles that nearly repeat each other, and how many more there are.",
        ),
    )
    st.subheader(say("재순위", "Reranking"))
    reranker, candidates = _reranking(settings)
    manifest = index.snapshot.manifest
    st.caption(
        say(
            f"기사 {manifest['documents']:,}건 · 단락 {manifest['passages']:,}개  \n",
            f"{manifest['documents']:,} articles · {manifest['passages']:,} passages  \n",
        )
        + say("임베딩", "Embeddings")
        + f" {escape_markdown(shown_model(str(manifest['model']['name']), settings))}  \n"
        + (say("위치", "Folder") if isinstance(index.path, Path) else say("위치", "Server"))
        + f" {escape_markdown(shown_path(index.path, settings))}"
    )
    return Choices(sources, candidates, reranker, scope, chat_model, collapse)


def _reranking(settings: Settings) -> tuple[str | None, int]:
    """Ask for the reranker; return its name, None for no reranking, and how many passages it reads."""
    name = settings.reranker or ""
    if are_guests(settings):
        st.caption(say("재순위 모델", "Reranker") + f": {escape_markdown(shown_model(name or '-', settings))}")
    else:
        name = _ask_reranker(name)
    name = name_or_none(name) or ""
    # Its key changes with the name, so that naming a model switches it on.
    on = st.toggle(say("재순위 쓰기", "Rerank"), value=bool(name), disabled=not name, key=f"rerank {name}")
    if not name:
        st.caption(
            say(
                "재순위 모델을 적으면 켤 수 있습니다. 지금은 낱말과 뜻으로 찾은 순서를 그대로 씁니다.",
                "Name a reranker to switch it on. Now the order of the search by words and meaning stays.",
            )
        )
    candidates = st.slider(
        say("다시 볼 후보 수 (k)", "Passages to reread (k)"),
        *(1, MAX_CANDIDATES),
        min(max(settings.k, 1), MAX_CANDIDATES),
        disabled=not on,
        help=say(
            "찾은 단락 몇 개를 재순위 모델에 넘길지 정합니다. 많을수록 느립니다.",
            "How many of the passages found the reranker reads. More take longer.",
        ),
    )
    return (name if on else None), candidates


def _ask_reranker(default: str) -> str:
    return st.text_input(
        say("재순위 모델", "Reranker"),
        default,
        placeholder=say("embedded, 폴더 또는 Hub 이름", "embedded, a folder or a Hub name"),
        help=say(
            "질문과 단락을 함께 읽어 순서를 다시 매기는 모델입니다. `embedded`는 함께 들어 있는 작은 모델이고, "
            "cross-encoder의 폴더나 Hub 이름도 됩니다. RAG_RERANKER로도 정합니다.",
            "Reads question and passage together and orders anew. `embedded` is the small model that comes with the "
            "package; a cross-encoder's folder or Hub name works too. RAG_RERANKER sets it as well.",
        ),
    )
