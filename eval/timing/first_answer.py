"""From the start of a process to its first answer; see `eval.timing.cold`, and what it imports is measured as well."""

import sys
from time import perf_counter, time
from typing import Any


def first_answer(task: dict[str, Any]) -> dict[str, Any]:
    """Open an index, answer two questions, and return the seconds until the first answer, step by step."""
    started = time() - task["started"]
    start = perf_counter()
    from rag_app import build_retriever, load_embeddings, load_reranker, open_index

    imported = perf_counter()
    options = {} if task["backend"] is None else {"backend": task["backend"]}
    embeddings = load_embeddings(task["embedding"], **options)
    reranker = load_reranker(task["reranker"], **options)
    loaded = perf_counter()
    retriever = build_retriever(open_index(task["index"], embeddings), compressor=reranker)
    opened = perf_counter()
    retriever.invoke(task["questions"][0])
    answered = perf_counter()
    retriever.invoke(task["questions"][-1])
    return {
        "python": started,
        "import": imported - start,
        "models": loaded - imported,
        "index": opened - loaded,
        "first answer": answered - opened,
        "all": started + answered - start,
        "second answer": perf_counter() - answered,
        "imports torch": "torch" in sys.modules,
    }
