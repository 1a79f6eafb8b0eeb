"""The results of a benchmark as a table and as JSON."""

import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import faiss


class Result(NamedTuple):
    """What was measured of one system.

    Attributes:
        scores: Each metric's mean over the questions.
        seconds: What all questions took together, asked one at a time.
        queries: How many questions were asked.
        passages: How many there were to search.
    """

    scores: dict[str, float]
    seconds: float
    queries: int
    passages: int


def table(results: Mapping[str, Result]) -> str:
    """Return the results as a table of plain text, one line per system."""
    metrics = list(next(iter(results.values())).scores) if results else []
    rows = [["system", *metrics, "seconds", "ms/question"]]
    for name, result in results.items():
        scores = [f"{result.scores[metric]:.3f}" for metric in metrics]
        rows.append([name, *scores, f"{result.seconds:.2f}", f"{1000 * result.seconds / result.queries:.1f}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)
    return "\n".join(lines)


def to_json(results: Mapping[str, Result], **details: Any) -> str:
    """Return the results as JSON: ``{"systems": {NAME: {"hit_rate@1": ..., "seconds": ..., ...}}}``.

    Args:
        results: By system name.
        details: Stored beside ``systems``.
    """
    systems = {name: {**result.scores, **_without_scores(result)} for name, result in results.items()}
    return json.dumps({"systems": systems, **details}, ensure_ascii=False, indent=2) + "\n"


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


def machine() -> dict[str, Any]:
    """Return what the times depend on: processor, cores, the libraries' threads, and what else is running."""
    details: dict[str, Any] = {
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "faiss_threads": faiss.omp_get_max_threads(),
    }
    if "torch" in sys.modules:
        details["torch_threads"] = sys.modules["torch"].get_num_threads()
    if hasattr(os, "getloadavg"):
        details["load_average"] = round(os.getloadavg()[0], 1)
    return details


def _without_scores(result: Result) -> dict[str, Any]:
    return {key: value for key, value in result._asdict().items() if key != "scores"}
