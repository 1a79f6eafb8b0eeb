"""Where a system is good and where it is not: the scores of some of the questions, or of all asked otherwise."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from eval.protocols import Benchmark
from eval.results import Interval, Scores, Slice
from eval.slices.properties import slice_questions
from eval.statistics import interval
from rag_app.significance import Comparison, compare

ASKED_OTHERWISE = "asked otherwise"
"""The kind of the slices that are all questions, asked in another way."""

AllScores = Mapping[str, Mapping[str, Scores]]
"""By system and measure, the score of each question."""


def property_slices(benchmark: Benchmark, scores: AllScores) -> list[Slice]:
    """Return what the systems score on each slice of `eval.slices.properties.slice_questions`.

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

    Each p is two-sided and of that comparison alone.

    Args:
        before: The scores of the questions as they are.
        after: By the name of the way (see `eval.slices.asked_otherwise`), those of the questions asked so, or of some
            of them: they are compared with the same ones.

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
