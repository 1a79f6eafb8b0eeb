"""The indexes that a visitor can choose from."""

from pathlib import Path

import streamlit as st

from rag_app.generations import is_index
from rag_app.page.words import say
from rag_app.settings import Settings


def indexes_folder(settings: Settings) -> Path:
    """Return the folder of the indexes that the page builds, each a folder in it."""
    return settings.home / "indexes"


def known_indexes(settings: Settings) -> dict[str, Path]:
    """Return the folders of all indexes by their names: the one that was set first, then those that the page built."""
    built = sorted(path for path in indexes_folder(settings).glob("*") if is_index(path))
    first = {settings.index.name.lstrip(".") or "index": settings.index}
    return first | {path.name: path for path in built if path.name not in first}


def choose_index(settings: Settings) -> Path:
    """Let the visitor choose an index; the choice stands in the address, so that a reload keeps it."""
    indexes = known_indexes(settings)
    if len(indexes) == 1:
        return settings.index
    name = st.selectbox(say("색인", "Index"), list(indexes), key="index", bind="query-params", required=True)
    return indexes[name]
