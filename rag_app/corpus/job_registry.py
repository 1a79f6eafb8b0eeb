"""The indexing jobs of a process: at most one of an index at a time."""

import threading
from pathlib import Path

from rag_app.corpus.indexing_job import IndexingJob


class Jobs:
    """The last job of each index; at most one of an index runs."""

    def __init__(self) -> None:
        self._jobs: dict[Path, IndexingJob] = {}
        self._lock = threading.Lock()

    def start(self, job: IndexingJob) -> None:
        """Begin a job.

        Raises:
            BlockingIOError: Another job of its index is running.
        """
        with self._lock:
            if self.is_busy(job.index):
                raise BlockingIOError(f"Another job is changing {job.index}. Wait for it or stop it.")
            self._jobs[job.index.absolute()] = job
            job.start()

    def of(self, index: Path) -> IndexingJob | None:
        """Return the last job of an index; None if there was none or it was put away."""
        return self._jobs.get(index.absolute())

    def all(self) -> list[IndexingJob]:
        """Return the last job of each index."""
        return list(self._jobs.values())

    def is_busy(self, index: Path) -> bool:
        """Whether a job of an index is running."""
        job = self.of(index)
        return job is not None and job.running

    def put_away(self, index: Path) -> None:
        """Forget the job of an index if it has ended."""
        if not self.is_busy(index):
            self._jobs.pop(index.absolute(), None)
