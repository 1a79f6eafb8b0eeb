"""A child process that reads one file after the other, each within limits."""

import json
import shlex
import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO, Any, NamedTuple, cast

from rag_app.files.parsing_worker import BUFFER, DONE, ITEM, TOO_LARGE, UNREADABLE
from rag_app.files.unreadable import OverLimitError, UnreadableError
from rag_app.observability.secret_words import public_environment
from rag_app.scratch import scratch_folder

_WORKER = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from rag_app.files.parsing_worker import main; main(sys.argv[2:])"
)
_TO_START = 60.0  # seconds, on the busiest of machines
_STOPPED, _TOO_SLOW, _CRASHED = "stopped", "too slow", "crashed"


class Limits(NamedTuple):
    """What reading one file may take; each file in a zip archive is one.

    Attributes:
        seconds: Wall-clock time.
        memory: Bytes of address space, and of what the file gives. The system keeps a process to the first on Linux and
            most Unixes (RLIMIT_AS), but not on macOS and Windows.
    """

    seconds: float = 10.0
    memory: int = 512 * 1024**2


class ParserProcess:
    """A running `rag_app.files.parsing_worker`, for one thread at a time.

    Args:
        limits: What each request may take.
        loaders: The module whose ``LOADERS`` it reads with.

    Attributes:
        over: Whether it was killed, by us or for what it took.

    Raises:
        RuntimeError: It does not start.
    """

    def __init__(self, limits: Limits, loaders: str) -> None:
        self.over = False
        self._limits = limits
        self._scratch = scratch_folder()  # ours, so that it goes when the child is killed
        pipe = subprocess.PIPE
        # Its modules come from where ours do.
        command = [sys.executable, "-c", _WORKER, json.dumps(sys.path), loaders, self._scratch.name, *map(str, limits)]
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter and code of ours
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            bufsize=BUFFER,
            env=public_environment(),  # a file that takes the child over finds no key there
        )
        self._requests, self._answers = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        try:
            self._exchange("", _TO_START)
        except UnreadableError as error:
            raise RuntimeError(
                f"The process that reads files does not start. See why with: {shlex.join(command)}"
            ) from error

    def ask(self, method: str, *arguments: Any) -> list[Any]:
        """Return what a method of `rag_app.files.reading.LocalReader` returns there.

        Raises:
            UnreadableError: The file cannot be read, takes too much, or crashed the process.
        """
        return self._exchange(json.dumps([method, *arguments]) + "\n", self._limits.seconds)

    def kill(self) -> None:
        """End it; an `ask` of another thread ends too."""
        self.over = True
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._answers):
            with suppress(OSError):  # what is not written yet has no reader any more
                pipe.close()
        self._scratch.cleanup()

    def _exchange(self, request: str, seconds: float) -> list[Any]:
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self._process.kill()

        timer = threading.Timer(seconds, expire)
        timer.daemon = True  # an interrupted program does not wait for it
        try:
            timer.start()
            items, end, why = self._converse(request)
        except (OSError, ValueError):  # a pipe is broken or closed, or a line broke off
            items, end, why = [], _CRASHED, ""
        except BaseException:  # Ctrl-C: what is still to come would be taken for the next answer
            self.kill()
            raise
        finally:
            timer.cancel()
            if timer.is_alive():
                timer.join()
        if end == _CRASHED:
            end = _STOPPED if self.over else _TOO_SLOW if expired.is_set() else _CRASHED
        if expired.is_set() or end not in (DONE, UNREADABLE):
            self.kill()
        if end == DONE:
            return items
        if end == UNREADABLE:
            raise UnreadableError(why)
        raise OverLimitError(self._reason(end))

    def _converse(self, request: str) -> tuple[list[Any], str, str]:
        """Return the items of the answer, how it ended, and the reason if it gives one."""
        self._requests.write(request.encode())
        self._requests.flush()
        items: list[Any] = []
        room = self._limits.memory
        while line := self._answers.readline(room + 1):
            room -= len(line)
            if room < 0:
                return [], TOO_LARGE, ""
            kind, value = json.loads(line)
            if kind != ITEM:
                return items, kind, value
            items.append(value)
        return [], _CRASHED, ""

    def _reason(self, end: str) -> str:
        seconds, memory = self._limits
        return {
            _STOPPED: "reading it was stopped. Read it again",
            _TOO_SLOW: f"reading it took more than {seconds:g} seconds. Split it, or allow more: Limits(seconds=...)",
            TOO_LARGE: f"reading it took more than {memory >> 20} MiB of memory. Split it, or allow more: "
            "Limits(memory=...)",
            _CRASHED: "reading it crashed the parser. Open it in its program and save it again",
        }[end]
