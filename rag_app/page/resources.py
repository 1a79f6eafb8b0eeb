"""What is opened or loaded once per process and shared by all visitors."""

from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st
from langchain_core.language_models import BaseChatModel

from rag_app.chat_models import load_chat_model
from rag_app.compressors import RerankingCompressor, load_reranker
from rag_app.filters import matching_ids
from rag_app.index import Index, open_index
from rag_app.korean import analyzer
from rag_app.models import Backend, serving_backend
from rag_app.settings import load_settings


class Facets(NamedTuple):
    """What one can choose from in an index.

    Attributes:
        sections: In alphabetical order.
        dates: Every day that an article is of, in order.
        fictional: Some of its articles are made up.
    """

    sections: list[str]
    dates: list[date]
    fictional: bool


def current_index(path: Path, backend: Backend | None) -> Index:
    """Return an index, as it was last committed.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is damaged.
    """
    index = _opened_index(path, backend)
    try:
        index.refresh()
    except ValueError:  # damaged, or built anew with another model: opening it tells
        _opened_index.clear(path, backend)
        index = _opened_index(path, backend)
    return index


@st.cache_resource(show_spinner=False, max_entries=8)
def _opened_index(path: Path, backend: Backend | None) -> Index:
    analyzer().morphemes("준비")  # loads its dictionary now: the first question should not wait for it
    return open_index(path, backend=backend)


@st.cache_resource(show_spinner=False, max_entries=2)
def reranker(name: str, backend: Backend | None) -> RerankingCompressor:
    """Return the reranker of a name; see `rag_app.compressors.load_reranker`."""
    return load_reranker(name, backend=serving_backend(name, backend, role="reranker"))


@st.cache_resource(show_spinner=False, max_entries=4)
def chat_model(name: str) -> BaseChatModel:
    """Return the chat model of a name; see `rag_app.chat_models.load_chat_model`."""
    settings = load_settings()  # its key goes to the address it was set for, not to whatever a visitor types
    return load_chat_model(name, **(settings.chat_options(name) if name == settings.chat_model else {}))


def facets(index: Index) -> Facets:
    """Return what one can choose from in an index, found once for each of its versions."""
    return _facets(index.snapshot.manifest, index)


@st.cache_resource(show_spinner=False, max_entries=8)
def _facets(manifest: dict[str, Any], _index: Index) -> Facets:
    store = _index.snapshot.store  # its manifest names every file's checksum
    days = {day for text in store.values("date") if (day := _day(text))}
    sections = [section for section in store.values("section") if section]
    return Facets(sections, sorted(days), bool(matching_ids(store.documents, {"fictional": True})))


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
