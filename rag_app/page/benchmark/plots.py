"""The plots of a benchmark as Vega-Lite, which Streamlit draws in the page's colours, light or dark."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from rag_app.benchmark.report import ProtocolScores, stage_names
from rag_app.page.system_names import system_words
from rag_app.page.words import say

_ROW = 32  # pixels
_SYSTEMS = {"field": "system", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 160}}


def interval_plot(protocol: ProtocolScores) -> dict[str, Any]:
    """Return the plot of the main measure of each system with its interval, the best first."""
    rows = [
        {"system": system_words(system.name), **system.scores[protocol.measure]._asdict()}
        for system in protocol.systems
    ]
    across = {"type": "quantitative", "title": measure_words(protocol.measure), "scale": {"zero": False}}
    tooltip = [_tip("system"), *(_tip(name, ".3f") for name in ("mean", "low", "high"))]
    return {
        "data": {"values": rows},
        "height": {"step": _ROW},
        "encoding": {"y": _SYSTEMS, "tooltip": tooltip},
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 3, "color": _ink(), "opacity": 0.5},
                "encoding": {"x": {"field": "low", **across}, "x2": {"field": "high"}},
            },
            {"mark": {"type": "point", "filled": True, "size": 90}, "encoding": {"x": {"field": "mean", **across}}},
        ],
    }


def stage_plot(protocol: ProtocolScores, words: Mapping[str, str]) -> dict[str, Any]:
    """Return the plot of the mean milliseconds of each stage, by system.

    Args:
        protocol: The scores.
        words: What a reader calls the stages.
    """
    stages = stage_names(protocol.systems)
    rows = [
        {
            "system": system_words(system.name),
            "stage": words.get(stage, stage),
            "ms": 1000 * spent,
            "order": stages.index(stage),
        }
        for system in protocol.systems
        for stage, spent in system.stages.items()
    ]
    return {
        "data": {"values": rows},
        "height": {"step": _ROW},
        "mark": "bar",
        "encoding": {
            "y": _SYSTEMS,
            "x": {"field": "ms", "type": "quantitative", "title": say("평균 ms", "mean ms")},
            "color": {
                "field": "stage",
                "type": "nominal",
                "sort": [words.get(stage, stage) for stage in stages],
                "legend": {"title": None, "orient": "bottom", "columns": 3},
            },
            "order": {"field": "order", "type": "quantitative"},
            "tooltip": [_tip("system"), _tip("stage"), _tip("ms", ".2f")],
        },
    }


def latency_plot(protocol: ProtocolScores) -> dict[str, Any]:
    """Return the plot of the main measure against the median time of a question."""
    rows = [
        {"system": system_words(system.name), "ms": 1000 * system.seconds, "mean": system.scores[protocol.measure].mean}
        for system in protocol.systems
        if system.seconds is not None
    ]
    return {
        "data": {"values": rows},
        "height": 300,
        "encoding": {
            "x": {
                "field": "ms",
                "type": "quantitative",
                "title": say("질문 하나의 중앙값 ms (로그)", "median ms of a question (logarithmic)"),
                "scale": {"type": "log", "nice": False, "padding": 60},
            },
            "y": {
                "field": "mean",
                "type": "quantitative",
                "title": measure_words(protocol.measure),
                "scale": {"zero": False, "padding": 28},
            },
            "tooltip": [_tip("system"), _tip("ms", ".2f"), _tip("mean", ".3f")],
        },
        "layer": [
            {"mark": {"type": "point", "filled": True, "size": 90}},
            {
                "mark": {"type": "text", "dy": -14, "fontSize": 12, "color": _ink()},
                "encoding": {"text": {"field": "system"}},
            },
        ],
    }


def measure_words(measure: str) -> str:
    """Return what a reader calls a measure."""
    return measure.replace("hit_rate@", say("적중률@", "hit rate@")).replace("mrr@", "MRR@")


def _ink() -> str:
    """Return the colour of lines and words, which Streamlit gives to axes only."""
    return "#f2f2ee" if st.context.theme.type == "dark" else "#26282c"


def _tip(field: str, format: str | None = None) -> dict[str, str]:
    return {"field": field} if format is None else {"field": field, "type": "quantitative", "format": format}
