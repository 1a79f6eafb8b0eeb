"""The indexing jobs of a process: at most one of an index at a time."""

import threading
from pathlib import Path
from time import monotonic

from rag_app.corpus.indexing_job import IndexingJob
from rag_app.stores.address import Address


class Jobs:
    """The last job of each index; at most one of an index runs."""

    def __init__(self) -> None:
        self._jobs: dict[Path | Address, IndexingJob] = {}
        self._written: dict[Path | Address, float] = {}
        self._lock = threading.Lock()

    def start(self, job: IndexingJob) -> None:
        """Begin a job.

        Raises:
            BlockingIOError: Another job of its index is running.
        """
        with self._lock:
            if self.is_busy(job.index):
                raise BlockingIOError(f"Another job is changing {job.index}. Wait for it or stop it.")
            self._jobs[_key(job.index)] = job
            job.start()

    def of(self, index: Path | Address) -> IndexingJob | None:
        """Return the last job of an index; None if there was none or it was put away."""
        return self._jobs.get(_key(index))

    def all(self) -> list[IndexingJob]:
        """Return the last job of each index."""
        return list(self._jobs.values())

    def is_busy(self, index: Path | Address) -> bool:
        """Whether a job of an index is running."""
        job = self.of(index)
        return job is not None and job.running

    def put_away(self, index: Path | Address) -> None:
        """Forget the job of an index if it has ended."""
        if not self.is_busy(index):
            self._written[_key(index)] = self.written(index)
            self._jobs.pop(_key(index), None)

    def note_write(self, index: Path | Address) -> None:
        """Note that an index was changed just now otherwise than by a job."""
        self._written[_key(index)] = monotonic()

    def written(self, index: Path | Address) -> float:
        """Return when this process last changed an index, on the clock of `time.monotonic`; long ago if never."""
        job = self.of(index)
        return max(self._written.get(_key(index), float("-inf")), float("-inf") if job is None else job.ended)


def _key(index: Path | Address) -> Path | Address:
    return index.absolute() if isinstance(index, Path) else index
