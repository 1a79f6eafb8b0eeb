"""Benchmarks that run, and those that ran: a folder each, with the order, the log and the report."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Literal, NamedTuple

from filelock import FileLock, Timeout

from rag_app.benchmark.log import problem
from rag_app.benchmark.order import Order, index_label, read_order
from rag_app.durable_files import write_text

State = Literal["running", "stopping", "finished", "stopped", "failed"]

PROGRAM = (sys.executable, "-m", "eval.hit_rate")
_ORDER, _LOG, _REPORT, _DATA = "order.json", "log.txt", "report", "data"
_UNFINISHED = "unfinished"  # with "lock" and "pid" in it; see eval.run_folder
_looking = Lock()


class Run(NamedTuple):
    """A benchmark that was ordered.

    Attributes:
        folder: Everything of it.
        order: What was ordered.
        started: When, in UTC.
        resumed: Whether it was ever stopped and resumed.
    """

    folder: Path
    order: Order
    started: datetime
    resumed: bool = False

    @property
    def name(self) -> str:
        """The folder's name, which no other has."""
        return self.folder.name

    @property
    def report(self) -> Path:
        """The folder of its report."""
        return self.folder / _REPORT

    @property
    def is_upload(self) -> bool:
        """Whether it measures a copy of a file that was uploaded, which stays as it is."""
        return Path(self.order.data).parent == (self.folder / _DATA).absolute()

    def without_paths(self, text: str) -> str:
        """Return what was said of it, its own files by their names alone: where they lie concerns no visitor."""
        for folder in (self.folder / _DATA, self.folder):
            text = text.replace(f"{folder.absolute()}{os.sep}", "")
        return text

    def log(self) -> str:
        """Return what it has said so far; bytes that are no text are replaced."""
        path = self.folder / _LOG
        return path.read_bytes().decode("utf-8", "replace") if path.exists() else ""

    def seconds(self) -> float | None:
        """Return what it took until its report was written; None if it has none, or was resumed."""
        results = self.report / "results.json"
        if self.resumed or not results.exists():
            return None
        return results.stat().st_mtime - self.started.timestamp()


