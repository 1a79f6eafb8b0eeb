"""Everything that a measurement of speed has found, as it is written to a file, with four figures on top."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from eval.details import PACKAGES, describe_run
from eval.machine import load_average, machine
from eval.timing.defaults import DEFAULT, FULL
from eval.timing.same_weights import KINDS

DEFINITIONS = {
    "reranked_ratio": "how many times faster than the loop a reranked question is, median of the rounds: "
    f"first pair of models, {KINDS['reranked'][-1].name}",
    "unreranked_ratio": f"the same without reranking: {KINDS['unreranked'][-1].name}",
    "max_score_difference": "largest difference between a score of the loop (cosine or cross-encoder, 0 to 1) and "
    "that of ours in fp32",
    "hit1_difference": "hit@1 on the embedded models, the default reranking less scoring all 30 in full (0.002 is "
    "0.2 points)",
}
"""Of the figures, by name."""

_PACKAGES = (*PACKAGES, "langchain-classic", "langchain-community", "onnxruntime", "rank_bm25", "tokenizers")


def begin(arguments: argparse.Namespace, given: Sequence[str]) -> dict[str, Any]:
    """Return a report of nothing yet; parts are added to it by name, and their ``seconds``."""
    return {
        **figures({}),
        "definitions": dict(DEFINITIONS),
        "complete": False,
        "seconds": {},
        "details": describe_run(arguments, given, program="eval.speed", packages=_PACKAGES),
    }


def finish(report: dict[str, Any], *, complete: bool) -> None:
    """Add what follows from the parts, and what is known only at the end."""
    report.update(figures(report), complete=complete)
    before = report["details"]["machine"]
    report["details"]["machine"] = {
        **machine(),  # now that the models' libraries are loaded
        "load_average": before.get("load_average"),
        **load_average("load_average_at_end"),
    }


def figures(report: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the figures as far as they are measured, else None."""
    pairs = list(report.get("same_weights", {}).values())
    differences = [
        row["max_score_difference"]
        for pair in pairs
        for kind in KINDS
        for row in pair.get(kind, {}).get("rows", {}).values()
        if row.get("exact") and row["max_score_difference"] is not None
    ]
    quality = report.get("quality", {})
    hits = [quality[name]["hit_rate@1"]["mean"] for name in (DEFAULT, FULL) if name in quality]
    return {
        "reranked_ratio": _ratio(pairs, "reranked"),
        "unreranked_ratio": _ratio(pairs, "unreranked"),
        "max_score_difference": max(differences, default=None),
        "hit1_difference": hits[0] - hits[1] if len(hits) == 2 else None,
    }


def _ratio(pairs: Sequence[Mapping[str, Any]], kind: str) -> float | None:
    rows = pairs[0].get(kind, {}).get("rows", {}) if pairs else {}
    row = rows.get(KINDS[kind][-1].name)
    return None if row is None else float(row["times_faster"]["median"])
