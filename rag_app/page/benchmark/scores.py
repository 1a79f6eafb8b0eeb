"""What a benchmark found: a table of scores with how sure they are, plots, and what changed from one to another."""

from collections.abc import Sequence
from html import escape
from typing import Any

import streamlit as st

from rag_app.benchmark.report import LEVEL, Interval, ProtocolScores, Report, SystemScores, read_report
from rag_app.benchmark.runs import Run, Runs, compare_reports
from rag_app.page.benchmark.plots import interval_plot, latency_plot, measure_words, stage_plot
from rag_app.page.problems import ERRORS, show_explained
from rag_app.page.system_names import system_name
from rag_app.page.words import STAGE_TIMES, say
from rag_app.rendering.text import escape_markdown

PUBLISHED = (("base", 0.875), ("tuned", 0.951), ("tuned+rerank", 0.977))
"""The hit rate@10 that the tutorial published, on KLUE-MRC and with its own models."""


def show_scores(run: Run) -> None:
    """Show the scores of a finished benchmark, and its report to be downloaded.

    Raises:
        OSError: The report cannot be read.
        ValueError: It is broken.
    """
    report = load_report(run)
    for protocol in report.protocols:
        with st.container(key=f"scores-{protocol.name}"):
            if len(report.protocols) > 1 or protocol.name != "clean":
                st.subheader(_protocol_words(protocol.name), anchor=False)
            _show_protocol(protocol)
    _show_warnings(report)
    _offer_report(run)


def load_report(run: Run) -> Report:
    """Return the report of a finished benchmark, read once."""
    return _report(run, (run.report / "results.json").stat().st_mtime_ns)


@st.cache_resource(show_spinner=False, max_entries=10)
def _report(run: Run, written: int) -> Report:
    return read_report(run.report)


def show_changes(run: Run, others: Sequence[Run], runs: Runs) -> None:
    """Let the visitor choose an earlier benchmark, and show what changed from it to this one, question by question."""
    if not others:
        return
    with st.expander(say("다른 결과와 견주기", "Compare with another result"), icon=":material/difference:"):
        named = {other.name: other for other in others}
        before = st.selectbox(
            say("견줄 결과", "Result to compare with"),
            list(named),
            index=None,
            format_func=lambda name: f"{named[name].started.astimezone():%Y-%m-%d %H:%M} · {named[name].order.name}",
            placeholder=say("고르세요", "Choose"),
            key=f"before {run.name}",
        )
        if before is None:
            return
        try:
            with st.spinner(say("같은 질문끼리 견주는 중입니다…", "Comparing question by question…")):
                words = _changes(named[before], run, (run.report / "results.json").stat().st_mtime_ns)
        except ERRORS as error:
            show_explained(error)
            return
        st.caption(say("앞은 고른 결과, 뒤는 지금 보는 결과입니다.", "Before is the one chosen, after the one shown."))
        st.code(words, language=None)


@st.cache_data(show_spinner=False, max_entries=20)
def _changes(before: Run, after: Run, written: int) -> str:
    return compare_reports(before.report, after.report)


def _show_protocol(protocol: ProtocolScores) -> None:
    measure = measure_words(protocol.measure)
    st.markdown(summary(protocol))
    st.html(table_html(protocol))
    st.caption(
        say(
            f"질문 {protocol.questions:,}개 · 기사 {protocol.passages:,}건. 작은 숫자는 95% 구간입니다. 판정은 "
            f"{measure} 기준이고, p는 견준 횟수에 맞춰 고쳤습니다(Holm). 시간은 이 컴퓨터에서 잰 값입니다.",
            f"{protocol.questions:,} questions, {protocol.passages:,} passages. Small figures: 95% intervals. The "
            f"verdict goes by {measure}, its p corrected for the number of pairs (Holm). Times: this machine.",
        )
    )
    if protocol.name == "tutorial":
        st.caption(_published_words())
    left, right = st.columns(2)
    with left:
        _plot(
            say(f"{measure}와 95% 구간", f"{measure} with 95% intervals"),
            interval_plot(protocol),
            say(
                "방식마다, 높은 것부터. 표에 같은 값이 있습니다.",
                "By system, best first. The table has the same values.",
            ),
        )
    with right:
        if any(system.stages for system in protocol.systems):
            _plot(
                say("질문 하나에 걸린 시간", "Time of a question"),
                stage_plot(protocol, {stage: say(*words) for stage, words in STAGE_TIMES.items()}),
                say("방식과 단계마다 평균 밀리초", "Mean milliseconds by system and stage"),
            )
    if sum(system.seconds is not None for system in protocol.systems) > 1:
        _plot(
            say("점수와 시간", "Score against time"),
            latency_plot(protocol),
            say(f"방식마다 {measure}와 중앙값 시간", f"{measure} against the median time, by system"),
        )


def _plot(title: str, chart: dict[str, Any], words: str) -> None:
    st.markdown(f"**{title}**")
    st.vega_lite_chart(chart, width="stretch", alt=words)


