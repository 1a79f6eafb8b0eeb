from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from langchain_core.documents import Document

from rag_app import evidence
from rag_app.evidence import gather_evidence
from rag_app.korean import analyzer


class Counting:
    """Analyses as `rag_app.korean.analyzer` does and notes what; may wait for other threads in the middle."""

    def __init__(self, barrier: Barrier | None = None) -> None:
        self.analysed: list[str] = []
        self._barrier = barrier

    def morphemes(self, text: str) -> list[str]:
        return analyzer().morphemes(text)

    def morphemes_batch(self, texts: Sequence[str]) -> Iterator[list[str]]:
        self.analysed += texts
        for morphemes in analyzer().morphemes_batch(texts):
            if self._barrier is not None:
                self._barrier.wait(10)
            yield morphemes


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "_remembered", evidence._remembered.__class__())


def shares(question: str, *texts: str) -> float:
    return gather_evidence(question, [Document(text) for text in texts]).words


def test_a_passage_is_analysed_once_also_one_without_content_words(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting()
    monkeypatch.setattr(evidence, "analyzer", lambda: counting)
    for _ in range(2):
        assert shares("국회 예산안", "국회가 예산안을 의결했다.", "?!", "?!") == 1.0
    assert counting.analysed == ["국회가 예산안을 의결했다.", "?!"]


def test_the_passages_met_last_are_remembered_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting()
    monkeypatch.setattr(evidence, "analyzer", lambda: counting)
    monkeypatch.setattr(evidence, "REMEMBERED", 2)
    for text in ("국회", "잠실", "국회", "날씨", "국회", "잠실"):
        shares("국회", text)
    assert counting.analysed == ["국회", "잠실", "날씨", "잠실"]
    assert list(evidence._remembered) == ["국회", "잠실"]


def test_threads_that_meet_the_same_passages_at_once_see_them_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ("국회가 예산안을 의결했다.", "개막전이 잠실에서 열렸다.")
    counting = Counting(Barrier(4))  # all threads are in the middle of their analysis at once
    monkeypatch.setattr(evidence, "analyzer", lambda: counting)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: shares("잠실 개막전", *texts), range(4))) == [1.0] * 4
