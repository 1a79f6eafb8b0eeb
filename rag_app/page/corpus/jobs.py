"""What is being indexed: how far it is, what could not be read, how to stop it."""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import streamlit as st

from rag_app.corpus.indexing_job import FileReport, IndexingJob
from rag_app.corpus.job_registry import Jobs
from rag_app.files.spreadsheets import spreadsheet_csv
from rag_app.page.corpus.file_problems import explain_file
from rag_app.page.lasting import lasting
from rag_app.page.powers import without_folders
from rag_app.page.problems import ERRORS, explain, show_error
from rag_app.page.words import duration_words, say
from rag_app.rendering.text import escape_markdown
from rag_app.stores.address import Address

SHOWN = 100
"""The most files that are listed on the page; the table to be downloaded holds all."""
_EVERY = 1.0  # seconds between two looks at a job


@lasting
def jobs() -> Jobs:
    """Return the jobs of this process, which all visitors share and a reload finds again."""
    return Jobs()


def show_jobs(current: Path | Address, use: Callable[[Path | Address], None], *, details: bool) -> None:
    """Show all jobs, the one of the current index first.

    Args:
        current: The index that is chosen.
        use: Chooses another index from the next run on; for one that has just been built.
        details: Whether to list the files that an ended job could not read.
    """
    found = sorted(jobs().all(), key=lambda job: job.index != current)
    for job in found:
        show_job(job.index, None if job.index == current else use, details=details)


def show_job(
    index: Path | Address,
    use: Callable[[Path | Address], None] | None = None,
    *,
    details: bool = True,
    announce: bool = False,
) -> None:
    """Show the job of an index if there is one; while it runs, once a second anew.

    Args:
        index: Where it is.
        use: Chooses it from the next run on, if that is to be offered.
        details: Whether to list the files that could not be read.
        announce: Whether to say how it ended beside the page, because another view will be shown then.
    """
    job = jobs().of(index)
    if job is None:
        return
    with st.container(border=True):
        if job.running:
            _follow(index, announce)
        else:
            _show_outcome(job, use, details)


@st.fragment(run_every=_EVERY)
def _follow(index: Path | Address, announce: bool) -> None:
    job = jobs().of(index)
    if job is None or not job.running:
        if job is not None and announce:
            _announce(job)
        st.rerun()
    _show_progress(job)
    st.button(
        say("멈추는 중…", "Stopping…") if job.stopping else say("멈추기", "Stop"),
        key=f"stop {index.name}",
        icon=":material/stop:",
        on_click=job.stop,
        disabled=job.stopping,
        help=say("이미 들어간 기사는 색인에 남습니다.", "Articles that are in already stay in the index.")
        if job.in_parts
        else say("색인은 시작하기 전 그대로 남습니다.", "The index stays as it was before."),
    )


def _announce(job: IndexingJob) -> None:
    words = _outcome_words(job)
    if failed := len(job.failed_files):
        words += say(
            f" 읽지 못한 파일 {failed:,}개는 ‘자료’에서 볼 수 있습니다.", f" Files not read: {failed:,}, see Articles."
        )
    st.toast(words, duration="long")


def _show_progress(job: IndexingJob) -> None:
    name = escape_markdown(job.index.name.lstrip("."))
    files = list(job.files)
    ended = sum(report.state in ("read", "failed") for report in files)
    st.markdown(say(f"**{name}** 색인을 만드는 중입니다.", f"**{name}** is being indexed."))
    st.progress(
        job.read_share,
        say(
            f"1. 파일 읽기 — {len(files):,}개 중 {ended:,}개, 기사 {job.articles:,}건",
            f"1. Reading — {ended:,} of {len(files):,} files, {job.articles:,} articles",
        ),
    )
    if job.phase == "indexing":
        st.progress(job.indexed_share, _indexing_words(job))
    else:
        st.progress(0.0, say("2. 색인하기 — 기다리는 중", "2. Indexing — waiting"))
    _show_files(files)


def _indexing_words(job: IndexingJob) -> str:
    if job.indexed_share >= 1:
        return say("2. 색인하기 — 마무리하는 중", "2. Indexing — finishing")
    words = say(f"2. 색인하기 — 단락 {job.passages:,}개", f"2. Indexing — {job.passages:,} passages")
    left = job.seconds_left
    if left is None:
        return words
    left_words = duration_words(max(1.0, left))
    return words + say(f", 약 {left_words} 남음", f", about {left_words} left")


