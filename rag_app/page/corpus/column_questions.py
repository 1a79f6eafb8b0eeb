"""Which columns of an uploaded table hold what, asked where their names do not tell."""

from collections.abc import Sequence
from functools import partial
from pathlib import PurePath

import streamlit as st
from streamlit.typing import UploadedFile

from rag_app.files.column_choice import HEAD, UnclearColumns, unclear_columns
from rag_app.files.tables import Columns
from rag_app.page.words import say
from rag_app.rendering.text import escape_markdown


def choose_columns(uploads: Sequence[UploadedFile]) -> tuple[dict[str, Columns], frozenset[str]]:
    """Ask for the columns of tables whose text is not found by a usual name; of tables of the same columns once.

    Returns:
        The columns that were chosen, by the file's name, and the names of those that are to be left out.
    """
    groups: dict[UnclearColumns, list[str]] = {}
    for upload in uploads:
        if unclear := _unclear(upload.file_id, PurePath(upload.name).suffix.lower(), upload):
            groups.setdefault(unclear, []).append(upload.name)
    columns: dict[str, Columns] = {}
    left_out: set[str] = set()
    for unclear, files in groups.items():
        given = _ask_columns(unclear, files)
        if given is None:
            left_out.update(files)
        else:
            columns.update(dict.fromkeys(files, given))
    return columns, frozenset(left_out)


@st.cache_data(show_spinner=False, max_entries=1000)
def _unclear(file_id: str, suffix: str, _upload: UploadedFile) -> UnclearColumns | None:
    whole = suffix == ".json"
    head = _upload.getvalue() if whole and _upload.size <= HEAD else bytes(_upload.getbuffer()[:HEAD])
    return unclear_columns(head, suffix, whole=len(head) == _upload.size)


def _ask_columns(unclear: UnclearColumns, files: Sequence[str]) -> Columns | None:
    """Return which columns hold what; None if these files are to be left out."""
    nowhere = ""
    with st.container(border=True):
        shown = escape_markdown(", ".join(files[:3])) + (f" (+{len(files) - 3})" if len(files) > 3 else "")
        st.markdown(
            say(
                f"**{shown}**: 본문이 어느 열인지 이름으로 알 수 없습니다. 맞는지 확인하고 고르세요.",
                f"**{shown}**: which column holds the text cannot be told by its name. Check and choose.",
            )
        )
        labels = {
            "text": say("본문 열", "Column of the text"),
            "title": say("제목 열", "Column of the title"),
            "date": say("날짜 열", "Column of the date"),
            "section": say("분야 열", "Column of the section"),
            "source": say("매체 열", "Column of the outlet"),
        }
        found = {}
        with st.container(horizontal=True):
            for field, label in labels.items():
                otherwise = (
                    say("이 표는 빼기", "Leave this table out") if field == "text" else say("알아서", "As found")
                )
                found[field] = st.selectbox(
                    label,
                    [nowhere, *unclear.names],
                    index=1 + unclear.names.index(unclear.longest) if field == "text" else 0,
                    format_func=partial(_or_otherwise, otherwise=otherwise),
                    key=f"column {field} {unclear.names}",
                    width=200,
                )
    if not found["text"]:
        return None
    return Columns(**{field: name or None for field, name in found.items()})


def _or_otherwise(name: str, otherwise: str) -> str:
    return name or otherwise
