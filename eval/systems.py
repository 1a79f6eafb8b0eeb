"""The systems that are compared, by name, each built with the functions that serve it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever

from eval.asking import PASSAGES
from eval.room import Room
from rag_app.compressors import TopN
from rag_app.generations import generation_folder
from rag_app.index import Index, build_index
from rag_app.lexical import FIELDS
from rag_app.news import NewsSense
from rag_app.retrieval import WEIGHTS, build_retriever, compress_results
from rag_app.stores.address import Address

RERANK = "+rerank"
HYBRID = "+hybrid"
BASE = "base"

T = TypeVar("T")


class Search(NamedTuple):
    """What a system searches an index with.

    Attributes:
        weights: Of lexical and dense search; see `rag_app.retrieval.build_retriever`, as for the following.
        analyses: Of the lexical analyses.
        news: How much the dates of articles count.
        parts: What of the index it needs, beside the documents.
    """

    weights: Mapping[str, float]
    analyses: Mapping[str, float]
    news: NewsSense
    parts: tuple[str, ...]


class System(NamedTuple):
    """A system that is ready to be asked.

    Attributes:
        retriever: Takes ``k``, how many passages to look at, when invoked; everything that it found comes back.
        passages: How many it searches.
        index_bytes: What it needs of its index on disk; None for a foreign retriever, or one on a server.
        compressor: Its reranker, if it has one.
    """

    retriever: BaseRetriever
    passages: int
    index_bytes: int | None
    compressor: BaseDocumentCompressor | None


class Stock(NamedTuple):
    """What systems are built from.

    Attributes:
        indexes: Of the benchmark's corpus, by embedding model; ``"base"`` among them.
        served: ``rag-app`` indexes with corpora of their own, by label.
        foreign: Other retrievers, by label; see `eval.foreign`.
        passages: How many the benchmark's corpus has, which the foreign retrievers search.
        reranker: One that drops nothing (``top_n=None``); without it there are no ``+rerank`` systems.
    """

    indexes: Mapping[str, Index]
    served: Mapping[str, Index]
    foreign: Mapping[str, BaseRetriever]
    passages: int
    reranker: BaseDocumentCompressor | None


_LEXICAL = {"lexical": 1.0, "dense": 0.0}
_WITHOUT_DATES = NewsSense(date_boost=0)
LEXICAL_SEARCHES: dict[str, Search] = {
    "bigrams": Search(_LEXICAL, {**dict.fromkeys(FIELDS, 0.0), "bigrams": 1.0}, _WITHOUT_DATES, ("lexical",)),
    "morphemes": Search(_LEXICAL, {**dict.fromkeys(FIELDS, 0.0), "morphemes": 1.0}, _WITHOUT_DATES, ("lexical",)),
    "lexical": Search(_LEXICAL, FIELDS, _WITHOUT_DATES, ("lexical",)),
}
"""The systems that need no embedding model."""
_VECTORS = ("vectors.faiss", "segments", "clusters.faiss", "gone.npy")  # of a small index the first, else the others
_DENSE = Search({"lexical": 0.0, "dense": 1.0}, FIELDS, _WITHOUT_DATES, _VECTORS)
_HYBRID = Search(WEIGHTS, FIELDS, NewsSense(), ("lexical", *_VECTORS))


def system_names(
    models: Iterable[str], served: Iterable[str] = (), foreign: Iterable[str] = (), *, rerank: bool
) -> list[str]:
    """Return the names of all systems that can be built, in the order of the table, those with reranking last.

    Args:
        models: The labels of the embedding models, ``"base"`` among them.
        served: The labels of ``rag-app`` indexes.
        foreign: The labels of other retrievers.
        rerank: Whether there is a reranker.
    """
    names = [*LEXICAL_SEARCHES, *(name for label in models for name in _model_searches(label)), *served, *foreign]
    return names + [f"{name}{RERANK}" for name in names if rerank]


def usual_systems(names: Iterable[str]) -> list[str]:
    """Return, of the names that `system_names` gave, those that are measured unless others are asked for.

    The halves of lexical search are not reranked.
    """
    halves = [f"{name}{RERANK}" for name in LEXICAL_SEARCHES if name != "lexical"]
    return [name for name in names if name not in halves]


def needed_models(names: Iterable[str], models: Mapping[str, T]) -> dict[str, T]:
    """Return the models that these systems search with, and the base's, whose index serves lexical search."""
    bare = {name.removesuffix(RERANK) for name in names}
    return {label: model for label, model in models.items() if label == BASE or bare & _model_searches(label).keys()}


def build_indexes(
    corpus: Iterable[Document], models: Mapping[str, Embeddings], folder: Path | Room
) -> dict[str, Index]:
    """Return an index of the corpus for each model; models with the same weights share one.

    Args:
        corpus: Documents; long ones are split into passages as in serving.
        models: By their label.
        folder: Where the indexes are written; it has to stay while they are used. Or a room in a vector database.
    """
    corpus = list(corpus)
    built: dict[object, Index] = {}
    indexes = {}
    for number, (label, embeddings) in enumerate(models.items()):
        identity = getattr(embeddings, "fingerprint", None) or id(embeddings)
        if identity not in built:
            place = folder / str(number) if isinstance(folder, Path) else folder.new()
            built[identity] = build_index(place, corpus, embeddings, replace=isinstance(folder, Room), progress=True)
        indexes[label] = built[identity]
    return indexes


def build_system(name: str, stock: Stock) -> System:
    """Return the system that goes by a name of `system_names`.

    Raises:
        ValueError: A ``+rerank`` system without a reranker.
    """
    bare = name.removesuffix(RERANK)
    compressor = stock.reranker if name.endswith(RERANK) else None
    if name.endswith(RERANK) and compressor is None:
        raise ValueError(f"The system {name!r} needs a reranker. Give one with --reranker NAME")
    if bare in stock.foreign:
        retriever = stock.foreign[bare]
        reranked = retriever if compressor is None else compress_results(retriever, compressor)
        return System(reranked, stock.passages, None, compressor)
    index, search = _find_search(bare, stock)
    retriever = build_retriever(
        index,
        compressor=compressor or TopN(top_n=len(index)),
        k=PASSAGES,
        weights=search.weights,
        analyses=search.analyses,
        news=search.news,
    )
    return System(retriever, len(index), _bytes(index, search.parts), compressor)


def _model_searches(label: str) -> dict[str, Search]:
    return {label: _DENSE, "hybrid" if label == BASE else f"{label}{HYBRID}": _HYBRID}


def _find_search(name: str, stock: Stock) -> tuple[Index, Search]:
    if name in LEXICAL_SEARCHES:
        return next(iter(stock.indexes.values())), LEXICAL_SEARCHES[name]
    for label, index in stock.indexes.items():
        if name in (searches := _model_searches(label)):
            return index, searches[name]
    return stock.served[name], _HYBRID


def _bytes(index: Index, parts: Iterable[str]) -> int | None:
    if isinstance(index.path, Address):
        return None
    folder = generation_folder(index.path, index.snapshot.manifest["generation"])
    used = {"documents.jsonl", *parts}
    files: list[str] = list(index.snapshot.manifest["files"])
    return sum((folder / file).stat().st_size for file in files if not used.isdisjoint(file.split("/")))
