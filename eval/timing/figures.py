"""The four figures that a measurement of speed comes down to."""

from collections.abc import Mapping
from typing import Any

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
"""By name."""


def figures(report: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the figures as far as they are measured, else None."""
    pairs = list(report.get("same_weights", {}).values())
    ratios = {kind: _headline(pairs[0], kind) if pairs else None for kind in KINDS}
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
        "reranked_ratio": ratios["reranked"],
        "unreranked_ratio": ratios["unreranked"],
        "max_score_difference": max(differences, default=None),
        "hit1_difference": hits[0] - hits[1] if len(hits) == 2 else None,
    }


def _headline(pair: Mapping[str, Any], kind: str) -> float | None:
    row = pair.get(kind, {}).get("rows", {}).get(KINDS[kind][-1].name)
    return None if row is None else float(row["times_faster"]["median"])