def summary(protocol: ProtocolScores) -> str:
    """Return what the scores say, as Markdown: the best system, and which cannot be told apart from it."""
    best = protocol.best
    name = escape_markdown(system_name(best.name))
    first, within = (best.scores[measure].mean for measure in (protocol.measures[0], protocol.measures[-2]))
    k = protocol.measures[-2].partition("@")[2]
    words = say(
        f"**{name}** 방식이 가장 높습니다. 질문의 {first:.1%}에서 맞는 기사를 맨 위에, {within:.1%}에서 {k}위 안에 "
        "놓았습니다.",
        f"**{name}** ranks best. It puts a right passage first for {first:.1%} of the questions and among the first "
        f"{k} for {within:.1%}.",
    )
    if level := protocol.level():
        others = ", ".join(escape_markdown(system_name(system.name)) for system in level)
        words += say(
            f" {others}: 이 질문들로는 그보다 낮다고 할 수 없습니다(같다는 뜻은 아닙니다).",
            f" Not significantly worse on these questions, which does not make them as good: {others}.",
        )
    return words


def table_html(protocol: ProtocolScores) -> str:
    """Return the scores as a table, the best system first."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in _column_names(protocol))
    rows = "".join(f"<tr>{_row_html(system, protocol)}</tr>" for system in protocol.systems)
    caption = say("검색 방식별 점수", "Scores by system")
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{caption}"><table class="benchmark">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _column_names(protocol: ProtocolScores) -> list[str]:
    measures = map(measure_words, protocol.measures)
    return [say("방식", "System"), *measures, say("시간 (중앙값)", "Time (median)"), say("판정", "Verdict")]


def _row_html(system: SystemScores, protocol: ProtocolScores) -> str:
    scores = "".join(f"<td>{_interval_html(system.scores[measure])}</td>" for measure in protocol.measures)
    best = system is protocol.best
    return (
        f'<th scope="row">{escape(system_name(system.name))}</th>{scores}<td>{_time_html(system)}</td>'
        f"<td>{escape(verdict(system, best=best))}</td>"
    )


def _interval_html(interval: Interval) -> str:
    return f"{interval.mean:.3f}<small>{interval.low:.3f}–{interval.high:.3f}</small>"


def _time_html(system: SystemScores) -> str:
    if system.seconds is not None and system.slow_seconds is not None:
        return f"{milliseconds(system.seconds)}<small>95%: {milliseconds(system.slow_seconds)}</small>"
    if system.at_once_seconds is not None:
        return f"{milliseconds(system.at_once_seconds)}<small>{say('한꺼번에', 'all at once')}</small>"
    return "–"


def milliseconds(seconds: float) -> str:
    """Return a time with three digits."""
    value = 1000 * seconds
    return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f} ms"


def verdict(system: SystemScores, *, best: bool) -> str:
    """Return how a system stands against the best, in words."""
    if best:
        return say("가장 높음", "best")
    if system.p is None:
        return "–"
    p = "p < .001" if system.p < 0.001 else f"p = {system.p:.3f}".replace("0.", ".", 1)
    if system.p >= LEVEL:
        return say(f"차이를 말할 수 없음 ({p})", f"not told apart ({p})")
    return say(f"뚜렷이 낮음 ({p})", f"significantly lower ({p})")


def _protocol_words(name: str) -> str:
    return {"clean": say("정확한 방식", "Clean protocol"), "tutorial": say("튜토리얼 방식", "Tutorial protocol")}[name]


def _published_words() -> str:
    figures = ", ".join(f"{system_name(name)} {value:.3f}" for name, value in PUBLISHED)
    return say(
        f"튜토리얼이 발표한 적중률@10: {figures}. 다른 자료(KLUE-MRC)를 다른 모델로 잰 값이고 여기서 잰 것이 아니어서, "
        "위의 값과 바로 견줄 수 없습니다.",
        f"The tutorial published a hit rate@10 of {figures}. That was elsewhere, on other data (KLUE-MRC) and with "
        "other models, and cannot be held against the figures above.",
    )


def _show_warnings(report: Report) -> None:
    if not report.warnings:
        return
    lines = "\n".join(f"- {escape_markdown(warning)}" for warning in report.warnings)
    st.warning(
        say("점수를 그대로 믿기 전에 볼 것이 있습니다.", "Before you take these scores as they stand:") + f"\n\n{lines}"
    )


def _offer_report(run: Run) -> None:
    with st.container(horizontal=True):
        st.download_button(
            say("보고서 내려받기 (HTML)", "Download the report (HTML)"),
            (run.report / "index.html").read_bytes,
            file_name=f"{run.name}.html",
            mime="text/html",
            icon=":material/download:",
            on_click="ignore",
            help=say(
                "네트워크 없이 열리는 한 장입니다. 모든 표와 그림, 질문별 결과가 들어 있습니다(영어).",
                "One page that opens offline, with all tables, plots and questions.",
            ),
        )
        st.download_button(
            say("수치 내려받기 (JSON)", "Download the figures (JSON)"),
            (run.report / "results.json").read_bytes,
            file_name=f"{run.name}.json",
            mime="application/json",
            on_click="ignore",
        )
