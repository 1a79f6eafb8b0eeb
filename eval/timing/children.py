"""Measuring in a process of its own, whose memory and start are those of nothing else.

    python -m eval.timing.children MODULE FUNCTION TASK

It imports little, as how long a process takes to start is one of the things that are measured.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

Task = dict[str, Any]
"""What to measure; fits into JSON, as does what is found."""


def run_task(measure: Callable[[Task], dict[str, Any]], task: Task, *, apart: bool = True) -> dict[str, Any]:
    """Measure a task, and return what was found; the process's stderr is shown.

    Args:
        measure: A function of a module.
        task: What it takes.
        apart: Whether in a process of its own. In this one it is sooner done, and its memory tells nothing.

    Raises:
        RuntimeError: The process failed.
    """
    if not apart:
        return measure(task)
    command = [sys.executable, "-m", "eval.timing.children", measure.__module__, measure.__name__, json.dumps(task)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as child:  # noqa: S603
        try:
            output, _ = child.communicate()
        except BaseException:
            child.terminate()
            raise
    if child.returncode:
        named = " ".join(["python", *command[1:-1], repr(command[-1])])
        raise RuntimeError(f"A measurement failed with status {child.returncode}: {named}")
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the terminal interrupts parent and child, and the parent says so
    print(json.dumps(getattr(import_module(sys.argv[1]), sys.argv[2])(json.loads(sys.argv[3]))))
