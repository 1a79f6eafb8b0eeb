"""What the scores of a protocol say: which system is best, which cannot be told apart from it, and which to take."""

from collections.abc import Iterable

from eval.report.cells import ms, with_interval
from eval.results import Pair, ProtocolResult, SystemResult
from eval.statistics import LEVEL
from rag_app.significance import Comparison


def main_measure(measures: Iterable[str]) -> str:
    """Return the measure that systems are ranked by: the reciprocal rank, or else the first."""
    measures = list(measures)
    return next((measure for measure in measures if measure.startswith("mrr@")), measures[0] if measures else "")


def measures_of(result: ProtocolResult) -> list[str]:
    """Return the names of the measures."""
    return list(next(iter(result.systems.values())).intervals) if result.systems else []


def best_system(result: ProtocolResult, measure: str) -> str:
    """Return the system with the highest mean, of equal ones the quickest."""
    return min(result.systems, key=lambda name: (-_mean(result, name, measure), p50(result.systems[name])))


def best_systems(result: ProtocolResult, measure: str) -> set[str]:
    """Return all systems with the highest mean."""
    highest = _mean(result, best_system(result, measure), measure) if result.systems else 0.0
    return {name for name in result.systems if _mean(result, name, measure) == highest}


def level_systems(result: ProtocolResult, measure: str) -> set[str]:
    """Return the systems that cannot be told apart from the best: their corrected p is not below 5%."""
    best = best_system(result, measure)
    pairs = {name: difference(result, measure, name, best) for name in result.systems}
    return {name for name, pair in pairs.items() if pair is not None and pair.corrected_p >= LEVEL}


def p50(system: SystemResult) -> float:
    """Return the median seconds of a question, infinite where they are not known."""
    return system.times.p50 if system.times else float("inf")


def difference(result: ProtocolResult, measure: str, name: str, other: str) -> Pair | None:
    """Return the comparison of a system with another one, None where they were not compared."""
    for pair in result.pairs.get(measure, ()):
        if (pair.before, pair.after) == (other, name):
            return pair
        if (pair.before, pair.after) == (name, other):
            before, after, wins, losses, ties, p = pair.comparison
            return Pair(other, name, Comparison(after, before, losses, wins, ties, p), pair.corrected_p)
    return None


def summary(result: ProtocolResult) -> list[str]:
    """Return what the scores say, in sentences: the best system, and the quickest that is not known to be worse."""
    if not result.systems:
        return ["No system was measured."]
    measure = main_measure(measures_of(result))
    best = best_system(result, measure)
    system = result.systems[best]
    alike = level_systems(result, measure)
    sentences = [f"{best} ranks best: {measure} {with_interval(system.intervals[measure])}."]
    shares = {name: share for name, share in system.intervals.items() if name.startswith("hit_rate@")}
    where = [f"among the first {name[9:]} for {share.mean:.1%}" for name, share in shares.items()]
    if where:
        found = " and ".join(where).replace("among the first 1 for", "first for")
        sentences.append(f"It puts a right passage {found} of the questions.")
    if len(result.systems) > 1:
        others = ", ".join(name for name in result.systems if name in alike) or "none"
        sentences.append(
            f"Not significantly worse on these {len(result.benchmark.questions):,} questions, which does not make them "
            f"as good: {others}."
        )
    quickest = min((best, *alike), key=lambda name: p50(result.systems[name]))
    if system.times and quickest != best:
        sentences.append(
            f"The quickest of these, {quickest}, answers half of the questions within "
            f"{ms(p50(result.systems[quickest]))} ms, {best} within {ms(system.times.p50)} ms."
        )
    elif system.times:
        sentences.append(
            f"It answers half of the questions within {ms(system.times.p50)} ms, 95% within {ms(system.times.p95)} ms."
        )
    return sentences


def _mean(result: ProtocolResult, name: str, measure: str) -> float:
    return result.systems[name].intervals[measure].mean
