"""The folder of a benchmark: where answers are kept while it runs, so that an interrupted one goes on."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from eval.saved import FILE
from rag_app.durable_files import write_text

ANSWERS = "answers"
_UNFINISHED = "unfinished"
_RUN = "run.json"
_LOCK = "lock"
_PID = "pid"


class RunFolder:
    """A folder for a report. Make one with `begin`, and `release` it in the end.

    While the benchmark runs, answers are written under ``unfinished``, which is locked; a report that was there before
    stays. Whoever wants to stop it finds its process id in ``unfinished/pid``, which counts only while
    ``unfinished/lock`` is held.

    Attributes:
        path: The folder.
        resumed: Whether it goes on with a run that was interrupted.
    """

    def __init__(self, path: Path, lock: FileLock, *, resumed: bool) -> None:
        self.path = path
        self.resumed = resumed
        self._lock = lock

    @classmethod
    def check(cls, path: Path, *, overwrite: bool) -> None:
        """Say whether a benchmark may write there, before anything slow begins.

        Raises:
            FileExistsError: It holds a report, all of it, and ``overwrite`` is false; or something else.
            NotADirectoryError: It is a file.
        """
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(f"--report names a file, {path}. Name a folder")
        names = {entry.name for entry in path.iterdir()} if path.exists() else set()
        if names and not names & {FILE, _UNFINISHED}:
            raise FileExistsError(f"{path} is not empty and holds no report. Name a folder of its own with --report")
        interrupted = (path / _UNFINISHED / _RUN).exists()  # perhaps while the report was written
        if FILE in names and not interrupted and not overwrite:
            raise FileExistsError(f"{path} holds a report. Replace it with --overwrite, or name another folder")

    @classmethod
    def begin(cls, path: Path, identity: Mapping[str, Any], *, overwrite: bool) -> "RunFolder":
        """Begin a benchmark, or go on with one that was interrupted.

        Args:
            path: The folder, made when missing.
            identity: What the answers depend on; an interrupted run with another is not gone on with.
            overwrite: Replace what an earlier benchmark left.

        Raises:
            FileExistsError: See `check`; or another benchmark was interrupted there and ``overwrite`` is false.
            BlockingIOError: A benchmark is being written there.
        """
        cls.check(path, overwrite=overwrite)
        unfinished = path / _UNFINISHED
        unfinished.mkdir(parents=True, exist_ok=True)
        lock = FileLock(unfinished / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise BlockingIOError(f"Another benchmark is writing to {path}. Wait for it, or name another") from error
        write_text(unfinished / _PID, str(os.getpid()))
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()
        if (unfinished / _RUN).exists():
            if json.loads((unfinished / _RUN).read_text("utf-8")) == digest:
                return cls(path, lock, resumed=True)
            if not overwrite:
                lock.release()
                raise FileExistsError(
                    f"In {path} a benchmark with other options, data, models, versions or on another machine was "
                    "interrupted. Repeat its command to go on with it, discard it with --overwrite, or name another "
                    "folder"
                )
        if (unfinished / ANSWERS).exists():
            shutil.rmtree(unfinished / ANSWERS)
        write_text(unfinished / _RUN, json.dumps(digest))
        return cls(path, lock, resumed=False)

    def journal(self, *names: str) -> Path:
        """Return where answers are kept while the benchmark runs, from the parts of their name."""
        return (self.path / _UNFINISHED / ANSWERS).joinpath(*names[:-1], f"{names[-1]}.jsonl")

    def finish(self) -> None:
        """Put the answers beside the finished report."""
        answers = self.path / ANSWERS
        if answers.exists():
            shutil.rmtree(answers)
        if (self.path / _UNFINISHED / ANSWERS).exists():
            (self.path / _UNFINISHED / ANSWERS).rename(answers)
        self.release()  # some systems remove no file that is held
        shutil.rmtree(self.path / _UNFINISHED)

    def release(self) -> None:
        """Let another benchmark write here."""
        self._lock.release()
