"""The retriever of one replica, made of the settings: it keeps nothing but the open index and the loaded models."""

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from rag_app.compressors import RerankingCompressor, load_reranker
from rag_app.index import Index, open_index
from rag_app.models import serving_backend
from rag_app.observability.logs import log_event
from rag_app.replicas.messages import SearchRequest
from rag_app.retrieval import build_retriever
from rag_app.server_index import ServerIndex
from rag_app.settings import Settings

LOOK = 1.0
"""Seconds after which a search looks first whether the index was committed anew or built anew."""
PATIENCE = 2.0
"""Seconds for which a server that does not answer is asked again: then who asks is told, and asks again himself."""
_FIRST = "누리호는 언제 발사됐나요?"
_log = logging.getLogger(__name__)


class Searcher:
    """Searches for many questions at once.

    Args:
        settings: ``index``, ``reranker`` and what else says how to search.

    Raises:
        OSError: There is no index, or its server does not answer.
        ValueError: The index is damaged, or a model is not safe to load.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._index = self._open()
        self._looking = Lock()
        self._reranker = _reranker(settings)
        self._looked = time.monotonic()
        self._retriever(settings.top_n, None).invoke(_FIRST)  # loads what is loaded when it is first used

    def _open(self) -> Index:
        index = open_index(self._settings.index, backend=self._settings.backend)
        if isinstance(index, ServerIndex):
            index.snapshot.store.patience = PATIENCE
        return index

    def look(self) -> Index:
        """Read what is committed now, or open the index that has taken the place of another; return it.

        Raises:
            OSError: There is none, or its server does not answer.
            ValueError: It is damaged.
        """
        with self._looking:
            try:
                other = _is_other(self._index)
            except ValueError:  # damaged, or built with another model: opening it tells
                other = True
            if other:
                self._index = self._open()
            self._looked = time.monotonic()
            return self._index

    async def search(self, asked: Sequence[SearchRequest]) -> list[list[Document] | BaseException]:
        """Return what each question finds, or what went wrong with it.

        Raises:
            OSError: See `look`, as for the following.
            ValueError: Likewise.
        """
        if time.monotonic() - self._looked > LOOK:
            await asyncio.to_thread(self.look)
        index = self._index
        found = await self._found(asked)
        failed = any(isinstance(one, Exception) and not isinstance(one, ConnectionError) for one in found)
        if failed and await asyncio.to_thread(self.look) is not index:  # it was replaced while it was searched
            found = await self._found(asked)
        return found

    async def _found(self, asked: Sequence[SearchRequest]) -> list[list[Document] | BaseException]:
        started = time.perf_counter()
        alike: dict[tuple[int, str], list[int]] = {}
        for number, one in enumerate(asked):
            key = (one.k or self._settings.top_n, json.dumps(one.filter, sort_keys=True))
            alike.setdefault(key, []).append(number)
        found: dict[int, list[Document] | BaseException] = {}
        for (k, filter), numbers in alike.items():
            retriever = self._retriever(k, json.loads(filter))
            results = await retriever.abatch([asked[number].question for number in numbers], return_exceptions=True)
            found |= zip(numbers, results, strict=True)
        spent = round((time.perf_counter() - started) * 1000, 1)
        log_event(_log, "searched", questions=len(asked), groups=len(alike), ms=spent)
        return [found[number] for number in range(len(asked))]

    def _retriever(self, k: int, filter: Mapping[str, Any] | None) -> BaseRetriever:
        settings = self._settings
        return build_retriever(
            self._index,
            compressor=self._reranker and self._reranker.model_copy(update={"top_n": k}),
            k=max(settings.k, k),
            top_n=k,
            filter=filter,
            collapse=settings.collapse,
            max_per_source=settings.max_per_source,
        )


def _reranker(settings: Settings) -> RerankingCompressor | None:
    name = settings.reranker
    if name is None:
        return None
    backend = serving_backend(name, settings.backend, role="reranker")
    return load_reranker(name, budget_ms=settings.rerank_budget_ms, backend=backend)


def _is_other(index: Index) -> bool:
    """Return whether another index has taken the place of one; follow it where it was only changed."""
    if isinstance(index, ServerIndex):  # searches see what is written by themselves; to count takes long
        known = index.snapshot.manifest
        return known | index.snapshot.store.manifest() != known
    index.refresh()
    return False
