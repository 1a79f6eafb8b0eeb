"""How long each stage of a search takes, for whoever asks: the benchmark, and the page."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter

from rag_app.forking import Lock
from rag_app.observability.tracing import Value, span

Times = dict[str, float]
"""Seconds by stage."""

_times: ContextVar[Times | None] = ContextVar("stage_times", default=None)
_lock = Lock()


@contextmanager
def stage_times() -> Iterator[Times]:
    """Collect the seconds that each stage takes inside the ``with`` block, also in threads that LangChain starts there.

    The stages are ``encode`` (the question's vector), ``lexical``, ``dense``, ``fusion`` and ``rerank``. The seconds of
    threads that run side by side add up.

    Example:
        >>> with stage_times() as seconds:
        ...     retriever.invoke("누리호는 언제 발사됐나요?")
        >>> seconds["rerank"]
    """
    times: Times = {}
    token = _times.set(times)
    try:
        yield times
    finally:
        _times.reset(token)


@contextmanager
def timed(stage: str, **attributes: Value) -> Iterator[None]:
    """Add the time of the ``with`` block to a stage, if somebody is collecting; see `stage_times`.

    It is a span too, with these attributes; see `rag_app.observability.tracing.span`.
    """
    times, start = _times.get(), perf_counter()
    try:
        with span(stage, **attributes):
            yield
    finally:
        if times is not None:
            add_times(times, {stage: perf_counter() - start})


def current_times() -> Times | None:
    """Return what collects the stage times of this thread or task, None if nothing does."""
    return _times.get()


def add_times(times: Times, seconds: Mapping[str, float]) -> None:
    """Add seconds to what collects them, as for work that another thread did for this one."""
    with _lock:  # else two threads that end at once lose the time of one
        for stage, spent in seconds.items():
            times[stage] = times.get(stage, 0.0) + spent
