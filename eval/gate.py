"""The gate in CI: whether a run fell below a saved one by more than chance explains."""

from collections.abc import Iterable, Iterator
from math import floor, log2
from typing import NamedTuple

from eval.compare import FEW, Change, compare_protocol, correct, same_questions, text_table
from eval.saved import Saved, SavedProtocol
from eval.statistics import LEVEL

GATED = ("hit_rate", "mrr")
"""What the gate tests, at the deepest cut-off: what reaches the reader, and in what order. The other measures move with
these two, and each more that is tested makes a real fall harder to tell from chance."""
_LEGEND = "p: of a fall by chance alone, one-sided, corrected for the number of tests (Holm)."


class Verdict(NamedTuple):
    """What the gate found.

    Attributes:
        falls: What fell by more than chance explains.
        others: What did not.
        obstacles: Why the runs cannot be compared, or not all of them, in sentences.
        questions: How many were compared, by protocol.
        level: Below this corrected p a fall counts.
    """

    falls: list[Change]
    others: list[Change]
    obstacles: list[str]
    questions: dict[str, int]
    level: float

    @property
    def ok(self) -> bool:
        """Whether the gate lets the new run pass."""
        return not self.falls and not self.obstacles


def gate(baseline: Saved, after: Saved, *, level: float = LEVEL) -> Verdict:
    """Tell whether a run fell below a baseline, by more than chance explains, in any system under any protocol.

    Tested are the measures of `GATED`, one-sided: a rise never fails. Holm's correction over all that is tested keeps
    a change without effect from failing more often than in ``level`` of the runs. What would make passing mean nothing
    fails too: other questions or another corpus, a protocol, system or measure that the baseline has and the run
    lacks, and so few questions that no fall could fail.
    """
    obstacles: list[str] = []
    tests: list[Change] = []
    questions: dict[str, int] = {}
    for name, old in baseline.protocols.items():
        new = after.protocols.get(name)
        if new is None:
            obstacles.append(f"{name}: the baseline has this protocol, the new run lacks it.")
            continue
        obstacles += [f"{name}: {obstacle}" for obstacle in _obstacles(old, new)]
        if _same_task(old, new):
            questions[name] = len(old.ids)
            tests += compare_protocol(name, old, new, same_questions(old, new), _gated(old), two_sided=False)
    least = _least_losses(len(tests), level)
    obstacles += [
        f"{name}: {count} questions cannot show a fall, whatever happens; at least {least} are needed."
        for name, count in questions.items()
        if tests and count < least
    ]
    if not tests and not obstacles:
        obstacles.append(f"The baseline {baseline.name} holds nothing to test.")
    tests = correct(tests)
    falls = [test for test in tests if test.corrected_p < level]
    return Verdict(falls, [test for test in tests if test.corrected_p >= level], obstacles, questions, level)


def gate_text(verdict: Verdict) -> str:
    """Return the gate's verdict as plain text, with the least fall that it could have seen."""
    tests = verdict.falls + verdict.others
    lines = [f"Gate {'passed' if verdict.ok else 'FAILED'} (level {verdict.level:g}, {len(tests)} tests)"]
    lines += [f"Not comparable: {obstacle}" for obstacle in verdict.obstacles]
    least = _least_losses(len(tests), verdict.level)
    for name, count in verdict.questions.items():
        lines.append(
            f"{name}: {count:,} questions. At least {least} of them must get worse, and none better, before a fall is "
            f"significant: {least / count:.3f} of the hit rate."
        )
        if count < FEW:
            lines.append(f"Warning: {count} questions are few. Only a collapse is significant; ask {FEW} at least.")
    for title, some in (
        ("Fell by more than chance explains", verdict.falls),
        ("Fell, but not significantly", _down(verdict.others)),
    ):
        if some:
            lines += ["", f"{title}:", text_table(some, {}, legend=_LEGEND)]
    return "\n".join(lines)


def _least_losses(tests: int, level: float) -> int:
    """Return how many questions must be lost, and none won, for a fall to be significant.

    That all of m changed questions are losses has the p 0.5**m, which Holm multiplies by the number of tests.
    """
    return floor(log2(max(1, tests) / level)) + 1


def _same_task(old: SavedProtocol, new: SavedProtocol) -> bool:
    return (old.questions, old.corpus) == (new.questions, new.corpus)


def _obstacles(old: SavedProtocol, new: SavedProtocol) -> Iterator[str]:
    """Yield why the gate cannot say that nothing fell."""
    if old.questions != new.questions:
        yield (
            f"the questions are not the baseline's ({len(old.ids):,} there, {len(new.ids):,} here, "
            f"{len(same_questions(old, new)):,} the same). Run on the same data, or save a new baseline."
        )
    if old.corpus != new.corpus:
        yield (
            f"the passages are not the baseline's ({old.passages:,} there, {new.passages:,} here). Run on the same "
            "data, or save a new baseline."
        )
    for system in old.scores:
        if system not in new.scores:
            yield f"the baseline has the system {system}, the new run lacks it."
        else:
            missing = [measure for measure in _gated(old) if measure not in new.scores[system]]
            yield from (f"{system} was not measured by {measure}. Run with the baseline's --k." for measure in missing)


def _gated(protocol: SavedProtocol) -> list[str]:
    """Return the names of the measures that the gate tests: each of `GATED` at its deepest cut-off."""
    names = {name: None for measures in protocol.scores.values() for name in measures}
    found = ([name for name in names if name.partition("@")[0] == kind] for kind in GATED)
    return [max(some, key=lambda name: int(name.partition("@")[2])) for some in found if some]


def _down(changes: Iterable[Change]) -> list[Change]:
    return [change for change in changes if change.comparison.after < change.comparison.before]
