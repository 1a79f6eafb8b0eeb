"""Our own ways to search with a transformer's weights, each a row of a table."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from eval.timing.klue import Models
from eval.timing.loop import CANDIDATES, Found
from rag_app.compressors import RerankingCompressor, load_reranker
from rag_app.index import Index
from rag_app.models import Backend, is_onnx
from rag_app.news import NewsSense
from rag_app.retrieval import build_retriever

LOOP = "the tutorial's loop"
TOP_N = 10
DENSE = {"lexical": 0.0, "dense": 1.0}
"""The loop searches by vectors alone, and so does ours beside it."""
NO_DATES = NewsSense(date_boost=0.0)
"""Nor does the loop look at dates."""


class Variant(NamedTuple):
    """One way to answer.

    Attributes:
        steps: What of ours it has, beside the loop.
        backend: What computes the models; see `rag_app.embeddings.load_embeddings`.
        at_once: Whether all questions of a round are asked in one call.
        rerank: Options of `rag_app.compressors.load_reranker`; None does not rerank.
    """

    steps: tuple[str, ...]
    backend: Backend
    at_once: bool = False
    rerank: Mapping[str, Any] | None = None

    @property
    def exact(self) -> bool:
        """Whether it computes the very scores that the loop computes."""
        return self.backend == "torch" and not self.rerank

    @property
    def name(self) -> str:
        """The steps in a row."""
        return " + ".join(self.steps)


FEWER_PAIRS = 10
"""Its effect on what is found is measured with the embedded models."""
WINDOW = 256
"""Tokens of question and passage: of longer passages the sentences that best match the question are read."""
_WINDOW = {"window_tokens": WINDOW}
_FEWER = {"max_pairs": FEWER_PAIRS}

UNRERANKED = (
    Variant(("fp32",), "torch"),
    Variant(("fp32", "batch"), "torch", at_once=True),
    Variant(("int8",), "onnx-int8"),
    Variant(("int8", "batch"), "onnx-int8", at_once=True),
)
"""The first is exact, the last the one that counts."""

RERANKED = (
    Variant(("fp32",), "torch", rerank={}),
    Variant(("fp32", f"{WINDOW} tokens"), "torch", rerank=_WINDOW),
    Variant(("fp32", f"{FEWER_PAIRS} pairs"), "torch", rerank=_FEWER),
    Variant(("int8",), "onnx-int8", rerank={}),
    Variant(("int8", f"{WINDOW} tokens"), "onnx-int8", rerank=_WINDOW),
    Variant(("int8", f"{FEWER_PAIRS} pairs"), "onnx-int8", rerank=_FEWER),
    Variant(("int8", f"{WINDOW} tokens", f"{FEWER_PAIRS} pairs"), "onnx-int8", rerank={**_WINDOW, **_FEWER}),
)
"""Likewise."""


class Ours:
    """A retriever of ours that remembers what it found, to be compared with what the loop found.

    Args:
        retriever: See `build_variant`.
        at_once: See `Variant`.
    """

    def __init__(self, retriever: BaseRetriever, *, at_once: bool) -> None:
        self._retriever = retriever
        self._at_once = at_once
        self.found: dict[str, list[Document]] = {}

    def __call__(self, questions: Sequence[str]) -> None:
        """Answer questions."""
        if self._at_once:
            self.found |= zip(questions, self._retriever.batch(list(questions)), strict=True)
        else:
            for question in questions:
                self.found[question] = self._retriever.invoke(question)

    def scores(self, question: str) -> list[Found]:
        """Return what was found, by its rank; no score where not all of the passage was read, or nothing of it."""
        return [Found(str(one.id), _comparable_score(one)) for one in self.found[question]]


class Loop:
    """Runs the loop's search and remembers what it found."""

    def __init__(self, search: Callable[[str], list[Found]]) -> None:
        self._search = search
        self.found: dict[str, list[Found]] = {}

    def __call__(self, questions: Sequence[str]) -> None:
        """Answer questions."""
        for question in questions:
            self.found[question] = self._search(question)

    def scores(self, question: str) -> list[Found]:
        """Return what was found, by its rank."""
        return self.found[question]


def export_unchecked(models: Models, backend: Backend) -> None:
    """Export random weights without asking whether int8 ranks as they do: there is nothing that they rank."""
    if models.random and is_onnx(backend):
        from rag_app.onnx.export import export_model

        export_model(models.embedding, backend, role="embeddings", check=False)
        export_model(models.reranker, backend, role="reranker", check=False)


def build_variant(
    variant: Variant, index: Index, reranker: str | Path | None
) -> tuple[Ours, RerankingCompressor | None]:
    """Return a variant ready to be asked, and its reranker.

    Args:
        variant: See `Variant`.
        index: Whose embeddings have the variant's backend.
        reranker: Name or folder of the cross-encoder.
    """
    compressor = None
    if variant.rerank is not None and reranker is not None:
        compressor = load_reranker(reranker, top_n=TOP_N, backend=variant.backend, **variant.rerank)
    retriever = build_retriever(index, compressor=compressor, k=CANDIDATES, top_n=TOP_N, weights=DENSE, news=NO_DATES)
    return Ours(retriever, at_once=variant.at_once), compressor


def score_differences(theirs: Sequence[Found], ours: Sequence[Found]) -> list[float]:
    """Return by how much the scores of one passage differ, for each that has one from both."""
    other = {one.id: one.score for one in theirs if one.score is not None}
    return [abs(one.score - other[one.id]) for one in ours if one.id in other and one.score is not None]


def overlap(theirs: Sequence[Found], ours: Sequence[Found]) -> float:
    """Return the share of what the first found that the second found as well."""
    return len({one.id for one in theirs} & {one.id for one in ours}) / max(1, len(theirs))


def _comparable_score(document: Document) -> float | None:
    """Return the score of a passage that was read as the loop reads it: whole."""
    stage = document.metadata["stages"].get("rerank", {})
    return None if "window" in stage or not stage.get("scored", True) else float(document.metadata["score"])
