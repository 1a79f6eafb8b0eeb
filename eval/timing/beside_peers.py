"""Ours beside the assemblies of langchain_community: what they find, and what they take."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from time import perf_counter

from langchain_core.retrievers import BaseRetriever

from eval.measuring import intervals, score
from eval.memory import peak_memory
from eval.results import Answer
from eval.timing.children import Task, run_task
from eval.timing.peers import ROWS, Row
from eval.timing.rounds import Recorder, interleave, percentiles, spread
from eval.timing.setup import Found, Setup, chunks
from eval.timing.sizes import articles
from rag_app.compressors import load_reranker
from rag_app.embeddings import load_embeddings
from rag_app.passages import split_documents

PACKAGES = ("langchain_community", "rank_bm25")
REMEDY = "pip install 'korean-rag[community]'"


def measure_peers(setup: Setup, found: Found) -> None:
    """Ask all of them the questions in turns, then let each keep a larger corpus in a process of its own."""
    installed = all(map(find_spec, PACKAGES))
    rows = {name: row for name, row in ROWS.items() if installed or not row.against}
    found["left_out"] = dict.fromkeys((name for name in ROWS if name not in rows), REMEDY)
    found["rows"] = {name: {"against": row.against, "differs": row.differs} for name, row in rows.items()}
    passages = list(split_documents(setup.benchmark.corpus))
    retrievers = {}
    for number, (name, row) in enumerate(rows.items()):
        peer = row.make(load_embeddings())
        peer.build(setup.folder / "peers" / str(number), passages)
        retrievers[name] = peer.retriever()
    found |= {"passages": len(passages), "questions": len(setup.benchmark.questions)}
    _ask(setup, retrievers, found["rows"])
    _keep(setup, rows, found)


def build(task: Task) -> Found:
    """Build an index as one of the rows, and return what it took."""
    peer = ROWS[task["row"]].make(load_embeddings())
    passages = list(split_documents(articles(task)))
    start = perf_counter()
    peer.build(Path(task["index"]), passages)
    return {"build_seconds": perf_counter() - start, "build_memory_bytes": peak_memory()}


def serve(task: Task) -> Found:
    """Open what was built, and return what that, searching and deleting took."""
    peer = ROWS[task["row"]].make(load_embeddings())
    start = perf_counter()
    peer.open(Path(task["index"]))
    opened = perf_counter() - start
    seconds = percentiles(peer.retriever().invoke, task["questions"])
    memory = peak_memory()
    [first] = islice(split_documents(articles(task)), 1)
    start = perf_counter()
    peer.delete(first)
    return {
        "open_seconds": opened,
        "serve_memory_bytes": memory,
        "p50_seconds": seconds["p50"],
        "p95_seconds": seconds["p95"],
        "delete_one_seconds": perf_counter() - start,
    }


def _ask(setup: Setup, retrievers: Mapping[str, BaseRetriever], rows: Found) -> None:
    contenders = {name: _recorder(retriever) for name, retriever in retrievers.items()}
    questions = setup.benchmark.questions
    rounds = chunks([question.text for question in questions], max(1, len(questions) // setup.arguments.rounds))
    seconds: dict[str, list[float]] = {}
    interleave(contenders, rounds, seconds, name="peers", before_each=load_reranker().forget)
    for name, contender in contenders.items():
        answers = {question.id: Answer(contender.found[question.text], 0.0, {}) for question in questions}
        measured = intervals(score(setup.benchmark, answers, 10))
        rows[name]["quality"] = {measure: one._asdict() for measure, one in measured.items()}
        rows[name]["seconds_per_question"] = spread(seconds[name])._asdict()


def _recorder(retriever: BaseRetriever) -> Recorder[dict[str, float]]:
    """Return what asks one question at a time and remembers the documents found, scored by their rank."""

    def ranks(question: str) -> dict[str, float]:
        # Ours goes by a passage's own text where that is only a part of its document's, and keeps the document's id so.
        found = (passage.metadata for passage in retriever.invoke(question))
        documents = dict.fromkeys(metadata.get("source_doc_id", metadata["doc_id"]) for metadata in found)
        return {doc_id: -float(rank) for rank, doc_id in enumerate(documents)}

    def answer(questions: Sequence[str]) -> list[dict[str, float]]:
        return list(map(ranks, questions))

    return Recorder(answer)


def _keep(setup: Setup, rows: Mapping[str, Row], found: Found) -> None:
    count, apart = setup.arguments.peer_passages, not setup.arguments.quick
    questions = [question.text for question in setup.questions(setup.arguments.size_questions)]
    found["life_passages"] = count
    for number, name in enumerate(rows):
        folder = setup.folder / "life" / str(number)
        task = {"row": name, "index": str(folder), "data": setup.arguments.data, "passages": count}
        found["rows"][name]["life"] = {
            **run_task(build, task, apart=apart),
            **run_task(serve, {**task, "questions": questions}, apart=apart),
        }
