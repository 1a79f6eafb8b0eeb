"""Two saved runs compared question by question: what changed, and how sure that is."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from eval.report.cells import p_text
from eval.results import Interval
from eval.saved import Saved, SavedProtocol
from eval.statistics import LEVEL, difference_interval, holm
from rag_app.significance import Comparison, compare
from rag_app.text_tables import aligned

FEW = 50
"""Below so many questions only a collapse is significant."""

_HEADER = ("system", "measure", "before", "after", "difference", "95% interval", "better", "worse", "same", "p")
_LEGEND = (
    f"* p below {LEVEL:g}. p: two-sided paired randomisation test, corrected for the number of comparisons by the same "
    "measure (Holm)."
)


class Change(NamedTuple):
    """One measure of one system in two runs, over the same questions.

    Attributes:
        protocol: The name of the protocol.
        system: The name of the system.
        measure: The name of the measure.
        comparison: Of the later run with the earlier. Its p is two-sided; from the gate, the p of a fall.
        difference: After less before, and what it may be for questions like these.
        corrected_p: p, corrected for the number of comparisons (Holm).
    """

    protocol: str
    system: str
    measure: str
    comparison: Comparison
    difference: Interval
    corrected_p: float


class Changes(NamedTuple):
    """What changed from one run to another.

    Attributes:
        questions: How many each protocol has in common, by its name.
        changes: By protocol, system and measure, in the order of the earlier run.
        notes: What is to be known before reading them, in sentences: above all where the task is not the same.
    """

    questions: dict[str, int]
    changes: list[Change]
    notes: list[str]


def compare_runs(before: Saved, after: Saved) -> Changes:
    """Compare every system and measure that both runs have, by the questions that are the same in both.

    A question is the same where id, text and relevant documents are. p is two-sided, and corrected for the number of
    comparisons by the same measure, over systems and protocols.

    Raises:
        ValueError: The runs have no question, or no system and measure, in common.
    """
    notes = _missing("protocol", before.protocols, after.protocols)
    changes: list[Change] = []
    questions: dict[str, int] = {}
    for name in _common(before.protocols, after.protocols):
        old, new = before.protocols[name], after.protocols[name]
        places = same_questions(old, new)
        notes += [f"{name}: {note}" for note in _differences(old, new, len(places))]
        if tests := list(compare_protocol(name, old, new, places)):
            changes += tests
            questions[name] = len(places)
    if not changes:
        raise ValueError(f"{before.name} and {after.name} have nothing in common to compare. {' '.join(notes)}".strip())
    by_measure = [[change for change in changes if change.measure == measure] for measure in _measures(changes)]
    corrected = {change[:3]: change for group in by_measure for change in correct(group)}
    return Changes(questions, [corrected[change[:3]] for change in changes], notes)


def compare_text(before: Saved, after: Saved) -> str:
    """Return the comparison of two runs as plain text; see `compare_runs`.

    Raises:
        ValueError: They have nothing in common.
    """
    changes = compare_runs(before, after)
    lines = [f"Before: {before.name}", f"After:  {after.name}", *(f"Note: {note}" for note in changes.notes)]
    return "\n".join([*lines, "", text_table(changes.changes, changes.questions)])


def text_table(changes: Sequence[Change], questions: Mapping[str, int], *, legend: str = _LEGEND) -> str:
    """Return changes as aligned plain text, one table for each protocol.

    Args:
        changes: From `compare_runs` or `gate`.
        questions: How many there are, by protocol; those that are not named have a title without.
        legend: Stands below.
    """
    tables = [
        f"{title}\n{aligned([_HEADER, *map(_row, group)], labels=2)}"
        for title, group in _by_protocol(changes, questions)
    ]
    return "\n\n".join([*tables, legend])


def compare_protocol(
    protocol: str,
    old: SavedProtocol,
    new: SavedProtocol,
    places: Sequence[tuple[int, int]],
    measures: Collection[str] | None = None,
    *,
    two_sided: bool = True,
) -> Iterator[Change]:
    """Yield a comparison by each measure that both have, uncorrected; one-sided ones test whether it fell."""
    for system in _common(old.scores, new.scores) if places else ():
        for measure in _common(old.scores[system], new.scores[system]):
            if measures is None or measure in measures:
                before = [old.scores[system][measure][place] for place, _ in places]
                after = [new.scores[system][measure][place] for _, place in places]
                comparison = compare(before, after, two_sided=True) if two_sided else _fall(before, after)
                yield Change(protocol, system, measure, comparison, difference_interval(before, after), comparison.p)


def correct(changes: Sequence[Change]) -> list[Change]:
    """Return the comparisons with their p corrected for how many they are."""
    ps = holm([change.comparison.p for change in changes])
    return [change._replace(corrected_p=p) for change, p in zip(changes, ps, strict=True)]


def same_questions(old: SavedProtocol, new: SavedProtocol) -> list[tuple[int, int]]:
    """Return where the questions that are the same stand in either run."""
    places = {key: place for place, key in enumerate(zip(new.ids, new.hashes, strict=True))}
    keys = enumerate(zip(old.ids, old.hashes, strict=True))
    return [(place, places[key]) for place, key in keys if key in places]


def _fall(before: Sequence[float], after: Sequence[float]) -> Comparison:
    """Return a comparison whose p is that of a fall: of how the earlier run gains on the later."""
    gain = compare(after, before)
    return Comparison(gain.after, gain.before, gain.losses, gain.wins, gain.ties, gain.p)


def _differences(old: SavedProtocol, new: SavedProtocol, same: int) -> Iterator[str]:
    """Yield what keeps two runs of a protocol from being the same task, or from being compared whole."""
    if old.corpus != new.corpus:
        yield (
            f"the corpora differ ({old.passages:,} and {new.passages:,} passages): these scores are not of the same "
            "task, and a difference may come from the passages alone."
        )
    if old.questions != new.questions:
        yield (
            f"{same:,} of {len(old.ids):,} questions before and {len(new.ids):,} after are the same, and only these "
            "are compared."
        )
    if 0 < same < FEW:
        yield f"{same} questions are few: only large differences are significant."
    yield from _missing("system", old.scores, new.scores)
    for system in _common(old.scores, new.scores):
        yield from (f"{system}: {note}" for note in _missing("measure", old.scores[system], new.scores[system]))


def _common(old: Iterable[str], new: Collection[str]) -> list[str]:
    return [name for name in old if name in new]


def _missing(kind: str, old: Collection[str], new: Collection[str]) -> list[str]:
    """Return a sentence for what is only in one of the runs."""
    sides = (
        ("before", [name for name in old if name not in new]),
        ("after", [name for name in new if name not in old]),
    )
    return [f"only the run {side} has the {kind} {', '.join(names)}." for side, names in sides if names]


def _measures(changes: Iterable[Change]) -> list[str]:
    return list(dict.fromkeys(change.measure for change in changes))


def _by_protocol(changes: Iterable[Change], questions: Mapping[str, int]) -> Iterator[tuple[str, list[Change]]]:
    for protocol, group in groupby(changes, key=lambda change: change.protocol):
        count = f", {questions[protocol]:,} questions" if protocol in questions else ""
        yield f"{protocol}{count}", list(group)


def _row(change: Change) -> list[str]:
    comparison, difference = change.comparison, change.difference
    return [
        change.system,
        change.measure,
        f"{comparison.before:.3f}",
        f"{comparison.after:.3f}",
        f"{difference.mean:+.3f}",
        f"{difference.low:+.3f} to {difference.high:+.3f}",
        *(f"{count:,}" for count in (comparison.wins, comparison.losses, comparison.ties)),
        f"{p_text(change.corrected_p)}{'*' if change.corrected_p < LEVEL else ' '}",
    ]
