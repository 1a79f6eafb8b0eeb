"""A process that builds an index of so many passages; see `eval.timing.sizes`."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from eval.memory import peak_memory
from eval.speed_corpus import PASSAGE_CHARS, source_sentences, speed_corpus
from eval.timing.children import answer_task
from rag_app.data.questions import all_passages
from rag_app.embeddings import load_embeddings
from rag_app.index import build_index

T = TypeVar("T")


class Supply(Iterable[T]):
    """Hands items on, and knows how long they took to make.

    Attributes:
        seconds: Until now.
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self.seconds = 0.0

    def __iter__(self) -> Iterator[T]:
        while True:
            start = perf_counter()
            item = next(self._items, None)
            self.seconds += perf_counter() - start
            if item is None:
                return
            yield item


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """Return what building took. Making the passages is not counted."""
    embeddings = load_embeddings()
    embeddings.embed_query("준비")
    documents = Supply(speed_corpus(source_sentences(all_passages(task["data"])), task["passages"]))
    folder = Path(task["index"])
    start = perf_counter()
    index = build_index(folder, documents, embeddings, progress=True)
    seconds = perf_counter() - start - documents.seconds
    return {
        "passages": len(index),
        "characters": PASSAGE_CHARS,
        "seconds": seconds,
        "passages_per_second": len(index) / seconds,
        "memory_bytes": peak_memory(),
        "index_bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        "vectors": index.snapshot.manifest.get("vectors"),
    }


if __name__ == "__main__":
    sys.exit(answer_task(measure))
