"""The scores of a finished benchmark, read from the ``results.json`` of its report."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FORMAT = "korean-rag-benchmark-1"
LEVEL = 0.05
"""Below this p a difference is significant."""


class Interval(NamedTuple):
    """A mean over the questions, and between what it may lie for questions like these, with 95% confidence."""

    mean: float
    low: float
    high: float


class SystemScores(NamedTuple):
    """What was measured of a system.

    Attributes:
        name: Its name.
        scores: By measure.
        seconds: The median of a question that is asked alone; None where questions were only asked all at once.
        slow_seconds: 95% of the questions take no longer; None likewise.
        at_once_seconds: Of a question when many are asked at once; None where that was not measured.
        stages: The mean seconds of each stage of a search.
        p: Of the difference to the best system by the main measure, corrected for the number of pairs; None for the
            best itself, and where they were not compared.
    """

    name: str
    scores: dict[str, Interval]
    seconds: float | None
    slow_seconds: float | None
    at_once_seconds: float | None
    stages: dict[str, float]
    p: float | None


class ProtocolScores(NamedTuple):
    """What was measured under a protocol.

    Attributes:
        name: ``clean`` or ``tutorial``.
        questions: How many were asked.
        passages: How many there were to search.
        measures: Those that a table shows; the last one ranks.
        systems: The best first.
    """

    name: str
    questions: int
    passages: int
    measures: list[str]
    systems: list[SystemScores]

    @property
    def best(self) -> SystemScores:
        """The system with the highest mean of the main measure, of equal ones the quickest."""
        return self.systems[0]

    @property
    def measure(self) -> str:
        """The main measure."""
        return self.measures[-1]

    def level(self) -> list[SystemScores]:
        """Return the systems that cannot be told apart from the best."""
        return [system for system in self.systems if system.p is not None and system.p >= LEVEL]


class Report(NamedTuple):
    """A report.

    Attributes:
        protocols: ``clean`` first.
        warnings: What the health checks warn of, in the program's words.
    """

    protocols: list[ProtocolScores]
    warnings: list[str]


def read_report(folder: Path) -> Report:
    """Return what a report holds.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is broken, or of another version.
    """
    path = folder / "results.json"
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}, want {FORMAT!r}")
        protocols = [_protocol(name, found) for name, found in content["protocols"].items()]
        warnings = [f"{one['check']}, {one['subject']}: {one['text']}" for one in content["health"] if one["warning"]]
        return Report(protocols, warnings)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error!r}. Run the benchmark again") from error


def _protocol(name: str, content: Mapping[str, Any]) -> ProtocolScores:
    found: dict[str, Any] = content["systems"]
    names = next(iter(found.values()))["intervals"]
    measures = [one for one in names if one.startswith("hit_rate@")] + [one for one in names if one.startswith("mrr@")]
    order = sorted(found, key=lambda system: (-found[system][measures[-1]], _seconds(found[system]) or 0.0))
    pairs = {frozenset((pair["before"], pair["after"])): pair for pair in content["pairs"].get(measures[-1], ())}
    systems = [_system(system, found[system], pairs.get(frozenset((system, order[0])))) for system in order]
    return ProtocolScores(name, content["questions"], content["passages"], measures, systems)


def _system(name: str, content: Mapping[str, Any], pair: Mapping[str, Any] | None) -> SystemScores:
    times = content["times"] or {}
    throughput = content["throughput"]
    return SystemScores(
        name,
        {measure: Interval(**interval) for measure, interval in content["intervals"].items()},
        times.get("p50"),
        times.get("p95"),
        throughput["seconds"] / throughput["questions"] if throughput and throughput["questions"] else None,
        dict(times.get("stages", {})),
        None if pair is None else pair["corrected_p"],
    )


def _seconds(content: Mapping[str, Any]) -> float | None:
    return (content["times"] or {}).get("p50")


def stage_names(systems: Sequence[SystemScores]) -> list[str]:
    """Return the names of all stages, in the order in which they run."""
    names = dict.fromkeys(stage for system in systems for stage in system.stages)
    return [*(name for name in names if name != "other"), *(["other"] if "other" in names else [])]
