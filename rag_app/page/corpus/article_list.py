"""The articles of an index: searched, opened, deleted."""

from collections.abc import Sequence
from functools import partial
from math import ceil
from typing import Any, NamedTuple

import streamlit as st

from rag_app.corpus.catalogue import ArticleRow, find_articles, list_articles
from rag_app.corpus.overview import Overview, summarise
from rag_app.index import Index
from rag_app.page.article import open_article
from rag_app.page.corpus.jobs import jobs
from rag_app.page.problems import ERRORS, show_explained
from rag_app.page.resources import version
from rag_app.page.servers import ask_beside
from rag_app.page.waiting import when_told
from rag_app.page.words import say
from rag_app.rendering.text import escape_markdown
from rag_app.server_index import ServerIndex

PAGE = 50
LISTED = 100_000
"""The most passages of an index on a server that are all read for the list of its articles and their overview."""
NAMED = 10
"""How many titles a question names before it deletes them."""
_FIRST = "articles page"


class Catalogue(NamedTuple):
    """The articles of an index, and what they are in figures."""

    rows: list[ArticleRow]
    overview: Overview


def catalogue(index: Index) -> Catalogue:
    """Return the articles of an index, listed once for each of its versions.

    Raises:
        NotYetError: It is on a server that has not told yet.
    """
    if isinstance(index, ServerIndex):
        return ask_beside(index, "articles", _list)
    return _catalogue(index.snapshot.manifest, index)


@st.cache_resource(show_spinner=False, max_entries=4)
def _catalogue(manifest: dict[str, Any], _index: Index) -> Catalogue:
    with st.spinner(say("기사 목록을 만드는 중입니다…", "Listing the articles…")):
        return _list(_index)


def _list(index: Index) -> Catalogue:
    rows = list_articles(index.snapshot.store)
    return Catalogue(rows, summarise(rows))


def catalogue_when_told(index: Index) -> Catalogue | None:
    """Return the articles of an index; None where there is none yet, or would be too many, having said so."""
    passages = index.snapshot.manifest["passages"]
    if isinstance(index, ServerIndex) and passages > LISTED:
        st.info(
            say(
                f"이 색인에는 단락이 {passages:,}개 있습니다. 서버에 있는 색인은 단락 {LISTED:,}개까지만 모두 읽어 "
                "보여 줍니다. 기사는 ‘대화’에서 질문으로 찾아 읽고, 지울 때는 `rag-app delete`를 쓰세요.",
                f"This index has {passages:,} passages. Of an index on a server all are read and shown up to "
                f"{LISTED:,}. Find articles by questions in Chat, and delete them with `rag-app delete`.",
            )
        )
        return None
    return when_told(partial(catalogue, index), say("기사 목록을 만드는 중입니다…", "Listing the articles…"))


def _found(index: Index, words: str, rows: list[ArticleRow]) -> list[ArticleRow]:
    if isinstance(index, ServerIndex):  # its counts tell no versions apart
        return find_articles(rows, words)
    return _found_in_version(index.snapshot.manifest, words, rows)


@st.cache_resource(show_spinner=False, max_entries=8)
def _found_in_version(manifest: dict[str, Any], words: str, _rows: list[ArticleRow]) -> list[ArticleRow]:
    return find_articles(_rows, words)


def title_of(row: ArticleRow) -> str:
    """Return what an article is called: its title, else its file, else that it has none."""
    return row.title or row.file or say("제목 없음", "Untitled")


def show_articles(index: Index) -> None:
    """Show the articles in pages, newest first."""
    if notice := st.session_state.get("articles notice"):
        st.success(notice)
    if (listed := catalogue_when_told(index)) is None:
        return
    st.session_state.pop("articles notice", None)
    rows = listed.rows
    if not rows:
        st.info(say("이 색인에는 기사가 없습니다. ‘올리기’에서 넣으세요.", "There are no articles. Upload some."))
        return
    words = st.text_input(
        say("기사 찾기", "Find articles"),
        placeholder=say("제목, 매체, 분야, 날짜, 파일 이름", "Title, outlet, section, date, file"),
        key="articles search",
        persist_state="session",
        on_change=_to_first_page,
    )
    found = _found(index, words, rows)
    if not found:
        st.info(say("맞는 기사가 없습니다. 낱말을 줄여 보세요.", "No article fits. Try fewer words."))
        return
    pages = ceil(len(found) / PAGE)
    page = min(int(st.session_state.get(_FIRST, 1)), pages)
    shown = found[(page - 1) * PAGE : page * PAGE]
    st.caption(
        say(
            f"{len(found):,}건 가운데 {(page - 1) * PAGE + 1:,}~{(page - 1) * PAGE + len(shown):,}째",
            f"{(page - 1) * PAGE + 1:,} to {(page - 1) * PAGE + len(shown):,} of {len(found):,}",
        )
    )
    chosen = _choose_rows(index, shown, f"{words} {page}")
    if pages > 1:
        st.pagination(pages, key=_FIRST, persist_state="session")
    _show_actions(index, chosen, found if words.strip() else [])


