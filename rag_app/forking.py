"""What a forked process starts anew: the threads of its parent are gone, and what they held would be held for ever."""

import os
from typing import Protocol, TypeVar
from weakref import WeakSet


class Forkable(Protocol):
    """Holds a lock, or waits for a thread."""

    def after_fork(self) -> None:
        """Make anew, in a process that has just been forked, what the threads of its parent may have held."""


F = TypeVar("F", bound=Forkable)
_known: "WeakSet[Forkable]" = WeakSet()


def survives_fork(one: F) -> F:
    """Let an object know of forks for as long as it lives, and return it."""
    _known.add(one)
    return one


def _start_anew() -> None:
    for one in list(_known):
        one.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
