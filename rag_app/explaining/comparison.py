"""Several systems answer one question: what each finds, how the ranks move between them, and how long each takes."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from time import perf_counter
from typing import Literal, NamedTuple

from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.retrievers import BaseRetriever

from rag_app.compressors import TopN
from rag_app.index import Index
from rag_app.news import NewsSense
from rag_app.retrieval import WEIGHTS, build_retriever
from rag_app.timing import stage_times

RUNS = 5
"""How often each system is asked again for its times, which are the medians of these runs."""

SECONDS = 10.0
"""No further run begins once the runs have taken so long; one is always made, unless it is stopped."""

RERANKED = "hybrid+rerank"


class Kind(NamedTuple):
    """A way of searching an index, under the name that the benchmark has for it.

    Attributes:
        weights: Of lexical and dense search; see `rag_app.retrieval.build_retriever`.
        news: How much the dates of articles count: nothing where one search is looked at alone, as in the benchmark.
    """

    weights: Mapping[str, float]
    news: NewsSense


_WITHOUT_DATES = NewsSense(date_boost=0)
KINDS: dict[str, Kind] = {
    "lexical": Kind({"lexical": 1.0, "dense": 0.0}, _WITHOUT_DATES),
    "base": Kind({"lexical": 0.0, "dense": 1.0}, _WITHOUT_DATES),
    "hybrid": Kind(WEIGHTS, NewsSense()),
    RERANKED: Kind(WEIGHTS, NewsSense()),
}
"""``base`` is dense search alone, with whichever model the index was built with."""


class Answer(NamedTuple):
    """What a system found for a question, and how long that took.

    Attributes:
        articles: The best passage of each article, best first.
        seconds: The median of the measured runs; that of the first run if there is no other.
        stages: The same for each stage; see `rag_app.timing.stage_times`.
        runs: How many runs were measured. The first, which loads what is loaded on first use, is not one of them.
    """

    articles: tuple[Document, ...]
    seconds: float
    stages: dict[str, float]
    runs: int

    @property
    def ranks(self) -> dict[str, int]:
        """The rank of each article, from 1, by its ``doc_id``."""
        return {article_id(document): rank for rank, document in enumerate(self.articles, 1)}


class Move(NamedTuple):
    """What became of an article from one system to the next.

    Attributes:
        way: Which way it went; ``new`` and ``gone`` are those that only one of the two has found.
        places: By how many ranks.
    """

    way: Literal["new", "gone", "up", "down", "same"]
    places: int = 0


def build_system(index: Index, kind: str, *, k: int, reranker: BaseDocumentCompressor | None = None) -> BaseRetriever:
    """Return a system, which finds k passages.

    Args:
        index: What to search.
        kind: One of `KINDS`.
        k: How many passages the search finds, and a reranker reads.
        reranker: One that drops nothing (``top_n=None``), for ``hybrid+rerank``.

    Raises:
        ValueError: There is no such kind, or it needs a reranker.
    """
    if kind not in KINDS:
        raise ValueError(f"There is no system {kind!r}. Choose one of {', '.join(KINDS)}")
    if kind == RERANKED and reranker is None:
        raise ValueError(f"The system {kind!r} needs a reranker. Name one, or compare without it.")
    weights, news = KINDS[kind]
    compressor = reranker if kind == RERANKED else None
    return build_retriever(index, compressor=compressor or TopN(top_n=k), k=k, weights=weights, news=news)


def ask_side_by_side(
    question: str,
    systems: Sequence[BaseRetriever],
    *,
    forget: Callable[[], None] = lambda: None,
    runs: int = RUNS,
    seconds: float = SECONDS,
    before_each: Callable[[int, int], bool] = lambda run, system: True,
) -> list[Answer]:
    """Ask several systems one question, by turns, so that whatever else the machine does is shared by all of them.

    Args:
        question: Not empty.
        systems: From `build_system`.
        forget: Forgets the scores that a reranker has remembered; called before each measured question.
        runs: How often to ask after the first time.
        seconds: See `SECONDS`.
        before_each: Is told which run is next (the first is 0) and which system; False ends it, with the complete
            runs that there are. The first run is always completed.

    Returns:
        An answer for each system.
    """
    found: list[tuple[Document, ...]] = []
    spent: list[list[tuple[float, dict[str, float]]]] = []
    begin = perf_counter()
    for run in range(runs + 1):
        measured = []
        for number, system in enumerate(systems):
            goes_on = before_each(run, number)
            if run and not goes_on:
                return _answers(found, spent)
            if run:
                forget()
            with stage_times() as stages:
                start = perf_counter()
                passages = system.invoke(question)
                measured.append((perf_counter() - start, stages))
            if not run:
                found.append(best_passages(passages))
        spent.append(measured)
        if run and perf_counter() - begin > seconds:
            break
    return _answers(found, spent)


def best_passages(passages: Sequence[Document]) -> tuple[Document, ...]:
    """Return the best passage of each article, best first: how the benchmark ranks articles."""
    best: dict[str, Document] = {}
    for passage in passages:
        best.setdefault(article_id(passage), passage)
    return tuple(best.values())


def article_id(passage: Document) -> str:
    """Return what identifies the article of a passage, in every index."""
    return str(passage.metadata.get("doc_id") or passage.id)


def move(before: int | None, after: int | None) -> Move:
    """Return what became of an article, from its ranks; None where it was not found."""
    if after is None:
        return Move("gone")
    if before is None:
        return Move("new")
    places = before - after
    return Move("same") if not places else Move("up" if places > 0 else "down", abs(places))


def leading_articles(answers: Sequence[Answer], top: int) -> dict[str, Document]:
    """Return every article that a system has among its first, by id: those that rank highest anywhere come first."""
    best: dict[str, tuple[int, int, Document]] = {}
    for number, answer in enumerate(answers):
        for rank, document in enumerate(answer.articles[:top], 1):
            id_ = article_id(document)
            best[id_] = min(best.get(id_, (rank, number, document)), (rank, number, document), key=lambda one: one[:2])
    return {id_: document for id_, (*_, document) in sorted(best.items(), key=lambda item: item[1][:2])}


def only_finders(answers: Sequence[Answer], top: int) -> dict[str, int]:
    """Return the articles that a single system has among its first, by id, and the number of that system."""
    finders: dict[str, list[int]] = {}
    for number, answer in enumerate(answers):
        for document in answer.articles[:top]:
            finders.setdefault(article_id(document), []).append(number)
    return {id_: numbers[0] for id_, numbers in finders.items() if len(numbers) == 1}


def dropped(before: Answer, after: Answer, top: int) -> list[tuple[Document, int, int | None]]:
    """Return what one system has among its first and the next has not: the passage, its rank, and its rank there."""
    ranks = after.ranks
    leaving = [(document, rank, ranks.get(article_id(document))) for rank, document in enumerate(before.articles, 1)]
    return [one for one in leaving[:top] if one[2] is None or one[2] > top]


def _answers(
    found: Sequence[tuple[Document, ...]], spent: Sequence[Sequence[tuple[float, dict[str, float]]]]
) -> list[Answer]:
    measured = spent[1:] or spent[:1]
    answers = []
    for number, articles in enumerate(found):
        own = [run[number] for run in measured]
        stages = {stage: median(times.get(stage, 0.0) for _, times in own) for stage in own[0][1]}
        answers.append(Answer(articles, median(seconds for seconds, _ in own), stages, len(spent) - 1))
    return answers
