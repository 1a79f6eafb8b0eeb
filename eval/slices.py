"""Where a system is good and where it is not: the scores of some of the questions, or of all asked otherwise."""

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from eval.properties import slice_questions
from eval.protocols import Benchmark
from eval.results import Interval, Scores, Slice
from eval.statistics import holm, interval
from rag_app.significance import Comparison, compare

ASKED_OTHERWISE = "asked otherwise"
"""The kind of the slices that are all questions, asked in another way."""
SIGNIFICANT = 0.05

AllScores = Mapping[str, Mapping[str, Scores]]
"""By system and measure, the score of each question."""


def property_slices(benchmark: Benchmark, scores: AllScores) -> list[Slice]:
    """Return what the systems score on each slice of `eval.properties.slice_questions`.

    Args:
        benchmark: What was asked.
        scores: Of all its questions.
    """
    return [
        Slice(kind, name, len(ids), _each(scores, partial(_interval_of, ids)), {})
        for kind, name, ids in slice_questions(benchmark)
    ]


def changed_slices(before: AllScores, after: Mapping[str, AllScores]) -> list[Slice]:
    """Return what asking otherwise does to the scores.

    Each p is two-sided and of that comparison alone; `cost_table` corrects it for how many there are.

    Args:
        before: The scores of the questions as they are.
        after: By the name of the way (see `eval.asked_otherwise`), those of the questions asked so, or of some of
            them: they are compared with the same ones.

    Raises:
        ValueError: The systems have not been asked the same questions, or ones that were not asked before.
    """
    slices = []
    for way, scores in after.items():
        ids = _ids(way, scores, before)
        changes = {
            system: {measure: _change(ids, before[system][measure], own[measure]) for measure in own}
            for system, own in scores.items()
        }
        slices.append(Slice(ASKED_OTHERWISE, way, len(ids), _each(scores, partial(_interval_of, ids)), changes))
    return slices


def cost_table(slices: Iterable[Slice], measure: str) -> list[list[str]]:
    """Return what each way of asking costs, as rows of cells, the first of them the header.

    A cell holds a system's score and what it lost or gained, with a star where that is significant: where p, corrected
    for the number of cells (Holm), is below `SIGNIFICANT`.

    Args:
        slices: Those that hold no changes are left out.
        measure: Such as ``"mrr@10"``.
    """
    changed = [one for one in slices if one.changes]
    systems = _systems(changed)
    found = {
        (one.name, system): own[measure] for one in changed for system, own in one.changes.items() if measure in own
    }
    corrected = holm([change.p for change in found.values()])
    cells = {
        place: f"{change.after:.3f} ({change.after - change.before:+.3f}{'*' if p < SIGNIFICANT else ''})"
        for (place, change), p in zip(found.items(), corrected, strict=True)
    }
    rows = [
        [one.name, f"{one.questions:,}", *(cells.get((one.name, system), "") for system in systems)] for one in changed
    ]
    return [[ASKED_OTHERWISE, "questions", *systems], *rows] if rows else []


def slice_table(slices: Iterable[Slice], measure: str) -> list[list[str]]:
    """Return the scores on each slice of a property, with their intervals, as rows of cells like `cost_table`."""
    properties = [one for one in slices if not one.changes]
    systems = _systems(properties)
    rows = [
        [
            one.kind,
            one.name,
            f"{one.questions:,}",
            *(_interval_cell(one.intervals.get(system, {}).get(measure)) for system in systems),
        ]
        for one in properties
    ]
    return [["slice", "", "questions", *systems], *rows] if rows else []


def text_table(slices: Sequence[Slice], measure: str) -> str:
    """Return `cost_table` and `slice_table` as plain text for the screen; empty if there are no slices."""
    tables = [rows for rows in (cost_table(slices, measure), slice_table(slices, measure)) if rows]
    return "\n\n".join(map(_aligned, tables))


def _each(scores: AllScores, measured: Callable[[Scores], Interval]) -> dict[str, dict[str, Interval]]:
    return {system: {name: measured(own[name]) for name in own} for system, own in scores.items()}


def _interval_of(ids: Sequence[str], scores: Scores) -> Interval:
    return interval([scores[id_] for id_ in ids])


def _change(ids: Sequence[str], before: Scores, after: Scores) -> Comparison:
    return compare([before[id_] for id_ in ids], [after[id_] for id_ in ids], two_sided=True)


def _ids(way: str, after: AllScores, before: AllScores) -> list[str]:
    """Return the questions that were asked otherwise, the same for all systems and asked before too."""
    columns = [(system, measure, scores) for system, own in after.items() for measure, scores in own.items()]
    ids = list(columns[0][2]) if columns else []
    for system, measure, scores in columns:
        if scores.keys() != set(ids):
            raise ValueError(f"{way}: {system} was not asked the same {len(ids)} questions as {columns[0][0]}")
        if missing := [id_ for id_ in ids if id_ not in before.get(system, {}).get(measure, {})]:
            raise ValueError(
                f"{way}: {len(missing)} questions have no {measure} of {system} as they are, such as {missing[0]!r}"
            )
    return ids


def _systems(slices: Sequence[Slice]) -> list[str]:
    return list(dict.fromkeys(system for one in slices for system in one.intervals))


def _interval_cell(found: Interval | None) -> str:
    return "" if found is None else f"{found.mean:.3f} ({found.low:.3f} to {found.high:.3f})"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)) for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes: Hangul takes two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
