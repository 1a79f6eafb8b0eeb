"""A process that opens an index and answers questions from it; see `eval.timing.sizes`."""

import sys
from collections.abc import Callable, Sequence
from itertools import islice
from time import perf_counter
from typing import Any

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from eval.memory import peak_memory
from eval.speed_corpus import source_sentences, speed_corpus
from eval.timing.children import answer_task
from eval.timing.variants import DENSE, NO_DATES
from rag_app.compressors import load_reranker
from rag_app.data.questions import all_passages
from rag_app.documents import make_document, searchable_text
from rag_app.embeddings import ModelEmbeddings, load_embeddings
from rag_app.index import Index, open_index
from rag_app.retrieval import build_retriever

NEAREST = 10
ROUNDING = 1e-6  # of a cosine, computed here and there
_BATCH = 20_000


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """Return what opening, searching, adding and deleting took, and how many of the nearest passages are found."""
    embeddings = load_embeddings()
    reranker = load_reranker()
    questions: list[str] = task["questions"]
    start = perf_counter()
    index = open_index(task["index"], embeddings)
    found: dict[str, Any] = {"open_seconds": perf_counter() - start, "questions": len(questions)}
    retrievers = {
        "dense": build_retriever(index, weights=DENSE, news=NO_DATES),
        "hybrid": build_retriever(index),
        "hybrid + rerank": build_retriever(index, compressor=reranker),
    }
    found["search"] = {name: _times(retriever.invoke, questions) for name, retriever in retrievers.items()}
    found["memory_bytes"] = peak_memory()
    found["recall@10"] = _recall([retrievers["dense"].invoke(question) for question in questions], task, embeddings)
    found |= _changes(index)
    return found


def nearest_cosines(task: dict[str, Any], embeddings: ModelEmbeddings) -> NDArray[np.float32]:
    """Return the cosine of the tenth nearest passage to each question, in full precision and from the texts anew."""
    queries = embeddings.encode(task["questions"], query=True)
    best = np.full((len(queries), NEAREST), -1, dtype=np.float32)
    documents = speed_corpus(source_sentences(all_passages(task["data"])), task["passages"])
    while batch := list(islice(documents, _BATCH)):
        cosines = queries @ embeddings.encode([searchable_text(document) for document in batch]).T
        best = -np.partition(-np.concatenate([best, cosines], axis=1), NEAREST - 1, axis=1)[:, :NEAREST]
    return np.asarray(best.min(axis=1), dtype=np.float32)


def _recall(found: Sequence[Sequence[Document]], task: dict[str, Any], embeddings: ModelEmbeddings) -> float:
    """Return the share of the ten nearest, by vectors in full precision, that was found."""
    queries = embeddings.encode(task["questions"], query=True)
    limits = nearest_cosines(task, embeddings) - ROUNDING
    shares = []
    for query, documents, limit in zip(queries, found, limits, strict=True):
        cosines = embeddings.encode([searchable_text(document) for document in documents]) @ query
        shares.append(np.count_nonzero(cosines >= limit) / min(NEAREST, task["passages"]))
    return float(np.mean(shares))


def _times(ask: Callable[[str], object], questions: Sequence[str]) -> dict[str, float]:
    ask(questions[0])
    seconds = []
    for question in questions:
        start = perf_counter()
        ask(question)
        seconds.append(perf_counter() - start)
    p50, p95 = np.percentile(seconds, [50, 95]).tolist()
    return {"p50": p50, "p95": p95}


def _changes(index: Index) -> dict[str, float]:
    """Return the seconds until one document more, and one less, is safe on disk."""
    document = make_document("오늘 새로 들어온 기사입니다. 색인에 한 건을 더합니다.", title="새 기사")
    start = perf_counter()
    index.add([document])
    added = perf_counter()
    index.delete([document.metadata["doc_id"]])
    return {"add_one_seconds": added - start, "delete_one_seconds": perf_counter() - added}


if __name__ == "__main__":
    sys.exit(answer_task(measure))
