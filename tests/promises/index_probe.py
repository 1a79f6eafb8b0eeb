"""The child process of `tests.promises.probing`: tries everything there is to do with an index, in little memory.

It reads the path of an index from each line of stdin, and answers with a line of JSON: for each thing it did, what came
of it. Where this process dies, or does not answer, the index has crashed it.
"""

import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.embeddings import DeterministicFakeEmbedding

from rag_app.check import check_index
from rag_app.filters import Filter
from rag_app.index import open_index
from rag_app.retrieval import build_retriever

DIMENSION = 16
ROOM = 512 * 1024**2
"""Bytes that an index may take beyond what a sound one takes."""
SECONDS = 10
"""How long everything may take that is done with one index."""
_FILTERS: tuple[Filter, ...] = (
    {"section": "정치"},
    {"date": {"$gte": "2025-01-09"}, "section": {"$ne": "경제"}},
    {"title": {"$in": ["소식 3", "소식 9"]}},
    lambda metadata: metadata.get("n") == 5,
)
_QUESTION = "3번째 지진 소식"


def _search(path: Path) -> None:
    """Ask an index everything; one that was changed by an attacker may give any answer."""
    embeddings = DeterministicFakeEmbedding(size=DIMENSION)
    index = open_index(path, embeddings, check=False)
    store, lexical = index.snapshot.store, index.snapshot.lexical
    for hit in lexical.search(_QUESTION, 5):
        lexical.unit_scores(_QUESTION, hit.id)
    vector = embeddings.embed_query(_QUESTION)
    found = [id_ for id_, _ in store.search_vector(vector, 5)]
    with suppress(KeyError):  # as of an id that is not there
        store.vectors(found)
    store.get_by_ids([*found, "unknown"])
    store.similarity_search_by_vector(vector, 5)
    store.search_vector(vector, 5, ids=found[:2])
    lexical.search(_QUESTION, 5, ids=found)
    store.max_marginal_relevance_search_by_vector(np.asarray(vector).tolist(), 3, 10)
    for key in ("section", "title", "n", "none"):
        store.values(key)
    build_retriever(index).invoke(_QUESTION)
    for filter in _FILTERS:
        store.search_vector(vector, 5, filter=filter)
        build_retriever(index, filter=filter).invoke(_QUESTION)
    for doc_id in sorted(index.document_ids())[:2]:
        with suppress(KeyError):  # as of an article that is not there
            index.article(doc_id)
    for document in store.documents.values():
        len(document.page_content)


def _tell(do: Callable[[Path], Any], path: Path) -> list[Any]:
    """Return the error's names, from the base class on, and its message, or what was returned."""
    try:
        return [[], do(path)]
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return [[kind.__name__ for kind in type(error).__mro__], f"{error} ({where.filename}:{where.lineno})"]


def _open(path: Path) -> None:
    open_index(path, DeterministicFakeEmbedding(size=DIMENSION))


_ACTIONS: dict[str, Callable[[Path], Any]] = {"check": check_index, "open": _open, "search": _search}


def main() -> None:
    """Answer until there is nothing more to read; the first index is sound."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed
    for number, line in enumerate(sys.stdin):
        path = Path(json.loads(line))
        began = time.process_time()
        found = {name: _tell(do, path) for name, do in _ACTIONS.items()}
        if number and time.process_time() - began > SECONDS:
            found["time"] = [["TimeoutError"], f"{time.process_time() - began} s"]
        answers.write(json.dumps(found) + "\n")
        answers.flush()
        if not number:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            most = pages * resource.getpagesize() + ROOM
            resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    main()
