"""OpenTelemetry spans of what a question, or a change of an index, goes through.

Spans go to whatever tracer provider the program has set up (https://opentelemetry.io); without one a span costs about a
microsecond, and nothing is imported: a process that traces has imported ``opentelemetry`` itself. They hold counts,
names of models and kinds of errors. What was asked, found and answered is left out unless `capture_content` allows it.

The names are ``rag.`` and the stage. Attributes that OpenTelemetry's conventions for generative AI name have those
names (``gen_ai.operation.name``, ``gen_ai.request.model``), others begin with ``rag.`` as well.
"""

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import partial
from time import time_ns
from typing import Any, NamedTuple, TypeVar

Value = str | bool | int | float | None
"""What an attribute can be; None leaves it out."""
Chunk = TypeVar("Chunk")

_OPERATIONS = {"retrieve": "retrieval", "encode": "embeddings", "generate": "chat"}
_NAMES = {"model": "gen_ai.request.model", "provider": "gen_ai.provider.name"}
_content = False


class _Done(NamedTuple):
    """A span that was recorded instead of sent: times in nanoseconds."""

    name: str
    start: int
    end: int
    attributes: Mapping[str, Value]
    error: str


_recorder: ContextVar[list[_Done] | None] = ContextVar("recorded_spans", default=None)


class Span:
    """What the ``with`` block of a span may add to it."""

    def __init__(self, attributes: dict[str, Value]) -> None:
        self.attributes = attributes

    def note(self, **attributes: Value) -> None:
        """Add attributes."""
        self.attributes.update(attributes)

    def note_content(self, **texts: str) -> None:
        """Add what was asked, found or answered, if `capture_content` allows it."""
        if _content:
            self.attributes.update(texts)


class _Nothing(Span):
    def note(self, **attributes: Value) -> None:
        pass

    def note_content(self, **texts: str) -> None:
        pass


_NOTHING = _Nothing({})


def capture_content(allowed: bool) -> None:
    """Choose whether spans may hold questions and answers, in this process; they may not unless this was called."""
    global _content
    _content = allowed


@contextmanager
def span(name: str, **attributes: Value) -> Iterator[Span]:
    """Make what happens in the ``with`` block a span below the current one.

    Args:
        name: Of the stage.
        attributes: For example ``k=30`` or ``model="embedded"``.
    """
    done, trace = _recorder.get(), _api()
    if done is None and trace is None:
        yield _NOTHING
    elif done is not None:
        with _finishing(name, attributes, done.append):  # to a list, which threads may share
            yield Span(attributes)
    else:
        with _live(name, attributes) as current, current():
            yield Span(attributes)


def traced(name: str, chunks: Iterator[Chunk], **attributes: Value) -> Iterator[Chunk]:
    """Yield a stream's chunks; it is a span from the first request for one to its end.

    The span is the current one only while the next chunk is made, not while the reader has its turn.
    """
    with _live(name, attributes) as current:
        try:
            while True:
                with current():
                    try:
                        chunk = next(chunks)
                    except StopIteration:
                        return
                yield chunk
        finally:
            if isinstance(chunks, Generator):
                chunks.close()


async def atraced(name: str, chunks: AsyncIterator[Chunk], **attributes: Value) -> AsyncIterator[Chunk]:
    """Yield an asynchronous stream's chunks; see `traced`."""
    with _live(name, attributes) as current:
        try:
            while True:
                with current():
                    try:
                        chunk = await anext(chunks)
                    except StopAsyncIteration:
                        return
                yield chunk
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()  # else what it reads, such as a connection, stays open


def here() -> Any:
    """Return where in the traces this thread or task is, for `spans_for`; None if nothing is traced."""
    return None if _api() is None else sys.modules["opentelemetry.context"].get_current()


@contextmanager
def spans_for(places: Sequence[Any]) -> Iterator[None]:
    """Give what is done in the ``with`` block for several callers at once to each of them, below its own span.

    Args:
        places: From `here`, of each caller.
    """
    wanted = [place for place in places if place is not None]
    if not wanted:
        yield
        return
    done: list[_Done] = []
    token = _recorder.set(done)
    try:
        yield
    finally:
        _recorder.reset(token)
        trace = _api()
        for place in wanted:
            for finished in done:
                shared = finished._replace(attributes={**finished.attributes, "together": len(places)})
                _end(trace, _start(trace, finished.name, finished.start, place), shared)


@contextmanager
def _finishing(name: str, attributes: Mapping[str, Value], tell: Callable[[_Done], object]) -> Iterator[None]:
    """Tell of the ``with`` block when it ends, however it does."""
    start, error = time_ns(), ""
    try:
        yield
    except Exception as raised:
        error = type(raised).__name__
        raise
    finally:
        tell(_Done(name, start, time_ns(), attributes, error))


@contextmanager
def _live(name: str, attributes: Mapping[str, Value]) -> Iterator[Callable[[], AbstractContextManager[Any]]]:
    """Make the ``with`` block a span that is sent; what this yields makes it the current one."""
    trace = _api()
    live = _start(trace, name, time_ns(), None)
    with _finishing(name, attributes, partial(_end, trace, live)):
        # What an error says may hold a question or a document: its kind is noted in _end, and no more.
        yield partial(trace.use_span, live, end_on_exit=False, record_exception=False, set_status_on_exception=False)


def _api() -> Any:
    """Return OpenTelemetry's module of traces if somebody set up a provider, else None."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    return trace


def _start(trace: Any, name: str, start: int, place: Any) -> Any:
    return trace.get_tracer("rag_app").start_span(f"rag.{name}", context=place, start_time=start)


def _end(trace: Any, live: Any, finished: _Done) -> None:
    if operation := _OPERATIONS.get(finished.name):
        live.set_attribute("gen_ai.operation.name", operation)
    for name, value in finished.attributes.items():
        if value is not None:
            live.set_attribute(_NAMES.get(name, f"rag.{name}"), value)
    if finished.error:
        live.set_attribute("error.type", finished.error)
        live.set_status(trace.StatusCode.ERROR)
    live.end(finished.end)
