"""The report of a benchmark: as text for the screen, and as a folder."""

import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from unicodedata import east_asian_width

from eval.cells import Cell, Table
from eval.results import ProtocolResult, Results
from eval.tables import (
    abstention_table,
    pairs_table,
    robustness_table,
    scaling_table,
    score_table,
    side_by_side,
    slice_table,
    stage_table,
)
from eval.verdict import main_measure, measures_of, summary

LEGEND = (
    "±: half of the 95% interval, or the larger part of it. *: best of its column, or a change with p < 0.05. "
    "≈: not told apart\nfrom the best (p ≥ 0.05 after Holm's correction). Times hold for this machine only."
)
_LONGEST = 100  # of a file's name


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
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            text + " " * (width - _width(text)) if number < table.labels else " " * (width - _width(text)) + text
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def write_report(results: Results, folder: Path) -> None:
    """Write a folder with everything that was found.

    In it are ``index.html``, ``report.md`` and ``results.json``; and by protocol ``questions/NAME.jsonl``,
    ``qrels/NAME.txt`` and ``runs/NAME/SYSTEM.txt`` in TREC's format (see `eval.trec`). Each file is replaced in one
    step; runs in it of systems that were not measured this time are removed.

    Args:
        results: Everything.
        folder: Made when missing.

    Raises:
        OSError: It cannot be written, as when the disk is full; what was there before is whole, file by file.
        ImportError: Jinja2 is not installed.
    """
    written = set()
    for name, text in _files(results):
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
        except OSError as error:
            reason = f"{error.strerror}; the report is not complete. Free some space or allow writing"
            raise OSError(error.errno, reason, str(path)) from error
        written.add(path)
    for path in folder.glob("runs/*/*.txt"):
        if path not in written:
            path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a file in one step: an interruption leaves what was there before, whole."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Return a file name for each name, without its suffix: safe everywhere, readable and not twice the same."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        wanted = re.sub(r"[^\w.+-]+", "_", name)[:_LONGEST].strip(".") or "_"
        number, safe = 1, wanted
        while safe.casefold() in taken:  # some file systems take A for a
            number += 1
            safe = f"{wanted}-{number}"
        taken.add(safe.casefold())
        found[name] = safe
    return found


def _files(results: Results) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each file, the page last: it is made from all that is there."""
    from eval.markdown import markdown_report
    from eval.page import page
    from eval.saved import to_json
    from eval.trec import qrels_lines, question_lines, run_lines

    html = _writable(page(results))
    for protocol, result in results.protocols.items():
        yield f"questions/{protocol}.jsonl", _writable(question_lines(result.benchmark))
        yield f"qrels/{protocol}.txt", _writable(qrels_lines(result.benchmark))
        for name, file in file_names(result.systems).items():
            yield f"runs/{protocol}/{file}.txt", _writable(run_lines(result.systems[name].answers, name))
    yield "results.json", to_json(results)
    yield "report.md", _writable(markdown_report(results))
    yield "index.html", html


def _writable(text: str) -> str:
    """Return a text that UTF-8 can hold: half of a surrogate pair, as a text cut short may end in, becomes ``?``."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _titled(table: Table) -> str:
    return f"{table.title}\n{plain_table(table)}"


def _plain(cell: Cell, intervals: bool) -> str:
    mark = "*" if cell.best else "≈" if cell.level else ""
    if cell.interval is None or not intervals:
        return cell.text + mark
    half = max(cell.interval.high - cell.interval.mean, cell.interval.mean - cell.interval.low)
    return f"{cell.text} ±{f'{half:.2f}'.removeprefix('0')}{mark or ' '}"


def _width(text: str) -> int:
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
