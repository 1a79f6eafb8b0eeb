"""Dynamic batches: what many callers ask of one model at the same time, it does at once."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from time import perf_counter, sleep
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from rag_app.forking import Lock, survives_fork
from rag_app.observability.tracing import here, spans_for
from rag_app.timing import Times, add_times, current_times, stage_times

_PAUSE = 0.1  # between two batches of several callers, as a share of the time that the last one took

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Ticket(NamedTuple, Generic[Item, Result]):
    """What one caller asked for, where the result goes, what collects its stage times, and its place in the traces."""

    item: Item
    future: "Future[Result]"
    times: Times | None
    place: Any


class Batcher(Generic[Item, Result]):
    """Serves any number of threads and event loops by one function that does many items faster than each alone.

    A caller that finds nothing under way is served at once, in its own thread: it does not wait for others to come.
    What comes in meanwhile is then done together, in a thread that lives as long as there is more. So the function
    never runs twice at a time, and its threads do not wait for each other.

    An error goes to the caller whose item raises it: a batch that fails is halved until the item is found. The seconds
    of `rag_app.timing.stage_times` are shared out evenly among the callers of a batch.

    Args:
        run: Returns one result per item, in order. What it returns for an item must not depend on the others, except
            for the rounding of a transformer that pads them to one length; and it must not submit to this batcher.
        most: Items in one batch.
    """

    def __init__(self, run: Callable[[list[Item]], Sequence[Result]], *, most: int = 32) -> None:
        self._run = run
        self._most = most
        self._lock = Lock()
        self.after_fork()
        survives_fork(self)

    def after_fork(self) -> None:
        """Start with nobody waiting: who waits in the parent is served there."""
        self._waiting: deque[_Ticket[Item, Result]] = deque()
        self._busy = False  # whoever made it so has to empty what is waiting, or start a thread that does

    def submit(self, item: Item) -> Result:
        """Return the result for an item, or raise its error."""
        with self._lock:
            idle, self._busy = not self._busy, True
            if not idle:
                ticket = self._enqueue(item)
        if not idle:
            return ticket.future.result()
        try:
            [result] = self._run([item])
            return result
        finally:
            self._hand_over()

    async def asubmit(self, item: Item) -> Result:
        """Return the result for an item, or raise its error, without holding up the event loop."""
        with self._lock:
            idle, self._busy = not self._busy, True
            ticket = self._enqueue(item)
        if idle:
            self._hand_over()
        return await asyncio.wrap_future(ticket.future)

    def _enqueue(self, item: Item) -> _Ticket[Item, Result]:
        ticket: _Ticket[Item, Result] = _Ticket(item, Future(), current_times(), here())
        self._waiting.append(ticket)
        return ticket

    def _hand_over(self) -> None:
        with self._lock:
            more = self._busy = bool(self._waiting)
        if more:
            try:
                threading.Thread(target=self._drain, name="batch", daemon=False).start()
            except RuntimeError:  # no more threads are to be had; those who wait must not do so for ever
                self._drain()

    def _drain(self) -> None:
        pause = 0.0
        while True:
            sleep(pause)
            with self._lock:
                batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
                self._busy = bool(batch)
            if not batch:
                return
            start = perf_counter()
            self._serve([ticket for ticket in batch if ticket.future.set_running_or_notify_cancel()])
            # Of several callers most ask again at once. Without a moment for it they would be split for ever into those
            # that are served and those that wait meanwhile.
            pause = (perf_counter() - start) * _PAUSE if len(batch) > 1 or self._waiting else 0.0

    def _serve(self, batch: Sequence[_Ticket[Item, Result]]) -> None:
        if not batch:
            return
        try:
            with stage_times() as seconds, spans_for([ticket.place for ticket in batch]):
                results = self._run([ticket.item for ticket in batch])
            pairs = list(zip(batch, results, strict=True))
        except BaseException as error:  # a thread that ends here would leave callers waiting for ever
            if len(batch) == 1:
                batch[0].future.set_exception(_for_a_task(error))
            else:
                self._serve(batch[: len(batch) // 2])
                self._serve(batch[len(batch) // 2 :])
            return
        for ticket, result in pairs:
            if ticket.times is not None:
                add_times(ticket.times, {stage: spent / len(batch) for stage, spent in seconds.items()})
            ticket.future.set_result(result)


def _for_a_task(error: BaseException) -> BaseException:
    """Return an error as a task can receive it: for a StopIteration it would wait for ever."""
    if not isinstance(error, StopIteration):
        return error
    told = RuntimeError("A model raised StopIteration")
    told.__cause__ = error
    return told


_lock = Lock()
_batchers: "WeakKeyDictionary[Any, Batcher[Any, Any]]" = WeakKeyDictionary()


def shared_batcher(
    owner: Any, run: Callable[[list[Item]], Sequence[Result]], *, most: int = 32
) -> Batcher[Item, Result]:
    """Return the one `Batcher` in this process of a loaded model, or of whatever else callers share.

    Args:
        owner: Has one batcher, for as long as it lives.
        run: See `Batcher`; taken on the first call for an owner, and for its sake not to hold the owner itself.
        most: See `Batcher`, likewise.
    """
    with _lock:
        batcher = _batchers.get(owner)
        if batcher is None:
            batcher = _batchers[owner] = Batcher(run, most=most)
        return batcher
