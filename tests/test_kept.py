"""What a server tells: one thread asks for all, nobody waits long, and no failure is kept."""

import threading
from collections.abc import Iterator
from time import monotonic

import pytest

pytest.importorskip("streamlit", reason="the ui extra is not installed")

from rag_app.page import kept as module
from rag_app.page.kept import Kept, NotYetError

LONG = 30.0  # seconds; a test that waits for them fails


class Told:
    """A server that answers with the number of the call, when it may, or fails."""

    def __init__(self) -> None:
        self.calls = 0
        self.may = threading.Event()
        self.may.set()
        self.error: Exception | None = None

    def __call__(self) -> int:
        self.calls += 1
        number = self.calls
        assert self.may.wait(LONG)
        if self.error is not None:
            raise self.error
        return number


@pytest.fixture
def told() -> Iterator[Told]:
    told = Told()
    yield told
    told.may.set()


def test_an_answer_is_asked_for_once_while_it_is_new(told: Told) -> None:
    kept = Kept(told, LONG)
    assert [kept.get(LONG) for _ in range(3)] == [1, 1, 1]
    assert told.calls == 1


def test_many_who_come_at_once_wait_for_one_call(told: Told) -> None:
    told.may.clear()
    kept, found = Kept(told, LONG), []
    threads = [threading.Thread(target=lambda: found.append(kept.get(LONG))) for _ in range(8)]
    for thread in threads:
        thread.start()
    told.may.set()
    for thread in threads:
        thread.join(LONG)
    assert found == [1] * 8
    assert told.calls == 1


def test_who_has_waited_long_enough_is_told_that_there_is_no_answer_yet(told: Told) -> None:
    told.may.clear()
    kept = Kept(told, LONG)
    with pytest.raises(NotYetError) as raised:
        kept.get(0)
    assert raised.value.kept is kept
    assert kept.last is None
    told.may.set()
    assert kept.get(LONG) == 1
    assert told.calls == 1


def test_an_old_answer_serves_while_it_is_asked_for_again(told: Told) -> None:
    kept = Kept(told, 0.0)
    assert kept.get(LONG) == 1
    told.may.clear()
    assert kept.get(LONG) == 1
    told.may.set()
    deadline = monotonic() + LONG
    while kept.get(LONG) == 1:
        assert monotonic() < deadline


def test_what_was_asked_for_before_a_write_is_no_answer_after_it(told: Told) -> None:
    kept = Kept(told, LONG)
    assert kept.get(LONG) == 1
    written = monotonic()
    told.may.clear()
    with pytest.raises(NotYetError) as raised:
        kept.get(0, since=written)
    assert raised.value.since == written
    told.may.set()
    assert kept.get(LONG, since=written) == 2


def test_a_failure_is_told_to_all_of_a_page_and_then_asked_again(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(told, LONG)
    told.error = ConnectionError("gone")
    for _ in range(3):
        with pytest.raises(ConnectionError, match="gone"):
            kept.get(LONG)
    assert told.calls == 1
    told.error = None
    monkeypatch.setattr(module, "_TOLD", 0.0)
    assert kept.get(LONG) == 2


def test_an_answer_from_before_a_failure_does_not_hide_it(told: Told) -> None:
    kept = Kept(told, 0.0)
    assert kept.get(LONG) == 1
    told.error = ConnectionError("gone")
    assert kept.get(LONG) == 1  # meanwhile it is asked for again
    with pytest.raises(ConnectionError):
        _ask_on(kept)
    assert kept.last == 1


def _ask_on(kept: Kept[int]) -> None:
    deadline = monotonic() + LONG
    while monotonic() < deadline:
        kept.get(LONG)


def test_whoever_presses_try_again_does_not_wait_for_a_failure_to_grow_old(told: Told) -> None:
    kept = Kept(told, LONG)
    told.error = ConnectionError("gone")
    with pytest.raises(ConnectionError):
        kept.get(LONG)
    told.error = None
    kept.again()
    assert kept.get(LONG) == 2


def test_what_a_view_met_over_an_answer_is_told_and_then_asked_again(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(told, LONG)
    assert kept.get(LONG) == 1
    kept.fail(ConnectionError("gone"))
    with pytest.raises(ConnectionError, match="gone"):
        kept.get(LONG)
    assert told.calls == 1
    monkeypatch.setattr(module, "_TOLD", 0.0)
    assert kept.get(LONG) == 2


def test_an_answer_counts_no_longer_where_somebody_asks_again(told: Told) -> None:
    kept = Kept(told, LONG)
    assert kept.get(LONG) == 1
    kept.again()
    assert kept.get(LONG) == 2
