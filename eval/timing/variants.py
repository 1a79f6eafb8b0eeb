"""Our own ways to search with a transformer's weights, each a row of a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.documents import Document

from eval.timing.klue import Models
from eval.timing.loop import CANDIDATES, Hit
from eval.timing.rounds import Recorder
from rag_app.compressors import RerankingCompressor, load_reranker
from rag_app.index import Index
from rag_app.models import Backend, is_onnx
from rag_app.news import NewsSense
from rag_app.retrieval import build_retriever

LOOP = "the tutorial's loop"
TOP_N = 10
DENSE: dict[str, Any] = {"weights": {"lexical": 0.0, "dense": 1.0}, "news": NewsSense(date_boost=0.0)}
"""The loop searches by vectors alone and does not look at dates, and so does ours beside it."""


class Variant(NamedTuple):
    """One way to answer.

    Attributes:
        name: What of ours it has, beside the loop.
        backend: What computes the models; see `rag_app.embeddings.load_embeddings`.
        at_once: Whether all questions of a round are asked in one call.
        rerank: Options of `rag_app.compressors.load_reranker`; None does not rerank.
    """

    name: str
    backend: Backend
    at_once: bool = False
    rerank: Mapping[str, Any] | None = None

    @property
    def exact(self) -> bool:
        """Whether it computes the very scores that the loop computes."""
        return self.backend == "torch" and not self.rerank


FEWER_PAIRS = 10
"""Its effect on what is found is measured with the embedded models."""
WINDOW = 256
"""Tokens of question and passage: of longer passages the sentences that best match the question are read."""
_WINDOW = {"window_tokens": WINDOW}
_FEWER = {"max_pairs": FEWER_PAIRS}

UNRERANKED = (
    Variant("fp32", "torch"),
    Variant("fp32 + batch", "torch", at_once=True),
    Variant("int8", "onnx-int8"),
    Variant("int8 + batch", "onnx-int8", at_once=True),
)
"""The first is exact, the last the one that counts."""

RERANKED = (
    Variant("fp32", "torch", rerank={}),
    Variant(f"fp32 + {WINDOW} tokens", "torch", rerank=_WINDOW),
    Variant(f"fp32 + {FEWER_PAIRS} pairs", "torch", rerank=_FEWER),
    Variant("int8", "onnx-int8", rerank={}),
    Variant(f"int8 + {WINDOW} tokens", "onnx-int8", rerank=_WINDOW),
    Variant(f"int8 + {FEWER_PAIRS} pairs", "onnx-int8", rerank=_FEWER),
    Variant(f"int8 + {WINDOW} tokens + {FEWER_PAIRS} pairs", "onnx-int8", rerank={**_WINDOW, **_FEWER}),
)
"""Likewise."""


def export_unchecked(models: Models, backend: Backend) -> None:
    """Export random weights without asking whether int8 ranks as they do: there is nothing that they rank."""
    if models.random and is_onnx(backend):
        from rag_app.onnx.export import export_model

        export_model(models.embedding, backend, role="embeddings", check=False)
        export_model(models.reranker, backend, role="reranker", check=False)


def build_variant(
    variant: Variant, index: Index, reranker: str | Path
) -> tuple[Recorder[list[Hit]], RerankingCompressor | None]:
    """Return a variant ready to be asked, and its reranker if it has one.

    Args:
        variant: See `Variant`.
        index: Whose embeddings have the variant's backend.
        reranker: Name or folder of the cross-encoder.
    """
    compressor = None
    if variant.rerank is not None:
        compressor = load_reranker(reranker, top_n=TOP_N, backend=variant.backend, **variant.rerank)
    retriever = build_retriever(index, compressor=compressor, k=CANDIDATES, top_n=TOP_N, **DENSE)

    def answer(questions: Sequence[str]) -> list[list[Hit]]:
        found = retriever.batch(list(questions)) if variant.at_once else map(retriever.invoke, questions)
        return [[Hit(str(one.id), comparable_score(one)) for one in passages] for passages in found]

    return Recorder(answer), compressor


def score_differences(theirs: Sequence[Hit], ours: Sequence[Hit]) -> list[float]:
    """Return by how much the scores of one passage differ, for each that has one from both."""
    other = {one.id: one.score for one in theirs if one.score is not None}
    return [abs(one.score - other[one.id]) for one in ours if one.id in other and one.score is not None]


def overlap(theirs: Sequence[Hit], ours: Sequence[Hit]) -> float:
    """Return the share of what the first found that the second found as well."""
    return len({one.id for one in theirs} & {one.id for one in ours}) / max(1, len(theirs))


def comparable_score(document: Document) -> float | None:
    """Return the score of a passage that was read as the loop reads it: whole. None if it was not, or not at all."""
    stage = document.metadata["stages"].get("rerank", {})
    return None if "windows" in stage or not stage.get("scored", True) else float(document.metadata["score"])
