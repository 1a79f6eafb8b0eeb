"""The systems that are compared, by name, each built with the functions that serve it."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from tqdm import tqdm

from rag_app.compressors import TopN
from rag_app.data.questions import Question
from rag_app.index import Index, build_index
from rag_app.retrieval import WEIGHTS, build_retriever

RERANK = "+rerank"
PASSAGES = 30
"""How many passages a search hands on, as `build_retriever` does in serving."""

_WARM_UP = "오늘 날씨는 어떤가요?"


class System(NamedTuple):
    """How to build one system.

    Attributes:
        model: Whose vectors its index holds: ``"base"`` or ``"tuned"``.
        build: Makes the retriever from that index and a compressor.
    """

    model: str
    build: Callable[[Index, BaseDocumentCompressor], BaseRetriever]


class Answers(NamedTuple):
    """What a system found.

    Attributes:
        run: By question id, the score of each document found; see `eval.metrics.Run`.
        seconds: By question id, how long it took.
    """

    run: dict[str, dict[str, float]]
    seconds: dict[str, float]


def _build(index: Index, compressor: BaseDocumentCompressor, *, weights: Mapping[str, float]) -> BaseRetriever:
    return build_retriever(index, compressor=compressor, k=PASSAGES, weights=weights)


_LEXICAL = partial(_build, weights={"lexical": 1.0, "dense": 0.0})
_DENSE = partial(_build, weights={"lexical": 0.0, "dense": 1.0})
_HYBRID = partial(_build, weights=WEIGHTS)

SYSTEMS: dict[str, System] = {
    "lexical": System("base", _LEXICAL),
    "base": System("base", _DENSE),
    "hybrid": System("base", _HYBRID),
    "tuned": System("tuned", _DENSE),
    "tuned+hybrid": System("tuned", _HYBRID),
}
"""The systems without reranking; each also goes by its name with ``+rerank`` behind it."""


def system_names(models: Iterable[str], *, rerank: bool) -> list[str]:
    """Return the names of the systems that can be built, in the order of the table.

    Args:
        models: The embedding models at hand: ``"base"``, ``"tuned"``.
        rerank: Whether there is a reranker.
    """
    at_hand = set(models)
    names = [name for name, system in SYSTEMS.items() if system.model in at_hand]
    return names + [f"{name}{RERANK}" for name in names if rerank]


def build_indexes(corpus: Iterable[Document], models: Mapping[str, Embeddings], folder: Path) -> dict[str, Index]:
    """Return an index of the corpus for each model; models with the same weights share one.

    Args:
        corpus: Documents; long ones are split into passages as in serving.
        models: By their part, ``"base"`` or ``"tuned"``.
        folder: Where the indexes are written; it has to stay while they are used.
    """
    corpus = list(corpus)
    built: dict[object, Index] = {}
    indexes = {}
    for part, embeddings in models.items():
        identity = getattr(embeddings, "fingerprint", None) or id(embeddings)
        if identity not in built:
            built[identity] = build_index(folder / part, corpus, embeddings, progress=True)
        indexes[part] = built[identity]
    return indexes


def build_system(
    name: str, indexes: Mapping[str, Index], reranker: BaseDocumentCompressor | None = None
) -> BaseRetriever:
    """Return the retriever that goes by a name of `system_names`.

    Without a reranker everything that the search found comes back.

    Args:
        name: One of `SYSTEMS`, or with ``+rerank`` behind it.
        indexes: From `build_indexes`.
        reranker: One that drops nothing (``top_n=None``); used only by the ``+rerank`` systems, which need it.

    Raises:
        ValueError: A ``+rerank`` system without a reranker.
    """
    model, build = SYSTEMS[name.removesuffix(RERANK)]
    if not name.endswith(RERANK):
        return build(indexes[model], TopN(top_n=len(indexes[model])))
    if reranker is None:
        raise ValueError(f"The system {name!r} needs a reranker. Give one with --reranker NAME")
    return build(indexes[model], reranker)


def ask(retriever: BaseRetriever, questions: Iterable[Question], *, k: int = 10, name: str = "") -> Answers:
    """Ask a retriever all questions, one at a time, as a chat would.

    Args:
        retriever: Takes ``k``, how many passages to look at, when invoked; see `build_system`.
        questions: With ids that are unique.
        k: How many different documents to find for each question, where there are that many.
        name: Stands before the progress bar on stderr.
    """
    retriever.invoke(_WARM_UP)  # what is loaded on first use is no question's time
    run: dict[str, dict[str, float]] = {}
    seconds: dict[str, float] = {}
    for question in tqdm(list(questions), desc=name, unit="question"):
        start = perf_counter()
        passages = _search(retriever, question.text, k)
        seconds[question.id] = perf_counter() - start
        run[question.id] = document_scores(passages)
    return Answers(run, seconds)


def document_scores(passages: Iterable[Document]) -> dict[str, float]:
    """Return a score for each document that has one of these passages, which keeps the order they came in.

    A document split into several passages counts once, by the first of them. Neighbours with the same score get the
    same score here too, so that their order is left to the doc_id and not to chance.
    """
    scores: dict[str, float] = {}
    for rank, (_, tied) in enumerate(groupby(passages, key=lambda passage: passage.metadata["score"])):
        for passage in tied:
            scores.setdefault(passage.metadata["doc_id"], -float(rank))
    return scores


def _search(retriever: BaseRetriever, question: str, k: int) -> list[Document]:
    """Return the passages found, looking at twice as many until they come from k documents or there are no more."""
    count = max(PASSAGES, k)
    while True:
        passages = retriever.invoke(question, k=count)
        documents = {passage.metadata["doc_id"] for passage in passages}
        if len(documents) >= k or len(passages) < count:
            return passages
        count *= 2
