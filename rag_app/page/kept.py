"""What a server tells, asked for beside the page: kept for all visitors, asked for again when it is old."""

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Generic, TypeVar

T = TypeVar("T")

QUICK = 1.0
"""Seconds that a page waits for an answer before it shows that it is waiting."""
_TOLD = 4.0  # seconds for which a failure is told without trying again, so that all parts of a page tell the same
_NEVER = float("-inf")


class NotYetError(TimeoutError):
    """The server has not answered yet.

    Attributes:
        kept: What is waited for.
        since: See `Kept.get`.
    """

    def __init__(self, kept: "Kept[Any]", since: float) -> None:
        super().__init__("The server has not answered yet. Try again in a moment.")
        self.kept = kept
        self.since = since


class Kept(Generic[T]):
    """An answer that may take a while: asked for in a thread and kept for some time, a failure only for a moment.

    One that is old serves on while it is asked for again. A failure is raised once it is known, and asked again for
    whoever comes later.

    Args:
        ask: Asks the server; called in threads, never in two at once.
        seconds: How long an answer is as good as new.
    """

    def __init__(self, ask: Callable[[], T], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._changed = threading.Condition()
        self._answers: list[T] = []  # the last one
        self._asked = _NEVER  # when that was asked for
        self._error: Exception | None = None  # of the last time, if it failed
        self._failed = _NEVER
        self._asking = False
        self._began = _NEVER

    @property
    def last(self) -> T | None:
        """The last answer, however old; None if there was none."""
        return next(iter(self._answers), None)

    @property
    def waited(self) -> float:
        """How many seconds ago the server was asked."""
        return monotonic() - self._began

    def get(self, wait: float = QUICK, *, since: float = _NEVER) -> T:
        """Return the answer, or the last one while the server is being asked again.

        Args:
            wait: Seconds to wait at most where there is none.
            since: On the clock of `time.monotonic`: what was asked for before, or failed before, does not count.

        Raises:
            NotYetError: There is none yet.
            Exception: Whatever asking raised.
        """
        with self._changed:
            now = monotonic()
            told = self._error is not None and self._failed >= since and now - self._failed < _TOLD
            new = self._is_answered(since) and now - self._asked < self._seconds
            if not (self._asking or told or new):
                self._asking, self._began = True, now
                threading.Thread(target=self._run, daemon=True, name="asking a server").start()
            self._changed.wait_for(lambda: not self._asking or self._is_answered(since), wait)
            if self._is_answered(since):
                return self._answers[0]
            if self._error is not None and not self._asking:
                raise self._error.with_traceback(None)
            raise NotYetError(self, since)

    def again(self) -> None:
        """Let the next who comes ask anew, and wait: what was answered no longer counts."""
        with self._changed:
            self._asked = self._failed = _NEVER

    def fail(self, error: Exception) -> None:
        """Tell all for a moment what somebody met who went on from the answer; then ask anew."""
        with self._changed:
            self._error, self._failed = error, monotonic()

    def _is_answered(self, since: float) -> bool:
        return self._error is None and self._asked > _NEVER and self._asked >= since

    def _run(self) -> None:
        asked, error, answers = monotonic(), None, self._answers
        try:
            answers = [self._ask()]
        except Exception as failure:  # raised by `get`, where somebody hears of it
            error = failure
        with self._changed:
            self._answers, self._error, self._asking = answers, error, False
            self._asked = self._asked if error else asked
            self._failed = monotonic() if error else _NEVER
            self._changed.notify_all()
