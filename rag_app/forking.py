"""What a forked process starts anew: the threads of its parent are gone, and what they held would be held for ever."""

import os
import threading
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """Waits for threads, or has what they hold."""

    def after_fork(self) -> None:
        """Make anew, in a process that has just been forked, what the threads of its parent may have held."""


_known: "WeakSet[Forkable]" = WeakSet()


def survives_fork(one: Forkable) -> None:
    """Let an object know of forks for as long as it lives."""
    _known.add(one)


class Lock:
    """A lock for ``with`` statements that nobody holds in a process that has just been forked."""

    def __init__(self) -> None:
        self.after_fork()
        survives_fork(self)

    def after_fork(self) -> None:
        """Let go of it: whoever holds it goes on in the parent."""
        self._free = threading.Lock()

    def __enter__(self) -> None:
        lock = self._free
        lock.acquire()
        self._held = lock

    def __exit__(self, *_: object) -> None:
        self._held.release()


def _start_anew() -> None:
    for one in list(_known):
        one.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
