"""What lasts as long as the process, such as the work that goes on in it: any visitor may clear Streamlit's caches."""

from collections.abc import Callable
from functools import cache, wraps
from threading import Lock
from typing import TypeVar, TypeVarTuple

Given = TypeVarTuple("Given")
R = TypeVar("R")


def lasting(make: Callable[[*Given], R]) -> Callable[[*Given], R]:
    """Return a function that makes something once for each of its arguments, and then returns it to all visitors."""
    made, lock = cache(make), Lock()

    @wraps(make)
    def found(*given: *Given) -> R:
        with lock:  # two first visitors at once get the same
            return made(*given)

    return found
