"""The indexes that a visitor can choose from, make, name and delete."""

import json
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import Any

import streamlit as st

from rag_app.corpus.index_folders import delete_index, new_index_folder, rename_index, size_on_disk
from rag_app.generations import MANIFEST, is_index
from rag_app.page.corpus.jobs import jobs
from rag_app.page.powers import shown_model
from rag_app.page.problems import ERRORS, explain, show_error
from rag_app.page.servers import last_manifest
from rag_app.page.views import CARRIED
from rag_app.page.words import say
from rag_app.rendering.text import escape_markdown
from rag_app.settings import Settings
from rag_app.stores.address import Address

_CHOICE = "index"  # also its name in the address
_OPENED = "index in the address looked up"
_NOTICE = "library notice"


def indexes_folder(settings: Settings) -> Path:
    """Return the folder of the indexes that the page builds, each a folder in it."""
    return settings.home / "indexes"


def known_indexes(settings: Settings) -> dict[str, Path | Address]:
    """Return the places of all indexes by their names: the one that was set first, then those that the page built."""
    try:
        built = sorted(path for path in indexes_folder(settings).glob("[!.]*") if is_index(path))
    except OSError:  # a home that cannot be read holds none that could be; who wants to keep something there is told
        built = []
    first: dict[str, Path | Address] = {settings.index.name.lstrip(".") or "index": settings.index}
    return first | {path.name: path for path in built if path.name not in first}


def choose_index(settings: Settings) -> Path | Address:
    """Let the visitor choose an index; the choice stands in the address, so that a reload keeps it."""
    indexes = known_indexes(settings)
    carried = st.session_state.pop(CARRIED, None)
    asked = st.query_params.get(_CHOICE)
    if len(indexes) == 1:
        _tell_if_unknown(asked, next(iter(indexes)), indexes)
        return settings.index
    if carried in indexes:
        st.session_state[_CHOICE] = carried
    name = st.selectbox(say("색인", "Index"), list(indexes), key=_CHOICE, bind="query-params")
    _tell_if_unknown(asked, name, indexes)
    if counts := _counts(indexes[name], settings):
        st.caption(say(f"기사 {counts['documents']:,}건", f"{counts['documents']:,} articles"))
    return indexes[name]


def _tell_if_unknown(asked: str | None, shown: str, indexes: Collection[str]) -> None:
    """Say, where the address names an index that is not there, which one is shown; once, as the page is opened."""
    opening = _OPENED not in st.session_state
    st.session_state[_OPENED] = True
    if opening and asked and asked not in indexes:
        names = map(escape_markdown, (asked, shown))
        words = say("‘{}’ 색인은 없습니다. 대신 ‘{}’ 색인을 엽니다.", "There is no index “{}”. “{}” is shown instead.")
        st.toast(words.format(*names), icon=":material/warning:", duration="infinite")


def new_folder(name: str, settings: Settings) -> Path:
    """Return where a new index of a name goes.

    Raises:
        ValueError: It is no name for an index.
        FileExistsError: There is one of that name, here or elsewhere.
    """
    folder = new_index_folder(indexes_folder(settings), name)
    if folder.name.casefold() in map(str.casefold, known_indexes(settings)):
        raise FileExistsError(f"There is an index called {folder.name!r} already. Choose another name.")
    return folder


def choose(path: Path | Address, settings: Settings) -> None:
    """Choose an index from now on; for the callback of a button, as its selector must not have been drawn yet."""
    names = {place: name for name, place in known_indexes(settings).items()}
    if path in names:
        st.session_state[_CHOICE] = names[path]


def show_indexes(current: Path | Address, settings: Settings) -> None:
    """List the indexes; open, rename or delete one."""
    if notice := st.session_state.pop(_NOTICE, None):
        st.success(notice)
    for name, path in known_indexes(settings).items():
        with st.container(border=True, key=f"index {name}"):
            _show_index(name, path, current, settings)
    st.caption(
        say(
            "새 색인은 ‘올리기’에서 만듭니다. 환경 변수 RAG_INDEX로 정한 색인은 이름을 바꾸거나 지우지 않습니다.",
            "New indexes are made under Upload. The index that RAG_INDEX names is neither renamed nor deleted here.",
        )
    )
    if isinstance(settings.index, Address):
        st.caption(
            say(
                "서버에 있는 색인은 다른 프로그램도 그 이름으로 찾습니다. 이름을 바꾸거나 지우려면 서버에서 하세요.",
                "Other programs look for an index on a server by its name. Rename or delete it on the server.",
            )
        )


