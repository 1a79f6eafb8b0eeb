"""The hit-rate benchmark, run from the page: what to measure, how far it is, what came out."""

from pathlib import Path

import streamlit as st

from rag_app.benchmark.runs import Run, Runs
from rag_app.index import Index
from rag_app.page.benchmark.order import ask_order
from rag_app.page.benchmark.progress import show_unfinished
from rag_app.page.benchmark.questions import show_questions
from rag_app.page.benchmark.scores import show_changes, show_scores
from rag_app.page.lasting import lasting
from rag_app.page.problems import ERRORS, explain, show_error, show_explained
from rag_app.page.words import say
from rag_app.settings import Settings

_CHOSEN, _NEXT = "benchmark", "next benchmark"


def show_benchmark(index: Index, settings: Settings) -> None:
    """Show it."""
    runs = _runs(settings.home / "reports")
    st.markdown(
        say(
            "답이 있는 기사를 아는 질문들을 검색 방식마다 던져, 그 기사가 몇 번째로 나오는지 잽니다. "
            "어느 방식이 이 자료에 맞는지, 그 차이가 우연인지 알 수 있습니다.",
            "Asks each way of searching questions whose article is known, and measures at which rank it comes. That "
            "tells which way suits these data, and whether a difference is more than chance.",
        )
    )
    try:
        ordered = runs.all()
    except OSError as error:
        show_explained(error)
        return
    form = st.expander(
        say("새로 재기", "New benchmark"),
        expanded=not ordered,
        icon=":material/add_chart:",
        key=f"form {len(ordered)}",  # another one, so that it is folded once a benchmark has been started
    )
    if not ordered:
        st.info(
            say(
                "아직 잰 것이 없습니다. 예제 뉴스로 시작하면 30초쯤 뒤에 첫 결과를 볼 수 있습니다.",
                "Nothing has been measured yet. With the sample news the first result takes about half a minute.",
            )
        )
    else:
        _show_run(_choose(ordered), runs, ordered, index, settings)
    with form:  # last, as it asks the program what can be measured: results should not wait for that
        if (run := ask_order(runs, ordered, settings)) is not None:
            st.session_state[_NEXT] = run.name
            st.rerun()


@lasting
def _runs(folder: Path) -> Runs:
    return Runs(folder)


def _choose(ordered: list[Run]) -> Run:
    """Let the visitor choose one; it stands in the address, so that a reload keeps it."""
    named = {run.name: run for run in ordered}
    if st.session_state.get(_NEXT) in named:
        st.session_state[_CHOSEN] = st.session_state.pop(_NEXT)
    elif st.session_state.get(_CHOSEN) not in named:
        st.session_state.pop(_CHOSEN, None)
    name = st.selectbox(
        say("결과", "Result"),
        list(named),
        format_func=lambda name: run_words(named[name]),
        key=_CHOSEN,
        bind="query-params",
    )
    return named[name]


def run_words(run: Run) -> str:
    """Return a benchmark's time, data and size in a line, as text, which stays as it is whatever becomes of it."""
    order = run.order
    asked = (
        say("모든 질문", "all questions") if order.limit is None else say(f"질문 {order.limit}개", f"{order.limit} q.")
    )
    name = say("예제 뉴스", "Sample news") if order.data == "sample" else order.name
    parts = [name, *([] if order.protocol == "clean" else [order.protocol]), asked]
    parts += [say(f"방식 {len(order.systems)}가지", f"{len(order.systems)} systems")]
    return f"{run.started.astimezone():%Y-%m-%d %H:%M} · {' · '.join(parts)}"


def _show_run(run: Run, runs: Runs, ordered: list[Run], index: Index, settings: Settings) -> None:
    state = runs.state(run)
    if state != "finished":
        show_unfinished(run, runs)
    else:
        try:
            show_scores(run)
            show_questions(run, index, settings)
            show_changes(run, [other for other in ordered if other != run and runs.state(other) == "finished"], runs)
        except ERRORS as error:
            show_error(explain(error), run.without_paths(str(error)))
    if state not in ("running", "stopping"):
        _offer_deletion(run, runs)


def _offer_deletion(run: Run, runs: Runs) -> None:
    with st.popover(say("이 결과 지우기", "Delete this result"), icon=":material/delete:"):
        st.markdown(say("보고서와 기록을 지웁니다. 되돌릴 수 없습니다.", "Deletes the report and the log, for good."))
        if st.button(say("지우기", "Delete"), type="primary", key=f"delete {run.name}"):
            try:
                runs.delete(run)
            except ERRORS as error:
                show_explained(error)
                return
            st.rerun()
