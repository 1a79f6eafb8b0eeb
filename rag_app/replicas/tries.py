"""Asking again: what may be asked of any replica, as searching changes nothing, until a deadline."""

import random
import time
from collections.abc import Callable, Sequence

import httpx
from pydantic import ValidationError

from rag_app.replicas.messages import Problem, SearchAnswer

PASSING = frozenset({408, 429, 502, 503, 504})
"""Statuses of a service that is busy, starting or out of reach."""
CONNECT = 2.0
"""Seconds for a connection."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


class Tries:
    """One question's tries: whom to ask next, when, for how long, and what the answer means.

    Args:
        urls: Of the replicas' proxies; begins with any of them and goes on to the next.
        deadline: Seconds for all tries together.
        each: Seconds for one.
        clock: Tells seconds.
    """

    def __init__(
        self, urls: Sequence[str], deadline: float, each: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._urls = urls
        self._deadline = deadline
        self._each = each
        self._clock = clock
        self._until = clock() + deadline
        self._at = random.randrange(len(urls))  # noqa: S311 (spreads load)
        self._failures = 0
        self._said = ""

    @property
    def url(self) -> str:
        """Who is to be asked."""
        return self._urls[self._at % len(self._urls)]

    @property
    def seconds(self) -> float:
        """How long the try may take in all."""
        return max(0.001, min(self._each, self._until - self._clock()))

    @property
    def timeout(self) -> httpx.Timeout:
        """The same for httpx, which counts each step of it."""
        return httpx.Timeout(self.seconds, connect=min(CONNECT, self.seconds))

    def again(self, failure: str, *, late: bool = False) -> float:
        """Turn to the next; return the seconds to wait before.

        Args:
            failure: What went wrong.
            late: Whether the try took too long, perhaps only because the deadline was near.

        Raises:
            TimeoutError: The deadline has passed, and each try took too long.
            ConnectionError: It has passed, and a try failed otherwise.
        """
        asked, self._at = self.url, self._at + 1
        if not late:
            self._said = f"{asked}: {failure}"
        self._failures += 1
        rounds = self._failures // len(self._urls)
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(rounds - 1, 10)) if rounds else 0.0
        pause *= random.uniform(0.5, 1)  # noqa: S311 (many clients must not come back at once)
        if self._clock() + pause < self._until:
            return pause
        kind = ConnectionError if self._said else TimeoutError
        said = self._said or f"{asked}: {failure}"
        raise kind(
            f"No replica answered within {self._deadline:g} s ({self._failures} tries). {said.removesuffix('.')}. "
            f"See whether they run: GET {asked}/health"
        )

    def answer(self, status: int, body: bytes) -> SearchAnswer | str:
        """Return what a replica answered, or why it, or another, is to be asked again.

        Raises:
            ValueError: The question or filter cannot be asked so.
            PermissionError: The password is wanted, or another.
            RuntimeError: The search failed, or there is something else at the address.
        """
        try:
            if status == httpx.codes.OK:
                return SearchAnswer.model_validate_json(body)
            problem = Problem.model_validate_json(body)
        except ValidationError:
            if status in PASSING or status == httpx.codes.INTERNAL_SERVER_ERROR:  # of the proxy: its replica died
                return f"status {status}"
            told = f"{self.url} does not answer as a replica does (status {status}). Check the address."
            raise RuntimeError(told) from None
        if status in PASSING:
            return f"status {status}, {problem.message}"
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise PermissionError(f"{self.url}: {problem.message}")
        kind = ValueError if httpx.codes.is_client_error(status) else RuntimeError
        raise kind(f"{self.url}: {problem.message}")
