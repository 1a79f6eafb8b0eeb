"""Everything that a measurement of speed has found, as it is written to a file."""

import argparse
import json
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eval.details import PACKAGES
from eval.machine import load_average, machine
from eval.timing.figures import DEFINITIONS, figures
from rag_app.provenance import commit, versions

_PACKAGES = (*PACKAGES, "langchain-classic", "langchain-community", "onnxruntime", "rank_bm25", "tokenizers")


def begin(arguments: argparse.Namespace, given: Sequence[str]) -> dict[str, Any]:
    """Return a report of nothing yet; parts are added to it by name, and their ``seconds``."""
    return {
        **figures({}),
        "definitions": dict(DEFINITIONS),
        "complete": False,
        "seconds": {},
        "details": {
            "command": shlex.join(["python", "-m", "eval.speed", *given]),
            "arguments": {name: str(one) if isinstance(one, Path) else one for name, one in vars(arguments).items()},
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "versions": versions(_PACKAGES),
            "machine": machine(),
        },
    }


def finish(report: dict[str, Any], *, complete: bool) -> None:
    """Add what follows from the parts, and what is known only at the end."""
    report.update(figures(report), complete=complete)
    report["details"]["machine"] = {
        **machine(),
        "load_average": report["details"]["machine"].get("load_average"),
        **load_average("load_average_at_end"),
    }


def to_json(report: dict[str, Any]) -> str:
    """Return a report as JSON."""
    return json.dumps(report, ensure_ascii=False, indent=2) + "\n"
