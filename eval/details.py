"""What a benchmark was run with, so that somebody can run it again."""

import argparse
import shlex
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eval.machine import machine
from rag_app.provenance import commit, versions
from rag_app.stores.address import Address, without_login

PACKAGES = (
    "korean-rag",
    "faiss-cpu",
    "ir_measures",
    "kiwipiepy",
    "langchain-core",
    "sentence-transformers",
    "tantivy",
    "torch",
    "transformers",
)


def describe_run(
    arguments: argparse.Namespace,
    argv: Sequence[str] | None = None,
    *,
    program: str = "eval.hit_rate",
    packages: Iterable[str] = PACKAGES,
) -> dict[str, Any]:
    """Return the details of `eval.results.Results`, without the seconds.

    Args:
        arguments: As they were parsed.
        argv: As they were given; those of this process if None.
        program: What ``python -m`` ran.
        packages: Whose versions matter.
    """
    given = sys.argv[1:] if argv is None else argv
    return {
        "command": shlex.join(["python", "-m", program, *map(without_login, given)]),
        "arguments": {name: _told(value) for name, value in vars(arguments).items()},
        # A single file is taken for whichever split one wants.
        "data": arguments.data if Path(arguments.data).is_file() else f"{arguments.data}, {arguments.split}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": versions(packages),
        "machine": machine(),
    }


def _told(value: Any) -> Any:
    """Return an argument as JSON takes it, without passwords."""
    if isinstance(value, list):
        return [_told(one) for one in value]
    if isinstance(value, Path | Address):
        return str(value)
    return without_login(value) if isinstance(value, str) else value
