"""What was found, as text for the screen."""

from collections.abc import Collection

from eval.report.cells import Cell, Table
from eval.report.tables import (
    abstention_table,
    pairs_table,
    robustness_table,
    scaling_table,
    score_table,
    side_by_side,
    slice_table,
    stage_table,
)
from eval.report.verdict import main_measure, measures_of, summary
from eval.results import ProtocolResult, Results
from rag_app.text_tables import aligned

LEGEND = (
    "±: half of the 95% interval, or the larger part of it. *: best of its column, or a change with p < 0.05. "
    "≈: not told apart\nfrom the best (p ≥ 0.05 after Holm's correction). Times hold for this machine only."
)


def text_report(results: Results) -> str:
    """Return what was found as text for the screen, up to 140 columns wide with names of usual length."""
    parts = []
    for name, result in results.protocols.items():
        benchmark = result.benchmark
        parts.append(
            f"Protocol {name}: {len(benchmark.questions):,} questions, {len(benchmark.corpus):,} passages\n\n"
            + text_table(result)
        )
        pairs = pairs_table(result)
        abstention = abstention_table(result)
        parts += [_titled(table) for table in (pairs, abstention) if table.rows]
    if len(results.protocols) > 1:
        parts.append(_titled(side_by_side(results.protocols)))
    if results.protocols:
        measure = main_measure(measures_of(next(iter(results.protocols.values()))))
        more = robustness_table(results, measure), scaling_table(results, measure)
        parts += [_titled(table) for table in more if table.rows]
        if (slices := slice_table(results, measure)).rows:
            parts.append(f"{slices.title}\n{plain_table(slices, intervals=False)}")
        parts.append("\n".join(summary(next(iter(results.protocols.values())))))
        parts.append(LEGEND)
    return "\n\n".join(parts)


def text_table(result: ProtocolResult) -> str:
    """Return the scores and times of the systems as a table of text, and a second one of the times by stage."""
    scores, stages = score_table(result), stage_table(result)
    text = plain_table(scores, without={"p99 ms"})
    return f"{text}\n\n{_titled(stages)}" if stages.rows else text


def plain_table(table: Table, *, without: Collection[str] = (), intervals: bool = True) -> str:
    """Return a table as lines of text.

    Args:
        table: Any.
        without: The names of columns to leave out.
        intervals: Whether to show those.
    """
    kept = [number for number, name in enumerate(table.header) if name not in without]
    header = [table.header[number] for number in kept]
    rows = [header, *([_plain(row[number], intervals) for number in kept] for row in table.rows)]
    return aligned(rows, labels=table.labels)


def _titled(table: Table) -> str:
    return f"{table.title}\n{plain_table(table)}"


def _plain(cell: Cell, intervals: bool) -> str:
    mark = "*" if cell.best else "≈" if cell.level else ""
    if cell.interval is None or not intervals:
        return cell.text + mark
    half = max(cell.interval.high - cell.interval.mean, cell.interval.mean - cell.interval.low)
    return f"{cell.text} ±{f'{half:.2f}'.removeprefix('0')}{mark or ' '}"
