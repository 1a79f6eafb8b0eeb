"""The results of a benchmark in Markdown, as GitHub shows it."""

import re
from collections.abc import Mapping
from typing import Any

from eval.report.cells import Cell, Table, short
from eval.report.page import PROTOCOLS, data_name, facts
from eval.report.tables import (
    abstention_table,
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
from eval.results import Results


def markdown_report(results: Results) -> str:
    """Return the tables of the page, without its plots and questions."""
    parts = [f"# Retrieval benchmark: {_escape(data_name(results.details))}", _escape(" · ".join(facts(results)))]
    if not results.complete:
        parts.append("**Not complete:** the benchmark was interrupted; what is missing here was not measured.")
    first = next(iter(results.protocols.values()), None)
    if first:
        parts.append(_escape(" ".join(summary(first))))
    if results.health:
        findings = sorted(results.health, key=lambda finding: not finding.warning)
        lines = (
            f"- {'**Warning:** ' if one.warning else ''}{_escape(f'{one.check}, {one.subject}: {one.text}')}"
            for one in findings
        )
        parts += ["## Before you read the scores", "\n".join(lines)]
    for name, result in results.protocols.items():
        parts += [f"## {_escape(name.capitalize())} protocol", PROTOCOLS.get(name, "")]
        tables = score_table(result), pairs_table(result), stage_table(result), abstention_table(result)
        parts += [_titled(table) for table in (*tables, size_table(result)) if table.rows]
    if len(results.protocols) > 1:
        parts += ["## Protocols side by side", _titled(side_by_side(results.protocols))]
    if first:
        measure = main_measure(measures_of(first))
        more = {
            "Asked otherwise": robustness_table(results, measure),
            "As the corpus grows": scaling_table(results, measure),
            "Kinds of questions": slice_table(results, measure),
        }
        for title, table in more.items():
            parts += [f"## {title}", _titled(table)] if table.rows else []
    parts += ["## How it was measured", _details(results.details)]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(table: Table) -> str:
    """Return a table in Markdown."""
    numbers = len(table.header) - table.labels
    rows = [
        [_escape(name) for name in table.header],
        [*["---"] * table.labels, *["---:"] * numbers],
        *([_cell(cell) for cell in row] for row in table.rows),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _titled(table: Table) -> str:
    note = f"\n\n{_escape(table.note).replace('Bold', '**Bold**')}" if table.note else ""
    return f"### {_escape(table.title)}\n\n{markdown_table(table)}{note}"


def _cell(cell: Cell) -> str:
    text = f"**{_escape(cell.text)}**" if cell.best else _escape(cell.text)
    if cell.interval:
        text += f" ({cell.interval.low:.3f}–{cell.interval.high:.3f})"
    if cell.detail:
        text += f" ({_escape(cell.detail)})"
    return f"{text} ≈" if cell.level else text


def _details(details: Mapping[str, Any]) -> str:
    lines = []
    for name, value in details.items():
        if name == "arguments":
            continue  # the command says them
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {short(one) if isinstance(one, float) else one}" for key, one in value.items())
        lines.append(f"- {_escape(name)}: {_escape(str(value))}")
    return "\n".join(lines)


def _escape(text: str) -> str:
    """Return Markdown that shows a text as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", " ".join(text.split()))