class Runs:
    """All benchmarks in a folder. One runs at a time, so that none takes the time of another.

    A benchmark is a process of its own: it goes on when the page is closed, and even when its server ends. What it has
    found is kept as it goes, so that one that was stopped can be resumed.

    Args:
        folder: Made with the first benchmark.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._stopped: set[str] = set()
        self._lock = Lock()

    def all(self) -> list[Run]:
        """Return the benchmarks that were ordered, the newest first; folders that are none are left out."""
        found = [run for path in self._folder.glob(f"*/{_ORDER}") if (run := _read(path)) is not None]
        return sorted(found, key=lambda run: (run.started, run.name), reverse=True)

    def running(self) -> Run | None:
        """Return the one that runs."""
        return next((run for run in self.all() if self.state(run) in ("running", "stopping")), None)

    def start(self, order: Order, upload: tuple[str, bytes] | None = None) -> Run:
        """Start a benchmark.

        Args:
            order: What is wanted. A path is made absolute, so that it can be resumed from anywhere.
            upload: A file's name and content, which is kept and measured in place of the order's data.

        Raises:
            BlockingIOError: Another one runs.
            OSError: Nothing can be written there.
        """
        with self._lock:
            self._check_alone()
            started = datetime.now(UTC)
            folder = self._new_folder(f"{started:%Y%m%d-%H%M%S}-{index_label(order.name)[:40]}")
            if upload is not None:
                file = folder / _DATA / (Path(upload[0]).name.lstrip(".") or _DATA)
                file.parent.mkdir()
                file.write_bytes(upload[1])
                order = order._replace(data=str(file.absolute()))
            run = Run(folder, order, started)
            self._launch(run)
            return run

    def resume(self, run: Run, *, afresh: bool = False) -> None:
        """Go on with a benchmark that was stopped, or begin it again.

        Args:
            run: It.
            afresh: Discard what it found, as it has to be when the program, the data or the models have changed.

        Raises:
            BlockingIOError: One is running.
        """
        with self._lock:
            self._check_alone()
            self._launch(run._replace(resumed=True), *(["--overwrite"] if afresh else []))

    def stop(self, run: Run) -> None:
        """Ask a benchmark to stop, and force it when it was asked before; what it found is kept."""
        process = self._started.get(run.name)
        pid = process.pid if process is not None and process.poll() is None else _writer(run)
        if pid is None:
            return
        again = run.name in self._stopped
        self._stopped.add(run.name)
        try:
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM) if again else signal.SIGTERM)
        except ProcessLookupError:  # it has just ended
            return

    def state(self, run: Run) -> State:
        """Return what has become of a benchmark."""
        process = self._started.get(run.name)
        if process.poll() is None if process is not None else _is_written(run):
            return "stopping" if run.name in self._stopped else "running"
        if (run.report / "results.json").exists() and not (run.report / _UNFINISHED).exists():
            return "finished"
        return "failed" if problem(run.log()) else "stopped"

    def delete(self, run: Run) -> None:
        """Remove a benchmark and its report.

        Raises:
            BlockingIOError: It is running.
        """
        with self._lock:  # else it could be resumed this moment
            if self.state(run) in ("running", "stopping"):
                raise BlockingIOError(f"The benchmark {run.name} is running. Stop it first")
            shutil.rmtree(run.folder)

    def _check_alone(self) -> None:
        if other := self.running():
            raise BlockingIOError(f"The benchmark {other.name} is running. Wait for it, or stop it")

    def _new_folder(self, name: str) -> Path:
        number, folder = 1, self._folder / name
        while folder.exists():
            number += 1
            folder = self._folder / f"{name}-{number}"
        folder.mkdir(parents=True)
        return folder

    def _launch(self, run: Run, *more: str) -> None:
        self._stopped.discard(run.name)
        _write(run)
        command = [*PROGRAM, *run.order.measuring(run.report.absolute()), *more]
        with (run.folder / _LOG).open("wb") as log:
            # A session of its own: Ctrl-C in the terminal of the page's server does not reach it.
            self._started[run.name] = subprocess.Popen(  # noqa: S603 (the options are one word each, and no shell)
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONIOENCODING": "utf-8", "TQDM_MININTERVAL": "0.3"},
            )


def list_systems(order: Order) -> list[str]:
    """Return the names of all systems that the benchmark can measure with an order's models, from the program itself.

    Raises:
        ValueError: A label cannot be one, or the program cannot run; holds what it said.
    """
    return _say(["--systems=list", *order.options()]).split()


def compare_reports(before: Path, after: Path) -> str:
    """Return what changed from one report to another, as the benchmark's own table in plain text.

    Raises:
        ValueError: They have nothing in common; holds what it said.
    """
    return _say(["--compare", str(before.absolute()), str(after.absolute())])


def _say(options: Sequence[str]) -> str:
    done = subprocess.run(  # noqa: S603 (the options are one word each, and no shell)
        [*PROGRAM, *options],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        timeout=120,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace")
        raise ValueError(problem(said) or said.strip() or f"{' '.join(PROGRAM)} ended with status {done.returncode}")
    return done.stdout.decode("utf-8", "replace")


def _is_written(run: Run) -> bool:
    """Return whether somebody writes the report."""
    lock = run.report / _UNFINISHED / "lock"
    with _looking:  # two of us that look at once must not take each other for the benchmark
        if not lock.exists():
            return False
        try:
            with FileLock(lock, timeout=0):
                return False
        except Timeout:
            return True


def _writer(run: Run) -> int | None:
    """Return the process id of whoever writes the report, None if nobody does that can be told from other processes."""
    try:
        pid = int((run.report / _UNFINISHED / "pid").read_text("utf-8")) if _is_written(run) else None
        # An id may be of an earlier benchmark, and a stranger's process by now.
        if pid is None or not Path("/proc/self/cmdline").exists():
            return pid
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):  # it has just ended, or not yet said which process it is
        return None
    return pid if os.fsencode(run.report.absolute()) in words else None


def _write(run: Run) -> None:
    content = {"order": run.order._asdict(), "started": run.started.isoformat(), "resumed": run.resumed}
    write_text(run.folder / _ORDER, json.dumps(content, ensure_ascii=False, indent=1))


def _read(path: Path) -> Run | None:
    try:
        content = json.loads(path.read_text("utf-8"))
        started = datetime.fromisoformat(content["started"])
        return Run(path.parent, read_order(content["order"]), started, content["resumed"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # no order of ours: not a benchmark
        return None
