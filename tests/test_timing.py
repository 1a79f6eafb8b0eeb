from time import sleep

import pytest
from langchain_core.runnables import RunnableLambda

from rag_app.timing import stage_times, timed


def test_stages_add_up_while_somebody_collects() -> None:
    with stage_times() as seconds:
        for _ in range(2):
            with timed("encode"):
                sleep(0.01)
        with timed("rerank"):
            pass
    assert set(seconds) == {"encode", "rerank"}
    assert seconds["encode"] >= 0.02 > seconds["rerank"] >= 0
    with timed("encode"):
        pass
    assert seconds["encode"] < 1


def test_collections_do_not_mix() -> None:
    with stage_times() as outer:
        with stage_times() as inner, timed("dense"):
            pass
        with timed("fusion"):
            pass
    assert set(inner) == {"dense"}
    assert set(outer) == {"fusion"}


def test_a_stage_that_fails_counts_and_fails() -> None:
    with stage_times() as seconds, pytest.raises(ValueError), timed("dense"):
        raise ValueError
    assert "dense" in seconds


def test_stages_in_the_threads_of_a_batch_add_up() -> None:
    def wait(_: int) -> None:
        with timed("dense"):
            sleep(0.01)

    with stage_times() as seconds:
        RunnableLambda(wait).batch(list(range(8)), {"max_concurrency": 4})
    assert seconds["dense"] >= 0.08
