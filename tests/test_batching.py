"""What callers of a batcher get, from threads and from event loops, and how many of them are served at once."""

import asyncio
import gc
import os
import signal
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import sleep

import pytest

from rag_app.batching import Batcher, shared_batcher
from rag_app.timing import stage_times, timed


class Doubling:
    """Doubles numbers, notes its batches, refuses negative ones, and can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: list[threading.Thread] = []
        self.free = threading.Event()
        self.free.set()
        self.entered = threading.Event()
        self._running = threading.Lock()

    def __call__(self, items: list[int]) -> list[int]:
        assert self._running.acquire(blocking=False), "two at a time"
        try:
            self.batches.append(items)
            self.threads.append(threading.current_thread())
            self.entered.set()
            assert self.free.wait(10)
            if min(items) < 0:
                raise ValueError(f"{min(items)} is negative")
            with timed("doubling"):
                sleep(0.001)
                return [2 * item for item in items]
        finally:
            self._running.release()


@contextmanager
def held_up(doubling: Doubling) -> Iterator[None]:
    """Hold up the first call inside the block until the block ends."""
    doubling.free.clear()
    doubling.entered.clear()
    try:
        yield
    finally:
        doubling.free.set()


def wait_for(batcher: Batcher[int, int], count: int) -> None:
    """Wait until so many are waiting."""
    while len(batcher._waiting) < count:
        sleep(0.001)


def test_who_comes_alone_is_served_at_once_and_in_its_own_thread() -> None:
    doubling = Doubling()
    batcher = Batcher(doubling)
    assert [batcher.submit(n) for n in range(3)] == [0, 2, 4]
    assert doubling.batches == [[0], [1], [2]]
    assert set(doubling.threads) == {threading.current_thread()}


def test_what_comes_in_meanwhile_is_done_together_in_order_and_bounded() -> None:
    doubling = Doubling()
    batcher = Batcher(doubling, most=3)
    with ThreadPoolExecutor(8) as pool:
        with held_up(doubling):
            first = pool.submit(batcher.submit, 100)
            assert doubling.entered.wait(10)
            others = []
            for n in range(7):
                others.append(pool.submit(batcher.submit, n))
                wait_for(batcher, n + 1)
        assert [future.result(10) for future in (first, *others)] == [200, 0, 2, 4, 6, 8, 10, 12]
    assert doubling.batches == [[100], [0, 1, 2], [3, 4, 5], [6]]
    while batcher._busy:
        sleep(0.001)
    assert batcher.submit(9) == 18
    assert doubling.threads[-1] is threading.current_thread()


@pytest.mark.parametrize("callers", [2, 8, 32])
def test_many_threads_get_each_its_own_result(callers: int) -> None:
    doubling = Doubling()
    batcher = Batcher(doubling, most=5)
    with ThreadPoolExecutor(callers) as pool:
        assert list(pool.map(batcher.submit, range(500))) == list(range(0, 1000, 2))
    assert max(map(len, doubling.batches)) <= 5
    assert sorted(item for batch in doubling.batches for item in batch) == list(range(500))


def test_callers_that_ask_again_at_once_are_not_split_in_two() -> None:
    def slow(items: list[int]) -> list[int]:
        sizes.append(len(items))
        sleep(0.05)
        return items

    sizes: list[int] = []
    batcher = Batcher(slow)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(batcher.submit, range(40))) == list(range(40))
    assert len(sizes) < 16  # with 1 and 3 by turns it would be 20


async def test_tasks_share_batches_and_the_event_loop_goes_on() -> None:
    doubling = Doubling()
    batcher = Batcher(doubling, most=64)
    with held_up(doubling):
        tasks = [asyncio.create_task(batcher.asubmit(n)) for n in range(20)]
        await asyncio.sleep(0.05)  # which would not come back if the loop were held up as well
        assert not any(task.done() for task in tasks)
    assert await asyncio.gather(*tasks) == list(range(0, 40, 2))
    assert len(doubling.batches) <= 2


async def test_threads_and_tasks_share_batches() -> None:
    doubling = Doubling()
    batcher = Batcher(doubling, most=64)
    with held_up(doubling):
        tasks = [asyncio.create_task(batcher.asubmit(n)) for n in range(4)]
        await asyncio.sleep(0)
        threads = [asyncio.to_thread(batcher.submit, n) for n in range(4, 8)]
        both = asyncio.gather(*tasks, *threads)
        while not doubling.batches or len(doubling.batches[0]) + len(batcher._waiting) < 8:
            await asyncio.sleep(0.001)
    assert await both == list(range(0, 16, 2))
    assert len(doubling.batches) == 2


def test_an_error_goes_to_the_caller_it_belongs_to() -> None:
    doubling = Doubling()
    batcher = Batcher(doubling)
    with ThreadPoolExecutor(16) as pool:
        with held_up(doubling):
            futures = [pool.submit(batcher.submit, n) for n in (0, 1, -1, 2, 3, -2, 4, 5)]
            wait_for(batcher, 7)
        results = [future.exception(10) or future.result() for future in futures]
    assert [str(result) for result in results] == ["0", "2", "-1 is negative", "4", "6", "-2 is negative", "8", "10"]
    assert batcher.submit(7) == 14


def test_one_alone_raises_and_the_next_are_served() -> None:
    batcher = Batcher(Doubling())
    with pytest.raises(ValueError, match="-1 is negative"):
        batcher.submit(-1)
    assert batcher.submit(1) == 2


def test_an_interruption_of_one_caller_leaves_the_others_served() -> None:
    def interrupted(items: list[int]) -> list[int]:
        entered.set()
        assert free.wait(10)
        if items == [13]:
            raise KeyboardInterrupt
        return items

    entered, free = threading.Event(), threading.Event()
    batcher = Batcher(interrupted)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(batcher.submit, 13)
        assert entered.wait(10)
        second = pool.submit(batcher.submit, 1)
        while not batcher._waiting:
            sleep(0.001)
        free.set()
        assert second.result(10) == 1
        assert isinstance(first.exception(10), KeyboardInterrupt)


def test_who_waits_is_served_also_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    batcher = Batcher(doubling := Doubling())
    with ThreadPoolExecutor(2) as pool:
        with held_up(doubling):
            first = pool.submit(batcher.submit, 1)
            assert doubling.entered.wait(10)
            second = pool.submit(batcher.submit, 2)
            wait_for(batcher, 1)
            monkeypatch.setattr(threading.Thread, "start", refuse)
        assert (first.result(10), second.result(10)) == (2, 4)
    assert batcher.submit(3) == 6


@pytest.mark.fault(4, "A task waited for ever for a model that raised StopIteration.")
async def test_a_stop_iteration_reaches_the_task_that_waits() -> None:
    def run(items: list[int]) -> list[int]:
        return [next(iter([])) if item < 0 else item for item in items]

    batcher = Batcher(run)
    waiting = asyncio.gather(*(batcher.asubmit(n) for n in (1, -1, 2)), return_exceptions=True)
    first, error, second = await asyncio.wait_for(waiting, 10)
    assert (first, second) == (1, 2)
    assert isinstance(error, RuntimeError)
    assert isinstance(error.__cause__, StopIteration)


@pytest.mark.fault(4, "A process that was forked while a thread was searching waited for ever on its first question.")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_threads_of_its_parent() -> None:
    batcher = Batcher(doubling := Doubling())
    with ThreadPoolExecutor(2) as pool:
        with held_up(doubling):
            futures = [pool.submit(batcher.submit, 1)]
            assert doubling.entered.wait(10)
            futures.append(pool.submit(batcher.submit, 2))
            wait_for(batcher, 1)
            if (child := os.fork()) == 0:
                signal.alarm(10)  # ends it if it waits
                batcher._run = lambda items: items
                os._exit(batcher.submit(42))
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
        assert [future.result(10) for future in futures] == [2, 4]


def test_too_few_results_are_an_error_for_everyone_and_not_a_wait_for_ever() -> None:
    batcher: Batcher[int, int] = Batcher(lambda items: [])
    with pytest.raises(ValueError, match="not enough values"):
        batcher.submit(1)
    with pytest.raises(ValueError, match="shorter"):
        asyncio.run(batcher.asubmit(1))


async def test_a_task_that_is_cancelled_while_it_waits_is_not_run() -> None:
    doubling = Doubling()
    batcher = Batcher(doubling)
    with held_up(doubling):
        first = asyncio.create_task(batcher.asubmit(1))
        await asyncio.sleep(0.01)
        second, third = asyncio.create_task(batcher.asubmit(2)), asyncio.create_task(batcher.asubmit(3))
        await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.sleep(0.01)
    assert list(await asyncio.gather(first, third)) == [2, 6]
    assert doubling.batches == [[1], [3]]


def test_stage_times_are_shared_out_among_the_callers() -> None:
    def timed_submit(item: int) -> float:
        with stage_times() as seconds:
            batcher.submit(item)
        return seconds["doubling"]

    doubling = Doubling()
    batcher = Batcher(doubling)
    assert timed_submit(0) >= 0.001
    with ThreadPoolExecutor(16) as pool:
        with held_up(doubling):
            first = pool.submit(batcher.submit, 1)  # nobody collects its times
            assert doubling.entered.wait(10)
            futures = [pool.submit(timed_submit, n) for n in range(10)]
            wait_for(batcher, 10)
        assert first.result(10) == 2
        shares = [future.result(10) for future in futures]
    assert len(set(shares)) == 1
    assert sum(shares) >= 0.001


class Owner:
    pass


def test_an_owner_has_one_batcher_also_when_threads_ask_at_once_and_takes_it_along() -> None:
    owner, other = Owner(), Owner()
    with ThreadPoolExecutor(8) as pool:
        batchers = set(pool.map(lambda _: shared_batcher(owner, Doubling()), range(50)))
    assert len(batchers) == 1
    others = weakref.ref(shared_batcher(other, Doubling()))
    assert others() not in batchers
    del other
    gc.collect()
    assert others() is None
