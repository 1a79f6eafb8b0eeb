"""Ours beside the assemblies of langchain_community: what they find, and what they take."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from langchain_core.retrievers import BaseRetriever

from eval.metrics import question_scores
from eval.statistics import interval
from eval.timing.children import run_task
from eval.timing.peers import ROWS
from eval.timing.rounds import interleave, spread
from eval.timing.setup import Found, Setup, chunks
from rag_app.compressors import load_reranker
from rag_app.embeddings import load_embeddings
from rag_app.passages import split_documents

LONG_LIVED = "eval.timing.peer_life"


def measure_peers(setup: Setup, found: Found) -> None:
    """Ask all of them the questions in turns, then let each keep a larger corpus in a process of its own."""
    rows = {name: row for name, row in ROWS.items() if not row.needs or find_spec(row.needs)}
    found["left_out"] = {name: f"pip install {row.needs}" for name, row in ROWS.items() if name not in rows}
    found["rows"] = {name: {"against": row.against, "note": row.note} for name, row in rows.items()}
    passages = list(split_documents(setup.benchmark.corpus))
    retrievers = {}
    for number, (name, row) in enumerate(rows.items()):
        peer = row.make(load_embeddings())
        peer.build(setup.folder / "peers" / str(number), passages)
        retrievers[name] = peer.retriever()
    found |= {"passages": len(passages), "questions": len(setup.benchmark.questions)}
    _ask(setup, retrievers, found["rows"])
    _live(setup, rows, found)


class _Asking:
    """Remembers which documents were found, best first."""

    def __init__(self, retriever: BaseRetriever) -> None:
        self._retriever = retriever
        self.documents: dict[str, list[str]] = {}

    def __call__(self, questions: Sequence[str]) -> None:
        for question in questions:
            found = self._retriever.invoke(question)
            self.documents[question] = list(dict.fromkeys(one.metadata["doc_id"] for one in found))


def _ask(setup: Setup, retrievers: Mapping[str, BaseRetriever], rows: Found) -> None:
    asking = {name: _Asking(retriever) for name, retriever in retrievers.items()}
    questions = setup.benchmark.questions
    rounds = chunks([question.text for question in questions], max(1, len(questions) // setup.arguments.rounds))
    seconds: dict[str, list[float]] = {}
    interleave(asking, rounds, seconds, name="peers", before_each=load_reranker().forget)
    for name, one in asking.items():
        run = {
            question.id: {doc_id: -float(rank) for rank, doc_id in enumerate(one.documents[question.text])}
            for question in questions
        }
        scores = question_scores(setup.benchmark.qrels(), run, 10)
        rows[name]["quality"] = {
            measure: interval(list(scores[measure].values()))._asdict()
            for measure in ("hit_rate@1", "hit_rate@10", "mrr@10")
        }
        rows[name]["seconds_per_question"] = spread(seconds[name])._asdict()


def _live(setup: Setup, rows: Mapping[str, object], found: Found) -> None:
    count, apart = setup.arguments.peer_passages, not setup.arguments.quick
    questions = [question.text for question in setup.questions(setup.arguments.size_questions)]
    found["life_passages"] = count
    for number, name in enumerate(rows):
        folder = setup.folder / "life" / str(number)
        task = {"row": name, "data": setup.arguments.data, "passages": count, "folder": str(folder)}
        found["rows"][name]["life"] = {
            **run_task(LONG_LIVED, {**task, "step": "build"}, apart=apart),
            **run_task(LONG_LIVED, {**task, "step": "serve", "questions": questions}, apart=apart),
        }
