"""Indexes on servers: opened, looked at and asked beside the page, so that one that is slow freezes nobody."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import streamlit as st

from rag_app.index import Index, open_index
from rag_app.models import Backend
from rag_app.page.corpus.jobs import jobs
from rag_app.page.kept import Kept
from rag_app.server_index import ServerIndex
from rag_app.stores.address import Address

LOOKED, TOLD = 10.0, 60.0
"""Seconds for which the number of passages of an index is as good as new, and what else it holds.

What this process has written is seen at once.
"""
T = TypeVar("T")


class NoIndexError(FileNotFoundError):
    """There is no index at an address."""


class _Looking:
    """Opens an index, then looks at it again, which is fewer calls; returns None where there is none."""

    def __init__(self, address: Address, backend: Backend | None) -> None:
        self._address = address
        self._backend = backend
        self._index: ServerIndex | None = None

    def __call__(self) -> ServerIndex | None:
        if self._index is not None:
            try:
                self._index.refresh()
            except (ValueError, FileNotFoundError):  # built anew with another model, or gone: opening it tells
                self._index = None
        if self._index is None:
            try:
                self._index = open_index(self._address, backend=self._backend)
            except FileNotFoundError:
                if _exists(self._address):
                    raise  # it is its model that is not there
        return self._index


def _exists(address: Address) -> bool:
    from rag_app.stores.servers import server_store

    try:
        server_store(address).manifest()
    except FileNotFoundError:
        return False
    return True


@st.cache_resource(show_spinner=False, max_entries=8)
def opening(address: Address, backend: Backend | None) -> Kept[ServerIndex | None]:
    """Return what opens an index and looks at it again."""
    return Kept(_Looking(address, backend), LOOKED)


def server_index(address: Address, backend: Backend | None) -> Index:
    """Return an index as it was a few seconds ago; what this process wrote since is in it.

    Raises:
        NotYetError: The server has not answered yet.
        NoIndexError: There is none.
        OSError: The server does not answer, or lets nobody in.
        ValueError: It was made by another version.
        ImportError: What its address needs is not installed.
    """
    index = opening(address, backend).get(since=jobs().written(address))
    if index is None:
        raise NoIndexError(f"There is no index at {address}")
    return index


def last_manifest(address: Address, backend: Backend | None) -> dict[str, Any]:
    """Return what an index said of itself when it was last looked at, without asking; empty if it never was."""
    index = opening(address, backend).last
    return {} if index is None else index.snapshot.manifest


def ask_anew(address: Address, backend: Backend | None) -> None:
    """Let all that a server told, or failed to tell, be asked anew, since somebody wants to try again."""
    jobs().note_write(address)  # nothing from before counts
    opening(address, backend).again()


def ask_beside(index: Index, what: str, ask: Callable[[Index], T]) -> T:
    """Return what a server tells of an index, at most about a minute old, and with all that this process wrote.

    Args:
        index: On a server.
        what: Names the question: the same of the same index is asked once for all visitors.
        ask: Asks it; must not touch the page.

    Raises:
        NotYetError: It has not answered yet.
        Exception: Whatever asking raised.
    """
    kept: Kept[T] = _asking(id(index), what, partial(ask, index))  # holds it, so that no other gets its number
    return kept.get(since=jobs().written(index.path))


@st.cache_resource(show_spinner=False, max_entries=200)
def _asking(index: int, what: str, _ask: Callable[[], Any]) -> Kept[Any]:
    return Kept(_ask, TOLD)
