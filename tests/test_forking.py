"""What a forked process may find held by threads of its parent that it does not have."""

import os
import signal
import threading
from collections.abc import Callable

import pytest

import rag_app.batching
import rag_app.korean
import rag_app.timing
from rag_app.batching import shared_batcher
from rag_app.forking import Lock
from rag_app.korean import analyzer
from rag_app.reranking.budget import Pace
from rag_app.reranking.score_cache import ScoreCache
from rag_app.timing import add_times

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def status_of_child(run: Callable[[], object]) -> int:
    """Return how a forked process ends: with 0 if it gets to the end of what it is to run."""
    if (child := os.fork()) == 0:
        signal.alarm(10)  # ends it if it waits
        run()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def with_held_lock(lock: Lock, run: Callable[[], object]) -> int:
    """Return how a forked process ends that is made while another thread holds a lock."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(10)
        return status_of_child(run)
    finally:
        done.set()
        thread.join()


_cache, _pace = ScoreCache(), Pace()


@pytest.mark.fault(
    4, "A process that was forked while a thread was reranking could wait for ever for its first answer."
)
@pytest.mark.parametrize(
    ("lock", "run"),
    [
        (_cache._lock, lambda: _cache.find([])),
        (_pace._lock, lambda: _pace.measure(1, 1.0)),
        (rag_app.batching._lock, lambda: shared_batcher(_pace, list)),
        (rag_app.timing._lock, lambda: add_times({}, {})),
        (rag_app.korean._lock, analyzer),
    ],
    ids=["score_cache", "budget", "batching", "timing", "korean"],
)
def test_what_a_thread_of_the_parent_holds_is_free_in_a_forked_process(lock: Lock, run: Callable[[], object]) -> None:
    assert with_held_lock(lock, run) == 0


def test_who_forks_while_holding_a_lock_lets_go_of_it_in_both_processes() -> None:
    lock = Lock()
    with lock:
        child = os.fork()
    with lock:
        pass
    if child == 0:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_one_thread_at_a_time_holds_a_lock() -> None:
    lock, inside, most = Lock(), [0], [0]

    def enter() -> None:
        for _ in range(200):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
