"""A process that forks others to be killed: everything is imported and warmed up once, so that a kill costs little.

    python -m tests.promises.crashing

It reads a job from a line of JSON, forks, and answers with lines of JSON: the id of the forked process, what that
tells while it works, and how it ended.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, Self, cast

from tests.promises.system_calls import Call, Fault, fork_traced, watch

ROOT = Path(__file__).parents[2]


class Told(NamedTuple):
    """What became of a job.

    Attributes:
        lines: What the forked process told.
        status: How it ended, as `os.waitpid` says; a signal's number if it was killed.
        calls: The calls that it made, if it was watched.
    """

    lines: list[dict[str, Any]]
    status: int
    calls: list[Call]

    @property
    def committed(self) -> int:
        """How many writes were reported as committed."""
        return sum("committed" in line for line in self.lines)

    @property
    def failure(self) -> dict[str, Any] | None:
        """What the first write that failed raised."""
        return next((line for line in self.lines if "failed" in line), None)


class Forker:
    """The running process; close it in the end, or use it in a ``with`` statement."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.promises.crashing"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment
        )
        self._jobs = cast(IO[bytes], self._process.stdin)
        self._answers = cast(IO[bytes], self._process.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._jobs.close()
        self._process.wait()
        self._answers.close()

    def begin(self, job: str, *arguments: Any) -> int:
        """Begin a job of `JOBS` in a forked process; return its id. `finish` must follow."""
        self._send({"job": job, "arguments": arguments})
        return int(self._read()["pid"])

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to the forked process, unless it has ended by itself."""
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    def finish(self) -> Told:
        """Return what became of the job, once it has ended."""
        lines = []
        while "ended" not in (line := self._read()):
            lines.append(line)
        return Told(lines, line["ended"], [Call(*call) for call in line["calls"]])

    def watched(self, below: Path, fault: Fault | None, job: str, *arguments: Any) -> Told:
        """Do a job in a forked process that is watched; see `tests.promises.system_calls.watch`."""
        self._send({"job": job, "arguments": arguments, "watch": [str(below), fault]})
        self._read()
        return self.finish()

    def _send(self, request: dict[str, Any]) -> None:
        self._jobs.write(json.dumps(request).encode() + b"\n")
        self._jobs.flush()

    def _read(self) -> dict[str, Any]:
        line = self._answers.readline()
        assert line, f"the process that forks others has ended: {self._process.wait()}"
        told: dict[str, Any] = json.loads(line)
        return told


def tell(**line: Any) -> None:
    """Tell the parent something, in one piece."""
    os.write(_answers, json.dumps(line).encode() + b"\n")


def write_index(folder: str, setup: str, writes: Sequence[tuple[str, list[tuple[int, int]]]], again: bool) -> None:
    """Do writes one after the other; after one that fails do it again, or end."""
    from tests.promises.crash_model import SETUPS, Write, perform

    for number, (kind, articles) in enumerate(writes):
        write = Write(kind, [(one, revision) for one, revision in articles])
        try:
            perform(Path(folder), SETUPS[setup], write)
        except BaseException as error:
            tell(failed=number, error=type(error).__name__, errno=getattr(error, "errno", None), message=str(error))
            if not again:
                return
            anew = "replace" if kind == "build" else kind  # it may have been built but for the last flush
            perform(Path(folder), SETUPS[setup], Write(anew, write.articles))
        tell(committed=number)


def save_conversations(path: str, owner: int, count: int) -> None:
    """Save turns of conversations, if not killed before, telling each that is kept."""
    from tests.promises.crash_stores import save_turns

    save_turns(Path(path), owner, count, lambda kept: tell(kept=kept))


def save_feedback(path: str, owner: int, count: int) -> None:
    """Save feedback, if not killed before, telling what is kept."""
    from tests.promises.crash_stores import save_entries

    save_entries(Path(path), owner, count, lambda kept: tell(kept=kept))


def fill_disk(folder: str, times: int) -> None:
    """Write to indexes on a small disk until it is full, telling how often it was; or why there is no such disk."""
    from tests.promises.full_disk import fill, mount_small_disk

    try:
        mount_small_disk(Path(folder))
    except OSError as error:
        tell(cannot=str(error))
        return
    tell(full=fill(Path(folder), times))


JOBS: dict[str, Callable[..., None]] = {
    "index": write_index,
    "conversations": save_conversations,
    "feedback": save_feedback,
    "full disk": fill_disk,
}


def _requests() -> Iterator[dict[str, Any]]:
    for line in sys.stdin.buffer:
        yield json.loads(line)


def _prepare() -> None:
    from rag_app import generation_writer
    from tests.promises import crash_model

    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell has the programs it runs aside ignore
    generation_writer.EXACT_MOST = crash_model.EXACT_MOST
    crash_model.warm_up()
    gc.collect()
    gc.freeze()  # what the forked processes share is not copied for being counted


def main() -> None:
    """Serve jobs until there are no more."""
    _prepare()
    for request in _requests():

        def work(request: dict[str, Any] = request) -> None:
            JOBS[request["job"]](*request["arguments"])
            os._exit(0)

        if "watch" in request:
            below, fault = request["watch"]
            pid = fork_traced(work)
            tell(pid=pid)
            status, calls = watch(pid, Path(below), fault and Fault(*fault), lift=_answers)
        else:
            pid = os.fork()
            if not pid:
                try:
                    work()
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(70)
            tell(pid=pid)
            status, calls = os.waitpid(pid, 0)[1], []
        tell(ended=status, calls=calls)


if __name__ == "__main__":
    _answers = os.dup(1)
    os.dup2(2, 1)  # what anything prints is no answer
    sys.modules["tests.promises.crashing"] = sys.modules["__main__"]
    main()
