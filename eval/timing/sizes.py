"""What indexing and searching cost as the corpus grows."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray
from tqdm import tqdm

from eval.memory import peak_memory
from eval.speed_corpus import PASSAGE_CHARS, source_sentences, speed_corpus
from eval.timing.children import Task, run_task
from eval.timing.rounds import percentiles
from eval.timing.setup import Found, Setup
from eval.timing.variants import DENSE
from rag_app.compressors import load_reranker
from rag_app.data.questions import all_passages
from rag_app.documents import make_document, searchable_text
from rag_app.embeddings import ModelEmbeddings, load_embeddings
from rag_app.index import Index, build_index, open_index
from rag_app.retrieval import build_retriever

NEAREST = 10
ROUNDING = 1e-6  # of a cosine, computed here and there
_BATCH = 20_000


def measure_sizes(setup: Setup, found: Found) -> None:
    """Build and serve an index of each size, each in a process of its own."""
    arguments = setup.arguments
    questions = [question.text for question in setup.questions(arguments.size_questions)]
    for size in tqdm(arguments.sizes, desc="corpus sizes", unit="size"):
        folder = setup.folder / "sizes" / str(size)
        task = {"index": str(folder), "data": arguments.data, "passages": size, "questions": questions}
        own = found.setdefault(str(size), {})
        own["build"] = run_task(build, task, apart=not arguments.quick)
        own["serve"] = run_task(serve, task, apart=not arguments.quick)
        shutil.rmtree(folder)  # the disk may hold one large index and not two


def articles(task: Task) -> Iterator[Document]:
    """Yield as many passages as a task wants, made of the sentences of its data."""
    return speed_corpus(source_sentences(all_passages(task["data"])), task["passages"])


def build(task: Task) -> Found:
    """Build an index, and return what it took. Making the passages is not counted."""
    embeddings = load_embeddings()
    embeddings.embed_query("준비")
    documents = _Supply(articles(task))
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


class _Supply(Iterable[Document]):
    """Hands documents on, and knows how many ``seconds`` they took to make until now."""

    def __init__(self, documents: Iterator[Document]) -> None:
        self._documents = documents
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Document]:
        while True:
            start = perf_counter()
            document = next(self._documents, None)
            self.seconds += perf_counter() - start
            if document is None:
                return
            yield document


def serve(task: Task) -> Found:
    """Open an index and return what that, searching, adding and deleting took, and how many of the nearest it finds."""
    embeddings = load_embeddings()
    reranker = load_reranker()
    questions: list[str] = task["questions"]
    start = perf_counter()
    index = open_index(task["index"], embeddings)
    found: Found = {"open_seconds": perf_counter() - start, "questions": len(questions)}
    retrievers = {
        "dense": build_retriever(index, **DENSE),
        "hybrid": build_retriever(index),
        "hybrid + rerank": build_retriever(index, compressor=reranker),
    }
    found["search"] = {name: percentiles(retriever.invoke, questions) for name, retriever in retrievers.items()}
    found["memory_bytes"] = peak_memory()
    found["recall@10"] = _recall([retrievers["dense"].invoke(question) for question in questions], task, embeddings)
    return found | _changes(index)


def _recall(found: Sequence[Sequence[Document]], task: Task, embeddings: ModelEmbeddings) -> float:
    """Return the share of the ten nearest, by vectors in full precision, that was found."""
    queries = embeddings.encode(task["questions"], query=True)
    limits = _tenth_cosines(queries, task, embeddings) - ROUNDING
    shares = []
    for query, documents, limit in zip(queries, found, limits, strict=True):
        cosines = embeddings.encode([searchable_text(document) for document in documents]) @ query
        shares.append(np.count_nonzero(cosines >= limit) / min(NEAREST, task["passages"]))
    return float(np.mean(shares))


def _tenth_cosines(queries: NDArray[np.float32], task: Task, embeddings: ModelEmbeddings) -> NDArray[np.float32]:
    """Return the cosine of the tenth nearest passage to each question, in full precision and from the texts anew."""
    best = np.full((len(queries), NEAREST), -1, dtype=np.float32)
    documents = articles(task)
    while batch := list(islice(documents, _BATCH)):
        cosines = queries @ embeddings.encode([searchable_text(document) for document in batch]).T
        best = -np.partition(-np.concatenate([best, cosines], axis=1), NEAREST - 1, axis=1)[:, :NEAREST]
    return np.asarray(best.min(axis=1), dtype=np.float32)


def _changes(index: Index) -> dict[str, Any]:
    """Return the seconds until one document more, and one less, is safe on disk."""
    document = make_document("오늘 새로 들어온 기사입니다. 색인에 한 건을 더합니다.", title="새 기사")
    start = perf_counter()
    index.add([document])
    added = perf_counter()
    index.delete([document.metadata["doc_id"]])
    return {"add_one_seconds": added - start, "delete_one_seconds": perf_counter() - added}
