"""Measuring in a process of its own, whose memory and start are those of nothing else."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from eval.options import INTERRUPTED


def run_task(module: str, task: dict[str, Any], *, apart: bool = True) -> dict[str, Any]:
    """Run ``python -m MODULE`` on a task, and return what it found; its stderr is shown.

    Args:
        module: It has a ``measure`` and hands it to `answer_task`.
        task: Fits into JSON.
        apart: Whether in a process of its own. In this one it is sooner done, and its memory tells nothing.

    Raises:
        RuntimeError: It failed.
    """
    if not apart:
        here: dict[str, Any] = import_module(module).measure(task)
        return here
    command = [sys.executable, "-m", module, json.dumps(task)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as child:  # noqa: S603
        try:
            output, _ = child.communicate()
        except BaseException:
            child.terminate()
            raise
    if child.returncode:
        raise RuntimeError(f"A measurement failed with status {child.returncode}: python -m {module} {command[-1]!r}")
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def answer_task(measure: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
    """Measure what the command line asks for, print it as JSON, and return the exit status."""
    try:
        found = measure(json.loads(sys.argv[1]))
    except KeyboardInterrupt:  # the terminal interrupts parent and child alike, and the parent says so
        return INTERRUPTED
    print(json.dumps(found))
    return 0
