"""An index at a glance: how many articles of when, of what, how long; whether it is sound."""

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import streamlit as st

from rag_app.check import check_index
from rag_app.corpus.index_folders import size_on_disk
from rag_app.corpus.overview import Bars, Overview
from rag_app.generations import MANIFEST
from rag_app.index import Index
from rag_app.page.corpus.article_list import catalogue_when_told
from rag_app.page.library import bytes_words
from rag_app.page.powers import shown_model, shown_path
from rag_app.page.problems import ERRORS, show_error, show_explained
from rag_app.page.resources import version
from rag_app.page.words import say
from rag_app.rendering.text import escape_markdown
from rag_app.settings import Settings
from rag_app.stores.address import Address


def show_overview(index: Index, settings: Settings) -> None:
    """Show what an index holds, in figures and charts."""
    if listed := catalogue_when_told(index):
        _show_articles(listed.overview)
    _show_index(index, settings)


def _show_articles(overview: Overview) -> None:
    _show_figures(overview)
    if not overview.articles:
        st.info(say("이 색인에는 기사가 없습니다. ‘올리기’에서 넣으세요.", "There are no articles. Upload some."))
    periods = {
        "day": say("날짜별 기사 수", "Articles by day"),
        "month": say("월별 기사 수", "Articles by month"),
        "year": say("연도별 기사 수", "Articles by year"),
    }
    _show_bars(periods[overview.period], overview.times, say("날짜", "Date"))
    left, right = st.columns(2)
    with left:
        _show_bars(say("분야별 기사", "Articles by section"), overview.sections, say("분야", "Section"), across=True)
        lengths = [(say(f"{start}자~", f"{start}+"), count) for start, count in overview.lengths]
        _show_bars(say("기사 길이", "Length of articles"), lengths, say("글자", "Characters"), across=True)
    with right:
        _show_bars(say("매체별 기사", "Articles by outlet"), overview.outlets, say("매체", "Outlet"), across=True)
        cuts = [("10+" if number == "10" else number, count) for number, count in overview.cuts]
        _show_bars(say("기사별 단락 수", "Passages per article"), cuts, say("단락", "Passages"), across=True)


def _show_figures(overview: Overview) -> None:
    figures = [
        (say("기사", "Articles"), f"{overview.articles:,}"),
        (say("단락", "Passages"), f"{overview.passages:,}"),
        (say("길이 중앙값", "Median length"), say(f"{overview.median:,}자", f"{overview.median:,}")),
        (say("날짜 없음", "Undated"), f"{overview.undated:,}"),
        (say("제목 없음", "Untitled"), f"{overview.untitled:,}"),
    ]
    with st.container(horizontal=True):
        for label, value in figures:
            st.metric(label, value, border=True, width="content")


def _show_bars(title: str, bars: Bars, axis: str, *, across: bool = False) -> None:
    """Show a bar chart and, folded below it, the same as a table that a screen reader reads."""
    if not bars:
        return
    count = say("기사 수", "Articles")
    named = [(name or say("그 밖", "Others"), number) for name, number in bars]
    most = max(named, key=lambda bar: bar[1])
    st.subheader(title, anchor=False)
    frame = {axis: [name for name, _ in named], count: [number for _, number in named]}
    st.bar_chart(
        frame,
        x=axis,
        y=count,
        horizontal=across,
        sort=False,
        height=90 + 28 * len(named) if across else 240,
        alt=say(
            f"{title}. 막대 {len(named)}개, 가장 많은 것은 {most[0]} ({most[1]:,}건). 아래 표에 같은 값이 있습니다.",
            f"{title}. {len(named)} bars, the most {most[0]} ({most[1]:,}). The table below has the same figures.",
        ),
    )
    with st.expander(say(f"{title}: 표", f"{title}: table")):
        st.table({**frame, axis: [escape_markdown(name) for name, _ in named]}, hide_index=True)


def _show_index(index: Index, settings: Settings) -> None:
    manifest = index.snapshot.manifest
    model = shown_model(str(manifest["model"]["name"]), settings)
    st.subheader(say("색인", "Index"), anchor=False)
    path, form = index.path, manifest.get("vectors", {})
    lines = [
        (say("임베딩 모델", "Embedding model"), f"{model} ({manifest['model']['dimension']})"),
        (say("벡터", "Vectors"), form if isinstance(form, str) else str(form.get("form", "exact"))),
    ]
    if isinstance(path, Path):
        built = datetime.fromtimestamp((path / MANIFEST).stat().st_mtime).strftime("%Y-%m-%d %H:%M")
        lines += [
            (say("크기", "Size"), bytes_words(size_on_disk(path))),
            (say("마지막으로 바뀐 때", "Last changed"), built),
            (say("위치", "Folder"), shown_path(path, settings)),
        ]
    else:
        lines += [
            (say("기사", "Articles"), f"{manifest['documents']:,}"),
            (say("단락", "Passages"), f"{manifest['passages']:,}"),
            (say("위치", "Server"), shown_path(path, settings)),
        ]
    st.markdown("\n".join(f"- {label}: {escape_markdown(value)}" for label, value in lines))
    _show_check(path, version(index))


class _Checks:
    """The last check of each version of an index, in a thread of its own."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(1, "check")
        self.running: dict[tuple[Path | Address, str], Future[list[str]]] = {}

    def start(self, path: Path | Address, version: str) -> None:
        self.running[path, version] = self.pool.submit(check_index, path)


@st.cache_resource(show_spinner=False)
def _checks() -> _Checks:
    return _Checks()


def _show_check(path: Path | Address, version: str) -> None:
    future = _checks().running.get((path, version))
    if future is None or future.done():
        st.button(
            say("온전한지 검사하기", "Check that it is sound"),
            icon=":material/fact_check:",
            on_click=_checks().start,
            args=(path, version),
            help=say(
                "모든 파일의 체크섬과 부분들이 서로 맞는지 봅니다.",
                "Compares all checksums, and the parts with each other.",
            )
            if isinstance(path, Path)
            else say(
                "모든 단락과 벡터를 서버에서 읽어 봅니다. 단락이 많으면 오래 걸립니다.",
                "Reads every passage and vector from the server, which takes long where there are many.",
            ),
        )
    if future is None:
        return
    if not future.done():
        _wait_for_check(path, version)
    elif error := future.exception():
        if not isinstance(error, ERRORS):
            raise error
        show_explained(error)
    elif problems := future.result():
        show_error(
            say("색인에 문제가 있습니다. 다시 만드세요.", "Something is wrong. Build it anew."), " ".join(problems)
        )
    else:
        st.success(say("이상 없습니다.", "It is sound."))


@st.fragment(run_every=1.0)
def _wait_for_check(path: Path | Address, version: str) -> None:
    if _checks().running[path, version].done():
        st.rerun()
    st.info(say("검사하는 중입니다…", "Checking…"))