def _show_outcome(job: IndexingJob, use: Callable[[Path | Address], None] | None, details: bool) -> None:
    failed = job.failed_files
    if job.phase == "stopped":
        st.info(_outcome_words(job))
    elif job.error is not None:
        problem = explain(job.error) if isinstance(job.error, ERRORS) else ""
        show_error(f"{problem} {_outcome_words(job)}".strip(), str(job.error) or type(job.error).__name__)
    else:
        st.success(_outcome_words(job))
    if failed:
        st.warning(
            say(
                f"읽지 못한 파일이 {len(failed):,}개 있습니다. 고쳐서 그 파일만 다시 올리면 됩니다.",
                f"Files not read: {len(failed):,}. Mend them and upload just them again.",
            )
        )
    _show_files(job.files, folded=not (failed and details))
    with st.container(horizontal=True):
        if use is not None and job.phase == "done":
            st.button(
                say("이 색인 쓰기", "Use this index"),
                key=f"use built {job.index.name}",
                type="primary",
                on_click=use,
                args=(job.index,),
            )
        st.download_button(
            say("결과 내려받기 (CSV)", "Download the results (CSV)"),
            lambda: _table(job.files),
            file_name=f"{job.index.name}.csv",
            mime="text/csv",
            key=f"results {job.index.name}",
            icon=":material/download:",
            on_click="ignore",
        )
        st.button(say("닫기", "Close"), key=f"close {job.index.name}", on_click=jobs().put_away, args=(job.index,))


def _outcome_words(job: IndexingJob) -> str:
    """Return how a job ended, as Markdown."""
    name = escape_markdown(job.index.name.lstrip("."))
    if job.in_parts and (job.phase == "stopped" or job.error is not None):
        return say(
            f"멈췄습니다. {name} 색인에 이미 들어간 기사는 남아 있습니다. 같은 파일을 다시 올리면 나머지만 들어갑니다.",
            f"Stopped. Articles that are in {name} already stay. Upload the same files again and the rest follows.",
        )
    if job.phase == "stopped":
        return say(f"멈췄습니다. {name} 색인은 그대로입니다.", f"Stopped. {name} is as it was.")
    if job.error is not None:
        return say(f"{name} 색인은 그대로입니다.", f"{name} is as it was.")
    added, skipped, removed = job.changes
    words = say(f"{name}: 기사 {added:,}건을 색인했습니다.", f"{name}: {added:,} articles indexed.")
    if skipped:
        words += say(f" 같은 글 {skipped:,}건은 건너뛰었습니다.", f" {skipped:,} repeated ones were skipped.")
    if removed:
        words += say(f" 예전 판의 {removed:,}건은 뺐습니다.", f" {removed:,} of old versions were removed.")
    return words


def _show_files(files: Sequence[FileReport], *, folded: bool = False) -> None:
    """List the files: the one being read first, then those that failed, then the others as they came."""
    order = {"reading": 0, "failed": 1}
    shown = sorted(files, key=lambda report: order.get(report.state, 2))[:SHOWN]
    with st.expander(say(f"파일 {len(files):,}개", f"{len(files):,} files"), expanded=not folded):
        st.html(files_html(shown))
        if len(files) > len(shown):
            st.caption(say(f"처음 {SHOWN}개만 보입니다.", f"Only the first {SHOWN} are shown."))


def files_html(reports: Sequence[FileReport]) -> str:
    """Return the reports as a table."""
    rows = "".join(
        f'<tr class="{report.state}"><th scope="row">{escape(report.name)}</th>'
        f"<td>{escape(state_words(report))}{_reason_html(report)}</td></tr>"
        for report in reports
    )
    head = f"<tr><th>{say('파일', 'File')}</th><th>{say('결과', 'Result')}</th></tr>"
    return f'<table class="files"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def state_words(report: FileReport) -> str:
    """Return how far a file is, in words."""
    return {
        "waiting": say("대기", "waiting"),
        "reading": say("읽는 중", "reading"),
        "read": say(f"읽음: 기사 {report.articles:,}건", f"read: {report.articles:,} articles"),
        "failed": say("읽지 못함", "not read"),
    }[report.state]


def _reason_html(report: FileReport) -> str:
    if report.error is None:
        return ""
    remedy = explain_file(report.error, report.name)
    detail = f'<div class="detail">{escape(without_folders(str(report.error)))}</div>'
    return f'<div class="reason">{escape(remedy)}</div>{detail}'


def _table(files: Sequence[FileReport]) -> bytes:
    header = say("파일,결과,기사 수,까닭,자세히", "file,result,articles,reason,detail").split(",")
    rows = [
        (
            report.name,
            state_words(report),
            report.articles,
            explain_file(report.error, report.name) if report.error else "",
            without_folders(str(report.error or "")),
        )
        for report in files
    ]
    return spreadsheet_csv(header, rows)