def _show_index(name: str, path: Path | Address, current: Path | Address, settings: Settings) -> None:
    shown = f"**{escape_markdown(name)}**"
    if path == current:
        shown += say(" · 지금 쓰는 색인", " · in use")
    st.markdown(shown)
    if counts := _counts(path, settings):
        details = [
            say(f"기사 {counts['documents']:,}건", f"{counts['documents']:,} articles"),
            say(f"단락 {counts['passages']:,}개", f"{counts['passages']:,} passages"),
        ]
        if isinstance(path, Path):
            built = datetime.fromtimestamp((path / MANIFEST).stat().st_mtime).strftime("%Y-%m-%d %H:%M")
            details += [_size(path), built]
        else:
            details.append(say("서버에 있음", "on a server"))
        st.caption(" · ".join([*details, escape_markdown(shown_model(counts["model"], settings))]))
    elif isinstance(path, Address):
        st.caption(say("서버에 있음", "on a server"))
    else:
        st.caption(say("아직 비어 있습니다.", "Still empty."))
    busy = jobs().is_busy(path)
    with st.container(horizontal=True):
        if path != current:
            st.button(say("쓰기", "Use"), key=f"use {name}", on_click=choose, args=(path, settings))
        if not isinstance(path, Path) or path.parent != indexes_folder(settings):
            return
        with st.popover(say("이름 바꾸기", "Rename"), disabled=busy, key=f"renaming {name}"):
            key = f"new name of {name}"
            st.text_input(say("새 이름", "New name"), name, max_chars=60, key=key)
            st.button(
                say("바꾸기", "Rename"),
                key=f"rename {name}",
                on_click=_rename,
                args=(path, key, path == current, settings),
            )
        with st.popover(say("지우기", "Delete"), disabled=busy, key=f"deleting {name}"):
            st.markdown(
                say(
                    "색인을 폴더째 지웁니다. 되돌릴 수 없습니다. 확인하려면 이름을 그대로 적으세요.",
                    "Deletes the index with its folder. This cannot be undone. Type its name to confirm.",
                )
            )
            typed = st.text_input(say("색인 이름", "Name of the index"), key=f"typed name of {name}", placeholder=name)
            st.button(
                say("지우기", "Delete"),
                key=f"delete {name}",
                type="primary",
                disabled=typed.strip() != name,
                on_click=_delete,
                args=(path,),
            )
    if busy:
        st.caption(say("작업이 끝나면 바꾸거나 지울 수 있습니다.", "It can be changed once the job has ended."))
    if problem := st.session_state.pop(f"problem {name}", None):
        show_error(*problem)


def _rename(path: Path, key: str, chosen: bool, settings: Settings) -> None:
    def work() -> str:
        name = str(st.session_state[key])  # not of the last run: it may have been typed since
        if name.casefold() != path.name.casefold():
            new_folder(name, settings)
        new = rename_index(path, name)
        jobs().put_away(path)
        if chosen:
            choose(new, settings)
        return say(f"이름을 ‘{new.name}’(으)로 바꾸었습니다.", f"It is called “{new.name}” now.")

    _try(path, work)


def _delete(path: Path) -> None:
    def work() -> str:
        delete_index(path)
        jobs().put_away(path)
        return say(f"‘{path.name}’ 색인을 지웠습니다.", f"“{path.name}” is deleted.")

    _try(path, work)


def _try(path: Path, work: Callable[[], str]) -> None:
    if jobs().is_busy(path):
        return
    try:
        st.session_state[_NOTICE] = escape_markdown(work())
    except ERRORS as error:
        st.session_state[f"problem {path.name}"] = (explain(error), str(error))


def _counts(path: Path | Address, settings: Settings) -> dict[str, Any]:
    """Return what the manifest of an index says of its size and model; empty if there is none that can be read.

    A server is not asked: it says what it said last.
    """
    try:
        if isinstance(path, Address):
            manifest = last_manifest(path, settings.backend)
        else:
            manifest = json.loads((path / MANIFEST).read_bytes())
        return {
            **{key: int(manifest[key]) for key in ("documents", "passages")},
            "model": str(manifest["model"]["name"]),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _size(path: Path) -> str:
    return bytes_words(size_on_disk(path))


def bytes_words(size: int) -> str:
    """Return a number of bytes as one reads it: ``1.2 MB``."""
    if size < 1_000_000:
        return f"{size / 1000:,.0f} kB"
    return f"{size / 1e6:,.1f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB"
