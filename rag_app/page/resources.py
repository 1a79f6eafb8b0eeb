"""What is opened or loaded once per process and shared by all visitors."""

from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st
from langchain_core.language_models import BaseChatModel

from rag_app.chat_models.loading import load_chat_model
from rag_app.compressors import RerankingCompressor, load_reranker
from rag_app.embeddings import ModelEmbeddings, load_embeddings
from rag_app.files.dates import iso_day
from rag_app.filters import matching_ids
from rag_app.index import Index, open_index
from rag_app.models import Backend, serving_backend
from rag_app.page.servers import ask_beside, server_index
from rag_app.server_index import ServerIndex
from rag_app.settings import load_settings
from rag_app.stores.address import Address


class Facets(NamedTuple):
    """What one can choose from in an index.

    Attributes:
        sections: In alphabetical order.
        outlets: Likewise.
        dates: Every day that an article is of, in order.
        fictional: Some of its articles are made up.
    """

    sections: list[str]
    outlets: list[str]
    dates: list[date]
    fictional: bool


NO_FACETS = Facets([], [], [], fictional=False)
"""Until a server has told."""


def current_index(path: Path | Address, backend: Backend | None) -> Index:
    """Return an index, as it was last committed; one on a server as `rag_app.page.servers.server_index` does.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is damaged.
    """
    if isinstance(path, Address):
        return server_index(path, backend)
    index = _opened_index(path, backend)
    try:
        index.refresh()
    except ValueError:  # damaged, or built anew with another model: opening it tells
        _opened_index.clear(path, backend)
        index = _opened_index(path, backend)
    return index


@st.cache_resource(show_spinner=False, max_entries=8)
def _opened_index(path: Path, backend: Backend | None) -> Index:
    return open_index(path, backend=backend)


def embedding_model(name: str, backend: Backend | None) -> ModelEmbeddings:
    """Return the embedding model of a name, to build an index with; `rag_app.loaded` keeps it while anybody does."""
    return load_embeddings(name, backend=serving_backend(name, backend))


@st.cache_resource(show_spinner=False, max_entries=2)
def reranker(name: str, backend: Backend | None) -> RerankingCompressor:
    """Return the reranker of a name; see `rag_app.compressors.load_reranker`."""
    return load_reranker(name, backend=serving_backend(name, backend, role="reranker"))


@st.cache_resource(show_spinner=False, max_entries=4)
def chat_model(name: str) -> BaseChatModel:
    """Return the chat model of a name; see `rag_app.chat_models.loading.load_chat_model`."""
    return load_chat_model(name, **load_settings().chat_options(name, by_visitor=True))


def version(index: Index) -> str:
    """Return what tells one version of an index from others; on a server, as far as its counts do."""
    manifest = index.snapshot.manifest
    return str(manifest.get("generation") or f"{manifest['documents']} {manifest['passages']}")


def facets(index: Index) -> Facets:
    """Return what one can choose from in an index, found once for each of its versions.

    Raises:
        NotYetError: It is on a server that has not told yet.
    """
    if isinstance(index, ServerIndex):
        return ask_beside(index, "facets", _find_facets)
    return _facets(index.snapshot.manifest, index)


@st.cache_resource(show_spinner=False, max_entries=8)
def _facets(manifest: dict[str, Any], _index: Index) -> Facets:
    return _find_facets(_index)  # its manifest names every file's checksum


def _find_facets(index: Index) -> Facets:
    store = index.snapshot.store
    days = {day for text in store.values("date") if (day := iso_day(text))}
    sections, outlets = ([name for name in store.values(key) if name] for key in ("section", "source"))
    return Facets(sections, outlets, sorted(days), bool(matching_ids(store.documents, {"fictional": True})))