def _to_first_page() -> None:
    st.session_state[_FIRST] = 1


def _choose_rows(index: Index, rows: Sequence[ArticleRow], place: str) -> list[ArticleRow]:
    """Show some articles as a table; return those that are ticked."""
    names = {
        "title": say("제목", "Title"),
        "source": say("매체", "Outlet"),
        "date": say("날짜", "Date"),
        "section": say("분야", "Section"),
        "characters": say("글자", "Characters"),
        "passages": say("단락", "Passages"),
        "file": say("파일", "File"),
    }
    columns = {
        name: [title_of(row) if key == "title" else getattr(row, key) for row in rows] for key, name in names.items()
    }
    columns = {name: values for name, values in columns.items() if any(values)}
    state = st.dataframe(
        columns,
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        # A table of its own for each version and page: what was ticked must not stand for other articles.
        key=f"articles {index.path.name} {version(index)} {place} {hash(tuple(row.doc_id for row in rows))}",
        column_config={
            names["title"]: st.column_config.TextColumn(width="large"),
            names["characters"]: st.column_config.NumberColumn(format="localized"),
        },
        alt=say("색인에 있는 기사", "The articles of the index"),
    )
    return [rows[number] for number in state["selection"]["rows"] if number < len(rows)]


def _show_actions(index: Index, chosen: list[ArticleRow], found: list[ArticleRow]) -> None:
    busy = jobs().is_busy(index.path)
    with st.container(horizontal=True):
        if st.button(say("읽기", "Read"), icon=":material/article:", disabled=len(chosen) != 1):
            _open(index, chosen[0])
        if st.button(
            say(f"고른 기사 {len(chosen):,}건 지우기", f"Delete the {len(chosen):,} chosen")
            if chosen
            else say("고른 기사 지우기", "Delete the chosen"),
            key="delete chosen",
            icon=":material/delete:",
            disabled=busy or not chosen,
        ):
            _confirm(index, chosen)
        if found and st.button(
            say(f"찾은 기사 {len(found):,}건 모두 지우기", f"Delete all {len(found):,} found"),
            key="delete found",
            icon=":material/delete_sweep:",
            disabled=busy,
        ):
            _confirm(index, found)
    if busy:
        st.caption(say("작업이 끝나면 지울 수 있습니다.", "Articles can be deleted once the job has ended."))
    elif not chosen:
        st.caption(
            say(
                "왼쪽 칸에서 기사를 고르면 읽거나 지울 수 있습니다.",
                "Tick articles on the left to read or delete them.",
            )
        )


def _open(index: Index, row: ArticleRow) -> None:
    try:
        open_article(index.article(row.doc_id), index)
    except KeyError:  # deleted meanwhile
        st.rerun()
    except ERRORS as error:
        show_explained(error)


def _confirm(index: Index, rows: list[ArticleRow]) -> None:
    """Ask whether to delete some articles, and do so."""

    @st.dialog(say("기사 지우기", "Delete articles"))
    def ask() -> None:
        passages = sum(row.passages for row in rows)
        st.markdown(
            say(
                f"기사 {len(rows):,}건(단락 {passages:,}개)을 색인에서 지웁니다. 원본 파일은 그대로입니다.",
                f"{len(rows):,} articles ({passages:,} passages) go from the index. The files they came from stay.",
            )
        )
        lines = [f"- {escape_markdown(title_of(row))}" for row in rows[:NAMED]]
        if len(rows) > NAMED:
            lines.append(say(f"- 그 밖에 {len(rows) - NAMED:,}건", f"- {len(rows) - NAMED:,} more"))
        st.markdown("\n".join(lines))
        if len(rows) == index.snapshot.manifest["documents"]:
            st.warning(say("색인의 모든 기사입니다.", "These are all articles of the index."))
        if not st.button(say("지우기", "Delete"), type="primary", key="confirm delete"):
            return
        try:
            with st.spinner(say("지우는 중입니다…", "Deleting…")):
                changes = index.delete([row.doc_id for row in rows])
            jobs().note_write(index.path)
        except ERRORS as error:
            show_explained(error)
            return
        st.session_state["articles notice"] = say(
            f"기사 {changes.removed:,}건을 지웠습니다.", f"{changes.removed:,} articles deleted."
        )
        st.rerun()

    ask()
