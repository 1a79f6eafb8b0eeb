"""A benchmark that is not finished: how far it is, stopping it, and going on."""

from datetime import UTC, datetime

import streamlit as st

from rag_app.benchmark.log import Progress, Step, problem, progress, tail
from rag_app.benchmark.runs import Run, Runs
from rag_app.page.benchmark.data_problems import explain_data
from rag_app.page.powers import without_folders
from rag_app.page.problems import ERRORS, show_error, show_explained
from rag_app.page.system_names import system_name
from rag_app.page.words import duration_words, say
from rag_app.rendering.text import escape_markdown

_PHASES = {
    "loading": ("자료와 모델을 읽는 중입니다", "Reading data and models"),
    "indexing": ("자료를 살피고 색인하는 중입니다", "Checking and indexing the data"),
    "asking": ("질문하는 중입니다", "Asking the questions"),
    "writing": ("보고서를 쓰는 중입니다", "Writing the report"),
}
_PARTS = {
    "no answer": ("답이 없는 질문", "questions without an answer"),
    "at once": ("한꺼번에 묻기", "many at once"),
    "check": ("자료 점검", "checking the data"),
}
_EVERY = 1.0  # seconds between two looks at a benchmark


def show_unfinished(run: Run, runs: Runs) -> None:
    """Show how far a benchmark is; while it runs, once a second anew."""
    if runs.state(run) in ("running", "stopping"):
        _follow(run, runs)
        return
    log = run.log()
    hopeless = False
    if runs.state(run) == "failed":
        said = problem(log)
        of_data = explain_data(said, run.order.data)
        hopeless = of_data is not None and run.is_upload
        advice = of_data or say(
            "아래 설명을 보고 고친 뒤 다시 시작하세요.", "Mend what the message below says and begin again."
        )
        show_error(say("재지 못했습니다. ", "It could not be measured. ") + advice, run.without_paths(said))
    else:
        st.info(
            say(
                "멈췄습니다. 그때까지의 답은 남아 있으니, 이어서 하면 나머지만 묻습니다.",
                "Stopped. The answers until then are kept: going on asks only the rest.",
            )
        )
        _show_steps(progress(run.order, log))
    if hopeless:
        st.caption(
            say(
                "올린 파일은 다시 재도 그대로입니다. 고친 파일을 ‘새로 재기’에서 올리세요.",
                "The file that was uploaded stays as it is. Mend it, and upload it under New benchmark.",
            )
        )
    else:
        _offer_again(run, runs)
    if log.strip():
        with st.expander(say("기록", "Log")):
            st.code(tail(without_folders(run.without_paths(log))), language=None, wrap_lines=True)


def _offer_again(run: Run, runs: Runs) -> None:
    with st.container(horizontal=True):
        again = say("다시 해 보기", "Try again") if runs.state(run) == "failed" else say("이어서 하기", "Go on")
        if st.button(again, type="primary", icon=":material/resume:", key=f"resume {run.name}"):
            _resume(run, runs)
        afresh = st.button(
            say("처음부터 다시", "Begin again"),
            icon=":material/restart_alt:",
            key=f"afresh {run.name}",
            help=say(
                "그사이 프로그램이나 자료, 모델이 바뀌었으면 이어서 할 수 없습니다.",
                "What changed the program, the data or a model meanwhile rules out going on.",
            ),
        )
        if afresh:
            _resume(run, runs, afresh=True)


@st.fragment(run_every=_EVERY)
def _follow(run: Run, runs: Runs) -> None:
    state = runs.state(run)
    if state not in ("running", "stopping"):
        st.rerun()
    now = progress(run.order, run.log())
    passed = duration_words((datetime.now(UTC) - run.started).total_seconds())
    with st.container(border=True, key="progress"):
        where = say(*_PHASES[now.phase])
        st.markdown(f"**{where}** · " + say(f"{passed} 지남", f"{passed} passed") * (not run.resumed))
        _show_steps(now)
        st.button(
            say("멈추는 중… 바로 끝내기", "Stopping… End it at once") if state == "stopping" else say("멈추기", "Stop"),
            icon=":material/stop:",
            key=f"stop {run.name}",
            on_click=runs.stop,
            args=(run,),
            help=say("그때까지의 답은 남습니다.", "The answers until then are kept."),
        )
        st.caption(
            say(
                "이 화면을 닫아도 계속됩니다. 재는 동안 이 컴퓨터를 많이 쓰면 걸린 시간이 길게 나옵니다.",
                "It goes on when you close this page. Heavy use of this machine meanwhile makes the times longer.",
            )
        )


def _show_steps(now: Progress) -> None:
    for step in now.steps:
        st.progress(step.done / step.total if step.total else 0.0, _step_words(step, now))


def _step_words(step: Step, now: Progress) -> str:
    name = escape_markdown(system_name(step.system))
    if any(other.protocol != step.protocol for other in now.steps):
        name = f"{name} ({step.protocol})"
    if not step.total:
        return say(f"{name} — 기다리는 중", f"{name} — waiting")
    words = say(
        f"{name} — 질문 {step.total:,}개 중 {step.done:,}개", f"{name} — {step.done:,} of {step.total:,} questions"
    )
    system, _, part = (now.bar.label if now.bar else "").rpartition(", ")
    return f"{words} · {say(*_PARTS[part])}" if system == step.system and part in _PARTS else words


def _resume(run: Run, runs: Runs, *, afresh: bool = False) -> None:
    try:
        runs.resume(run, afresh=afresh)
    except BlockingIOError:
        st.warning(
            say(
                "다른 것을 재고 있습니다. 끝난 뒤에 이어서 할 수 있습니다.",
                "Something else is being measured. You can go on when it has finished.",
            )
        )
        return
    except ERRORS as error:
        show_explained(error)
        return
    st.rerun()
