"""A process that builds an index as one of the peers, or opens it, searches and deletes; see `eval.timing.peers`."""

import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from eval.memory import peak_memory
from eval.speed_corpus import source_sentences, speed_corpus
from eval.timing.children import answer_task
from eval.timing.peers import ROWS
from rag_app.data.questions import all_passages
from rag_app.embeddings import load_embeddings
from rag_app.passages import split_documents


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """Return what a step took."""
    peer = ROWS[task["row"]].make(load_embeddings())
    articles = speed_corpus(source_sentences(all_passages(task["data"])), task["passages"])
    folder = Path(task["folder"])
    if task["step"] == "build":
        passages = list(split_documents(articles))
        start = perf_counter()
        peer.build(folder, passages)
        return {"build_seconds": perf_counter() - start, "build_memory_bytes": peak_memory()}
    start = perf_counter()
    peer.open(folder)
    opened = perf_counter() - start
    retriever = peer.retriever()
    seconds = []
    for question in task["questions"]:
        start = perf_counter()
        retriever.invoke(question)
        seconds.append(perf_counter() - start)
    memory = peak_memory()
    first = next(split_documents(articles))
    start = perf_counter()
    peer.delete(first)
    deleted = perf_counter() - start
    p50, p95 = np.percentile(seconds[1:] or seconds, [50, 95]).tolist()
    return {
        "open_seconds": opened,
        "serve_memory_bytes": memory,
        "p50_seconds": p50,
        "p95_seconds": p95,
        "delete_one_seconds": deleted,
    }


if __name__ == "__main__":
    sys.exit(answer_task(measure))
