"""The results of a benchmark as one page of HTML that needs nothing else: no network, no other file."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import partial
from importlib.resources import files
from importlib.util import find_spec
from typing import Any, NamedTuple

from eval.report.cells import Table, short
from eval.report.explorer import explorer_data
from eval.report.plots import FULL, HALF, NARROW, interval_plot, quality_latency_plot, scaling_plot, stage_plot
from eval.report.tables import (
    abstention_table,
    pair_matrix,
    pairs_table,
    robustness_table,
    scaling_table,
    score_table,
    side_by_side,
    size_table,
    slice_table,
    stage_table,
)
from eval.report.verdict import main_measure, measures_of, summary
from eval.results import Interval, ProtocolResult, Results

PROTOCOLS = {
    "clean": "Find each question's passage among all passages, every text once. Passages of all parts of the data are "
    "there as distractors, and only questions that a passage answers count. Those that none answers test whether the "
    "systems know it.",
    "tutorial": "As a Korean tutorial published it: a sample of questions, their own contexts as the corpus with "
    "duplicates left in, flat L2 search, the first 30 reranked, a hit by equal text, questions without "
    "an answer asked like the others. To find a passage only among those asked about is easier than in a real corpus: "
    "compare these figures with published ones, and choose a system by the clean protocol.",
}
"""What each protocol does, in words."""
TERMS = (
    ("hit_rate@k", "The share of questions with a right passage among the first k (Success@k; not Recall@k)."),
    ("recall@k", "The share of a question's right passages that is among the first k."),
    ("mrr@k", "One over the rank of the first right passage, 0 beyond k."),
    ("ndcg@k", "Right passages count less the lower they stand, by the logarithm of the rank."),
    ("map@k", "The mean precision at the ranks of the right passages."),
    (
        "interval",
        "95%, by drawing the questions again (bootstrap; Wilson's where all score the same): where the mean of all "
        "questions like these may lie.",
    ),
    ("p", "How often chance alone would make as large a difference, either way; corrected p: for all pairs compared."),
)


class Plot(NamedTuple):
    """A plot for a wide screen and the same for a narrow one, as SVG."""

    wide: str
    narrow: str


def check_installed() -> None:
    """Raise ImportError if Jinja2, which a page is made with, is missing."""
    if find_spec("jinja2") is None:
        raise ImportError("The report needs Jinja2: pip install 'korean-rag[eval]'")


def page(results: Results) -> str:
    """Return the page.

    Raises:
        ImportError: Jinja2 is not installed.
    """
    check_installed()
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"span": _span, "short": short}
    css, js = _packaged("page.css"), _packaged("page.js")
    text = environment.from_string(_packaged("page.html.jinja")).render(
        _content(results, Markup),
        css=Markup(css),  # noqa: S704 (ours)
        js=Markup(js),  # noqa: S704 (ours)
        policy=f"default-src 'none'; style-src '{_digest(css)}'; script-src '{_digest(js)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        data=Markup(_safe_json(explorer_data(results))),  # noqa: S704 (escaped there)
    )
    return text + "\n"


def _content(results: Results, markup: type[str]) -> dict[str, Any]:
    first = next(iter(results.protocols.values()), None)
    measure = main_measure(measures_of(first)) if first else ""
    protocols = [
        _protocol(number, name, result, markup) for number, (name, result) in enumerate(results.protocols.items(), 1)
    ]
    robustness, slices = robustness_table(results, measure), slice_table(results, measure)
    scaling = scaling_table(results, measure)
    both = side_by_side(results.protocols) if len(results.protocols) > 1 else None
    sections = [
        *([("health", "Health")] if results.health else []),
        *((one["id"], one["name"].capitalize()) for one in protocols),
        *([("both", "Side by side")] if both else []),
        *([("robustness", "Asked otherwise")] if robustness.rows else []),
        *([("slices", "Kinds")] if slices.rows else []),
        *([("scaling", "Scaling")] if scaling.rows else []),
        ("questions", "Questions"),
        ("how", "How"),
    ]
    details = dict(results.details)
    arguments = details.pop("arguments", None)
    if isinstance(arguments, Mapping):  # those that do something
        details["arguments"] = {name: value for name, value in arguments.items() if value not in (None, False, [], ())}
    return {
        "title": data_name(details),
        "facts": facts(results),
        "complete": results.complete,
        "lead": summary(first) if first else ["No system was measured."],
        "sections": sections,
        "health": sorted(results.health, key=lambda finding: not finding.warning),
        "protocols": protocols,
        "side_by_side": both,
        "robustness": robustness,
        "slices": slices,
        "scaling": scaling,
        "scaling_plot": _plot(partial(scaling_plot, results.scaling, measure), markup, FULL)
        if results.scaling
        else Plot("", ""),
        "command": details.pop("command", ""),
        "details": details,
        "terms": TERMS,
        "recompute": "ir_measures qrels/clean.txt runs/clean/SYSTEM.txt Success@1 Success@10 RR@10 nDCG@10",
    }


def data_name(details: Mapping[str, Any]) -> str:
    """Return what a run was measured on, from its details; of a path only the last part."""
    data = details.get("data") or ""
    text = ", ".join(str(value) for value in data.values() if value) if isinstance(data, Mapping) else str(data)
    return re.sub(r"[^,]*[/\\](?=[^,/\\])", "", text) or "Retrieval benchmark"


def facts(results: Results) -> list[str]:
    """Return the size of the task, and when and where it was measured, in a few words each."""
    said = []
    if results.protocols:
        benchmark = next(iter(results.protocols.values())).benchmark
        said += [f"{len(benchmark.questions):,} questions", f"{len(benchmark.corpus):,} passages"]
        if benchmark.unanswerable:
            said.append(f"{len(benchmark.unanswerable):,} questions without an answer")
    machine = results.details.get("machine")
    if isinstance(machine, Mapping):
        said += [f"{name.replace('_', ' ')} {value}" for name, value in machine.items()]
    if date := results.details.get("date"):
        said.append(str(date).replace("T", " ")[:16])
    if commit := results.details.get("commit"):
        said.append(f"commit {str(commit)[:10]}")
    return said


def _protocol(number: int, name: str, result: ProtocolResult, markup: type[str]) -> dict[str, Any]:
    measures = measures_of(result)
    measure = main_measure(measures)
    systems = result.systems
    matrices: dict[str, Table] = {one: pair_matrix(result, one) for one in measures if result.pairs.get(one)}
    return {
        "id": f"protocol-{number}",
        "name": name,
        "words": PROTOCOLS.get(name, ""),
        "summary": summary(result),
        "measure": measure,
        "scores": score_table(result),
        "latency": _plot(partial(quality_latency_plot, systems, measure), markup, FULL),
        "intervals": _plot(partial(interval_plot, systems, measure), markup, HALF),
        "stages": _plot(partial(stage_plot, systems), markup, HALF),
        "stage_table": stage_table(result),
        "pairs": pairs_table(result),
        "matrices": matrices,
        "abstention": abstention_table(result),
        "sizes": size_table(result),
    }


def _plot(draw: partial[str], markup: type[str], width: int) -> Plot:
    return Plot(markup(draw(width=width)), markup(draw(width=NARROW)))


def _span(interval: Interval) -> str:
    return f"{interval.low:.3f}–{interval.high:.3f}"


def _packaged(name: str) -> str:
    return files("eval.report").joinpath(name).read_text("utf-8")


def _digest(text: str) -> str:
    """Return what a content security policy knows a style sheet or a script by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _safe_json(value: object) -> str:
    """Return JSON in which nothing can end the script element that holds it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
