"""A comparison that runs in a thread of its own, so that a rerun or a reload finds it again and it can be stopped."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import streamlit as st

from rag_app.compressors import load_reranker
from rag_app.explaining.comparison import RERANKED, RUNS, Answer, ask_side_by_side, build_system
from rag_app.extractive import rank_sentences
from rag_app.index import Index
from rag_app.models import serving_backend
from rag_app.settings import Settings

SHOWN = 10
"""How many articles of each system are shown."""


class System(NamedTuple):
    """A system that can be compared.

    Attributes:
        index_name: The name of its index; see `rag_app.page.library.known_indexes`.
        kind: One of `rag_app.explaining.comparison.KINDS`.
    """

    index_name: str
    kind: str


class Comparison(NamedTuple):
    """What several systems found for one question.

    Attributes:
        answers: One for each system.
        quotes: Of each passage's text, by the passage's id, the start and end of the sentence that answers best.
    """

    answers: list[Answer]
    quotes: dict[str, tuple[int, int]]


class Comparing:
    """Asks several systems one question in a thread.

    Args:
        question: Not empty.
        systems: Each with its index, open.
        reranker: Its name, for systems that rerank.
        settings: How many passages are searched, and what models run on.

    Attributes:
        share: How much is done, 0 to 1.
        asking: The systems are being asked; before, models may have to be loaded.
        told: It failed, and somebody has heard of it.
    """

    def __init__(
        self, question: str, systems: Sequence[tuple[System, Index]], reranker: str | None, settings: Settings
    ) -> None:
        self.share = 0.0
        self.asking = False
        self.told = False
        self._question = question
        self._systems = systems
        self._reranker = reranker
        self._settings = settings
        self._result: Comparison | None = None
        self._error: Exception | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finished(self, seconds: float = 0.0) -> bool:
        """Wait so many seconds at most; return whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Measure no further: what has been found by then is the result."""
        self._stopped = True

    def result(self) -> Comparison:
        """Return what was found, once it has ended.

        Raises:
            Exception: What went wrong.
        """
        if self._result is None:
            self.told = True
            raise self._error or RuntimeError("The comparison has not ended.")
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._compare()
        except Exception as error:  # not swallowed: `result` raises it where it can be shown
            self._error = error
        self._systems = ()  # the result needs no index

    def _compare(self) -> Comparison:
        reranker = None
        if self._reranker and any(system.kind == RERANKED for system, _ in self._systems):
            backend = serving_backend(self._reranker, self._settings.backend, role="reranker")
            reranker = load_reranker(self._reranker, top_n=None, backend=backend)
        k = max(self._settings.k, SHOWN)
        retrievers = [build_system(index, system.kind, k=k, reranker=reranker) for system, index in self._systems]
        answers = ask_side_by_side(
            self._question,
            retrievers,
            forget=(lambda: None) if reranker is None else reranker.forget,
            before_each=self._goes_on,
        )
        passages = list({str(d.id): d for answer in answers for d in answer.articles[:SHOWN]}.values())
        quotes: dict[str, tuple[int, int]] = {}
        for extract in rank_sentences(self._question, passages):
            quotes.setdefault(str(passages[extract.document].id), (extract.start, extract.end))
        return Comparison(answers, quotes)

    def _goes_on(self, run: int, system: int) -> bool:
        self.asking = True
        self.share = (run * len(self._systems) + system) / ((RUNS + 1) * len(self._systems))
        return not self._stopped


def compare(
    question: str,
    systems: Sequence[tuple[System, Index]],
    reranker: str | None,
    settings: Settings,
    *,
    number: int = 0,
) -> Comparing:
    """Return the comparison of a question, begun when it is first asked for; later calls find the same one.

    One that failed is found until somebody has heard of it: a server that was lost may be back.

    Args:
        question: Normalised, not empty.
        systems: See `Comparing`, as for the following.
        reranker: Its name.
        settings: As the page was started with.
        number: Another number compares anew.
    """
    versions = [(system, str(index.path), index.snapshot.manifest) for system, index in systems]
    key = [question, versions, reranker, settings.k, number]

    def begin() -> Comparing:
        return Comparing(question, systems, reranker, settings)

    comparing = _comparing(key, begin)
    if comparing.told:
        _comparing.clear(key, begin)
        comparing = _comparing(key, begin)
    return comparing


@st.cache_resource(max_entries=16, show_spinner=False)
def _comparing(key: list[Any], _begin: Callable[[], Comparing]) -> Comparing:
    return _begin()
