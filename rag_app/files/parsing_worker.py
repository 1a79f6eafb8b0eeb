"""The process that reads the files of strangers for `rag_app.files.parsing`: a request a line, then its answers.

A request is the name of a method of `rag_app.files.reading.LocalReader` and its arguments; answers are
``["item", value]`` for each that it returns, then ``["done", ""]``, or ``["unreadable", why]``, or
``["too large", ""]`` and the end of the process. All is JSON in UTF-8: what a hostile file makes of this process, the
other side reads nothing but data.
"""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from rag_app.files.reading import LocalReader
from rag_app.files.tables import Columns

BUFFER = 1 << 20  # bytes; a book is one line
ITEM, DONE, UNREADABLE, TOO_LARGE = "item", "done", "unreadable", "too large"

_GRACE = 5.0  # seconds that the other side has to end this process before it ends itself


def main(arguments: list[str]) -> None:
    """Answer requests from stdin until it closes.

    Args:
        arguments: The module whose ``LOADERS`` to read with, a folder for temporary files, the seconds that a file may
            take, and the bytes of memory.
    """
    loaders, folder, seconds, memory = arguments
    tempfile.tempdir = folder
    _limit_memory(int(memory))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the other side, which then ends this one
    # What a library prints must not stand among the answers.
    answers = os.fdopen(os.dup(1), "wb", BUFFER)
    os.dup2(2, 1)

    def answer(kind: str, value: Any = "") -> None:
        answers.write(json.dumps([kind, value], ensure_ascii=False).encode(errors="surrogatepass") + b"\n")

    with LocalReader(import_module(loaders).LOADERS) as reader:
        methods: dict[str, Callable[..., Iterable[Any]]] = {
            "members": lambda path: reader.members(Path(path)),
            "records": lambda path, suffix, columns, member: reader.records(
                Path(path), suffix, Columns(*columns), member
            ),
        }
        answer(DONE)  # ready
        answers.flush()
        for line in sys.stdin:
            _end_after(float(seconds) + _GRACE)
            method, *values = json.loads(line)
            try:
                for item in methods[method](*values):
                    answer(ITEM, item)
                answer(DONE)
            except MemoryError:
                answer(TOO_LARGE)
                break
            except Exception as error:  # a stranger's file is to blame, and the process behind the pipe must live
                answer(UNREADABLE, str(error) if isinstance(error, ValueError | OSError) else repr(error))
            _end_after(0)
            answers.flush()
    answers.flush()


def _limit_memory(size: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    if sys.platform != "darwin":  # which refuses such a limit
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        size = size if most == resource.RLIM_INFINITY else min(size, most)
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _end_after(seconds: float) -> None:
    """Let the system end this process, 0 never: should the other side be killed, no one else would."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
